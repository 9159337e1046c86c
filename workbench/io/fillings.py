"""Which labelling sets of a workspace are being filled, and how far: found again whenever a window opens."""

import time
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal

from engine.contract import events, jsonl, status
from engine.contract.faults import PresetError
from engine.contract.labels import LabelDir
from engine.contract.labels_log import list_sets
from engine.contract.labels_recipe import Rollouts, load_recipe
from engine.contract.run_dir import RunDir
from workbench.io.background import Background
from workbench.state.filling import Filling, folded

POLL_MS = 1000
#: Looking takes at most one part in so many of the time, however many sets there are.
REST = 20

Stamp = tuple[int, int]


class Fillings(QObject):
    """Emits `changed` with every set that is not whole, and `grown` when a set has more items than before."""

    changed = Signal(object)
    grown = Signal()

    def __init__(self, folder: Path, background: Background) -> None:
        super().__init__()
        self.unfinished: list[Filling] = []
        self._folder = folder
        self._background = background
        self._known: dict[Path, tuple[Stamp, Filling]] = {}
        self._is_looking = False
        self._timer = QTimer(self, interval=POLL_MS)
        self._timer.timeout.connect(self.look)

    def start(self) -> None:
        self._timer.start()
        self.look()

    def stop(self) -> None:
        self._timer.stop()

    def look(self) -> None:
        """Look at the folder, unless that is going on."""
        if not self._is_looking:
            self._is_looking = True
            self._background.submit(self._scan, self._scanned, lambda _: self._failed())

    def of(self, name: str) -> Filling | None:
        """The filling of a set that is not whole."""
        return next((filling for filling in self.unfinished if filling.name == name), None)

    def _scan(self) -> tuple[list[Filling], float]:
        started = time.monotonic()
        found = []
        for label_dir in list_sets(self._folder):
            if (filling := self._read(label_dir)) is not None:
                found.append(filling)
        return found, time.monotonic() - started

    def _read(self, label_dir: LabelDir) -> Filling | None:
        """How the set stands; what has ended is read again only when its events change."""
        run = RunDir(label_dir.generation)
        try:
            about = run.events.stat()
        except OSError:
            return None
        stamp = about.st_size, about.st_mtime_ns
        known = self._known.get(label_dir.path)
        if known is None or known[0] != stamp or known[1].status.is_alive:
            known = self._known[label_dir.path] = stamp, read_filling(label_dir)
        return known[1]

    def _scanned(self, found: tuple[list[Filling], float]) -> None:
        fillings, seconds = found
        self._is_looking = False
        self._timer.setInterval(max(POLL_MS, round(1000 * seconds * REST)))
        unfinished = [filling for filling in fillings if not filling.is_done]
        if unfinished != self.unfinished:
            before = {filling.name: filling.items for filling in self.unfinished}
            has_grown = before != {filling.name: filling.items for filling in unfinished}
            self.unfinished = unfinished
            self.changed.emit(unfinished)
            if has_grown:
                self.grown.emit()

    def _failed(self) -> None:
        self._is_looking = False


def read_filling(label_dir: LabelDir) -> Filling:
    """How far the set is filled, from both ends of its engine's events."""
    run = RunDir(label_dir.generation)
    summary = status.summarise(run)
    items = int(summary.values.get("items", 0))
    source = _source(label_dir) if summary.status.is_alive else None
    filling = Filling(
        label_dir.path.name,
        summary.status,
        items=items,
        steps=summary.steps,
        source=source,
        source_status=status.summarise(RunDir(source)).status if source is not None else None,
    )
    return folded(filling, [events.read_event(line) for line in jsonl.last_lines(run.events)])


def _source(label_dir: LabelDir) -> Path | None:
    """The run that the set's recipe follows, if it follows one."""
    try:
        recipe = load_recipe(label_dir.generation / "recipe.yaml")
    except (PresetError, OSError):
        return None
    followed = [part.run for part in recipe.parts if isinstance(part, Rollouts) and part.follow]
    return Path(followed[0]) if followed else None
