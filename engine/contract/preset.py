"""A preset: one YAML file that is one repeatable run. Strict, and every fault is told at once.

Each method has a class that lists its sections; the section named like the method holds what is its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from engine.contract import (
    crossed,
    crossed_images,
    faults,
    image_settings,
    online_settings,
    settings,
)
from engine.contract.composed_presets import BestOfNPreset, DistillPreset, OnlineDpoPreset
from engine.contract.faults import Fault, PresetError
from engine.contract.image_presets import IMAGE_PRESETS, ImagePreset
from engine.contract.settings import NAME, SEED, STRICT, setting
from engine.contract.strict_yaml import YamlError, dump_yaml, load_yaml


class SftPreset(BaseModel, **STRICT):
    method: Literal["sft"]
    name: str | None = NAME
    seed: int = SEED
    model: settings.Model
    data: settings.Data
    optimizer: settings.Optimizer = settings.Optimizer()
    training: settings.Training = settings.Training()
    sft: settings.Sft = settings.Sft()


class RewardModelPreset(BaseModel, **STRICT):
    method: Literal["reward_model"]
    name: str | None = NAME
    seed: int = SEED
    model: settings.Model
    data: settings.Data
    optimizer: settings.Optimizer = settings.Optimizer()
    training: settings.Training = settings.Training()
    reward_model: settings.RewardModel = settings.RewardModel()


class DpoPreset(BaseModel, **STRICT):
    method: Literal["dpo"]
    name: str | None = NAME
    seed: int = SEED
    model: settings.Model
    data: settings.Data
    optimizer: settings.Optimizer = settings.Optimizer()
    training: settings.Training = settings.Training()
    dpo: settings.Dpo = settings.Dpo()


class KtoPreset(BaseModel, **STRICT):
    method: Literal["kto"]
    name: str | None = NAME
    seed: int = SEED
    model: settings.Model
    data: settings.Data
    optimizer: settings.Optimizer = settings.Optimizer()
    training: settings.Training = settings.Training()
    kto: settings.Kto = settings.Kto()


class OrpoPreset(BaseModel, **STRICT):
    method: Literal["orpo"]
    name: str | None = NAME
    seed: int = SEED
    model: settings.Model
    data: settings.Data
    optimizer: settings.Optimizer = settings.Optimizer()
    training: settings.Training = settings.Training()
    orpo: settings.Orpo = settings.Orpo()


class SimpoPreset(BaseModel, **STRICT):
    method: Literal["simpo"]
    name: str | None = NAME
    seed: int = SEED
    model: settings.Model
    data: settings.Data
    optimizer: settings.Optimizer = settings.Optimizer()
    training: settings.Training = settings.Training()
    simpo: settings.Simpo = settings.Simpo()


class CpoPreset(BaseModel, **STRICT):
    method: Literal["cpo"]
    name: str | None = NAME
    seed: int = SEED
    model: settings.Model
    data: settings.Data
    optimizer: settings.Optimizer = settings.Optimizer()
    training: settings.Training = settings.Training()
    cpo: settings.Cpo = settings.Cpo()


class GrpoPreset(BaseModel, **STRICT):
    method: Literal["grpo"]
    name: str | None = NAME
    seed: int = SEED
    model: settings.Model
    data: settings.Data
    optimizer: settings.Optimizer = settings.Optimizer()
    training: settings.Training = settings.Training()
    rollout: online_settings.Rollout = online_settings.Rollout()
    rewards: list[online_settings.Reward] = setting(
        help="what an answer is worth: a weighted sum of parts", min_length=1
    )
    grpo: online_settings.Grpo = online_settings.Grpo()


class PpoPreset(BaseModel, **STRICT):
    method: Literal["ppo"]
    name: str | None = NAME
    seed: int = SEED
    model: settings.Model
    data: settings.Data
    optimizer: settings.Optimizer = settings.Optimizer()
    training: settings.Training = settings.Training()
    rollout: online_settings.Rollout = online_settings.Rollout()
    rewards: list[online_settings.Reward] = setting(
        help="what an answer is worth: a weighted sum of parts", min_length=1
    )
    ppo: online_settings.Ppo = online_settings.Ppo()


TextPreset = (
    SftPreset
    | RewardModelPreset
    | DpoPreset
    | KtoPreset
    | OrpoPreset
    | SimpoPreset
    | CpoPreset
    | GrpoPreset
    | PpoPreset
    | BestOfNPreset
    | OnlineDpoPreset
    | DistillPreset
)
Preset = TextPreset | ImagePreset
AnySource = settings.Source | image_settings.ImageSource

#: The class behind each value of `method:`.
PRESETS: dict[str, type[Preset]] = {
    "sft": SftPreset,
    "reward_model": RewardModelPreset,
    "dpo": DpoPreset,
    "kto": KtoPreset,
    "orpo": OrpoPreset,
    "simpo": SimpoPreset,
    "cpo": CpoPreset,
    "grpo": GrpoPreset,
    "ppo": PpoPreset,
    "best_of_n": BestOfNPreset,
    "online_dpo": OnlineDpoPreset,
    "distill": DistillPreset,
    **IMAGE_PRESETS,
}


@dataclass(frozen=True)
class Draft:
    """What a text says, as far as it can be read: the values for a form, the line of each key, all faults."""

    data: dict[str, Any]
    lines: dict[tuple[str | int, ...], int]
    faults: list[Fault]
    preset: Preset | None


def read_draft(text: str, overrides: list[str] | None = None) -> Draft:
    """Read a preset that may be wrong. Never raises: what is wrong stands in `faults`."""
    try:
        data, lines = load_yaml(text)
    except YamlError as fault:
        return Draft({}, {}, [Fault((), "", fault.problem, "mend the YAML there", fault.line)], None)
    if not isinstance(data, dict):
        told = Fault(
            (),
            faults.shown(data),
            "should be a mapping such as `method: sft`",
            "see presets/ for examples",
            1,
        )
        return Draft({}, lines, [told], None)
    found = [fault for override in overrides or [] for fault in _override(data, override)]
    preset, wrong = check(data)
    found += [fault.at(lines) for fault in wrong]
    return Draft(data, lines, found, None if found else preset)


def check(data: dict[str, Any]) -> tuple[Preset | None, list[Fault]]:
    """The preset that `data` describes, or None and every fault in it."""
    method = data.get("method")
    if not isinstance(method, str) or method not in PRESETS:
        problem = "is missing" if method is None else "is not a method"
        return None, [Fault(("method",), faults.shown(method), problem, faults.one_of(method, list(PRESETS)))]
    model = PRESETS[method]
    try:
        preset = model.model_validate(data)
    except ValidationError as error:
        return None, faults.from_validation(error, model, data)
    found = list(crossed_images.of_images(preset) if isinstance(preset, ImagePreset) else _crossed(preset))
    return (None if found else preset), found


def load_preset(path: Path, overrides: list[str] | None = None) -> Preset:
    """The preset in the file, with `key.key=value` overrides on top.

    Raises PresetError, which lists every fault, for an unreadable file, bad YAML or bad settings.
    """
    draft = read_draft(preset_file_text(path), overrides)
    if draft.preset is None:
        raise PresetError(str(path), draft.faults)
    return draft.preset


def load_text_preset(path: Path) -> TextPreset:
    """As load_preset, where only a preset of a language model will do. Raises PresetError for one of images."""
    preset = load_preset(path)
    if isinstance(preset, ImagePreset):
        fault = Fault(("method",), preset.method, "is of images, and this is about text", "name a run of text")
        raise PresetError(str(path), [fault])
    return preset


def preset_file_text(path: Path) -> str:
    """The text of a preset file. Raises PresetError if it cannot be read as UTF-8."""
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        fault = Fault((), "", f"is not UTF-8 text (byte {error.start})", "save it as UTF-8")
        raise PresetError(str(path), [fault]) from error
    except OSError as error:
        fault = Fault((), "", f"cannot be read: {error.strerror}", "check the path")
        raise PresetError(str(path), [fault]) from error


def preset_text(preset: Preset) -> str:
    """The preset as YAML with every default written out; `read_draft` gives the same preset back."""
    return dump_yaml(preset.model_dump(mode="json"))


def model_of(preset: Preset) -> settings.Model | image_settings.AnyImageModel | None:
    """The section `model`; None for a method of images that begins with none."""
    return getattr(preset, "model", None)


def data_of(preset: Preset) -> settings.Data | image_settings.ImageData | None:
    """The section `data`; None for a method that reads none."""
    return getattr(preset, "data", None)


def sources_of(preset: Preset, which: Literal["train", "eval"]) -> Sequence[AnySource]:
    """What it learns from, or what is held out; empty for a method without data."""
    data = data_of(preset)
    if data is None:
        return []
    return data.train if which == "train" else data.eval or []


def training_of(preset: Preset) -> settings.Training | None:
    """The section `training`; None for a method of images that trains nothing."""
    return getattr(preset, "training", None)


def processes_of(preset: Preset) -> int:
    """How many processes share its work."""
    training = training_of(preset)
    return 1 if training is None else training.processes


def _override(data: dict[str, Any], override: str) -> list[Fault]:
    """Put `key.key=value` into `data`; the value is read as YAML."""
    key, equals, text = override.partition("=")
    path = tuple(key.strip().split("."))
    if not equals or not all(path):
        return [Fault((), override, "is not an override", "write --set key.key=value")]
    try:
        value, _ = load_yaml(text)
    except YamlError as fault:
        return [Fault(path, text, fault.problem, "quote the value as YAML asks")]
    section: Any = data
    for part in path[:-1]:
        if not isinstance(section.get(part), dict):
            section[part] = {}
        section = section[part]
    section[path[-1]] = value
    return []


def _crossed(preset: TextPreset) -> list[Fault]:
    """Faults that take two settings to see."""
    found = []
    model, training = preset.model, preset.training
    if model.path == "scratch" and model.scratch is None:
        found.append(Fault(("model", "scratch"), "null", "is missing", "say what to build, or give model.path a model"))
    if model.scratch and model.scratch.width % (2 * model.scratch.heads):
        given = f"{model.scratch.width} / {model.scratch.heads}"
        found.append(Fault(("model", "scratch", "heads"), given, "must divide the width into even parts", "try 4"))
    if model.quantization != "none" and model.adapter is None:
        remedy = "add model.adapter, or set quantization to none"
        found.append(Fault(("model", "quantization"), model.quantization, "cannot train all weights", remedy))
    found += crossed.of_adapter(model, training) + crossed.of_data(preset.data)
    if training.batch_size % training.processes:
        given = f"{training.batch_size} rows over {training.processes} processes"
        found.append(Fault(("training", "batch_size"), given, "cannot be shared evenly", "use a multiple of processes"))
    if model.reference is not None and not _compares(preset):
        problem, remedy = "is compared with by nothing in this preset", "leave it empty"
        found.append(Fault(("model", "reference"), model.reference, problem, remedy))
    return [*found, *crossed.of_early_stopping(training, preset.data), *_crossed_method(preset)]


def _crossed_method(preset: TextPreset) -> list[Fault]:
    """Faults of the section that is the method's own."""
    match preset:
        case RewardModelPreset():
            return crossed.of_reward_model(preset.model.adapter, preset.reward_model)
        case GrpoPreset():
            found = crossed.of_grpo(preset.grpo, preset.rollout)
            found += crossed.of_grpos_updates(preset.grpo, preset.training.batch_size)
            return crossed.of_rewards(preset.rewards) + found
        case DpoPreset():
            return crossed.of_dpo(preset.dpo, preset.training)
        case CpoPreset() if preset.cpo.label_smoothing and preset.cpo.loss != "sigmoid":
            key, given = ("cpo", "label_smoothing"), str(preset.cpo.label_smoothing)
            return [Fault(key, given, f"has no effect on {preset.cpo.loss}", "set it to 0, or choose sigmoid")]
        case KtoPreset() if preset.kto.loss == "kto" and preset.training.batch_size < 2:
            problem = "leaves kto no other answer to measure the KL divergence with"
            return [Fault(("training", "batch_size"), "1", problem, "use 2 or more, or kto.loss apo_zero_unpaired")]
        case PpoPreset():
            own = crossed.of_ppo(preset.ppo, preset.training, preset.rollout, preset.model.adapter)
            return crossed.of_rewards(preset.rewards) + own
        case BestOfNPreset():
            return crossed.of_rewards(preset.rewards) + crossed.of_best_of_n(preset.best_of_n, preset.rollout)
        case OnlineDpoPreset():
            return crossed.of_rewards(preset.rewards) + crossed.of_online_dpo(preset.online_dpo, preset.rollout)
    return []


def _compares(preset: TextPreset) -> bool:
    """Whether the policy is compared with a reference."""
    match preset:
        case DpoPreset() | KtoPreset() | OnlineDpoPreset():
            return True
        case GrpoPreset():
            return preset.grpo.beta > 0
        case PpoPreset():
            return preset.ppo.beta > 0
    return False
