"""GRPO on images: draw several of a prompt, make the steps likelier that led to those that beat their group.

Sampling by DDIM with chance in it (eta above 0) is a policy: each step draws from a Gaussian that the network decides.
So there are probabilities to raise and to lower, and the divergence from the reference is exact, step by step.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from engine.contract.tuning_presets import DiffusionGrpoPreset
from engine.data.batching import mix
from engine.diffusion.bench import ImageBench, parts_of
from engine.diffusion.drift import DriftWatch
from engine.diffusion.gaussian_steps import log_prob, path_kl
from engine.diffusion.judging import Studio, cut
from engine.diffusion.paths import Actions, Paths, actions_of, draw_paths, joined, law_of
from engine.diffusion.tuned import Prompt, TunedModel
from engine.diffusion.tuning_losses import StepLoss, step_policy_loss
from engine.loop import Method, Update
from engine.tally import Mean, Peak, Values

#: How far what the sampler and the trainer make of the same actions may be apart before anything was learned.
REPLAY_LIMIT = 1e-3
#: Curves that tell of steps of sampling one by one, at most; beyond, neighbours share one.
MOST_CURVES = 10
#: Actions in memory at once where micro_batch_size is auto.
ACTIONS_AT_ONCE = 128


class ReplayError(ValueError):
    """The policy that learns is not the one that sampled, in words for a person."""


class GrpoBatch(NamedTuple):
    """N actions of an update. prompts: of the image each led to. advantages: (N,), of that image.

    weight: what an action counts in its update. is_first: nothing was learned yet from what was drawn with these.
    """

    actions: Actions
    prompts: list[Prompt]
    advantages: Tensor
    weight: float
    is_first: bool


def diffusion_grpo(preset: DiffusionGrpoPreset, bench: ImageBench[TunedModel]) -> Method:
    """DDPO (Black et al. 2023, arXiv:2305.13301) with the groups and the pull of Flow-GRPO (arXiv:2505.05470).

    Where we depart: the pull is on the exact KL of each step, and the ratio is the true one unless log_prob is mean.
    Raises ImageModelError, ImageRewardError.
    """
    own, how, policy = preset.diffusion_grpo, preset.rollout, bench.model
    if own.average:
        policy.keep_old(saves_old=True)
    studio = Studio(preset, bench)
    watch = DriftWatch(preset, bench, studio.reward, studio.prompts)
    checked: list[int] = []

    def batches(step: int) -> Iterator[Update]:
        paths, prompts = _drawn(studio, step)
        judged = studio.judged(paths.images, prompts, scale=own.scale_advantages)
        advantages = judged.advantages.clamp(-own.advantage_limit, own.advantage_limit)
        actions = actions_of(paths, policy.schedule, how.steps)
        values = judged.values
        for number, places in enumerate(_updates(preset, len(actions.place), step)):
            weight = 1 / (len(places) * bench.accelerator.num_processes)
            parts = [
                _batch(actions, prompts, advantages, part, weight=weight, is_first=number == 0)
                for part in parts_of(places, _at_once(preset, policy))
            ]
            if not checked:  # once in a life of the run, before it learns anything
                _refuse_another_policy(preset, bench, parts[0])
                checked.append(step)
            yield Update(parts, 0, values)
            values = {}

    def loss(batch: GrpoBatch) -> tuple[Tensor, Values]:
        law = law_of(policy.predict(bench.network, batch.prompts, how.guidance), batch.actions, how.eta)
        reference = law_of(policy.predict_as_reference(batch.prompts, how.guidance), batch.actions, how.eta)
        kl = path_kl(law.mean, reference.mean, law.std)
        result = step_policy_loss(
            log_prob(law, batch.actions.x_next),
            batch.actions.old_logps,
            batch.advantages,
            kl,
            torch.full_like(batch.advantages, batch.weight),
            numbers=_numbers(batch),
            reduce=own.log_prob,
            clip=own.trusted,
            kl_weight=own.kl_weight,
        )
        return result.share, told(batch, result, kl.detach(), how.steps - 1)

    def measure(step: int) -> dict[str, float]:
        if own.average:
            policy.age(own.average)
        return watch.measure(step)

    return Method(batches, loss, measure, memory=watch.memory, recall=watch.recall)


def _drawn(studio: Studio, step: int) -> tuple[Paths, list[Prompt]]:
    """This process's images of a step, with all that led to them."""
    policy, how = studio.bench.model, studio.preset.rollout
    found, prompts = [], list[Prompt]()
    for asked in studio.asked(step):
        predict = policy.predict(policy.network, asked.prompts, how.guidance)
        with studio.bench.accelerator.autocast():
            found.append(
                draw_paths(predict, policy.schedule, asked.noise, asked.generators, steps=how.steps, eta=how.eta)
            )
        prompts += asked.prompts
    return joined(found), prompts


def _batch(
    actions: Actions,
    prompts: Sequence[Prompt],
    advantages: Tensor,
    places: Sequence[int],
    *,
    weight: float,
    is_first: bool,
) -> GrpoBatch:
    chosen = actions.at(torch.tensor(places, device=advantages.device))
    return GrpoBatch(
        chosen, [prompts[image] for image in chosen.image.tolist()], advantages[chosen.image], weight, is_first
    )


def _at_once(preset: DiffusionGrpoPreset, policy: TunedModel) -> int:
    size = preset.training.micro_batch_size
    return policy.at_once(ACTIONS_AT_ONCE) if size == "auto" else size


def _numbers(batch: GrpoBatch) -> int:
    """Of how many numbers an image is."""
    return batch.actions.x[0].numel()


@torch.no_grad()
def _refuse_another_policy(preset: DiffusionGrpoPreset, bench: ImageBench[TunedModel], batch: GrpoBatch) -> None:
    """Raises ReplayError where the trainer does not see what the sampler did, in what the ratio is clipped as."""
    how = preset.rollout
    with bench.accelerator.autocast():
        law = law_of(bench.model.predict(bench.network, batch.prompts, how.guidance), batch.actions, how.eta)
        gap = float((log_prob(law, batch.actions.x_next) - batch.actions.old_logps).abs().max())
    gap /= _numbers(batch) if preset.diffusion_grpo.log_prob == "mean" else 1
    if not gap <= REPLAY_LIMIT:  # also where it is no number
        raise ReplayError(
            f"replaying the first steps of sampling gave log-probabilities that are {gap:.3g} nats away from those they"
            f" were drawn with, and more than {REPLAY_LIMIT:g} would teach the model noise\nset model.dtype to float32,"
            " or, for images of many numbers, diffusion_grpo.log_prob to mean"
        )


def _updates(preset: DiffusionGrpoPreset, count: int, step: int) -> Iterator[list[int]]:
    """Which actions each update learns from; each pass takes all of them, in an order of its own."""
    for epoch in range(preset.diffusion_grpo.epochs):
        yield from cut(count, preset.diffusion_grpo.updates, seed=mix(preset.seed, step, epoch))


def told(batch: GrpoBatch, result: StepLoss, kl: Tensor, actions_of_a_path: int) -> Values:
    """What a micro-batch says: of all its actions, and by the step of sampling they were."""
    count, gap = len(kl), result.log_ratio.abs()
    values: Values = {
        # Of whole paths: the mean of a step's actions, times how many of them lead to an image.
        "path_kl": Mean(kl.sum() * actions_of_a_path, count),
        "clip_ratio/region_mean": Mean(result.is_clipped.sum(), count),
        "log_ratio/mean": Mean(gap.sum(), count),
    }
    if batch.is_first:
        values["log_ratio/replay"] = Peak(gap.max())
    curves = min(MOST_CURVES, actions_of_a_path)
    curve = batch.actions.place * curves // actions_of_a_path
    for number in curve.unique().tolist():
        mine = curve == number
        name, weight = f"of_step_{number + 1:02d}", float(mine.sum())
        values[f"path_kl/{name}"] = Mean(kl[mine].sum(), weight)
        values[f"clip_ratio/{name}"] = Mean(result.is_clipped[mine].sum(), weight)
        values[f"log_ratio/{name}"] = Mean(gap[mine].sum(), weight)
    return values
