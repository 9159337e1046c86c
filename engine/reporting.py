"""What the engine tells its watchers: event lines, completions, a heartbeat. Only the first process writes."""

import errno
import os
import time
from collections.abc import Sequence
from contextlib import suppress

from engine.contract import events
from engine.contract.jsonl import append_line, end_torn_line
from engine.contract.rollouts import Completion
from engine.contract.run_dir import RunDir


class Reporter:
    """Appends to a run's files. A full disk does not stop training: lines wait in memory until there is room again."""

    #: Lines kept while the disk is full; older ones are dropped, and a notice says how many.
    WAITING_AT_MOST = 10_000

    def __init__(self, run: RunDir, *, is_writer: bool = True) -> None:
        self._run = run
        self._is_writer = is_writer
        self._waiting: list[str] = []
        self._dropped = 0
        self._beat_at = 0.0

    def event(self, event: events.Event) -> None:
        """Put one event on the record."""
        if not self._is_writer:
            return
        self._waiting.append(events.event_line(event))
        try:
            if len(self._waiting) > 1:
                end_torn_line(self._run.events)  # the disk may have taken part of the line it refused
            while self._waiting:
                append_line(self._run.events, self._waiting[0])
                self._waiting.pop(0)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, None):
                raise
            if len(self._waiting) > self.WAITING_AT_MOST:
                self._waiting.pop(0)
                self._dropped += 1
        if self._dropped and not self._waiting:
            dropped, self._dropped = self._dropped, 0
            self.notice("warning", f"{dropped} events were lost while the disk was full", "free some space")

    def phase(self, what: str, progress: float | None = None) -> None:
        """What keeps the engine busy outside the steps; also a sign of life."""
        self.event(events.Phase(time=time.time(), what=what, progress=progress))
        self.beat(force=True)

    def notice(self, level: str, what: str, advice: str = "") -> None:
        """Something a person should know. level: info, warning or error."""
        self.event(events.Notice.model_validate({"time": time.time(), "level": level, "what": what, "advice": advice}))

    def completions(self, step: int, completions: Sequence[Completion]) -> None:
        """Keep what the model wrote, and tell where it is."""
        if not self._is_writer or not completions:
            return
        lines = "\n".join(completion.model_dump_json() for completion in completions)
        try:
            end_torn_line(self._run.rollouts)  # as above
            offset = self._run.rollouts.stat().st_size if self._run.rollouts.exists() else 0
            append_line(self._run.rollouts, lines)
        except OSError:
            self.notice("warning", f"the answers of step {step} could not be kept", "free some disk space")
            return
        self.event(events.Samples(step=step, time=time.time(), offset=offset, count=len(completions)))

    def beat(self, *, force: bool = False) -> None:
        """Show the supervisor that the loop still turns; it costs a system call twice a second."""
        now = time.monotonic()
        if not self._is_writer or (not force and now - self._beat_at < 0.5):
            return
        self._beat_at = now
        with suppress(OSError):  # no room for a heartbeat is no reason to die
            self._run.heartbeat.touch()
            os.utime(self._run.heartbeat)
