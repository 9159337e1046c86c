"""Asks a function of somebody's file, in a process of its own that is started once and kept; see worker.py.

The file is read once, so what runs is what was hashed, whatever is saved over it meanwhile.
"""

import contextlib
import hashlib
import json
import os
import pickle
import queue
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

from engine import processes
from engine.helpers.worker import frames, write_frame

WORKER = Path(__file__).with_name("worker.py")
#: Longest time that loading a file may take: it may import PyTorch.
LOADING_SECONDS = 120.0
#: Longest time between two calls of `breathe`.
POLL_SECONDS = 0.1


class HelperError(Exception):
    """Nothing came of a question. kind: `time-out`, `crash`, or the name of what was raised."""

    def __init__(self, kind: str, what: str) -> None:
        super().__init__(what)
        self.kind = kind


class Helper:
    """A function of a file. Ended with this object, with the process that made it, and by `close`."""

    def __init__(
        self, file: Path, function: str, *, timeout: float, breathe: Callable[[], None] = lambda: None
    ) -> None:
        """timeout: seconds that a question may take. Raises OSError if the file cannot be read."""
        self.file, self.function = file, function
        self._source = file.read_bytes()
        self._timeout, self._breathe = timeout, breathe
        self._process: subprocess.Popen[bytes] | None = None
        self._replies: queue.Queue[bytes | None] = queue.Queue()
        self._end: Callable[[], Any] = lambda: None

    @property
    def sha256(self) -> str:
        """Of the file as it was read."""
        return hashlib.sha256(self._source).hexdigest()

    @property
    def pid(self) -> int | None:
        """None where it is not running."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Load the file, if it is not loaded. Raises HelperError."""
        if self._process is not None:
            return
        self._process = subprocess.Popen(  # noqa: S603 - our own worker, by this very interpreter
            [sys.executable, "-P", str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            **processes.leading_a_group(),
        )
        self._end = weakref.finalize(self, _end, self._process)
        self._replies = queue.Queue()
        threading.Thread(target=_listen, args=(self._process.stdout, self._replies), daemon=True).start()
        loading = {"path": str(self.file), "source": self._source, "function": self.function}
        try:
            self._asked(loading, LOADING_SECONDS, "loading it")
        except HelperError:
            self.close()
            raise

    def ask(self, count: int, arguments: dict[str, Any]) -> list[float | str | None]:
        """Call the function; of each of `count` answers a number, None, or in words why there is neither.

        arguments: by name, anything that can be pickled. Raises HelperError; where the process was lost by it, the next
        question starts another.
        """
        self.start()
        reply = self._asked({"count": count, "arguments": arguments}, self._timeout, f"{count} answers")
        values: list[float | str | None] = reply["values"]
        return values

    def close(self) -> None:
        """End the process and all it started."""
        self._end()
        self._process = None

    def _asked(self, request: dict[str, Any], seconds: float, what: str) -> dict[str, Any]:
        try:
            reply = self._exchanged(request, seconds, what)
        except BaseException:
            # Whoever was interrupted would read this reply as that to the next question.
            self.close()
            raise
        if (error := reply.get("error")) is None:
            return reply
        place = self.file.name if error["line"] is None else f"{self.file.name}, line {error['line']}"
        raise HelperError(error["kind"], f"{place}: {error['kind']}: {error['what']}")

    def _exchanged(self, request: dict[str, Any], seconds: float, what: str) -> dict[str, Any]:
        process = self._process
        assert process is not None  # noqa: S101 - started before
        with contextlib.suppress(OSError):  # one that is gone is told below, by its silence
            write_frame(cast(BinaryIO, process.stdin), pickle.dumps(request))
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._breathe()
            try:
                reply = self._replies.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if reply is None:
                raise HelperError("crash", f"{self.file.name}: its process ended by itself ({_ending(process)})")
            told: dict[str, Any] = json.loads(reply)
            return told
        raise HelperError("time-out", f"{self.file.name}: no reply within {seconds:g} s for {what}; it was ended")


def _listen(stream: BinaryIO, replies: "queue.Queue[bytes | None]") -> None:
    with contextlib.suppress(OSError, ValueError):  # closed under our eyes
        for frame in frames(stream):
            replies.put(frame)
    replies.put(None)


def _ending(process: "subprocess.Popen[bytes]") -> str:
    try:
        code = process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        return "it closed its output"
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _end(process: "subprocess.Popen[bytes]") -> None:
    processes.kill_group(process.pid)
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
