"""The second half of `check`: a process of the engine looks at the data and tries a step, and is watched meanwhile."""

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from engine.command_line.following import POLL_SECONDS, Display, Progress
from engine.contract import events, jsonl
from engine.contract.faults import Fault
from engine.contract.findings import Report
from engine.contract.run_dir import RunDir
from engine.starting import launch
from engine.starting.launch import Prepared

GONE = "the engine ended without a word"


class Outcome(NamedTuple):
    """report: None where the engine did not get that far. faults: why the run would fail or learn nothing."""

    report: Report | None
    faults: list[Fault]


def examine(prepared: Prepared, display: Display) -> Outcome:
    """Wait for the engine's report on a preset that passed the quick checks; nothing it writes is kept.

    Raises LaunchError where its judgements cannot be copied.
    """
    with tempfile.TemporaryDirectory(prefix="plumbline-check-") as folder:
        run = launch.create(replace(prepared, at=Path(folder) / "run"))
        with run.log.open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 - our own module, by this very interpreter
                [sys.executable, "-m", "engine.rehearsal", str(run.path)],
                env=launch.environment(prepared.preset),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
            try:
                return _watched(process, run, display)
            finally:
                process.kill()
                process.wait()


def _watched(process: "subprocess.Popen[bytes]", run: RunDir, display: Display) -> Outcome:
    progress, report, message = Progress(), None, ""
    for event in _events_of(process, run):
        progress.apply(event)
        match event:
            case events.Preflight():
                report = event.report
            case events.RunFinished():
                message = event.message
            case events.Phase():  # and no notices: they are of the data, and the report tells it better
                display.show(event, progress)
    code = process.wait()
    return Outcome(report, list(_faults(report, message or _last_words(code))))


def _faults(report: Report | None, message: str) -> Iterator[Fault]:
    """An error of the report names its setting; any other message is told as it is."""
    if report is not None and report.errors:
        yield from (
            Fault(tuple(one.key.split(".")) if one.key else (), "", one.what, one.advice) for one in report.errors
        )
    elif message:
        # Messages have what to do on a line of its own, or after a semicolon.
        problem, _, remedy = message.partition("\n") if "\n" in message else message.partition("; ")
        yield Fault((), "", problem, remedy or "see the message")


def _events_of(process: "subprocess.Popen[bytes]", run: RunDir) -> Iterator[events.Event | events.Unreadable]:
    offset = 0
    while True:
        # Asked before reading: what a process wrote that is gone by now is all there.
        is_gone = process.poll() is not None
        chunk = jsonl.read_lines(run.events, offset)
        offset = chunk.offset
        yield from map(events.read_event, chunk.lines)
        if is_gone and not chunk.lines:
            return
        if not chunk.lines:
            time.sleep(POLL_SECONDS)


def _last_words(code: int) -> str:
    """What to say of an engine that could not speak for itself; empty if all went well."""
    if code == 0:
        return ""
    if code == -signal.SIGKILL:
        return "the check was killed, most likely for want of memory\nset training.micro_batch_size lower"
    return f"{GONE} (exit code {code})\nrun `python -m engine check --quick` to see whether the preset is whole"
