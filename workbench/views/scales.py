"""Axes as arithmetic: which range to show, where its ticks stand, how a value becomes a height. No Qt."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from workbench.state import figures
from workbench.state.pyramid import Extrema, Floats

Span = tuple[float, float]

MARGIN = 0.06  # of the data's height, free above and below it
LEAST_FILL = 0.6  # of the axis: data that fills less gets a closer range
GROWTH = 1.1  # an axis that moves by a sliver each frame costs two thirds of the frame
DECADES = 3  # shown on each side of zero by the logarithmic axis


@dataclass(frozen=True)
class Scale:
    """How values become heights: linear if threshold is None, else linear within it, logarithmic beyond.

    The symmetric logarithm keeps the sign, so a falling loss and a negative reward both stay readable.
    """

    threshold: float | None = None

    def forward(self, values: Floats) -> Floats:
        """(n,) values to (n,) heights."""
        if self.threshold is None:
            return values
        heights: Floats = np.sign(values) * np.log10(1 + np.abs(values) / self.threshold)
        return heights

    def height(self, value: float) -> float:
        return float(self.forward(np.array([value]))[0])

    def value(self, height: float) -> float:
        if self.threshold is None:
            return height
        return math.copysign(self.threshold * math.expm1(abs(height) * math.log(10)), height)

    def ticks(self, low: float, high: float, most: int) -> list[tuple[float, str]]:
        """At most about `most` (height, label) between two heights."""
        if self.threshold is None:
            return linear_ticks(low, high, most)
        return self._decades(low, high, most)

    def _decades(self, low: float, high: float, most: int) -> list[tuple[float, str]]:
        first = round(math.log10(self.threshold or 1))
        powers = [10.0**p for p in range(first, first + 16)]
        inside = [v for v in [0.0, *powers, *(-p for p in powers)] if low <= self.height(v) <= high]
        if len(inside) < 2:  # within one decade: even steps of the height, named by what they stand for
            return [(h, figures.number(self.value(h), 3)) for h, _ in linear_ticks(low, high, most)]
        stride = -(-len(inside) // max(most, 2))
        return [(self.height(v), figures.tick(v, abs(v) or 1)) for v in sorted(inside)[::stride]]


def logarithmic(low: float, high: float) -> Scale:
    """The symmetric logarithm that suits values from low to high. A power of ten, so it seldom changes."""
    largest = max(abs(low), abs(high))
    return Scale(10.0 ** (math.ceil(math.log10(largest)) - DECADES) if largest else 1.0)


def linear_ticks(low: float, high: float, most: int, least_spacing: float = 0.0) -> list[tuple[float, str]]:
    """Ticks at 1, 2 or 5 times a power of ten, about `most` of them, as (value, label)."""
    if not high > low or most < 1:
        return []
    spacing = nice_spacing(max((high - low) / most, least_spacing))
    if _count(low, high, spacing) < 2 and spacing > least_spacing:
        spacing = nice_spacing(max((high - low) / (2 * most), least_spacing))  # one tick alone gives no measure
    first = math.ceil(low / spacing - 1e-9)
    ticks = [i * spacing for i in range(first, first + _count(low, high, spacing))]
    return [(tick, figures.tick(tick, spacing)) for tick in ticks]


def _count(low: float, high: float, spacing: float) -> int:
    return math.floor(high / spacing + 1e-9) - math.ceil(low / spacing - 1e-9) + 1


def nice_spacing(at_least: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that is not below `at_least`."""
    power: float = 10.0 ** math.floor(math.log10(at_least))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= at_least * (1 - 1e-9))


def fitted(now: Span | None, low: float, high: float) -> Span:
    """The heights to show for data from low to high: as now, while the data fits and fills it well."""
    if now is not None and now[0] <= low and high <= now[1] and high - low >= LEAST_FILL * (now[1] - now[0]):
        return now
    # A flat line stands in the middle of a range that is narrow for its own size.
    margin = MARGIN * (high - low) or 0.1 * abs(high) or 0.5
    if margin <= 1e-12 * abs(high):
        margin = 1e-9 * abs(high)  # closer than doubles can be told apart on an axis
    return low - margin, high + margin


class Heights:
    """The range of y and its scale, following the data, or where the user zoomed."""

    def __init__(self) -> None:
        self.scale = Scale()
        self.zoomed: Span | None = None
        self._span: Span | None = None

    def forget(self) -> None:
        """Begin anew with whatever comes next."""
        self._span = self.zoomed = None

    def follow(self, extrema: Iterable[Extrema | None], *, is_logarithmic: bool) -> Span:
        """The heights to show for lines with these extremes; None for a line that has none."""
        if self.zoomed is not None:
            return self.zoomed
        found = [e for e in extrema if e is not None]
        low = min((e.low for e in found), default=0.0)
        high = max((e.high for e in found), default=1.0)
        scale = logarithmic(low, high) if is_logarithmic else Scale()
        if scale != self.scale:
            self.scale, self._span = scale, None
        self._span = fitted(self._span, scale.height(low), scale.height(high))
        return self._span


def stepped(first: float, last: float, now: Span | None, total: float | None) -> Span:
    """The x to show for samples from first to last: to the run's end if known, else growing by tenths."""
    start = 0.0 if 0 <= first <= 0.2 * last else first
    if now is not None:
        start = min(start, now[0])
    if total is not None and total >= last:
        return start, max(total, start + 1)
    if now is not None and last <= now[1]:
        return start, now[1]
    return start, start + max((last - start) * GROWTH, 1.0)


def spread(wanted: list[float], height: float, low: float, high: float) -> list[float]:
    """Tops for labels of one height so that none covers another: near `wanted`, within low and high."""
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    placed = [0.0] * len(wanted)
    floor = low
    for rank, i in enumerate(order):
        room_needed = height * (len(order) - 1 - rank)
        placed[i] = max(min(wanted[i], high - room_needed), floor)
        floor = placed[i] + height
    return placed
