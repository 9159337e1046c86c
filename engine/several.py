"""The processes of one run that share its batches: started together, ended together.

    python -m engine.several COUNT RUN_DIR --commands-from OFFSET

They meet through a file in the run directory, so nothing listens on the network for it. Standard library only.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

#: Where the processes meet; read by `assembly.accelerator_of`.
MEETING = "PLUMBLINE_MEETING"
FINE = (0, 3)
POLL_SECONDS = 0.1
#: How long the others may take to leave when one has failed, or when one has left as it should: they may be waiting
#: for it in vain.
FAILED_SECONDS, LEFT_SECONDS = 3.0, 60.0


def main(arguments: list[str]) -> int:
    """The exit code of the processes, or of the one that failed first; a signal that ended it ends this one too."""
    count, run_dir = int(arguments[0]), Path(arguments[1])
    meeting = run_dir / ".meeting"
    meeting.unlink(missing_ok=True)
    started = [_start(rank, count, meeting, arguments[1:]) for rank in range(count)]
    signal.signal(signal.SIGTERM, lambda *_: _tell(started, signal.SIGTERM))
    code = _wait(started)
    meeting.unlink(missing_ok=True)
    if code < 0:
        with contextlib.suppress(OSError):  # SIGKILL needs no default put back
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def _start(rank: int, count: int, meeting: Path, arguments: list[str]) -> "subprocess.Popen[bytes]":
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, MEETING: meeting}
    environment = os.environ | {name: str(value) for name, value in place.items()}
    return subprocess.Popen([sys.executable, "-m", "engine.run", *arguments], env=environment)  # noqa: S603 - our own


def _wait(started: "list[subprocess.Popen[bytes]]") -> int:
    """Until all have left; when one fails, the others are ended. Returns the code of the first failure, or theirs."""
    failed: int | None = None
    deadline = float("inf")
    while True:
        codes = [process.poll() for process in started]
        if failed is None:
            failed = next((code for code in codes if code is not None and code not in FINE), None)
            if failed is not None:
                deadline = time.monotonic() + FAILED_SECONDS
            elif deadline == float("inf") and any(code is not None for code in codes):
                deadline = time.monotonic() + LEFT_SECONDS
        if all(code is not None for code in codes):
            return failed if failed is not None else max(code for code in codes if code is not None)
        if time.monotonic() > deadline:
            _tell(started, signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
        time.sleep(POLL_SECONDS)


def _tell(started: "list[subprocess.Popen[bytes]]", number: int) -> None:
    for process in started:
        with contextlib.suppress(OSError):
            process.send_signal(number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
