"""Supervisors for tests: started like the real ones, each with a fake engine and short deadlines."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from engine.contract.run_dir import RunDir, create_at
from engine.supervisor import STARTED

ROOT = Path(__file__).parents[2]
FAKE = Path(__file__).with_name("fake_engine.py")
PATIENCE = 10.0


def new_run(folder: Path) -> RunDir:
    run = create_at(folder / "run", "method: sft\n")
    assert run is not None
    return run


def command(run: RunDir, behaviour: str) -> list[str]:
    engine = [sys.executable, "-S", str(FAKE), behaviour]
    return [sys.executable, "-S", "-m", "engine.supervisor", str(run.path), "--", *engine]


def environment(**seconds: float) -> dict[str, str]:
    """hang, grace: the deadlines of the supervisor, in seconds."""
    deadlines = {f"PLUMBLINE_{name.upper()}_SECONDS": str(value) for name, value in seconds.items()}
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1", **deadlines}


def supervise(run: RunDir, behaviour: str, **seconds: float) -> dict[str, Any]:
    """A whole life, and what the supervisor recorded of its end."""
    done = subprocess.run(
        command(run, behaviour), env=environment(**seconds), timeout=30, capture_output=True, check=True
    )
    assert (done.stdout, done.stderr) == (STARTED, b"")  # what the engine prints belongs in engine.log
    return ended(run)


@contextmanager
def supervisor(run: RunDir, behaviour: str, **seconds: float) -> Iterator["subprocess.Popen[bytes]"]:
    """A supervisor whose engine has begun. Both are ended if the test did not."""
    process = subprocess.Popen(command(run, behaviour), env=environment(**seconds))
    try:
        wait_until(lambda: has_begun(run))
        yield process
    finally:
        process.kill()
        process.wait()
        with suppress(psutil.Error):  # gone, or a zombie that nobody reaps
            engine = psutil.Process(int(run.log.read_text().split()[1]))
            if str(run.path) in engine.cmdline():
                engine.kill()


def has_begun(run: RunDir) -> bool:
    return run.log.exists() and b"ready" in run.log.read_bytes()


def engine_of(run: RunDir) -> psutil.Process:
    return psutil.Process(int(run.log.read_text().split()[1]))


def ended(run: RunDir) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run.ended.read_text())
    return found


def wait_until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)
