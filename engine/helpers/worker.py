"""The process in which one function of one file lives; `helper.py` starts it, asks it, and ends it.

Run as a script, without anything of ours: what a function imports is its own business. Frames on standard input and
output are 8 bytes of length, big end first, and so many bytes. Requests are pickled, as they may hold pictures and come
from us. Replies are JSON: what somebody's code says is never unpickled. What it prints goes to standard error.
"""

import asyncio
import contextlib
import ctypes
import inspect
import json
import math
import os
import pickle
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

PR_SET_PDEATHSIG = 1
#: Name of the module that the file becomes.
MODULE = "plumbline_own_code"
LENGTH_BYTES = 8


def main() -> None:
    """Load what the first request names, then call it for each that follows; leave when nobody can ask any more."""
    _die_with_the_starter()
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # From here on the function can neither read our requests nor write into our replies.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    asked: queue.Queue[bytes] = queue.Queue()
    threading.Thread(target=_listen, args=(requests, asked), daemon=True).start()
    loaded: dict[str, Any] = pickle.loads(asked.get())  # noqa: S301 - from the process that started this one
    path = Path(loaded["path"])
    function = _told(replies, path, partial(_loaded, **loaded))
    while function is not None:
        request: dict[str, Any] = pickle.loads(asked.get())  # noqa: S301 - as above
        _told(replies, path, partial(_called, function, **request))


def _die_with_the_starter() -> None:
    """Only Linux can; elsewhere, and while nothing holds Python's lock, the end of the input says the same."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _listen(requests: BinaryIO, asked: "queue.Queue[bytes]") -> None:
    """In a thread of its own, so that the end of the starter ends a function that is still at work."""
    for frame in frames(requests):
        asked.put(frame)
    os._exit(0)


def frames(stream: BinaryIO) -> Iterator[bytes]:
    """Every whole frame; a stream that ends within one ends."""
    while len(head := stream.read(LENGTH_BYTES)) == LENGTH_BYTES:
        length = int.from_bytes(head, "big")
        body = stream.read(length)
        if len(body) < length:
            return
        yield body


def write_frame(stream: BinaryIO, body: bytes) -> None:
    """Raises OSError if nobody reads any more."""
    stream.write(len(body).to_bytes(LENGTH_BYTES, "big") + body)
    stream.flush()


def _told(replies: BinaryIO, path: Path, work: Callable[[], tuple[Any, dict[str, Any]]]) -> Any:
    """Do the work and tell what came of it; gives its first result, None where it raised."""
    try:
        result, reply = work()
    except BaseException as error:  # noqa: BLE001 - a function may raise anything, also SystemExit
        traceback.print_exc()
        result, reply = None, {"error": _described(error, path)}
    write_frame(replies, json.dumps(reply).encode())
    return result


def _loaded(path: str, source: bytes, function: str) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The function, out of a module made of exactly this source."""
    module = ModuleType(MODULE)
    module.__file__ = path
    sys.modules[MODULE] = module
    # What stands beside the file can be imported by it, as if it were run as a script.
    sys.path.insert(0, str(Path(path).parent))
    exec(compile(source, path, "exec"), module.__dict__)  # noqa: S102 - what this process is for, after a yes
    found = getattr(module, function, None)
    if not callable(found):
        there = [name for name, value in vars(module).items() if inspect.isfunction(value)]
        raise LookupError(f"there is no function {function!r} in it (it has {', '.join(there) or 'none'})")
    return found, {"ready": True}


def _called(function: Callable[..., Any], count: int, arguments: dict[str, Any]) -> tuple[None, dict[str, Any]]:
    """What the function says, one entry each of `count`: a number, None, or in words why it is neither."""
    said = function(**arguments)
    if inspect.isawaitable(said):
        said = asyncio.run(_awaited(said))
    if isinstance(said, str | bytes | dict) or not hasattr(said, "__iter__"):
        raise TypeError(f"it should return a list of numbers, and returned {_brief(said)}")
    values = list(said)
    if len(values) != count:
        raise ValueError(f"it returned {len(values)} values for {count} answers; it should return one for each")
    return None, {"values": [_value(value) for value in values]}


async def _awaited(said: Any) -> Any:
    return await said


def _value(value: Any) -> float | str | None:
    if value is None:
        return None
    if isinstance(value, Exception):  # a function may say so of one answer, without losing the others
        return f"{type(value).__name__}: {value}"
    if isinstance(value, str | bytes):
        return f"it returned {_brief(value)}, which is no number"
    try:
        number = float(value)
    except (TypeError, ValueError):
        return f"it returned {_brief(value)}, which is no number"
    return number if math.isfinite(number) else f"it returned {number}"


def _brief(value: Any) -> str:
    return f"{repr(value)[:60]} ({type(value).__name__})"


def _described(error: BaseException, path: Path) -> dict[str, Any]:
    """What happened and where: the last line of the file itself that led to it."""
    steps = traceback.extract_tb(error.__traceback__)
    mine = [step for step in steps if step.filename == str(path)]
    text = " ".join(str(error).split())[:300]
    if isinstance(error, SyntaxError):
        text, line = error.msg, error.lineno
    else:
        line = mine[-1].lineno if mine else None
    return {"kind": type(error).__name__, "what": text, "line": line}


if __name__ == "__main__":
    main()
