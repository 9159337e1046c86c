"""Several processes of one run: started together, ended together, and their end told as it was."""

import signal
import subprocess
import sys
import textwrap
import time

import psutil
import pytest

from engine.starting.resolution import APPLICATION

# In place of the engine: importing torch in every process of every test would take most of a minute.
ENGINE = """
    import os, pathlib, signal, sys, time
    here, rank = pathlib.Path(sys.argv[1]), int(os.environ["RANK"])
    (here / f"seen-{rank}").write_text(f"{os.environ['WORLD_SIZE']} {os.environ['PLUMBLINE_MEETING']} {sys.argv[2:]}")
"""


@pytest.fixture
def several(tmp_path, monkeypatch):
    """Start two processes whose work is the given Python, after they left their mark."""
    package = tmp_path / "code" / "engine"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "several.py").write_text((APPLICATION / "engine" / "several.py").read_text("utf-8"), "utf-8")
    run_dir = tmp_path / "run"
    run_dir.mkdir()

    def start(work: str) -> "subprocess.Popen[bytes]":
        (package / "run.py").write_text(textwrap.dedent(ENGINE) + textwrap.dedent(work), "utf-8")
        command = [sys.executable, "-m", "engine.several", "2", str(run_dir), "--commands-from", "7"]
        return subprocess.Popen(command, cwd=tmp_path / "code", stderr=subprocess.DEVNULL)

    return start


def test_each_process_knows_its_rank_the_number_and_where_to_meet(several, tmp_path):
    assert several("").wait(20) == 0
    for rank in (0, 1):
        seen = (tmp_path / "run" / f"seen-{rank}").read_text("utf-8")
        assert seen == f"2 {tmp_path / 'run' / '.meeting'} ['--commands-from', '7']"


def test_a_stop_is_told_as_a_stop(several):
    assert several("sys.exit(3)").wait(20) == 3


def test_when_one_fails_the_others_are_ended_and_its_code_is_told(several):
    started = time.monotonic()
    assert several("sys.exit(1) if rank else time.sleep(60)").wait(30) == 1
    assert time.monotonic() - started < 20


def test_a_signal_that_ended_one_is_told_as_that_signal(several):
    assert several("os.kill(os.getpid(), signal.SIGKILL) if rank else time.sleep(60)").wait(30) == -signal.SIGKILL


def test_a_request_to_end_reaches_every_process(several, tmp_path):
    launcher = several("signal.signal(signal.SIGTERM, lambda *_: sys.exit(3)); time.sleep(60)")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and len(list((tmp_path / "run").glob("seen-*"))) < 2:
        time.sleep(0.05)
    time.sleep(0.3)  # the handler is set just after the mark
    children = psutil.Process(launcher.pid).children()
    launcher.terminate()
    assert launcher.wait(20) == 3
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
