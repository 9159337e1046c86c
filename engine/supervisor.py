"""Starts one engine, holds the run's lock, and records how the engine ended.

    python -S -m engine.supervisor RUN_DIR [-- COMMAND…]

Standard library only, so that it is up in 50 ms and little can take it down. Window and supervisor may both die:
the engine writes to files and does not notice. COMMAND gets `RUN_DIR --commands-from OFFSET` appended.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from engine import processes
from engine.contract import jsonl, locks
from engine.contract.run_dir import RunDir, write_json

#: The exit code (EX_TEMPFAIL) of a supervisor that found the run in other hands and touched nothing.
IN_USE = 75
#: What a supervisor says on its standard output once its engine has begun.
STARTED = b"started\n"
POLL_SECONDS = 0.1
#: Longer than any honest step or download without a sign of life.
HANG_SECONDS = 30 * 60.0
#: How long the engine may take to obey `stop_now`, and then a SIGTERM, before the next means.
GRACE_SECONDS = 10.0


@dataclass
class Watch:
    """What the supervisor knows of its engine. Times are of its monotonic clock, which no clock change moves."""

    run: RunDir
    engine: subprocess.Popen[bytes]
    commands_offset: int
    hang_seconds: float
    grace_seconds: float
    heartbeat: int = 0
    alive_at: float = field(default_factory=time.monotonic)
    stop_requests: int = 0
    told_to_stop: bool = False
    hung: bool = False
    requested: bool = False
    ask_at: float | None = None
    kill_at: float | None = None
    killed: bool = False


def main(arguments: list[str]) -> int:
    """0 when an engine's end is recorded, 1 if none could be started, 75 if the run is in use, 2 on bad arguments."""
    if not arguments or not Path(arguments[0]).is_dir():
        sys.stderr.write("engine.supervisor: give it a run directory\n")
        return 2
    run = RunDir(Path(arguments[0]).resolve())
    command = arguments[2:] if arguments[1:2] == ["--"] else [sys.executable, "-m", "engine.run"]
    lock = locks.hold(run.lock)
    if lock is None:
        sys.stderr.write(f"engine.supervisor: {run.path} is in use\n")
        return IN_USE
    with lock:
        processes.outlive_terminal()
        processes.become_subreaper()
        # What a run writes is for its owner and, if the owner's own mask allows it, the group.
        os.umask(os.umask(0o077) | 0o007)
        starter = os.dup(1)
        with run.log.open("ab") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        return _supervise(run, command, starter)


def _supervise(run: RunDir, command: list[str], starter: int) -> int:
    tidy(run)
    offset = run.commands.stat().st_size if run.commands.exists() else 0
    kills_before = processes.out_of_memory_kills()
    try:
        engine = _start(run, [*command, str(run.path), "--commands-from", str(offset)])
    except OSError as error:
        sys.stderr.write(f"The engine could not be started: {error}\n")
        write_json(run.ended, _ended(exit_code=127))
        return 1
    _report_to(starter)
    watch = Watch(
        run,
        engine,
        offset,
        hang_seconds=seconds_from_environment("PLUMBLINE_HANG_SECONDS", HANG_SECONDS),
        grace_seconds=seconds_from_environment("PLUMBLINE_GRACE_SECONDS", GRACE_SECONDS),
    )
    _obey_signals(watch)
    while engine.poll() is None:
        _look(watch, time.monotonic())
        time.sleep(POLL_SECONDS)
    processes.kill_group(engine.pid)
    processes.end_children()
    code = engine.returncode
    killed_by_another = code == -signal.SIGKILL and not watch.killed if os.name == "posix" else False
    out_of_memory = killed_by_another and processes.out_of_memory_kills() > kills_before
    record = _ended(code, out_of_memory=out_of_memory, hung=watch.hung, requested=watch.requested)
    with contextlib.suppress(OSError):
        write_json(run.ended, record)
    return 0


def _report_to(starter: int) -> None:
    """Tell whoever started us that the run is ours and its engine has begun; then nobody needs to listen any more."""
    with contextlib.suppress(OSError):
        os.write(starter, STARTED)
    os.close(starter)


def tidy(run: RunDir) -> None:
    """Put away what an earlier life left: its end, its identity, and lines that it could not finish."""
    run.ended.unlink(missing_ok=True)
    run.process.unlink(missing_ok=True)
    for file in (run.events, run.commands, run.rollouts):
        jsonl.end_torn_line(file)


def _start(run: RunDir, command: list[str]) -> subprocess.Popen[bytes]:
    with run.log.open("ab") as log:
        engine = subprocess.Popen(  # noqa: S603 - the command comes from launch.py or the person who typed it
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **processes.leading_a_group()
        )
    processes.prefer_to_be_ended(engine.pid)
    return engine


def _obey_signals(watch: Watch) -> None:
    """The first SIGTERM asks for a stop with a checkpoint; a second one does not wait for it."""

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        watch.stop_requests += 1

    signal.signal(signal.SIGTERM, on_signal)


def _look(watch: Watch, now: float) -> None:
    _hear_signals(watch, now)
    _hear_commands(watch, now)
    _feel_pulse(watch, now)
    if watch.ask_at is not None and now >= watch.ask_at:
        processes.ask_group_to_end(watch.engine.pid)
        watch.ask_at, watch.kill_at = None, now + watch.grace_seconds
    if watch.kill_at is not None and now >= watch.kill_at:
        watch.kill_at, watch.killed = None, True
        processes.kill_group(watch.engine.pid)


def _hear_signals(watch: Watch, now: float) -> None:
    if watch.stop_requests and not watch.told_to_stop:
        # A line and not a signal: it reaches an engine of many processes, and it is on the record.
        watch.told_to_stop = True
        request = {"ask": "stop", "id": uuid.uuid4().hex, "time": time.time()}
        with contextlib.suppress(OSError):
            jsonl.append_line(watch.run.commands, json.dumps(request))
    if watch.stop_requests > 1 and not watch.requested:
        watch.requested, watch.ask_at = True, now


def _hear_commands(watch: Watch, now: float) -> None:
    chunk = jsonl.read_lines(watch.run.commands, watch.commands_offset)
    watch.commands_offset = chunk.offset
    if any(_asks(line) == "stop_now" for line in chunk.lines) and not watch.requested:
        watch.requested, watch.ask_at = True, now + watch.grace_seconds


def _asks(line: bytes) -> Any:
    try:
        command = json.loads(line)
    except ValueError:
        return None
    return command.get("ask") if isinstance(command, dict) else None


def _feel_pulse(watch: Watch, now: float) -> None:
    try:
        heartbeat = watch.run.heartbeat.stat().st_mtime_ns
    except OSError:
        heartbeat = 0
    if heartbeat != watch.heartbeat:
        watch.heartbeat, watch.alive_at = heartbeat, now
    if not watch.hung and now - watch.alive_at > watch.hang_seconds:
        watch.hung, watch.ask_at = True, now


def _ended(exit_code: int, **more: bool) -> dict[str, Any]:
    killed_by = -exit_code if exit_code < 0 else None
    return {
        "exit_code": exit_code if killed_by is None else None,
        "signal": killed_by,
        "out_of_memory": False,
        "hung": False,
        "requested": False,
        **more,
        "time": time.time(),
    }


def seconds_from_environment(variable: str, default: float) -> float:
    """The number in the variable, if there is one. Tests use it to be quick."""
    try:
        return float(os.environ[variable])
    except (KeyError, ValueError):
        return default


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
