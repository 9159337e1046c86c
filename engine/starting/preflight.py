"""What would go wrong with a run, found in a moment and before anything is written.

Without torch, transformers or datasets. Every fault names the key, the value given and the remedy.
"""

import importlib.util
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from engine import patterns
from engine.contract import online_settings, settings
from engine.contract.composed_presets import DistillPreset
from engine.contract.faults import Fault, Key, one_of
from engine.contract.labels_use import SCHEME
from engine.contract.preset import AnySource, Draft, PpoPreset, read_draft
from engine.contract.run_dir import RunDir, is_run_dir
from engine.data.formats import KINDS
from engine.data.tasks import SPLITS, TaskError, find_task
from engine.labelling.frozen import LabelsError, learned
from engine.starting import estimates, own_code
from engine.starting.resolution import Places, changed, resolve_file, resolve_model, resolve_named, resolve_source
from engine.starting.row_scan import Needs, RowError, scan_file

#: A run's events, log and answers need about this much, whatever the model.
LEAST_FREE = 64 * 1024 * 1024
TOKENIZER_FILES = (
    *(
        "tokenizer.json",
        "tokenizer_config.json",
        "tokenizer.model",
        "spiece.model",
        "sentencepiece.bpe.model",
    ),
    *("vocab.json", "vocab.txt", "tekken.json"),
)
GGUF_MAGIC = b"GGUF"

Section = TypeVar("Section", bound=BaseModel)


@dataclass(frozen=True)
class Counted:
    """A source and how many rows of it can be used, None where nobody counted; and which cannot, in words."""

    source: AnySource
    rows: int | None
    is_exact: bool = True
    left_out: str = ""


@dataclass(frozen=True)
class Survey:
    """The faults, what is known of the run, and where what it names is.

    parameters: of the model, None where finding out would take a download. writes: bytes, at least.
    sections: those that name models or data, with absolute paths.
    """

    faults: list[Fault] = field(default_factory=list)
    train: list[Counted] = field(default_factory=list)
    held_out: list[Counted] = field(default_factory=list)
    parameters: int | None = None
    writes: int = LEAST_FREE
    sections: dict[str, Any] = field(default_factory=dict)


def survey(draft: Draft, where: Places, target: Path) -> Survey:
    """Look at all that a preset names, also one with faulty settings, as far as those can be read."""
    faults: list[Fault] = []
    model = _survey_model(draft, where, faults)
    train = _survey_sources(draft, "train", where, faults)
    held_out = _survey_sources(draft, "eval", where, faults)
    data = section_of(draft.data.get("data"), settings.Data)
    if data is not None:
        data = changed(data, train=[c.source for c in train], eval=[c.source for c in held_out] or None)
    parameters = None if model is None else estimates.parameters(model)
    writes = _space_needed(draft, model)
    faults += [
        *_rewards_without_tasks(draft, train),
        *_too_many_processes(draft, model),
        *disk_faults(target, writes),
    ]
    sections = {"model": model, "data": data, **_survey_named(draft, where, faults)}
    return Survey(faults, train, held_out, parameters, writes, sections)


def section_of(values: Any, kind: type[Section]) -> Section | None:
    """A section of a preset, or None if it is faulty."""
    try:
        return kind.model_validate(values)
    except ValidationError:
        return None


# ----------------------------------------------------------------------------------------------------- the model


def _survey_model(draft: Draft, where: Places, faults: list[Fault]) -> settings.Model | None:
    model = section_of(draft.data.get("model"), settings.Model)
    if model is None:
        return None
    faults += device_faults(model)
    found = resolve_model(model, where)
    if isinstance(found, Fault):
        faults.append(found)
        return model
    faults += [Fault(("model", "path"), model.path, *told) for told in model_problems(Path(found.path))]
    if found.reference is not None:
        problems = model_problems(Path(found.reference))
        faults += [Fault(("model", "reference"), model.reference or "", *told) for told in problems]
    return found


def _survey_named(draft: Draft, where: Places, faults: list[Fault]) -> dict[str, Any]:
    """The models and files that a preset names beside its own: of rewards, a critic's beginning, a teacher."""
    names, preset = _Names(where, faults), draft.preset
    named: dict[str, Any] = {}
    if rewards := getattr(preset, "rewards", None):
        named["rewards"] = [names.reward(index, part) for index, part in enumerate(rewards)]
    if isinstance(preset, PpoPreset) and preset.ppo.critic_path is not None:
        path = names.model(preset.ppo.critic_path, ("ppo", "critic_path"), scores=False)
        named["ppo"] = changed(preset.ppo, critic_path=path)
    if isinstance(preset, DistillPreset):
        path = names.model(preset.distill.teacher, ("distill", "teacher"), scores=False)
        named["distill"] = changed(preset.distill, teacher=path)
    return named


@dataclass(frozen=True)
class _Names:
    """Finds what is named, and keeps what is wrong with it; what cannot be found stays as it was given."""

    where: Places
    faults: list[Fault]

    def model(self, given: str, key: Key, *, scores: bool) -> str:
        resolved = resolve_named(given, self.where, key)
        if isinstance(resolved, Fault):
            self.faults.append(resolved)
            return given
        problems = [*model_problems(Path(resolved)), *(_no_scores(Path(resolved)) if scores else [])]
        self.faults.extend(Fault(key, given, *told) for told in problems)
        return resolved

    def reward(self, index: int, part: online_settings.Reward) -> online_settings.Reward:
        key: Key = ("rewards", index)
        match part:
            case online_settings.LearnedReward():
                return changed(part, path=self.model(part.path, (*key, "path"), scores=True))
            case online_settings.Judged():
                text = self._file(part.constitution, (*key, "constitution"))
                return changed(part, path=self.model(part.path, (*key, "path"), scores=False), constitution=text)
            case online_settings.OwnFunction():
                return self._code(key, part)
            case online_settings.Pattern():
                found = patterns.problems(part.pattern)
                self.faults.extend(Fault((*key, "pattern"), part.pattern, *told) for told in found)
        return part

    def _code(self, key: Key, part: online_settings.OwnFunction) -> online_settings.OwnFunction:
        found = self._file(part.path, (*key, "path"))
        if not Path(found).is_file():
            return part
        told = own_code.problems(part, Path(found))
        self.faults.extend(Fault((*key, name), str(getattr(part, name)), what, remedy) for name, what, remedy in told)
        return changed(part, path=found)

    def _file(self, given: str, key: Key) -> str:
        resolved = resolve_file(given, self.where, key)
        if isinstance(resolved, Fault):
            self.faults.append(resolved)
            return given
        return resolved


def _no_scores(path: Path) -> Iterator[tuple[str, str]]:
    """Why a run cannot reward: it trained no reward model."""
    if path.is_absolute() and is_run_dir(path):
        trained = read_draft(RunDir(path).preset.read_text("utf-8", "replace")).data.get("method")
        if trained != "reward_model":
            yield f"is a run of {trained}, whose model gives no scores", "name a run of reward_model"


def model_problems(path: Path) -> Iterator[tuple[str, str]]:
    """What is wrong with a model on this machine, and what to do; nothing for the hub's and for scratch."""
    if not path.is_absolute():
        return
    if path.is_file():
        yield from _file_problems(path)
    elif is_run_dir(path):
        run = RunDir(path)
        if not run.final.is_dir() and not run.saved_steps():
            yield "is a run without a model", "let it save a checkpoint first, or name another run"
    elif not (path / "config.json").is_file() and not (path / "adapter_config.json").is_file():
        yield "is no model folder: it has no config.json", "name the folder that `save_pretrained` wrote"
    elif not any((path / name).is_file() for name in TOKENIZER_FILES):
        yield (
            "has no tokenizer",
            "copy tokenizer.json and tokenizer_config.json from the original model into it",
        )


def _file_problems(path: Path) -> Iterator[tuple[str, str]]:
    if path.suffix.lower() != ".gguf":
        yield (
            "is a file of no kind that can be loaded",
            "name a .gguf file or the folder that holds the model",
        )
        return
    with path.open("rb") as file:
        if file.read(len(GGUF_MAGIC)) != GGUF_MAGIC:
            yield "is not a GGUF file, whatever its name says", "download it again"


def device_faults(model: settings.Model) -> Iterator[Fault]:
    key, device = ("model", "device"), model.device
    if device.startswith("cuda"):
        present, wanted = estimates.nvidia_devices(), int(device.partition(":")[2] or 0)
        if present == 0:
            yield Fault(key, device, "there is no NVIDIA device on this machine", "use auto or cpu")
        elif wanted >= present:
            yield Fault(key, device, f"this machine has {present} NVIDIA devices, from cuda:0 on", "use cuda")
    if device == "mps" and not estimates.has_apple_gpu():
        yield Fault(key, device, "this machine is no Mac with an Apple GPU", "use auto or cpu")
    key, bits = ("model", "quantization"), model.quantization
    if bits != "none" and not runs_on_gpu(device):
        yield Fault(key, bits, "needs an NVIDIA GPU, and this run has none", "use none, or model.device cuda")
    elif bits != "none" and importlib.util.find_spec("bitsandbytes") is None:
        remedy = 'pip install "plumbline-workbench[quantization]"'
        yield Fault(key, bits, "needs one more package", remedy)


def runs_on_gpu(device: str) -> bool:
    """Whether `model.device` means an NVIDIA GPU here."""
    return device.startswith("cuda") or (device == "auto" and estimates.nvidia_devices() > 0)


def _too_many_processes(draft: Draft, model: settings.Model | None) -> Iterator[Fault]:
    training = section_of(draft.data.get("training", {}), settings.Training)
    if model is None or training is None or not runs_on_gpu(model.device):
        return
    if training.processes > max(1, estimates.nvidia_devices()):
        problem = f"there are fewer GPUs on this machine ({estimates.nvidia_devices()})"
        remedy = "use at most that many, or model.device cpu"
        yield Fault(("training", "processes"), str(training.processes), problem, remedy)


# ------------------------------------------------------------------------------------------------------ the data


def _survey_sources(draft: Draft, which: str, where: Places, faults: list[Fault]) -> list[Counted]:
    """The sources under data.train or data.eval, resolved and counted; one by one, so a fault hides no other."""
    section = draft.data.get("data")
    given = section.get(which) if isinstance(section, dict) else None
    found = []
    for index, item in enumerate(given if isinstance(given, list) else [] if given is None else [given]):
        key: Key = ("data", which, index) if isinstance(given, list) else ("data", which)
        source = section_of({"path": item} if isinstance(item, str) else item, settings.Source)
        if source is not None:
            path_key = (*key, "path") if isinstance(item, dict) else key
            found.append(_survey_source(source, path_key, needs_of(draft, which), where, faults))
    return found


def needs_of(draft: Draft, which: str) -> Needs:
    """What rows of data.train or data.eval must have for this preset."""
    method = str(draft.data.get("method"))
    given = draft.data.get("rewards")
    items = given if isinstance(given, list) else []
    kinds = (online_settings.ExactMatch, online_settings.MathVerify)
    found = [part for item in items for kind in kinds if (part := section_of(item, kind)) is not None]
    return Needs(method, tuple(part.column for part in found if isinstance(part, kinds)))


def _survey_source(source: settings.Source, key: Key, needs: Needs, where: Places, faults: list[Fault]) -> Counted:
    found = resolve_source(source, where)
    if isinstance(found, Fault):
        faults.append(replace(found, key=key))
        return Counted(source, None)
    try:
        return _counted(found, needs, where)
    except (RowError, LabelsError) as fault:
        faults.append(Fault(key, source.path, fault.problem, fault.remedy))
        return Counted(found, None)


def _counted(source: settings.Source, needs: Needs, where: Places) -> Counted:
    """Raises RowError, LabelsError."""
    if source.path.startswith("task:"):
        check_task(source)
        if "pair" in KINDS.get(needs.method, ()) and source.path != "task:arithmetic":
            raise RowError("makes no pairs of answers", "use task:arithmetic, or a file with `chosen` and `rejected`")
        return Counted(source, source.rows)
    if source.path.startswith(SCHEME):
        found = learned(source, where.labels, needs.method)
        return Counted(source, len(found.rows), left_out=f"judgements: {told}" if (told := found.told()) else "")
    path = Path(source.path)
    if not path.is_absolute():
        return Counted(source, source.rows, is_exact=False)
    if path.is_dir():
        raise RowError("is a folder", "name a .jsonl, .json, .csv or .parquet file in it")
    scan = scan_file(source, needs)
    return Counted(source, scan.rows, scan.is_exact, scan.left_out)


def check_task(source: settings.Source) -> None:
    """Raises RowError if there is no such task or split, or its package is not installed, or its options are wrong."""
    if source.split not in SPLITS:
        raise RowError(f"has no split {source.split!r}", one_of(source.split, list(SPLITS)))
    name = source.path.removeprefix("task:")
    family, _, generator = name.partition("/")
    if family == "reasoning_gym":
        _check_generator(generator)
        if not source.options:
            return  # a known generator as it comes; importing the package to be sure would take a second
    elif name != "arithmetic":
        raise RowError("is no task", one_of(name, ["arithmetic", "reasoning_gym/<name>"]))
    try:
        find_task(source.path, source.options)
    except TaskError as error:
        raise RowError(str(error).removeprefix(f"{source.path}: "), "mend its options") from error


def _check_generator(name: str) -> None:
    package = importlib.util.find_spec("reasoning_gym")
    if package is None or package.origin is None:
        raise RowError("needs one more package", 'pip install "plumbline-workbench[reasoning]"')
    known = generators(Path(package.origin).parent)
    if known and name not in known:
        raise RowError("is no task of reasoning_gym", one_of(name, known))


def generators(package: Path) -> list[str]:
    """The tasks that reasoning_gym registers, read from its source: importing it takes a second."""
    found: set[str] = set()
    for file in package.rglob("*.py"):
        text = file.read_text("utf-8", "replace")
        if "register_dataset(" in text:
            found |= set(re.findall(r'^DATASET_NAME\s*=\s*"([^"]+)"', text, re.MULTILINE))
            found |= set(re.findall(r'^register_dataset\(\s*"([^"]+)"', text, re.MULTILINE))
    return sorted(found)


def _rewards_without_tasks(draft: Draft, train: list[Counted]) -> Iterator[Fault]:
    others = [counted.source.path for counted in train if not counted.source.path.startswith("task:")]
    given = draft.data.get("rewards")
    for index, item in enumerate(given if isinstance(given, list) else []):
        needs_package = isinstance(item, dict) and item.get("kind") == "math_verify"
        if needs_package and importlib.util.find_spec("math_verify") is None:
            remedy = 'pip install "plumbline-workbench[reasoning]"'
            yield Fault(("rewards", index, "kind"), "math_verify", "needs one more package", remedy)
        if others and isinstance(item, dict) and item.get("kind") == "verifier":
            problem = f"only tasks bring a verifier, and {Path(others[0]).name} is none"
            remedy = "use exact_match with the column of the right answer, or train on a task:"
            yield Fault(("rewards", index, "kind"), "verifier", problem, remedy)


# ------------------------------------------------------------------------------------------------------ the disk


def _space_needed(draft: Draft, model: settings.Model | None) -> int:
    training = section_of(draft.data.get("training", {}), settings.Training)
    if model is None or training is None:
        return LEAST_FREE
    return LEAST_FREE + (training.keep_checkpoints + 1) * estimates.checkpoint_bytes(model)


def disk_faults(target: Path, needed: int) -> Iterator[Fault]:
    here = next(folder for folder in (target, *target.parents) if folder.is_dir())
    free = shutil.disk_usage(here).free
    if free < needed:
        problem = (
            f"the disk has {estimates.megabytes(free)} free, and this run writes up to {estimates.megabytes(needed)}"
        )
        yield Fault((), str(target), problem, "free some space, lower training.keep_checkpoints, or use another disk")
