"""How quick judging is: `python -m tests.benchmarks.labelling [KEYS]`. Printed, never asserted.

Key to pair: from a real key event, sent through the window system's own queue, until the judgement is on the disk and
the next pair is painted; goal 50 ms for 95 of 100. Of it the fsync, which is the disk's, and the processor's time,
which is ours. Memory: over 5,000 judgements, goal flat.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import psutil
from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from engine.contract.labels import LabelDir
from tests.benchmarks.window import percentile, rest, row, wait
from tests.workbench.label_sets import made, made_of_pictures
from workbench.error_reporting import ErrorReporter
from workbench.io.workspace import Workspace
from workbench.main_window import MainWindow
from workbench.theme import Appearance

KEYS = 1_000
JUDGEMENTS = 5_000
PICTURES = 30
SIZE = (1280, 720)
#: What somebody judges with: strengths, both arrows, a tie, a skip, and one that is taken back.
PRESSED = [Qt.Key.Key_2, Qt.Key.Key_Right, Qt.Key.Key_6, Qt.Key.Key_Left, Qt.Key.Key_T, Qt.Key.Key_S, Qt.Key.Key_Z]


class Fsync:
    """Seconds that the disk took since this was set to 0."""

    def __init__(self) -> None:
        self.seconds = 0.0
        real = os.fsync

        def timed(descriptor: int) -> None:
            began = time.perf_counter()
            real(descriptor)
            self.seconds += time.perf_counter() - began

        os.fsync = timed  # type: ignore[assignment]


class Painted(QObject):
    """Notes when something of the window was last painted."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__()
        self.at = 0.0
        self._window = window
        for part in [window, *window.findChildren(QObject)]:
            part.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802  Qt's name
        if event.type() == QEvent.Type.Paint:
            self.at = time.perf_counter()
        return False


def seated(application: QApplication, workspace: Path) -> MainWindow:
    """A window in which the set of a workspace is judged."""
    window = MainWindow(Workspace(workspace), Appearance(application, "light"), ErrorReporter(workspace))
    window.resize(*SIZE)
    window.start()
    window.show()
    window.resize(*SIZE)
    wait(lambda: window.is_settled)
    window.activateWindow()
    window.show_page("judge")
    window.session.labelling.open(LabelDir(workspace / "labels" / "set"))
    wait(lambda: window.is_judging)
    QApplication.processEvents()
    return window


def press(window: MainWindow, key: Qt.Key) -> None:
    handle = window.windowHandle()
    QTest.keyClick(handle, key)  # to the window, as the system does; it finds the widget and the shortcut
    QApplication.processEvents()


def keys(window: MainWindow, disk: Fsync, count: int) -> dict[str, list[float]]:
    """Seconds of each key: on the wall, of the disk, of the processor."""
    painted = Painted(window)
    found: dict[str, list[float]] = {"wall": [], "disk": [], "processor": []}
    for at in range(count):
        disk.seconds = 0.0
        began, of_processor = time.perf_counter(), time.process_time()
        press(window, PRESSED[at % len(PRESSED)])
        found["wall"].append(painted.at - began)
        found["disk"].append(disk.seconds)
        found["processor"].append(time.process_time() - of_processor)
    return found


def tell(name: str, found: dict[str, list[float]]) -> None:
    for what, goal in (("wall", "goal 50 ms at the 95th"), ("disk", "fsync"), ("processor", "")):
        p50, p95 = (1000 * percentile(found[what], share) for share in (0.5, 0.95))
        row(f"{name}: {what}, median and 95th percentile", f"{p50:.1f} and {p95:.1f} ms", goal)


def memory(window: MainWindow, judgements: int) -> None:
    process, every = psutil.Process(), judgements // 5
    for at in range(judgements):
        if at % every == 0:
            row(f"memory after {at:,} more judgements", f"{process.memory_info().rss / 2**20:,.1f} MiB", "")
        press(window, Qt.Key.Key_2)
    row(f"memory after {judgements:,} more judgements", f"{process.memory_info().rss / 2**20:,.1f} MiB", "goal flat")


def of_texts(application: QApplication, disk: Fsync, count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        made(Path(folder), "set", items=2 * count + 2 * JUDGEMENTS)
        window = seated(application, Path(folder))
        tell("key to next pair", keys(window, disk, count))
        memory(window, JUDGEMENTS)
        window.close()


def of_pictures(application: QApplication, disk: Fsync) -> None:
    with tempfile.TemporaryDirectory() as folder:
        made_of_pictures(Path(folder), "set", items=2 * PICTURES, size=(1024, 1024))
        window = seated(application, Path(folder))
        assert window.judging is not None
        pictures = window.judging.sitting.pictures
        found: dict[str, list[float]] = {"wall": [], "disk": [], "processor": []}
        for _ in range(PICTURES):
            rest(0.3)  # somebody looks, and the next pair is read
            wait(lambda: not pictures.why_not)
            for what, seconds in keys(window, disk, 1).items():
                found[what] += seconds
        tell("key to next pair of pictures", found)
        window.close()


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else KEYS
    application, disk = QApplication([]), Fsync()
    of_texts(application, disk, count)
    of_pictures(application, disk)


if __name__ == "__main__":
    main()
