"""One of the several processes of a run, started by `accelerate launch` or torchrun.

Either the supervisor started that launcher, which starts this module; or a person did, with `engine run` behind it.
Then there is no supervisor, and the first process makes the run directory and holds its lock itself.
"""

import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from engine.command_line.following import size_of
from engine.contract import locks
from engine.contract.run_dir import RunDir
from engine.supervisor import IN_USE, tidy

#: How long the others wait for the first process to check the preset and make the run directory.
WAIT_SECONDS = 120.0


def is_one_of_several() -> bool:
    """Whether a launcher started this process and gave it a rank."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def overrides() -> list[str]:
    """What the preset should say of a run that a launcher started."""
    return [f"training.processes={os.environ['WORLD_SIZE']}"]


def run_here(make: Callable[[], RunDir], workspace: Path) -> int:
    """Train in this process. Only the first calls `make`; the others learn from it which directory it is."""
    meeting = f"{os.environ.get('MASTER_ADDR', '')}-{os.environ.get('MASTER_PORT', '')}"
    note = workspace.resolve() / "runs" / f".launch-{re.sub('[^A-Za-z0-9.-]', '_', meeting)}"
    if os.environ["RANK"] != "0":
        return _engine(_read_note(note))
    note.unlink(missing_ok=True)
    run = make()
    lock = locks.hold(run.lock)
    if lock is None:
        return IN_USE
    with lock:
        tidy(run)
        note.parent.mkdir(parents=True, exist_ok=True)
        staging = note.with_name(f"{note.name}.new")
        staging.write_text(str(run.path), "utf-8")
        staging.replace(note)
        try:
            return _engine(run)
        finally:
            note.unlink(missing_ok=True)


def main(arguments: list[str]) -> int:
    """One process's share of the run, `RUN_DIR --commands-from OFFSET`. Returns its exit code for the launcher."""
    from engine import run

    code = run.main(arguments)
    # To a launcher any code but 0 is a failure, of which it writes a page. That it was stopped is among the events.
    return 0 if code == run.STOPPED else code


def _engine(run: RunDir) -> int:
    return main([str(run.path), "--commands-from", str(size_of(run.commands))])


def _read_note(note: Path) -> RunDir:
    """The first process's directory. Raises TimeoutError if it does not say."""
    launched = psutil.Process(os.getppid()).create_time()
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        # An older note is what a killed launcher on the same port left.
        if note.exists() and note.stat().st_mtime >= launched:
            return RunDir(Path(note.read_text("utf-8")))
        time.sleep(0.05)
    raise TimeoutError(f"{note.parent}: the first process made no run directory within {WAIT_SECONDS:.0f} s")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
