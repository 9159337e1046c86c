"""How long a frame of twelve charts takes: `python -m tests.benchmarks.redraw`. Printed, never asserted.

A frame is what a tick of the window costs: eight new samples a curve, every chart drawn anew and painted. Goal of the
house: 16 ms for twelve curves of 100,000 samples.
"""

from __future__ import annotations

import os
import statistics
import time

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import numpy as np
from PySide6.QtCore import QEventLoop
from PySide6.QtWidgets import QApplication, QGridLayout, QWidget

from workbench import theme
from workbench.state.series import Series, Smoothed
from workbench.views.plotting import Chart
from workbench.views.x_link import XLink

CHARTS = 12
NEW_SAMPLES = 8
FRAMES = 60
SIZE = (1280, 720)


def noisy(count: int, seed: int) -> Series:
    """A reward-like curve: rising, with noise."""
    rng, x = np.random.default_rng(seed), np.arange(float(count))
    series = Series()
    series.extend(x, 1 - np.exp(-3 * x / count) + rng.normal(0, 0.1, count))
    return series


class Board:
    """Twelve charts, four by three, shown in a window of 1280 by 720."""

    def __init__(self, app: QApplication, samples: int) -> None:
        self.app = app
        self.window = QWidget()
        grid, link = QGridLayout(self.window), XLink(self.window)
        self.series = [noisy(samples, seed) for seed in range(CHARTS)]
        self.charts = [Chart(f"Metric {i}", link, theme.LIGHT) for i in range(CHARTS)]
        for i, (chart, series) in enumerate(zip(self.charts, self.series, strict=True)):
            chart.show_series("metric", series, colour_index=i % 8)
            grid.addWidget(chart, i // 4, i % 4)
        self.link = link
        self.window.resize(*SIZE)
        self.window.show()
        self.settle()

    def settle(self) -> None:
        for _ in range(3):
            self.app.processEvents(QEventLoop.ProcessEventsFlag.AllEvents)

    def frame(self) -> None:
        """Draw and paint what the series gained."""
        for chart in self.charts:
            chart.refresh()
        self.app.processEvents(QEventLoop.ProcessEventsFlag.AllEvents)

    def grow(self) -> None:
        for series in self.series:
            last = series.last
            start = last.x + 1 if last else 0.0
            series.extend(np.arange(start, start + NEW_SAMPLES), np.full(NEW_SAMPLES, 0.9))


def times(work, before=lambda: None, repeat=FRAMES) -> list[float]:
    """Milliseconds of CPU time that `work` took, sorted: the wall clock tells more of a busy host than of us."""
    found = []
    for _ in range(repeat):
        before()
        start = time.process_time()
        work()
        found.append(1000 * (time.process_time() - start))
    return sorted(found)


def line(name: str, found: list[float]) -> str:
    cpu = f"{statistics.median(found):8.2f}{found[int(0.95 * len(found))]:9.2f}{found[0]:9.2f}"
    return f"{name:<52}{cpu}"


def redraw_table(app: QApplication) -> None:
    print(f"\n{CHARTS} charts at {SIZE[0]} x {SIZE[1]}, ms a frame{'median':>17}{'p95':>9}{'best':>9}")
    for samples in (10_000, 100_000, 1_000_000):
        board = Board(app, samples)
        print(line(f"  {samples:>9,d} samples, {NEW_SAMPLES} new a curve", times(board.frame, board.grow)))
        print(line(f"  {samples:>9,d} samples, nothing new", times(board.frame)))
        print(
            line(
                f"  {samples:>9,d} samples, one chart of twelve",
                times(lambda b=board: only(b, b.charts[0]), board.grow),
            )
        )
        print(line(f"  {samples:>9,d} samples, cursor moves", times(lambda b=board: hover(b))))
        board.window.close()
        board.window.deleteLater()
        board.settle()


def only(board: Board, chart: Chart) -> None:
    chart.refresh()
    board.app.processEvents(QEventLoop.ProcessEventsFlag.AllEvents)


def hover(board: Board) -> None:
    at = board.link.cursor or 0.0
    board.link.set_cursor((at + 97) % board.link.x_range[1])
    board.app.processEvents(QEventLoop.ProcessEventsFlag.AllEvents)


def series_table() -> None:
    print(f"\n{'series, 1e6 samples':<52}{'per second':>12}")
    xs, ys = np.arange(1e6), np.random.default_rng(0).normal(size=1_000_000)
    for chunk in (16, 256, 65_536):
        series, start = Series(), time.perf_counter()
        for i in range(0, xs.size, chunk):
            series.extend(xs[i : i + chunk], ys[i : i + chunk])
        print(f"{f'  extend by {chunk}':<52}{xs.size / (time.perf_counter() - start):>12,.0f}")
    series, start = Series(), time.perf_counter()
    for x, y in zip(xs[:200_000].tolist(), ys[:200_000].tolist(), strict=True):
        series.append(x, y)
    print(f"{'  append':<52}{200_000 / (time.perf_counter() - start):>12,.0f}")

    print(f"\n{'one series of 1e6 samples, ms':<52}{'median':>8}{'p95':>9}{'best':>9}")
    series = noisy(1_000_000, 0)
    smoothed = Smoothed(series)
    weights = iter(np.linspace(0.5, 0.99, 10_000).tolist())
    print(line("  draw 300 pixels", times(lambda: series.draw(0, 1e6, 300))))
    print(line("  extrema", times(lambda: series.extrema(1_000, 990_000))))
    print(
        line("  smooth anew", times(lambda: smoothed.draw(0, 1e6, 300), lambda: smoothed.set_weight(next(weights)), 10))
    )
    print(line("  draw 300 pixels of the smoothed line", times(lambda: smoothed.draw(0, 1e6, 300))))


def start_table(app: QApplication) -> None:
    print(f"\n{'making twelve charts, ms':<52}{'median':>8}{'p95':>9}{'best':>9}")
    link = XLink()
    print(line("  construct", times(lambda: [Chart("Metric", link, theme.LIGHT) for _ in range(CHARTS)], repeat=5)))
    print(line("  style sheet and palette", times(lambda: theme.apply(app, theme.DARK), repeat=5)))


def main() -> None:
    app = QApplication.instance() or QApplication([])
    assert isinstance(app, QApplication)
    theme.apply(app, theme.LIGHT)
    series_table()
    redraw_table(app)
    start_table(app)


if __name__ == "__main__":
    main()
