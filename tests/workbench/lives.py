"""Lives that a test kills, forked from a process that has imported what they need: a window's imports take a second."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

#: After code that defines `live(argument)`. A line is written in one piece, so a kill leaves none torn.
FORKS = """
import os, sys

for argument in sys.stdin:
    child = os.fork()
    if child == 0:
        print(os.getpid(), flush=True)
        live(argument.strip())
        os._exit(0)
    os.waitpid(child, 0)
    print("ended", flush=True)
"""


class Lives:
    """One life after another, each ended by `kill`."""

    def __init__(self, asked: IO[str], said: IO[str]) -> None:
        self._asked, self._said = asked, said
        self._living = 0

    def begin(self, argument: object) -> None:
        self._asked.write(f"{argument}\n")
        self._asked.flush()
        self._living = int(self.line())

    def line(self) -> str:
        return self._said.readline().strip()

    def kill(self) -> list[str]:
        """End it at once; what it had said and nobody had read."""
        os.kill(self._living, signal.SIGKILL)
        return list(iter(self.line, "ended"))


@contextmanager
def lives(code: str) -> Iterator[Lives]:
    """code: defines `live(argument)`, and imports at its top what takes long."""
    with subprocess.Popen([sys.executable, "-c", code + FORKS], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield Lives(process.stdin, process.stdout)
        process.stdin.close()
