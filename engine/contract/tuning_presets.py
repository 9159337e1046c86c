"""Presets of the methods that tune a model of images, and their faults that take two settings to see."""

from typing import Literal

from pydantic import BaseModel

from engine.contract import image_settings, settings, tuning_settings
from engine.contract.crossed import of_rewards
from engine.contract.faults import Fault
from engine.contract.metrics import describe
from engine.contract.settings import NAME, SEED, STRICT, setting

REWARDS = setting(help="what an image is worth: a weighted sum of parts", min_length=1)


class DiffusionDpoPreset(BaseModel, **STRICT):
    method: Literal["diffusion_dpo"]
    name: str | None = NAME
    seed: int = SEED
    model: image_settings.ImageModel
    data: image_settings.ImageData | None = setting(
        None, "judged pairs of pictures: labels:<set>, or a file with chosen and rejected, or Pick-a-Pic's columns"
    )
    judged: tuning_settings.Simulated | None = setting(
        None, "in place of data: pairs that the model draws itself and rewards judge"
    )
    optimizer: settings.Optimizer = settings.Optimizer()
    training: settings.Training = settings.Training()
    drift: tuning_settings.Drift = tuning_settings.Drift()
    diffusion_dpo: tuning_settings.DiffusionDpo = tuning_settings.DiffusionDpo()


class DiffusionGrpoPreset(BaseModel, **STRICT):
    method: Literal["diffusion_grpo"]
    name: str | None = NAME
    seed: int = SEED
    model: image_settings.ImageModel
    optimizer: settings.Optimizer = settings.Optimizer()
    training: settings.Training = settings.Training()
    rollout: tuning_settings.ImageRollout = tuning_settings.ImageRollout()
    rewards: list[tuning_settings.ImageReward] = REWARDS
    drift: tuning_settings.Drift = tuning_settings.Drift()
    diffusion_grpo: tuning_settings.DiffusionGrpo = tuning_settings.DiffusionGrpo()


class DiffusionNftPreset(BaseModel, **STRICT):
    method: Literal["diffusion_nft"]
    name: str | None = NAME
    seed: int = SEED
    model: image_settings.ImageModel
    optimizer: settings.Optimizer = settings.Optimizer()
    training: settings.Training = settings.Training()
    rollout: tuning_settings.ImageRollout = tuning_settings.ImageRollout(eta=0.0)
    rewards: list[tuning_settings.ImageReward] = REWARDS
    drift: tuning_settings.Drift = tuning_settings.Drift()
    diffusion_nft: tuning_settings.DiffusionNft = tuning_settings.DiffusionNft()


class DraftPreset(BaseModel, **STRICT):
    method: Literal["draft"]
    name: str | None = NAME
    seed: int = SEED
    model: image_settings.ImageModel
    optimizer: settings.Optimizer = settings.Optimizer()
    training: settings.Training = settings.Training()
    rollout: tuning_settings.ImageRollout = tuning_settings.ImageRollout(eta=0.0)
    rewards: list[tuning_settings.ImageReward] = REWARDS
    drift: tuning_settings.Drift = tuning_settings.Drift()
    draft: tuning_settings.Draft = tuning_settings.Draft()


#: Those that learn from what they draw, and all that tune.
DrawingPreset = DiffusionGrpoPreset | DiffusionNftPreset | DraftPreset
TuningPreset = DiffusionDpoPreset | DrawingPreset

TUNING_PRESETS: dict[str, type[TuningPreset]] = {
    "diffusion_dpo": DiffusionDpoPreset,
    "diffusion_grpo": DiffusionGrpoPreset,
    "diffusion_nft": DiffusionNftPreset,
    "draft": DraftPreset,
}


def of_tuning(preset: TuningPreset) -> list[Fault]:
    """Faults of a preset that tunes."""
    found = _of_batch(preset.training)
    if isinstance(preset, DrawingPreset):
        found += of_rewards(preset.rewards) + _of_guidance(preset.rollout)
    if preset.training.early_stopping is not None:
        found += _of_early_stopping(preset, preset.training.early_stopping)
    match preset:
        case DiffusionDpoPreset():
            found += _of_pairs(preset)
        case DiffusionGrpoPreset():
            found += _of_grpo(preset)
        case DraftPreset():
            found += _of_draft(preset)
    if not isinstance(preset, DiffusionDpoPreset | DraftPreset) and preset.rollout.images_per_prompt < 2:
        key, problem = ("rollout", "images_per_prompt"), "leaves an image nothing to be compared with"
        found.append(Fault(key, "1", problem, "use 2 or more"))
    return found


def _of_batch(training: settings.Training) -> list[Fault]:
    if training.batch_size % training.processes == 0:
        return []
    given = f"{training.batch_size} over {training.processes} processes"
    return [Fault(("training", "batch_size"), given, "cannot be shared evenly", "use a multiple of processes")]


def _of_guidance(how: tuning_settings.ImageRollout) -> list[Fault]:
    if how.guidance == 1 or how.prompts is None or any(prompt not in (None, "") for prompt in how.prompts):
        return []
    problem = "pulls to the prompt, and rollout.prompts asks for nothing in particular"
    return [Fault(("rollout", "guidance"), f"{how.guidance:g}", problem, "set it to 1, or say what to draw")]


def _of_early_stopping(preset: TuningPreset, wish: settings.EarlyStopping) -> list[Fault]:
    """Of waiting for a measure that nobody takes, or of which nobody knows when it is better."""
    if describe(wish.metric).direction == "none":
        problem = "is no measure with a better and a worse"
        return [Fault(("training", "early_stopping", "metric"), wish.metric, problem, "try eval_rewards/accuracies")]
    if isinstance(preset, DiffusionDpoPreset) and not preset.training.eval_every:
        problem, remedy = "never measures what early_stopping waits for", "set it to a tenth of training.steps or so"
        return [Fault(("training", "eval_every"), "0", problem, remedy)]
    return []


def _of_pairs(preset: DiffusionDpoPreset) -> list[Fault]:
    if (preset.data is None) == (preset.judged is None):
        is_none = preset.data is None
        problem = "is missing, and so is `judged`" if is_none else "stands beside `judged`"
        remedy = "give one of them: pairs that people judged, or pairs that rewards judge"
        return [Fault(("data",), "null" if is_none else "", problem, remedy)]
    return []


def _of_grpo(preset: DiffusionGrpoPreset) -> list[Fault]:
    own, found = preset.diffusion_grpo, []
    if preset.rollout.eta == 0:
        problem = "draws nothing by chance, so no step has a probability that could be raised or lowered"
        remedy = "use 1 (as DDPM) or anything above 0; diffusion_nft learns from samplers without chance"
        found.append(Fault(("rollout", "eta"), "0", problem, remedy))
    if own.clip is not None and own.log_prob == "mean" and own.clip > tuning_settings.MOST_MEAN_CLIP:
        problem = "is a clip for sums; a mean over D numbers would hardly ever reach it, and nothing would be clipped"
        remedy = "use about 1e-4 for mean, or leave it empty"
        found.append(Fault(("diffusion_grpo", "clip"), f"{own.clip:g}", problem, remedy))
    if own.clip is not None and own.log_prob == "sum" and own.clip < tuning_settings.LEAST_SUM_CLIP:
        problem = "is a clip for means; of the true ratio it stops all learning after the first update"
        found.append(
            Fault(("diffusion_grpo", "clip"), f"{own.clip:g}", problem, "use about 0.2 for sum, or leave it empty")
        )
    return found


def _of_draft(preset: DraftPreset) -> list[Fault]:
    found = []
    if preset.draft.last_steps > preset.rollout.steps:
        given, problem = str(preset.draft.last_steps), f"is more than the {preset.rollout.steps} steps there are"
        found.append(Fault(("draft", "last_steps"), given, problem, "1 is usual"))
    for index, part in enumerate(preset.rewards):
        if part.kind not in tuning_settings.DIFFERENTIABLE:
            problem = "has no slope that draft could follow"
            remedy = f"use {', '.join(tuning_settings.DIFFERENTIABLE)}, or diffusion_grpo, which needs none"
            found.append(Fault(("rewards", index, "kind"), part.kind, problem, remedy))
    return found
