"""Follows a recipe: writes items to a labelling set, one part after the other, each on the disk as soon as it is whole.

Started by the supervisor as `python -m engine.labelling.generate labels/<set>/generation`. Started again it goes on:
what the set has already is not made twice.
"""

import argparse
import signal
import sys
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from engine.contract import events
from engine.contract.commands import read_command
from engine.contract.jsonl import read_lines
from engine.contract.labels import LabelDir
from engine.contract.labels_log import append_whole, drop_torn_line, read_items
from engine.contract.labels_recipe import Completions, Drawn, Part, Preferences, Recipe, Rollouts, Written, load_recipe
from engine.contract.run_dir import RunDir, write_json
from engine.contract.status import own_identity
from engine.failures import explain
from engine.labelling.items import Batches
from engine.reporting import Reporter

FINISHED, FAILED, STOPPED = 0, 1, 3
PAUSE_POLL_SECONDS = 0.1


class StopNow(Exception):  # noqa: N818 - asked for, not an error
    """Somebody asked for a stop at once."""


class Requests:
    """What watchers ask: stop, pause and go on, obeyed between batches; stop_now within one."""

    def __init__(self, run: RunDir, reporter: Reporter, offset: int) -> None:
        self._run = run
        self._reporter = reporter
        self._offset = offset
        self._stop = False
        self._paused = False
        for name in ("SIGTERM", "SIGINT"):
            signal.signal(getattr(signal, name), self._on_signal)

    def breathe(self) -> None:
        """Once a token: a sign of life. Raises StopNow."""
        self._reporter.beat()
        self._read()

    def wants_stop(self) -> bool:
        """Between batches: waits while paused. Raises StopNow."""
        self._read()
        while self._paused and not self._stop:
            time.sleep(PAUSE_POLL_SECONDS)
            self.breathe()
        return self._stop

    def _read(self) -> None:
        chunk = read_lines(self._run.commands, self._offset)
        self._offset = chunk.offset
        for command in filter(None, map(read_command, chunk.lines)):
            self._stop = self._stop or command.ask in ("stop", "stop_now")
            self._paused = command.ask == "pause" or (self._paused and command.ask != "resume")
            done = events.CommandDone(step=0, time=time.time(), id=command.id, ask=command.ask, outcome="obeyed")
            self._reporter.event(done)
            if command.ask == "stop_now":
                raise StopNow

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stop = True


def main(arguments: list[str] | None = None) -> int:
    """Follow the recipe in GENERATION. Returns the exit code; what went wrong is told as an event."""
    parser = argparse.ArgumentParser(prog="python -m engine.labelling.generate", description=__doc__)
    parser.add_argument("generation", type=Path)
    parser.add_argument("--commands-from", type=int, default=0, help="bytes of commands.jsonl obeyed before")
    options = parser.parse_args(arguments)
    run = RunDir(options.generation)
    reporter = Reporter(run)
    try:
        write_json(run.process, own_identity())
        requests = Requests(run, reporter, options.commands_from)
        recipe = load_recipe(options.generation / "recipe.yaml")
        is_whole = follow(recipe, LabelDir(options.generation.parent), reporter, requests)
    except StopNow:
        is_whole = False
    except Exception as error:  # noqa: BLE001 - whatever it is, the watchers must hear how it ended
        traceback.print_exc()
        reporter.event(events.RunFinished(time=time.time(), reason="failed", message=explain(error)))
        return FAILED
    reporter.event(events.RunFinished(time=time.time(), reason="finished" if is_whole else "stopped"))
    return FINISHED if is_whole else STOPPED


def follow(recipe: Recipe, label_dir: LabelDir, reporter: Reporter, requests: Requests) -> bool:
    """Write all items that are missing. Returns whether the recipe was followed to its end. Raises StopNow."""
    drop_torn_line(label_dir.items)
    made = {item.id for item in read_items(label_dir)}
    if made:
        reporter.event(events.Resumed(time=time.time(), from_step=0))
    reporter.phase("reading what there is to compare")
    parts = [_opened(part, label_dir, made, reporter, requests) for part in recipe.parts]
    planned = sum(part.planned for part in parts)
    reporter.event(events.RunStarted(time=time.time(), method="items", steps=planned))
    before = tokens = 0
    for part in parts:
        for batch in part.batches:
            new = [item for item in batch.items if item.id not in made]
            made |= {item.id for item in new}
            if new:
                append_whole(label_dir.items, "\n".join(item.model_dump_json() for item in new))
            tokens += batch.tokens
            values = {"items": float(len(made)), "tokens": float(tokens)}
            reporter.event(events.Step(step=before + batch.done, time=time.time(), values=values))
            if requests.wants_stop():
                return False
        if requests.wants_stop():  # while it waited for a run to write more
            return False
        before += part.planned
    if not made:
        reporter.notice("warning", "no item came of it", "there was no prompt with two different answers")
    return True


class Opened(NamedTuple):
    """A part whose sources were found: how many batches there will be, and those still to make."""

    planned: int
    batches: Batches


def _opened(part: Part, label_dir: LabelDir, made: set[str], reporter: Reporter, requests: Requests) -> Opened:
    """Raises DataError, ModelError, ImageModelError."""
    # Imported here: reading a file of preferences needs no torch, which takes seconds.
    match part:
        case Written():
            from engine.labelling import writing

            return Opened(*writing.open_part(part, made, reporter, requests.breathe))
        case Drawn():
            from engine.labelling import drawing

            return Opened(*drawing.open_part(part, label_dir, made, reporter, requests.breathe))
        case Rollouts():
            from engine.labelling import from_run

            return Opened(*from_run.open_part(part, requests.wants_stop))
        case Completions() | Preferences():
            from engine.labelling import from_files

            return Opened(*from_files.open_part(part))


if __name__ == "__main__":
    sys.exit(main())
