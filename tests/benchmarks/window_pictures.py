"""How quick pictures of a run are: `python -m tests.benchmarks.window_pictures`. Printed, never asserted.

Trajectory: sixteen pictures of 64 x 64 come out of noise at twenty steps a second; goal: each of them is drawn, within
100 ms, and nothing holds the window up for more than 50 ms. Gallery: 2,000 pictures open, and are scrolled through
without a block of 50 ms.
"""

import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import numpy as np
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication

from engine.contract.image_record import with_record
from engine.contract.trajectory import Frame, Point, TrajectoryWriter
from tests.benchmarks.window import ms, percentile, rest, row, wait
from tests.workbench.fake_pictures import FakeSampler, digit, png, record
from workbench.error_reporting import ErrorReporter
from workbench.io.track_reader import Shown
from workbench.io.workspace import Workspace
from workbench.main_window import MainWindow
from workbench.theme import Appearance
from workbench.views.run_page import RunPage

SIDE, COUNT, FRAMES_A_SECOND, STEPS = 64, 16, 20, 100
MANY, JUMPS = 2000, 40


class Pulse:
    """Beats every millisecond; a longer wait between two beats is a block of the window, of which other processes
    have their share."""

    def __init__(self) -> None:
        self.blocks: list[tuple[float, float]] = []
        self._last = (time.perf_counter(), time.thread_time())
        self._timer = QTimer(interval=1)
        self._timer.timeout.connect(self._beat)
        self._timer.start()

    def take(self) -> tuple[float, float]:
        """The longest block since this was asked last, in seconds, and the most processor time that one took."""
        taken, self.blocks = self.blocks, []
        self._last = (time.perf_counter(), time.thread_time())
        return max((block[0] for block in taken), default=0.0), max((block[1] for block in taken), default=0.0)

    def tell(self, what: str, goal: str) -> None:
        longest, of_processor = self.take()
        row(what, ms(longest), goal)
        row("  of it on the processor, at most", ms(of_processor), "")

    def _beat(self) -> None:
        now = (time.perf_counter(), time.thread_time())
        self.blocks.append((now[0] - self._last[0], now[1] - self._last[1]))
        self._last = now


class Live:
    """Writes a step twenty times a second, and notes when each was drawn."""

    def __init__(self, page: RunPage, writer: TrajectoryWriter) -> None:
        noise = np.random.default_rng(0)
        size = (COUNT, SIDE, SIDE, 3)
        self._frames = [noise.integers(0, 255, size, dtype=np.uint8).tobytes() for _ in range(8)]
        self._writer = writer
        self._written: dict[int, float] = {}
        self.latencies: dict[int, float] = {}
        track = page.trajectory.track
        assert track is not None
        track.drawn.connect(self._drawn)
        self._timer = QTimer(interval=1000 // FRAMES_A_SECOND)
        self._timer.timeout.connect(self._write)
        self._timer.start()

    @property
    def is_done(self) -> bool:
        return len(self._written) == STEPS

    def _write(self) -> None:
        step = len(self._written) + 1
        if step > STEPS:
            self._timer.stop()
            return
        point = Point(step, 1000 * (1 - step / STEPS), 1.0, 0.5, step / FRAMES_A_SECOND)
        self._writer.append([Frame(point, self._frames[step % 8], self._frames[(step + 1) % 8])])
        self._written[step] = time.perf_counter()

    def _drawn(self, shown: Shown) -> None:
        self.latencies.setdefault(shown.point.step, time.perf_counter() - self._written[shown.point.step])


def trajectory(window: MainWindow, engine: FakeSampler, pulse: Pulse) -> None:
    writer = engine.begin_track("live", steps=STEPS, count=COUNT, side=SIDE)
    window.show_tab("Trajectory")
    page = window.runs.build_run_page()
    wait(lambda: not page.trajectory.is_empty)
    rest(0.5)
    pulse.take()
    live = Live(page, writer)
    wait(lambda: live.is_done)
    rest(0.3)
    found = sorted(live.latencies.values())
    row(f"trajectory, {COUNT} pictures, {FRAMES_A_SECOND} steps/s: drawn", f"{len(found)} of {STEPS}", "goal all")
    row("  step to pixel: median", ms(statistics.median(found)), "goal 50 ms")
    row("  step to pixel: 95th percentile", ms(percentile(found, 0.95)), "goal 100 ms")
    pulse.tell("  longest block of the window", "goal 50 ms")


def gallery(window: MainWindow, engine: FakeSampler, pulse: Pulse) -> None:
    pulse.take()
    began = time.perf_counter()
    window.session.show(engine.run.path)
    page = window.runs.build_run_page()
    window.show_tab("Gallery")
    table = page.gallery.table
    wait(lambda: table.pictures.count == MANY and table.picture(0) is not None)
    row(f"gallery of {MANY:,}: first pictures", ms(time.perf_counter() - began), "goal 1,000 ms")
    wait(lambda: len(page.gallery.gallery.records) == MANY)
    row("  all records read", ms(time.perf_counter() - began), "")
    pulse.tell("  longest block of the window", "goal 50 ms")
    bar = table.verticalScrollBar()
    waits = []
    for jump in range(1, JUMPS + 1):
        began = time.perf_counter()
        bar.setValue(bar.maximum() * jump // JUMPS)
        table.go_to(MANY * jump // JUMPS - 1)
        wait(lambda jump=jump: table.picture(MANY * jump // JUMPS - 1) is not None)  # type: ignore[misc]  # a default
        waits.append(time.perf_counter() - began)
    row("  a jump, until its pictures are there: median", ms(statistics.median(waits)), "goal 150 ms")
    pulse.tell("  longest block while scrolling", "goal 50 ms")


def many(runs: Path) -> FakeSampler:
    engine = FakeSampler(runs, "many")
    engine.begin()
    data = [png(digit(number, 1, SIDE)) for number in range(10)]
    for number in range(MANY):
        told = record(number, label=number % 10, side=SIDE)
        engine.put(f"images/{number:06d}.png", with_record(data[number % 10], told), role="sample")
    engine.finish()
    return engine


def main() -> None:
    application = QApplication([])
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        (workspace / "runs").mkdir()
        full = many(workspace / "runs")
        engine = FakeSampler(workspace / "runs", "live")
        engine.begin()
        window = MainWindow(Workspace(workspace), Appearance(application, "light"), ErrorReporter(workspace), "live")
        window.resize(1440, 900)
        window.start()
        window.show()
        wait(lambda: window.is_settled and window.has_tab("Gallery"))
        pulse = Pulse()
        rest(2.0)
        pulse.tell("longest block where nothing happens", "what this machine does by itself")
        trajectory(window, engine, pulse)
        gallery(window, full, pulse)
        window.close()
        engine.vanish()


if __name__ == "__main__":
    main()
