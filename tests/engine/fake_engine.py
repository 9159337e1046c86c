"""Stands in for the engine where only its life and death matter: `fake_engine.py BEHAVIOUR RUN_DIR --commands-from N`.

Standard library only, so that a life takes hundredths of a second. "ready" in engine.log says that it has begun.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

FOREVER = 60


def main(behaviour: str, run: Path, offset: int) -> int:
    if behaviour == "ignores_signals":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("ready", os.getpid(), flush=True)  # noqa: T201 - what it prints is what is tested
    if behaviour.startswith("exits_"):
        return int(behaviour.removeprefix("exits_"))
    if behaviour == "kills_itself":
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "leaves_an_orphan":
        return _leave_an_orphan(run)
    if behaviour == "beats":
        return _beat(run)
    if behaviour == "works_a_while":
        time.sleep(0.6)
        (run / "done").touch()
        return 0
    if behaviour == "obeys":
        return _obey(run, offset)
    time.sleep(FOREVER)
    return 0


def _leave_an_orphan(run: Path) -> int:
    """A grandchild in a session of its own, which no signal to our group reaches."""
    sleeper = [sys.executable, "-S", "-c", f"import time; time.sleep({FOREVER})", str(run)]
    child = subprocess.Popen(sleeper, start_new_session=True)
    (run / "orphan").write_text(str(child.pid))
    return 0


def _beat(run: Path) -> int:
    """Alive for longer than the deadline, and says so."""
    for _ in range(15):
        (run / "heartbeat").touch()
        os.utime(run / "heartbeat")
        time.sleep(0.1)
    return 0


def _obey(run: Path, offset: int) -> int:
    """Leave as one that was stopped as soon as anything is asked."""
    while (run / "commands.jsonl").stat().st_size <= offset if (run / "commands.jsonl").exists() else True:
        time.sleep(0.02)
    return 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[4])))
