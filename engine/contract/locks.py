"""File locks that two processes on one machine respect, gone when their holder is. Standard library only."""

import os
import sys
import time
from pathlib import Path
from typing import IO

if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: IO[bytes], *, shared: bool) -> bool:
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try_lock(file: IO[bytes], *, shared: bool) -> bool:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


def hold(path: Path, *, patience: float = 0.5) -> IO[bytes] | None:
    """Take the lock and keep it while the returned file is open, or None if another process holds it.

    patience: seconds to go on trying, as `is_held` takes the lock for an instant when it looks.
    """
    file = path.open("ab")
    os.set_inheritable(file.fileno(), False)
    deadline = time.monotonic() + patience
    while not _try_lock(file, shared=False):
        if time.monotonic() > deadline:
            file.close()
            return None
        time.sleep(0.01)
    return file


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock."""
    try:
        file = path.open("rb")
    except OSError:
        return False
    with file:
        return not _try_lock(file, shared=True)
