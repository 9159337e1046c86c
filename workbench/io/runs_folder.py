"""The runs of a workspace, looked at about once a second off the thread that draws."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal

from engine.contract import run_dir
from engine.contract.run_dir import RunDir
from engine.contract.status import Summary, summarise
from workbench.io.background import Background

INTERVAL_MS = 700
#: A scan may take this share of the time; a folder of many thousands, or on a slow disk, is looked at less often.
SHARE = 0.05

#: What tells that a run may stand differently: size and time of what its processes write.
Stamp = tuple[int, ...]


@dataclass
class Scan:
    """One look at the folder. `known` is what the next look compares with."""

    changed: list[Summary] = field(default_factory=list)
    gone: list[Path] = field(default_factory=list)
    known: dict[Path, tuple[Stamp, bool]] = field(default_factory=dict)
    seconds: float = 0.0


def scan(runs: Path, known: dict[Path, tuple[Stamp, bool]], *, alive_only: bool = False) -> Scan:
    """Summaries of the runs that are new, have changed, or were alive at the last look."""
    began = time.perf_counter()
    found = Scan()
    listed = [RunDir(path) for path, (_, alive) in known.items() if alive] if alive_only else run_dir.list_runs(runs)
    found.known = dict(known) if alive_only else {}
    for run in listed:
        stamp = _stamp(run)
        before = known.get(run.path)
        if before is None or before[1] or before[0] != stamp:
            summary = summarise(run)
            found.changed.append(summary)
            found.known[run.path] = (stamp, summary.status.is_alive)
        else:
            found.known[run.path] = before
    found.gone = [path for path in known if path not in found.known]
    found.seconds = time.perf_counter() - began
    return found


def _stamp(run: RunDir) -> Stamp:
    numbers: list[int] = []
    for path in (run.events, run.process, run.ended):
        try:
            about = path.stat()
        except OSError:
            numbers += [0, 0]
        else:
            numbers += [about.st_size, about.st_mtime_ns]
    return tuple(numbers)


class RunsFolder(QObject):
    """Emits `changed` with each look that found something, the first one always."""

    changed = Signal(object)

    def __init__(self, runs: Path, background: Background, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._runs = runs
        self._background = background
        self._clock = clock
        self._known: dict[Path, tuple[Stamp, bool]] = {}
        self._is_looking = False
        self._is_first = True
        self._next_full_look = 0.0
        self._timer = QTimer(self, interval=INTERVAL_MS)
        self._timer.timeout.connect(self.look)

    def start(self) -> None:
        self._timer.start()
        self.look()

    def stop(self) -> None:
        self._timer.stop()

    def look(self) -> None:
        """Look now, unless a look is under way."""
        if self._is_looking:
            return
        self._is_looking = True
        alive_only = self._clock() < self._next_full_look
        known = self._known
        self._background.submit(lambda: scan(self._runs, known, alive_only=alive_only), self._looked, self._could_not)

    def _looked(self, found: Scan) -> None:
        self._is_looking = False
        self._known = found.known
        if self._clock() >= self._next_full_look:
            self._next_full_look = self._clock() + min(found.seconds / SHARE, 30.0) - INTERVAL_MS / 1000
        if found.changed or found.gone or self._is_first:
            self._is_first = False
            self.changed.emit(found)

    def _could_not(self, error: Exception) -> None:
        self._is_looking = False
        if not isinstance(error, OSError):
            raise error
