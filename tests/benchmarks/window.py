"""How quick the window is: `python -m tests.benchmarks.window [STEPS]`. Printed, never asserted.

Start: from the process's birth to its first paint, goal 1.5 s. Latency: from an event's write to the chart's paint,
goal 50 ms median and 100 ms for 95 of 100. Replay: a finished run of 100,000 steps opens with curves within 1 s, and
nothing holds the window up for more than 50 ms meanwhile.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import QEvent, QObject, QTimer
from PySide6.QtWidgets import QApplication

from tests.workbench.fake_runs import FakeEngine, tour
from workbench.error_reporting import ErrorReporter
from workbench.io.workspace import Workspace
from workbench.main_window import MainWindow
from workbench.theme import Appearance
from workbench.views.plotting import Chart

STARTS = 5
EVENTS = 100
STEPS = 100_000

#: Says how long ago its process was born whenever the window, and then a chart with a curve, is painted.
CHILD = """
import sys, time, psutil
from workbench import __main__, main_window
born, seen = psutil.Process().create_time(), set()
def tell(what):
    if what not in seen:
        seen.add(what)
        print(what, time.time() - born, time.process_time(), flush=True)
class Window(main_window.MainWindow):
    def paintEvent(self, event):
        super().paintEvent(event)
        tell("window")
    def _look(self):
        page = self.runs.run
        if page and page.board.is_drawn and self.session.feed and self.session.feed.state.step:
            tell("curves")
            self.close()
    def start(self):
        super().start()
        from PySide6.QtCore import QTimer
        self.looker = QTimer(self, interval=5)
        self.looker.timeout.connect(self._look)
        self.looker.start()
main_window.MainWindow = Window
sys.exit(__main__.main(sys.argv[1:]))
"""


def start_times(workspace: Path) -> dict[str, list[float]]:
    """Seconds from birth to the first paint and to the first curves, and the processor's share, for each start."""
    found: dict[str, list[float]] = {"window": [], "curves": [], "window cpu": [], "curves cpu": []}
    for _ in range(STARTS):
        command = [sys.executable, "-c", CHILD, str(workspace)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        for line in done.stdout.splitlines():
            what, seconds, of_processor = line.split()
            found[what].append(float(seconds))
            found[f"{what} cpu"].append(float(of_processor))
    return found


class PaintWatch(QObject):
    """Calls back whenever something of a chart was painted."""

    def __init__(self, chart: Chart, painted: Callable[[], None]) -> None:
        super().__init__()
        self._painted = painted
        for part in [chart, *chart.findChildren(QObject)]:
            part.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802  Qt's name
        if event.type() == QEvent.Type.Paint:
            self._painted()
        return False


def wait(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.perf_counter() + seconds
    while not condition():
        if time.perf_counter() > deadline:
            raise TimeoutError
        # As an application's own loop does: sleep until something happens.
        QApplication.processEvents()
        time.sleep(0.0005)


def rest(seconds: float) -> None:
    end = time.perf_counter() + seconds
    wait(lambda: time.perf_counter() > end)


def latencies(window: MainWindow, engine: FakeEngine) -> list[float]:
    """Seconds from the write of a step to the paint that shows it."""
    page = window.runs.run
    assert page is not None
    chart = page.board.charts["reward"]
    painted_at: list[float] = []

    def painted() -> None:
        feed = window.session.feed
        if feed is not None and feed.state.step == engine.step and "reward" not in page.board.not_drawn:
            painted_at.append(time.perf_counter())

    watch = PaintWatch(chart, painted)
    found = []
    for i in range(EVENTS):
        rest(0.1 + 0.007 * (i % 10))
        painted_at.clear()
        engine.train(1, every=0)
        written = time.perf_counter()
        wait(lambda: bool(painted_at))
        found.append(painted_at[0] - written)
    del watch
    return found


def long_run(runs: Path, steps: int) -> FakeEngine:
    engine = FakeEngine(runs, "long", steps=steps).begin().train(steps, every=1000)
    return engine.finish()


class Replay:
    """Opens a long run and notes when the first curves and the last line were there, and the longest block."""

    def __init__(self, window: MainWindow, path: Path) -> None:
        self.blocks: list[float] = []
        self._window = window
        self._last = time.perf_counter()
        self._pulse = QTimer(interval=1)
        self._pulse.timeout.connect(self._beat)
        self._pulse.start()
        rest(2.0)
        self.idle_block, self.blocks = max(self.blocks), []
        self._began = self._last = time.perf_counter()
        window.session.show(path)
        self.first_curves = self._until(self._has_curves)
        self.whole = self._until(self._is_whole)
        self._pulse.stop()

    def _until(self, condition: Callable[[], bool]) -> float:
        wait(condition)
        return time.perf_counter() - self._began

    def _has_curves(self) -> bool:
        page = self._window.runs.run
        feed = self._window.session.feed
        return page is not None and feed is not None and feed.state.step > 0 and page.board.is_drawn

    def _is_whole(self) -> bool:
        return self._window.session.feed is not None and self._window.session.feed.has_caught_up

    def _beat(self) -> None:
        now = time.perf_counter()
        self.blocks.append(now - self._last)
        self._last = now


def row(name: str, value: str, goal: str) -> None:
    print(f"{name:<44}{value:>18}   {goal}")


def ms(seconds: float) -> str:
    return f"{1000 * seconds:,.0f} ms"


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


def main() -> None:
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else STEPS
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        engine = tour(workspace, trained=60)
        starts = start_times(workspace)
        row("start: first paint, median of 5", ms(statistics.median(starts["window"])), "goal 1,500 ms")
        row("  of it on the processor", ms(statistics.median(starts["window cpu"])), "")
        row("start: first curves, median of 5", ms(statistics.median(starts["curves"])), "")
        row("  of it on the processor", ms(statistics.median(starts["curves cpu"])), "")
        long = long_run(workspace / "runs", steps)
        size = long.run.events.stat().st_size
        application = QApplication([])
        window = MainWindow(Workspace(workspace), Appearance(application, "light"), ErrorReporter(workspace))
        window.resize(1440, 900)
        window.start()
        window.show()
        wait(lambda: window.is_settled and window.runs.run is not None)
        rest(1.0)
        found = latencies(window, engine)
        row("event to pixel: median", ms(statistics.median(found)), "goal 50 ms")
        row("event to pixel: 95th percentile", ms(percentile(found, 0.95)), "goal 100 ms")
        replay = Replay(window, long.run.path)
        row(f"open {steps:,} steps, {size / 1e6:.0f} MB: first curves", ms(replay.first_curves), "goal 1,000 ms")
        row("  every step read", ms(replay.whole), "")
        row("  longest block of the window", ms(max(replay.blocks)), "goal 50 ms")
        row("  the same where nothing happens", ms(replay.idle_block), "what this machine does by itself")
        row("  blocks over 50 ms", str(sum(block > 0.05 for block in replay.blocks)), "goal 0")
        window.close()
        engine.vanish()


if __name__ == "__main__":
    main()
