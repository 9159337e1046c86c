"""The events of the run on show, read as they are written."""

import time
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal

from engine.contract import events, jsonl
from engine.contract.run_dir import RunDir
from engine.contract.status import Status
from workbench.io.background import Background
from workbench.state.run import RunChanges, RunState

TICK_MS = 30
#: Between two ticks of a long catch-up, so that the window answers and paints.
CATCHING_UP_MS = 1
#: Longest work of a tick, with one chunk's slack: a window that is busy longer feels stuck.
WORK_SECONDS = 0.012
CHUNK = 32 * 1024
#: How often a run is judged whose events stand still: a killed engine must show within two seconds.
JUDGE_SECONDS = 0.5
#: A longer file is first shown from a sample of its lines, as reading all of it takes seconds.
SKETCH_FROM = 2 * 1024 * 1024
SKETCH_LINES = 500


def sketch(path: Path) -> RunState:
    """The run from its head, its tail and evenly spread lines between: the shape of the curves at once."""
    state = RunState()
    head = jsonl.read_lines(path, 0, at_most=CHUNK)
    lines = list(head.lines)
    size = path.stat().st_size
    tail = jsonl.last_lines(path)
    with path.open("rb") as file:
        for position in range(head.offset, size - CHUNK, max(size // SKETCH_LINES, 1)):
            file.seek(position)
            file.readline(jsonl.READ_AT_MOST)
            lines.append(file.readline(jsonl.READ_AT_MOST))
    told = [events.read_event(line) for line in [*lines, *tail]]
    # The tail overlaps the last samples, and a line cut short is no fault of the run's.
    latest = 0
    kept: list[events.Event | events.Unreadable] = []
    for event in told:
        if isinstance(event, events.Unreadable) or (isinstance(event, events.Step) and event.step <= latest):
            continue
        latest = event.step if isinstance(event, events.Step) else latest
        kept.append(event)
    state.apply(kept)
    return state


class RunFeed(QObject):
    """Follows one run directory: `updated` once a tick with what changed, `judged` when the run stands differently.

    `state` is a sketch of a long file until the whole of it was read; then `caught_up` is emitted, once.
    """

    updated = Signal(object)
    judged = Signal(object)
    caught_up = Signal()

    def __init__(self, run: RunDir, background: Background) -> None:
        super().__init__()
        self.run = run
        self.state = RunState()
        self.status: Status | None = None
        self.heartbeat = 0.0  # when the engine last said that it is well; seconds since the epoch
        self.has_caught_up = False
        self._reading = self.state
        self._background = background
        self._offset = 0
        self._inode = 0
        self._size = 0
        self._size_read = -1
        self._judged_at = 0.0
        self._is_judging = False
        self._is_closed = False
        self._timer = QTimer(self, interval=TICK_MS)
        self._timer.timeout.connect(self.tick)

    @property
    def fraction_read(self) -> float:
        return self._offset / self._size if self._size else 1.0

    def start(self) -> None:
        self._timer.start(CATCHING_UP_MS)
        if self._file_size() > SKETCH_FROM:
            path = self.run.events
            self._background.submit(lambda: sketch(path), self._sketched, lambda _: None)

    def close(self) -> None:
        self._is_closed = True
        self._timer.stop()

    def wake(self) -> None:
        """Something was written, or the run lives again: look at the file from now on."""
        if not self._is_closed and not self._timer.isActive():
            self._timer.start(TICK_MS)

    def tick(self) -> None:
        """Read what came, fold it, tell."""
        self._reopen_if_replaced()
        changes, at_end = self._read()
        if self.state is self._reading and changes:
            self.updated.emit(changes)
        if at_end:
            self._catch_up()
        self._timer.setInterval(TICK_MS if at_end else CATCHING_UP_MS)
        now = time.monotonic()
        if self.has_caught_up and (changes.facts or now - self._judged_at > JUDGE_SECONDS):
            self._judge(now)

    def _read(self) -> tuple[RunChanges, bool]:
        """Whole lines for about `WORK_SECONDS`; says whether the end of the file was reached."""
        changes = RunChanges()
        if self._size == self._size_read:
            return changes, True  # at most a line that its writer has not ended yet
        deadline = time.perf_counter() + WORK_SECONDS
        while True:
            chunk = jsonl.read_lines(self.run.events, self._offset, at_most=CHUNK)
            is_stuck = chunk.offset == self._offset
            self._offset = chunk.offset
            new = self._reading.apply([events.read_event(line) for line in chunk.lines])
            _merge(changes, new)
            if chunk.at_end or is_stuck:
                self._size_read = self._size
                return changes, True
            if time.perf_counter() > deadline:
                return changes, False

    def _catch_up(self) -> None:
        if self.has_caught_up:
            return
        self.has_caught_up = True
        if self.state is not self._reading:
            self.state = self._reading
            self.updated.emit(RunChanges(set(self.state.series), facts=True, samples=True, rewound=True))
        self.caught_up.emit()

    def _sketched(self, state: RunState) -> None:
        if self.has_caught_up or self._is_closed:
            return
        self.state = state
        self.updated.emit(RunChanges(set(state.series), facts=True, samples=True, rewound=True))

    def _reopen_if_replaced(self) -> None:
        try:
            about = self.run.events.stat()
        except OSError:
            self._size = self._size_read = self._offset
            return
        if about.st_size < self._offset or (self._inode and about.st_ino != self._inode):
            self._offset, self._size_read = 0, -1
            self._reading = self.state = RunState()
            self.has_caught_up = False
            self.updated.emit(RunChanges(facts=True, samples=True, rewound=True))
        self._inode, self._size = about.st_ino, about.st_size

    def _file_size(self) -> int:
        try:
            return self.run.events.stat().st_size
        except OSError:
            return 0

    def _judge(self, now: float) -> None:
        if self._is_judging:
            return
        self._is_judging = True
        self._judged_at = now
        state, run = self.state, self.run
        self._background.submit(lambda: _judged(state, run), self._was_judged, lambda _: self._could_not_judge())

    def _was_judged(self, found: tuple[Status, float]) -> None:
        self._is_judging = False
        if self._is_closed:
            return
        status, self.heartbeat = found
        if status != self.status:
            self.status = status
            self.judged.emit(status)
        if not status.is_alive and self._size_read == self._file_size():
            self._timer.stop()  # the runs folder wakes it when the run changes again

    def _could_not_judge(self) -> None:
        self._is_judging = False


def _judged(state: RunState, run: RunDir) -> tuple[Status, float]:
    try:
        heartbeat = run.heartbeat.stat().st_mtime
    except OSError:
        heartbeat = 0.0
    return state.status(run), heartbeat


def _merge(changes: RunChanges, new: RunChanges) -> None:
    changes.metrics |= new.metrics
    changes.facts |= new.facts
    changes.samples |= new.samples
    changes.rewound |= new.rewound
