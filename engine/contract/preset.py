"""A preset: one YAML file that is one repeatable run. Strict, and every fault is told at once.

Each method has a class that lists its sections; the section named like the method holds what is its own.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from engine.contract import crossed, faults, online_settings, settings
from engine.contract.faults import Fault, PresetError
from engine.contract.settings import STRICT, setting
from engine.contract.strict_yaml import YamlError, dump_yaml, load_yaml

NAME = setting(None, "what the run is called; letters, digits, - and _", pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
SEED = setting(0, "start of every random choice; the same seed gives the same run", ge=0, lt=2**32)


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


Preset = (
    SftPreset
    | RewardModelPreset
    | DpoPreset
    | KtoPreset
    | OrpoPreset
    | SimpoPreset
    | CpoPreset
    | GrpoPreset
    | PpoPreset
)

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
    crossed = list(_crossed(preset))
    return (None if crossed else preset), crossed


def load_preset(path: Path, overrides: list[str] | None = None) -> Preset:
    """The preset in the file, with `key.key=value` overrides on top.

    Raises PresetError, which lists every fault, for an unreadable file, bad YAML or bad settings.
    """
    draft = read_draft(preset_file_text(path), overrides)
    if draft.preset is None:
        raise PresetError(str(path), draft.faults)
    return draft.preset


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


def _crossed(preset: Preset) -> list[Fault]:
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


def _crossed_method(preset: Preset) -> list[Fault]:
    """Faults of the section that is the method's own."""
    match preset:
        case RewardModelPreset():
            return crossed.of_reward_model(preset.model.adapter, preset.reward_model)
        case GrpoPreset():
            return crossed.of_grpo(preset.grpo, preset.rollout)
        case DpoPreset():
            return crossed.of_dpo(preset.dpo, preset.training)
        case CpoPreset() if preset.cpo.label_smoothing and preset.cpo.loss != "sigmoid":
            key, given = ("cpo", "label_smoothing"), str(preset.cpo.label_smoothing)
            return [Fault(key, given, f"has no effect on {preset.cpo.loss}", "set it to 0, or choose sigmoid")]
        case KtoPreset() if preset.kto.loss == "kto" and preset.training.batch_size < 2:
            problem = "leaves kto no other answer to measure the KL divergence with"
            return [Fault(("training", "batch_size"), "1", problem, "use 2 or more, or kto.loss apo_zero_unpaired")]
        case PpoPreset():
            return crossed.of_ppo(preset.ppo, preset.training, preset.rollout, preset.model.adapter)
    return []


def _compares(preset: Preset) -> bool:
    """Whether the policy is compared with a reference."""
    match preset:
        case DpoPreset() | KtoPreset():
            return True
        case GrpoPreset():
            return preset.grpo.beta > 0
        case PpoPreset():
            return preset.ppo.beta > 0
    return False
