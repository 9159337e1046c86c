"""What a preset will do, as far as its text alone says: no model is opened, no data is read."""

from dataclasses import dataclass
from typing import Any

from engine.contract import drawing_plan, settings
from engine.contract.image_presets import DiffusionSamplePreset, ImagePreset, SamplerProofPreset
from engine.contract.image_settings import ASSETS
from engine.contract.online_settings import Rollout
from engine.contract.preset import Preset, TextPreset, model_of, sources_of, training_of
from workbench.state.figures import count, many, number, size

#: Tokens of the byte tokenizer that models from scratch use: every byte, an end and a pad.
BYTE_VOCABULARY = 258


@dataclass(frozen=True)
class Plan:
    """Short phrases for one line."""

    model: str
    work: str
    data: str
    writes: str

    @property
    def parts(self) -> list[str]:
        return [part for part in (self.work, self.model, self.data, self.writes) if part]


def plan_of(preset: Preset) -> Plan:
    if isinstance(preset, ImagePreset):
        return _plan_of_images(preset)
    return Plan(_model(preset.model), _work(preset), _data(preset.data), _writes(preset.training))


def scratch_parameters(scratch: settings.Scratch) -> int:
    """Weights of the model that the engine builds: an MLP four times as wide as the hidden state.

    llama and qwen2 have three matrices in it and a head of their own; gpt2 shares it with the embedding.
    """
    width = scratch.width
    if scratch.family == "gpt2":
        block = 12 * width * width + 13 * width
        return (BYTE_VOCABULARY + scratch.context) * width + scratch.layers * block + 2 * width
    bias = 3 * width if scratch.family == "qwen2" else 0
    block = 16 * width * width + 2 * width + bias
    return 2 * BYTE_VOCABULARY * width + scratch.layers * block + width


def large(amount: int) -> str:
    """A count of weights as people say it: 620 k, 135 M, 1.54 B."""
    for unit, letter in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if amount >= unit:
            return f"{number(amount / unit)} {letter}"
    return count(amount)


def worded(plan: dict[str, Any]) -> str:
    """What the engine would do with a preset, in a sentence."""
    parts = [f"{count(plan['steps'])} steps of {count(plan['batch_size'])}" if "steps" in plan else ""]
    if plan.get("parameters"):
        parts.append(f"{count(plan['parameters'])} parameters")
    if plan.get("writes_bytes"):
        parts.append(f"writes up to {size(plan['writes_bytes'])}")
    return "The engine accepts this preset: " + ", ".join(part for part in parts if part) + "."


def _model(model: settings.Model) -> str:
    if model.path == "scratch" and model.scratch is not None:
        return f"{large(scratch_parameters(model.scratch))} parameters from scratch"
    how = model.adapter.described if model.adapter else "all weights"
    return f"{_last_part(model.path)}, {how}"


def _plan_of_images(preset: ImagePreset) -> Plan:
    """A method of images has those of the sections that it needs."""
    model, training = model_of(preset), training_of(preset)
    sources = sources_of(preset, "train")
    return Plan(
        "" if model is None else "from scratch" if model.path == "scratch" else _last_part(model.path),
        _work_of_images(preset)
        if training is None
        else f"{count(training.steps)} steps of {many(training.batch_size, 'image')}",
        f"{_last_part(sources[0].path)}{f' and {len(sources) - 1} more' if sources[1:] else ''}" if sources else "",
        "" if training is None else _writes(training),
    )


def _work_of_images(preset: ImagePreset) -> str:
    """What a method does that trains nothing."""
    match preset:
        case DiffusionSamplePreset(diffusion_sample=section):
            several = any(axis.vary in ("steps", "sampler") for axis in section.grid)
            how = "" if several else f", {count(section.steps)} steps of {section.sampler} each"
            return f"{many(drawing_plan.pictures(section), 'image')}{how}"
        case SamplerProofPreset(sampler_proof=section):
            return f"samplers of {count(section.steps)} steps on the {section.schedule} schedule"
    return ""


def _last_part(path: str) -> str:
    """Of a path or a hub id; what ships says so."""
    if path.startswith(ASSETS):
        return f"{path.removeprefix(ASSETS)}, which ships"
    return path.rstrip("/").rsplit("/", 1)[-1]


def _work(preset: TextPreset) -> str:
    training = preset.training
    rollout = getattr(preset, "rollout", None)
    if isinstance(rollout, Rollout):
        answers = rollout.completions_per_prompt
        each = f"{training.batch_size} prompts \N{MULTIPLICATION SIGN} {answers} answers"
        return f"{count(training.steps)} steps of {each}"
    return f"{count(training.steps)} steps of {count(training.batch_size)} rows"


def _data(data: settings.Data) -> str:
    first, *rest = data.train
    rows = f", {count(first.rows)} rows" if first.rows else ""
    more = f" and {len(rest)} more" if rest else ""
    return f"{first.path.rsplit('/', 1)[-1] if '/' in first.path else first.path}{rows}{more}"


def _writes(training: settings.Training) -> str:
    every = training.checkpoint_every
    when = "at the end" if not every or every >= training.steps else f"every {count(every)} steps"
    return f"saves {when}"
