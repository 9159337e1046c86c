"""A lock is held by one process, and is gone with it."""

import subprocess
import sys
import time
from pathlib import Path
from typing import IO

from engine.contract import locks

HOLD = "import sys; from pathlib import Path; from engine.contract import locks; "


def held(path: Path) -> IO[bytes]:
    file = locks.hold(path)
    assert file is not None
    return file


def test_a_held_lock_is_refused_to_others_and_free_again_when_closed(tmp_path):
    file = held(tmp_path / "x.lock")
    assert locks.is_held(tmp_path / "x.lock")
    assert locks.hold(tmp_path / "x.lock", patience=0) is None
    file.close()
    assert not locks.is_held(tmp_path / "x.lock")


def test_no_file_is_no_lock(tmp_path):
    assert not locks.is_held(tmp_path / "none.lock")
    assert list(tmp_path.iterdir()) == []


def test_looking_does_not_get_in_the_way_of_who_wants_it(tmp_path):
    path = tmp_path / "x.lock"
    path.touch()
    for _ in range(50):
        assert not locks.is_held(path)
        file = locks.hold(path, patience=0)
        assert file is not None
        file.close()


def test_a_killed_process_holds_nothing(tmp_path):
    path = tmp_path / "x.lock"
    code = HOLD + f"f = locks.hold(Path({str(path)!r})); print('held', flush=True); input()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    assert locks.is_held(path)
    process.kill()
    process.communicate()
    assert not locks.is_held(path)


def test_patience_outlasts_a_glance(tmp_path):
    path = tmp_path / "x.lock"
    first = held(path)
    started = time.monotonic()
    assert locks.hold(path, patience=0.1) is None
    assert time.monotonic() - started >= 0.1
    first.close()


def test_the_lock_is_not_passed_on_to_children(tmp_path):
    path = tmp_path / "x.lock"
    file = held(path)
    child = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    file.close()
    deadline = time.monotonic() + 5  # the child lets go when the system replaces it, an instant after Popen returns
    while locks.is_held(path) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert child.poll() is None
    assert not locks.is_held(path)
    child.communicate(b"\n")
