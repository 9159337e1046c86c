"""What a window asks of labelling sets beside judging: make one, import, export. Nothing here waits.

Of several looks of one kind the last one counts, as a person goes on typing while the engine reads files.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from PySide6.QtCore import QObject, Signal

from engine.contract import commands
from engine.contract.commands import Ask
from engine.contract.labels import LabelDir
from engine.contract.labels_formats import Export, Import
from engine.contract.labels_log import list_sets
from engine.contract.run_dir import RunDir, list_runs
from engine.contract.status import is_alive
from engine.contract.strict_yaml import YamlError, load_yaml
from workbench.io import label_engine
from workbench.io.background import Background
from workbench.io.engine_process import Failed, Refused, Started
from workbench.io.label_engine import Order
from workbench.io.workspace import Workspace
from workbench.state.new_set import Start, answers_of_run, answers_to_a_prompt, free_name, run_against_base

Desk = Literal["items", "import", "export"]
#: Runs whose models are offered, newest first.
RUNS_OFFERED = 40


NO_MODEL = "{} has saved no model yet, so there is nothing to compare. Press Save now on its page, then try again."


class NoModelError(RuntimeError):
    """A run was to be judged that has saved nothing."""


@dataclass(frozen=True)
class Model:
    """Something that can answer prompts. path: as a recipe names it."""

    title: str
    path: str


class LabelDesk(QObject):
    """looked: desk and plan. refused: desk and faults. failed: desk and a sentence. made: a set that is being filled
    or was imported. exported: the folder. offered: models at hand. suggested: a Start for a form; ready: one to be made
    at once. busy: what is being waited for, "" when nothing is."""

    looked = Signal(str, object)
    refused = Signal(str, object)
    failed = Signal(str, str)
    made = Signal(object)
    exported = Signal(object)
    offered = Signal(object)
    suggested = Signal(object)
    ready = Signal(object)
    busy = Signal(str)

    def __init__(self, workspace: Workspace, background: Background) -> None:
        super().__init__()
        self._workspace = workspace
        self._background = background
        self._asked: dict[Desk, int] = {}

    # ------------------------------------------------------------------------------------------------ making items

    def look_at_items(self, order: Order) -> None:
        home = self._workspace.path
        self._look("items", lambda: label_engine.look_at_items(order, home))

    def make(self, order: Order) -> None:
        """Start filling a set; `made` says when it is there to sit down with."""
        home = self._workspace.path
        self._do("items", "starting to write items", lambda: label_engine.start_items(order, home))

    def go_on(self, label_dir: LabelDir) -> None:
        """Start writing again what a set still lacks."""
        home = self._workspace.path
        self._do("items", "going on with the items", lambda: label_engine.go_on_with_items(label_dir, home))

    def ask(self, run: Path, ask: Ask) -> None:
        """Write a request beside a run, or beside what fills a set."""
        file = RunDir(run).commands
        self._background.submit(lambda: commands.send(file, ask), lambda _: None, lambda e: self._failed("items", e))

    def suggest(self, run: Path, *, compare: bool) -> None:
        """Work out a form for judging a run's answers, or for comparing its model with the one it began from."""
        self._background.submit(
            lambda: self._start_from(RunDir(run), compare=compare),
            self.suggested.emit,
            lambda e: self._failed("items", e),
        )

    def rejudge(self, run: Path) -> None:
        """Emit `ready` with a new set that compares a run with the model it began from; `suggested` where nobody can
        tell what that was."""
        labels = self._workspace.labels

        def work_out() -> Start:
            start = self._start_from(RunDir(run), compare=True)
            if not start.why and not (RunDir(run).final.is_dir() or RunDir(run).saved_steps()):
                raise NoModelError(NO_MODEL.format(RunDir(run).name))
            return replace(start, name=free_name(start.name, [found.path.name for found in list_sets(labels)]))

        def offer(start: Start) -> None:
            (self.suggested if start.why else self.ready).emit(start)

        self._background.submit(work_out, offer, lambda e: self._failed("items", e))

    def list_models(self) -> None:
        """Emit `offered` with the models of the workspace's runs."""
        home = self._workspace
        self._background.submit(lambda: models_of(home), self.offered.emit, lambda e: self._failed("items", e))

    # ------------------------------------------------------------------------------------------- import and export

    def look_at_import(self, wish: Import) -> None:
        home = self._workspace.path
        self._look("import", lambda: label_engine.look_at_import(wish, home))

    def run_import(self, wish: Import) -> None:
        home = self._workspace.path
        self._do("import", "importing judgements", lambda: label_engine.run_import(wish, home))

    def look_at_export(self, label_dir: LabelDir, wish: Export) -> None:
        home = self._workspace.path
        self._look("export", lambda: label_engine.look_at_export(label_dir, wish, home))

    def run_export(self, label_dir: LabelDir, wish: Export) -> None:
        home = self._workspace.path
        self._do("export", "writing the export", lambda: label_engine.run_export(label_dir, wish, home))

    # ------------------------------------------------------------------------------------------------------ within

    def _start_from(self, run: RunDir, *, compare: bool) -> Start:
        preset = _preset_of(run)
        has_written = run.rollouts.is_file() and run.rollouts.stat().st_size > 0
        has_several = has_written and answers_to_a_prompt(preset) > 1
        if compare:
            start = run_against_base(run.path, run.name, preset)
        else:
            start = answers_of_run(run.path, run.name, preset, has_several=has_several, is_alive=is_alive(run))
        return replace(start, parts=self._workspace.as_written(start.parts))

    def _look(self, desk: Desk, job: Callable[[], Any]) -> None:
        number = self._asked[desk] = self._asked.get(desk, 0) + 1

        def answered(answer: Any) -> None:
            if self._asked[desk] == number:
                self._answered(desk, answer)

        self._background.submit(job, answered, lambda error: self._failed(desk, error))

    def _do(self, desk: Desk, what: str, job: Callable[[], Any]) -> None:
        self._asked[desk] = self._asked.get(desk, 0) + 1  # a look that is under way has nothing to say any more
        self.busy.emit(what)

        def answered(answer: Any) -> None:
            self.busy.emit("")
            self._answered(desk, answer)

        self._background.submit(job, answered, lambda error: self._failed(desk, error))

    def _answered(self, desk: Desk, answer: Any) -> None:
        match answer:
            case Refused(faults=faults):
                self.refused.emit(desk, faults)
            case Failed(message=message):
                self.failed.emit(desk, message)
            case Started(run=generation):
                self.made.emit(LabelDir(generation.parent))
            case str(name):
                self.made.emit(LabelDir(self._workspace.labels / name))
            case Path():
                self.exported.emit(answer)
            case plan:
                self.looked.emit(desk, plan)

    def _failed(self, desk: Desk, error: Exception) -> None:
        self.busy.emit("")
        self.failed.emit(desk, str(error))


def models_of(workspace: Workspace) -> list[Model]:
    """The newest model of each run, its earlier checkpoints, and what the runs began from."""
    found: list[Model] = []
    bases: dict[str, Model] = {}
    for run in list_runs(workspace.runs)[:RUNS_OFFERED]:
        steps = run.saved_steps()
        if steps or run.final.is_dir():
            found.append(Model(run.name, str(run.path)))
        # Of a run without final/, its newest checkpoint is its newest model.
        earlier = steps if run.final.is_dir() else steps[:-1]
        found += [Model(f"{run.name}, step {step}", str(_model_in(run.checkpoint(step)))) for step in reversed(earlier)]
        base = str((_preset_of(run).get("model") or {}).get("path") or "")
        if base not in ("", "scratch"):
            bases.setdefault(base, Model(f"{Path(base).name}, which {run.name} began from", base))
    return [replace(model, path=workspace.as_written(model.path)) for model in (*found, *bases.values())]


def _model_in(checkpoint: Path) -> Path:
    return checkpoint / "model" if (checkpoint / "model").is_dir() else checkpoint


def _preset_of(run: RunDir) -> dict[str, Any]:
    """The frozen preset as it is written; empty if it cannot be read."""
    try:
        data, _ = load_yaml(run.preset.read_text("utf-8", "replace"))
    except (OSError, YamlError):
        return {}
    return data if isinstance(data, dict) else {}
