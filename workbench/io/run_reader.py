"""What a run directory holds beside its events, read when somebody looks."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from engine.contract.events import Samples
from engine.contract.rollouts import Completion, read_completion
from engine.contract.run_dir import RunDir, read_json
from engine.contract.strict_yaml import YamlError, load_yaml
from workbench.io.background import Background
from workbench.io.lab_reader import LabReader
from workbench.io.run_pictures import RunPictures
from workbench.state import gallery_plan
from workbench.state.gallery_plan import Settings

#: A hostile or damaged file must not fill the memory.
LONGEST_LINE = 4 * 1024 * 1024
LONGEST_PRESET = 1024 * 1024
FILES_LISTED = 500


@dataclass(frozen=True)
class RunFile:
    """A file or folder of the run: size in bytes, of all in it; changed: seconds since the epoch."""

    name: str
    size: int
    changed: float
    is_folder: bool


@dataclass(frozen=True)
class Frozen:
    """What was fixed at launch. parents: the runs or models it started from. planned: the pictures of a grid that it is
    to draw, by name; across: the setting that is its columns.
    """

    preset: str
    parents: list[str]
    planned: dict[str, Settings] = field(default_factory=dict)
    across: str = ""


class RunReader(QObject):
    """Answers questions about one run off the thread that draws; of several alike, the last one counts."""

    answers = Signal(object)
    files = Signal(object)
    frozen = Signal(object)

    def __init__(self, run: RunDir, background: Background) -> None:
        super().__init__()
        self.run = run
        self.pictures = RunPictures(run, background)
        self.lab = LabReader(run, background)
        self._background = background
        self._wanted: Sequence[Samples] | None = None
        self._is_reading = False
        self._is_closed = False

    def close(self) -> None:
        self._is_closed = True
        self.pictures.close()
        self.lab.close()

    def read_answers(self, samples: Sequence[Samples]) -> None:
        """Emit `answers` with the completions of these events, in their order."""
        self._wanted = list(samples)
        self._read_next()

    def read_files(self) -> None:
        self._ask(lambda: list_files(self.run.path), self.files.emit)

    def read_frozen(self) -> None:
        self._ask(lambda: read_frozen(self.run), self.frozen.emit)

    def _read_next(self) -> None:
        if self._wanted is None or self._is_reading:
            return
        wanted, self._wanted = self._wanted, None
        self._is_reading = True
        self._ask(lambda: read_completions(self.run.rollouts, wanted), self._answered)

    def _answered(self, completions: list[Completion]) -> None:
        self._is_reading = False
        if self._wanted is None:
            self.answers.emit(completions)
        self._read_next()

    def _ask(self, job: Callable[[], object], done: Callable[..., None]) -> None:
        self._background.submit(job, lambda found: None if self._is_closed else done(found))


def read_completions(path: Path, wanted: Sequence[Samples], at_most: int = 512) -> list[Completion]:
    """The completions of `wanted`, in that order, `at_most` in all; lines that cannot be read are left out."""
    found: list[Completion] = []
    try:
        with path.open("rb") as file:
            for event in wanted:
                file.seek(max(event.offset, 0))
                for _ in range(min(event.count, at_most - len(found))):
                    completion = read_completion(file.readline(LONGEST_LINE))
                    if completion is not None:
                        found.append(completion)
    except OSError:
        return found
    return found


def list_files(folder: Path) -> list[RunFile]:
    """What lies directly in the run directory, by name; folders with the size of all in them."""
    try:
        entries = sorted(folder.iterdir())[:FILES_LISTED]
    except OSError:
        return []
    return [_about(entry) for entry in entries if not entry.name.startswith(".")]


def _about(entry: Path) -> RunFile:
    sizes = list(_sizes(entry))
    try:
        changed = entry.stat().st_mtime
    except OSError:
        changed = 0.0
    return RunFile(entry.name, sum(sizes), changed, entry.is_dir())


def _sizes(entry: Path) -> Iterator[int]:
    for path in [entry, *entry.rglob("*")] if entry.is_dir() else [entry]:
        try:
            if path.is_file():
                yield path.stat().st_size
        except OSError:  # gone since it was listed, as old checkpoints go
            continue


def read_frozen(run: RunDir) -> Frozen:
    """The preset as it ran, and where its model came from."""
    try:
        with run.preset.open("rb") as file:
            text = file.read(LONGEST_PRESET).decode("utf-8", "replace")
    except OSError:
        return Frozen("", [])
    preset = _loaded(text)
    parents = _parents(preset) or _noted_parents(run)
    return Frozen(text, parents, gallery_plan.planned(preset), gallery_plan.columns(preset))


def _loaded(preset: str) -> dict[str, Any]:
    try:
        data, _ = load_yaml(preset)
    except YamlError:
        return {}
    return data if isinstance(data, dict) else {}


def _parents(preset: dict[str, Any]) -> list[str]:
    model = preset.get("model")
    path = model.get("path") if isinstance(model, dict) else None
    return [path.removeprefix("run:")] if isinstance(path, str) and path.startswith("run:") else []


def _noted_parents(run: RunDir) -> list[str]:
    noted = read_json(run.environment).get("parents")
    return [RunDir(Path(str(parent))).name for parent in noted] if isinstance(noted, list) else []
