"""A preset: one YAML file that is one repeatable run. Strict, and every fault is told at once.

Each method has a class that lists its sections; the section named like the method holds what is its own.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from engine.contract import faults, settings
from engine.contract.faults import Fault, PresetError
from engine.contract.metrics import describe
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
    rollout: settings.Rollout = settings.Rollout()
    rewards: list[settings.Reward] = setting(help="what an answer is worth: a weighted sum of parts", min_length=1)
    grpo: settings.Grpo = settings.Grpo()


Preset = SftPreset | RewardModelPreset | DpoPreset | KtoPreset | OrpoPreset | SimpoPreset | CpoPreset | GrpoPreset

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
}

#: Losses of `dpo` that know of label_smoothing, and those that compare the pairs of a batch with each other.
SMOOTHED = ("sigmoid", "robust", "exo_pair", "aot", "aot_unpaired")
WHOLE_BATCH = ("aot", "aot_unpaired")


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
    found += _crossed_adapter(preset) + _crossed_data(preset.data)
    if training.batch_size % training.processes:
        given = f"{training.batch_size} rows over {training.processes} processes"
        found.append(Fault(("training", "batch_size"), given, "cannot be shared evenly", "use a multiple of processes"))
    if model.reference is not None and not _compares(preset):
        problem, remedy = "is compared with by nothing in this preset", "leave it empty"
        found.append(Fault(("model", "reference"), model.reference, problem, remedy))
    if isinstance(preset, GrpoPreset) and preset.rollout.completions_per_prompt < 2:
        remedy = "use 2 or more"
        found.append(Fault(("rollout", "completions_per_prompt"), "1", "leaves nothing to compare with", remedy))
    return [*found, *_crossed_early_stopping(preset), *_crossed_method(preset)]


def _crossed_method(preset: Preset) -> list[Fault]:
    """Faults of the section that is the method's own."""
    match preset:
        case RewardModelPreset():
            return _crossed_reward_model(preset)
        case DpoPreset():
            return _crossed_dpo(preset)
        case CpoPreset() if preset.cpo.label_smoothing and preset.cpo.loss != "sigmoid":
            key, given = ("cpo", "label_smoothing"), str(preset.cpo.label_smoothing)
            return [Fault(key, given, f"has no effect on {preset.cpo.loss}", "set it to 0, or choose sigmoid")]
        case KtoPreset() if preset.kto.loss == "kto" and preset.training.batch_size < 2:
            problem = "leaves kto no other answer to measure the KL divergence with"
            return [Fault(("training", "batch_size"), "1", problem, "use 2 or more, or kto.loss apo_zero_unpaired")]
    return []


def _crossed_early_stopping(preset: Preset) -> list[Fault]:
    """Faults of waiting for a measure that nobody takes, or of which nobody knows when it is better."""
    wish, found = preset.training.early_stopping, []
    if wish is None:
        return []
    if describe(wish.metric).direction == "none":
        problem = "is no measure with a better and a worse"
        found.append(Fault(("training", "early_stopping", "metric"), wish.metric, problem, "try eval_loss"))
    is_held_out = preset.data.eval is not None or preset.data.eval_share > 0
    if wish.metric.startswith("eval_") and not is_held_out:
        found.append(Fault(("data", "eval"), "null", "is missing, and early_stopping waits for it", "name a source"))
    if wish.metric.startswith("eval_") and not preset.training.eval_every:
        remedy = "set it to a tenth of training.steps or so"
        found.append(Fault(("training", "eval_every"), "0", "never measures what early_stopping waits for", remedy))
    return found


def _compares(preset: Preset) -> bool:
    """Whether the policy is compared with a reference."""
    return isinstance(preset, DpoPreset | KtoPreset) or (isinstance(preset, GrpoPreset) and preset.grpo.beta > 0)


def _crossed_adapter(preset: Preset) -> list[Fault]:
    """Settings of an adapter that its kind does not have; one that says no more than the default is let be."""
    adapter = preset.model.adapter
    if adapter is None:
        return []
    found = []
    for name, field in settings.Adapter.model_fields.items():
        about = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        wanted = str(about.get("needs") or f"kind={adapter.kind}").removeprefix("kind=").split("|")
        value = getattr(adapter, name)
        if adapter.kind not in wanted and value != field.default:
            problem, remedy = f"has no effect on {adapter.kind}", f"leave it out, or use one of {', '.join(wanted)}"
            found.append(Fault(("model", "adapter", name), faults.shown(value), problem, remedy))
    if adapter.kind == "prefix_tuning" and preset.training.gradient_checkpointing:
        key, problem = ("training", "gradient_checkpointing"), "would compute without the prefix"
        found.append(Fault(key, "true", problem, "set it to false, or use prompt_tuning or lora"))
    return found


def _crossed_data(data: settings.Data) -> list[Fault]:
    """Faults of sources that do not go together."""
    found = []
    if data.eval is not None and data.eval_share:
        remedy = "give one of them: a source of its own, or a share of the training prompts"
        found.append(Fault(("data", "eval_share"), str(data.eval_share), "stands beside data.eval", remedy))
    given = [source.weight is not None for source in data.train]
    if any(given) and not all(given):
        where = ("data", "train", given.index(False), "weight")
        found.append(Fault(where, "", "is missing, as other sources have one", "give every source a weight, or none"))
    return found


def _crossed_reward_model(preset: RewardModelPreset) -> list[Fault]:
    """Faults of an adapter that does not go with a head."""
    found = []
    adapter, freeze = preset.model.adapter, preset.reward_model.freeze
    if adapter is not None and freeze != "nothing":
        problem = "has no effect beside an adapter, which freezes all but itself and the head"
        found.append(Fault(("reward_model", "freeze"), freeze, problem, "set it to nothing"))
    if adapter is not None and not adapter.is_low_rank:
        problem = "leaves no way to learn the head that gives the score"
        found.append(Fault(("model", "adapter", "kind"), adapter.kind, problem, "use lora, dora or rslora"))
    return found


def _crossed_dpo(preset: DpoPreset) -> list[Fault]:
    """Faults of a loss that needs something of other settings."""
    found = []
    own, training = preset.dpo, preset.training
    smoothing, given = ("dpo", "label_smoothing"), str(own.label_smoothing)
    if own.losses and own.loss != "sigmoid":
        found.append(
            Fault(("dpo", "loss"), own.loss, "is not used beside dpo.losses", "name it there, or leave it out")
        )
    if own.label_smoothing and not set(own.kinds) & set(SMOOTHED):
        remedy = f"set it to 0, or choose one of {', '.join(SMOOTHED)}"
        found.append(Fault(smoothing, given, f"has no effect on {', '.join(own.kinds)}", remedy))
    if "exo_pair" in own.kinds and not own.label_smoothing:
        found.append(Fault(smoothing, given, "should be greater than 0 for exo_pair", "try 0.1"))
    if sorting := [kind for kind in own.kinds if kind in WHOLE_BATCH]:
        problem = f"{sorting[0]} sorts the pairs of a batch, so it needs them in one process and in memory at once"
        if training.processes > 1:
            found.append(Fault(("training", "processes"), str(training.processes), problem, "use 1"))
        size = training.micro_batch_size
        if size == "auto" or size < training.batch_size:
            remedy = f"set it to training.batch_size, {training.batch_size}"
            found.append(Fault(("training", "micro_batch_size"), str(size), problem, remedy))
    return found
