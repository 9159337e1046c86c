"""Follows a run's events until its engine is gone, and passes on what a person asks of it meanwhile."""

import signal
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Protocol

from engine.contract import commands, events, jsonl
from engine.contract.run_dir import RunDir
from engine.contract.status import Status, is_alive, judge

POLL_SECONDS = 0.1
#: Steps over which the rate is taken: long enough to be steady, short enough to follow a change.
RATE_WINDOW = 20


@dataclass
class Progress:
    """Where the followed run stands. recent: times of the last steps; curve: the headline metric of every step."""

    method: str = ""
    steps: int = 0
    step: int = 0
    phase: str = ""
    values: dict[str, float] = field(default_factory=dict)
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=RATE_WINDOW))
    finished: events.RunFinished | None = None

    def apply(self, event: events.Event | events.Unreadable) -> None:
        """Fold one event."""
        match event:
            case events.RunStarted():
                self.method, self.steps = event.method, event.steps
            case events.Resumed():
                self.step = event.from_step
            case events.Phase():
                self.phase = event.what
            case events.Step():
                self.step, self.values, self.phase = event.step, event.values, ""
                self.recent.append(event.time)
            case events.RunFinished():
                self.finished = event

    @property
    def seconds_per_step(self) -> float | None:
        """Over the last steps; None before there are two."""
        if len(self.recent) < 2:
            return None
        return max(0.0, self.recent[-1] - self.recent[0]) / (len(self.recent) - 1)

    @property
    def seconds_left(self) -> float | None:
        pace = self.seconds_per_step
        return None if pace is None else pace * max(0, self.steps - self.step)


class Display(Protocol):
    """Shows a run to a person."""

    def show(self, event: events.Event | events.Unreadable, progress: Progress) -> None:
        """One more event, which `progress` already counts."""
        ...

    def say(self, text: str) -> None:
        """A line of our own."""
        ...


class Requests:
    """While entered: Ctrl+C asks for a stop with a checkpoint, and once more for a stop at once; SIGTERM for a stop.

    The run is in a session of its own, so neither reaches it by itself, and closing the terminal leaves it going.
    """

    def __init__(self, run: RunDir, display: Display) -> None:
        self._run = run
        self._display = display
        self._interrupts = 0
        self._sent = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Requests":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def pass_on(self) -> None:
        """Send what was asked since the last call."""
        if self._interrupts > self._sent:
            self._sent += 1
            first = self._sent == 1
            if self._sent <= 2:
                commands.send(self._run.commands, "stop" if first else "stop_now")
                hint = "; press Ctrl+C again to stop at once" if first else ""
                self._display.say(f"asked to {commands.MEANING['stop' if first else 'stop_now']}{hint}")

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        # A second SIGTERM says no more than the first; a second Ctrl+C does.
        self._interrupts += 1 if number == signal.SIGINT or self._interrupts == 0 else 0


def follow(run: RunDir, offset: int, display: Display) -> tuple[Progress, Status]:
    """Show the run's events from byte `offset` on until its engine is gone. Returns where and how it ended."""
    progress = Progress()
    with Requests(run, display) as requests:
        for event in _events_until_gone(run, offset, requests):
            progress.apply(event)
            display.show(event, progress)
    status = judge(run, finished=progress.finished, has_steps=bool(progress.step), pause=None)
    return progress, status


def _events_until_gone(run: RunDir, offset: int, requests: Requests) -> Iterator[events.Event | events.Unreadable]:
    while True:
        # Asked before reading: what an engine wrote that is gone by now is all there.
        alive = is_alive(run)
        chunk = jsonl.read_lines(run.events, offset)
        offset = chunk.offset
        for line in chunk.lines:
            yield events.read_event(line)
        if not alive and not chunk.lines:
            return
        requests.pass_on()
        if not chunk.lines:
            time.sleep(POLL_SECONDS)


def size_of(file: Path) -> int:
    """Where a reader begins that wants only what comes from now on."""
    try:
        return file.stat().st_size
    except OSError:
        return 0
