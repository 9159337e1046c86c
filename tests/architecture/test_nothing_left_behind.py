"""The guard of tests/conftest.py finds what a test leaves running, and lets go what ended."""

import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
from PySide6.QtCore import QTimer

from tests import conftest
from tests.conftest import nothing_left_behind

SLEEP = "import time; time.sleep(60)"


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conftest, "GRACE_SECONDS", 0.2)


def test_a_running_thread_is_found(tmp_path: Path) -> None:
    release = threading.Event()
    thread = threading.Thread(target=release.wait, name="forgotten")
    with pytest.raises(pytest.fail.Exception, match="thread forgotten"), nothing_left_behind(tmp_path):
        thread.start()
    release.set()
    thread.join()


def test_a_child_process_is_found_and_ended(tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match=r"time\.sleep"), nothing_left_behind(tmp_path):
        child = subprocess.Popen([sys.executable, "-c", SLEEP])
    assert not psutil.pid_exists(child.pid)


def test_an_orphan_that_works_in_the_tests_folder_is_found_and_ended(tmp_path: Path) -> None:
    launcher = "import subprocess, sys; subprocess.Popen(sys.argv[1:], start_new_session=True)"
    orphan = [sys.executable, "-c", SLEEP, str(tmp_path)]
    with pytest.raises(pytest.fail.Exception, match=r"time\.sleep"), nothing_left_behind(tmp_path):
        subprocess.run([sys.executable, "-c", launcher, *orphan], check=True)
    assert not [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == orphan]


@pytest.mark.usefixtures("qapp")
def test_a_running_timer_is_found(tmp_path: Path) -> None:
    timer = QTimer()
    timer.setObjectName("clock")
    with (
        pytest.raises(pytest.fail.Exception, match="QTimer clock"),
        nothing_left_behind(tmp_path, watch_qt=True),
    ):
        timer.start(1000)
    timer.stop()


@pytest.mark.usefixtures("qapp")
def test_what_ended_in_time_is_let_go(tmp_path: Path) -> None:
    with nothing_left_behind(tmp_path, watch_qt=True):
        subprocess.Popen([sys.executable, "-c", "pass"]).wait()
        threading.Thread(target=int).start()
        timer = QTimer()
        timer.start(1000)
        timer.stop()
