"""What watchers ask of a run, obeyed between steps; every request and what came of it goes on the record."""

import signal
import time
from types import FrameType

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from engine.contract import events
from engine.contract.commands import Command, read_command
from engine.contract.jsonl import read_lines
from engine.contract.run_dir import RunDir
from engine.loop import StopNow, Wish
from engine.reporting import Reporter

PAUSE_POLL_SECONDS = 0.1


class CommandFile:
    """The loop's Control: reads commands.jsonl on the first process, and tells the others."""

    def __init__(self, run: RunDir, reporter: Reporter, accelerator: Accelerator, *, offset: int) -> None:
        self._run = run
        self._reporter = reporter
        self._accelerator = accelerator
        self._offset = offset
        self._asked: list[Command] = []
        self._was_terminated = False
        self._looked_at = 0.0
        self._step = 0
        self._is_paused = False

    def stop_on_signals(self) -> None:
        """A polite end from outside (SIGTERM, Ctrl+C) is a request to stop after this step."""
        for name in ("SIGTERM", "SIGINT"):
            signal.signal(getattr(signal, name), self._on_signal)

    def breathe(self) -> None:
        self._reporter.beat()
        if time.monotonic() - self._looked_at < 0.05:
            return
        self._looked_at = time.monotonic()
        self._read()
        urgent = next((command for command in self._asked if command.ask == "stop_now"), None)
        # With several processes one alone may not leave: the others would wait for it for ever.
        if urgent is not None and self._accelerator.num_processes == 1:
            self._done(urgent, "stopped within a step")
            raise StopNow

    def after_step(self, step: int) -> Wish:
        self._step = step
        self._is_paused = False
        wish = self._obey(Wish())
        while self._is_paused and not wish.stop:
            self._reporter.beat()
            time.sleep(PAUSE_POLL_SECONDS)
            wish = self._obey(wish)
        return wish

    def _obey(self, wish: Wish) -> Wish:
        """`wish`, and what else was asked for meanwhile. Raises StopNow."""
        for command in self._shared():
            match command.ask:
                case "stop_now":
                    self._done(command, "stopped")
                    raise StopNow
                case "stop":
                    wish, outcome = wish._replace(stop=True), "stopped"
                case "save":
                    outcome = "will be saved when the run goes on" if self._is_paused else "saved"
                    wish = wish._replace(save=True)
                case "pause":
                    outcome = "not paused, as the run stops" if wish.stop else "paused"
                    self._is_paused = True
                case "resume":
                    outcome = "went on" if self._is_paused else "was not paused"
                    self._is_paused = False
            self._done(command, outcome)
        return wish

    def _shared(self) -> list[Command]:
        """What was asked since the last look, the same list on every process."""
        self._read()
        asked, self._asked = self._asked, []
        if self._was_terminated:
            asked.append(Command(ask="stop", id="signal"))
        if self._accelerator.num_processes > 1:
            asked = broadcast_object_list([asked])[0]
        return asked

    def _read(self) -> None:
        if not self._accelerator.is_main_process:
            return
        chunk = read_lines(self._run.commands, self._offset)
        self._offset = chunk.offset
        self._asked += [command for line in chunk.lines if (command := read_command(line))]

    def _done(self, command: Command, outcome: str) -> None:
        self._reporter.event(
            events.CommandDone(
                step=self._step, time=time.time(), id=command.id, ask=command.ask, outcome=outcome, why=command.why
            )
        )

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._was_terminated = True
