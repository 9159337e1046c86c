"""One line of a chart: which samples it shows, how it is drawn, and what can be said of it in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PySide6.QtGui import QColor

from engine.contract import metrics
from workbench.state import figures
from workbench.state.pyramid import Floats, Line
from workbench.state.series import Sample, Series, Smoothed
from workbench.theme import CurveStyle, Theme
from workbench.views.chart_header import Value
from workbench.views.chart_overlay import Point
from workbench.views.scales import Scale, Span

FEW = 40  # so few samples are dots: a line alone would not show where they are
PICTURE = 500  # samples in the picture for which a weight of smoothing is meant
SPARSE = 200  # so few may be drawn bold as they are; a bold zigzag of thousands stalls the window
DASH = 7  # px drawn, then as many left out

Strokes = tuple[Line | None, Line | None]  # thin, and bold on top of it


@dataclass
class ChartLine:
    """One series of a metric, `name`.

    smoothed: None for a series shown as it is. weight: of the smoothing in a picture of PICTURE samples.
    """

    name: str
    label: str
    series: Series
    smoothed: Smoothed | None
    colour_index: int
    style: CurveStyle
    weight: float

    def shows(self, series: Series, label: str, colour_index: int, *, is_smoothed: bool) -> bool:
        """Whether it is this line already."""
        is_same = self.series is series and (self.smoothed is not None) == is_smoothed
        return is_same and self.label == label and self.colour_index == colour_index

    def strokes(self, x: Span, pixels: int, whole: Span) -> Strokes:
        """What to draw thin and what to draw bold on top of it; either may be nothing. whole: x without zoom."""
        raw = self.series.draw(*x, pixels)
        if self.smoothed is not None and self.weight > 0:
            self.smoothed.set_weight(stretched(self.weight, self._expected(whole)))
            # Half the points are enough for a line so smooth, and a bold line costs by the point.
            return raw, self.smoothed.draw(*x, pixels // 2)
        return (None, raw) if raw.x.size <= SPARSE else (raw, None)

    def joins(self, drawn: Line, x: Span, width: float, *, is_bold: bool) -> NDArray[np.bool_] | None:
        """Which points are joined to the next, (n,); None for all. x: the range that is `width` px wide.

        Gaps of dashes are made here, as a dashed pen needs the stroker, and that takes 500 ms for a zigzag.
        """
        finite = np.isfinite(drawn.y)
        is_dashed = self.style.is_dashed and is_bold  # the thin line behind keeps every sample
        if not is_dashed and finite.all():
            return None
        joined = finite.copy()
        joined[:-1] &= finite[1:]
        if is_dashed:
            joined &= (drawn.x - x[0]) / (x[1] - x[0]) * width // DASH % 2 == 0
        return joined

    def points(self, drawn: Line, scale: Scale, most: int) -> list[Point]:
        """The newest finite points of a drawn line, at most `most`, ready to be marked."""
        kept = np.flatnonzero(np.isfinite(drawn.y))[-most:]
        heights: Floats = scale.forward(drawn.y[kept])
        return [
            Point(x, height, self.style.colour, self.label)
            for x, height in zip(drawn.x[kept].tolist(), heights.tolist(), strict=True)
        ]

    def reading(self, sample: Sample, scale: Scale, *, is_named: bool) -> Point:
        """What the cursor says of a sample."""
        words = self.figure(sample.y)
        return Point(
            sample.x,
            scale.height(sample.y),
            self.style.colour,
            f"{words}  {self.label}" if is_named else words,
        )

    def figure(self, value: float) -> str:
        """A value as people read it; things that are counted are whole."""
        return figures.measured(value, is_count=metrics.describe(self.name).is_count)

    def summary(self, *, is_named: bool) -> str:
        """Last, lowest and highest value, for those who do not see the chart."""
        last, extrema = self.series.last, self.series.extrema()
        name = f"{self.label}: " if is_named else ""
        if last is None:
            return f"{name}no values yet"
        words = f"{name}last {self.figure(last.y)} at {figures.tick(last.x, 1)}"
        if extrema is not None:
            words += f", lowest {self.figure(extrema.low)}, highest {self.figure(extrema.high)}"
        return words

    def _expected(self, whole: Span) -> float:
        """How many samples the whole picture will hold, if they go on as they came."""
        first, last = self.series.first, self.series.last
        if first is None or last is None or last.x <= first.x:
            return 1.0
        return len(self.series) * (whole[1] - whole[0]) / (last.x - first.x)


def stretched(weight: float, samples: float) -> float:
    """The weight that smooths over the same share of a picture of so many samples.

    At 0.9 a run of 500 steps is smoothed over its fiftieth part. Left at that weight, a run of 100,000 would be a
    band of noise. It changes in doublings only, as each change smooths the whole history again.
    """
    doublings = max(math.floor(math.log2(max(samples, 1) / PICTURE)), 0)
    return float(weight ** (0.5**doublings))


def summary(lines: Sequence[ChartLine]) -> str:
    """All lines of a chart in words."""
    return "; ".join(line.summary(is_named=len(lines) > 1) for line in lines) or "no values yet"


def corner(lines: Sequence[ChartLine], theme: Theme) -> tuple[Value, ...]:
    """The last value of each line, in the line's colour where there are several, alarming if it is no number."""
    last = [(line, line.series.last) for line in lines]
    return tuple(
        Value(line.figure(sample.y), _figure_colour(line, sample, theme, is_alone=len(lines) == 1))
        for line, sample in last
        if sample is not None
    )


def _figure_colour(line: ChartLine, sample: Sample, theme: Theme, *, is_alone: bool) -> QColor:
    if not math.isfinite(sample.y):
        return theme.colour("failed")
    return theme.colour("text") if is_alone else line.style.colour
