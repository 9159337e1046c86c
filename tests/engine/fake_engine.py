"""Stands in for the engine where only its life and death matter: `fake_engine.py BEHAVIOUR RUN_DIR --commands-from N`.

Standard library only, so that a life takes hundredths of a second. "ready" in engine.log says that it has begun.
"""

import json
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
    if behaviour.startswith("trains_"):
        return _train(run, offset, int(behaviour.removeprefix("trains_")))
    if behaviour == "fails":
        _tell(run, "run_finished", reason="failed", message="no such model\nname another")
        return 1
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


def _train(run: Path, offset: int, steps: int) -> int:
    """Steps of 20 ms whose reward rises, and a stop after the step in which it is asked."""
    _tell(run, "phase", what="loading the model")
    _tell(run, "run_started", method="grpo", steps=steps, processes=1)
    for step in range(1, steps + 1):
        time.sleep(0.02)
        _tell(run, "step", step=step, values={"reward": step / steps, "kl": float("nan")})
        if (run / "commands.jsonl").exists() and (run / "commands.jsonl").stat().st_size > offset:
            _tell(run, "run_finished", reason="stopped", message="")
            return 3
    (run / "final").mkdir()
    (run / "final" / "config.json").touch()
    _tell(run, "run_finished", reason="finished", message="")
    return 0


def _tell(run: Path, kind: str, **values: object) -> None:
    with (run / "events.jsonl").open("a") as file:
        file.write(json.dumps({"kind": kind, "time": time.time(), **values}) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[4])))
