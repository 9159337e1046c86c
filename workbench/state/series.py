"""One metric over the steps of a run, and its smoothed line, both drawn at any zoom at constant cost."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from workbench.state.pyramid import BUCKET, Column, Extrema, Floats, Line, Pyramid

BLOCK = 64  # samples scanned together; log2(64) = 6 vectorised passes


class Sample(NamedTuple):
    x: float
    y: float


class Series:
    """Samples (x, y) in the order they were written: x finite and never decreasing, y any float.

    NaN and ±Infinity are kept as they came and read back by `value_at`; they never touch a range or a drawn
    line, and `broken` says where they are, so that they can be marked instead of hidden.
    """

    def __init__(self) -> None:
        self._x = Column()
        self._y = Column()
        self._pyramid = Pyramid(self._x, self._y)
        self._last_x = -math.inf
        self._broken: list[int] = []
        self._cuts: list[int] = []

    def __len__(self) -> int:
        return len(self._y)

    @property
    def stamp(self) -> tuple[int, int]:
        """Differs whenever the samples differ: (samples, times it was cut)."""
        return len(self._y), len(self._cuts)

    @property
    def last(self) -> Sample | None:
        return self._sample(len(self) - 1) if len(self) else None

    @property
    def first(self) -> Sample | None:
        return self._sample(0) if len(self) else None

    def append(self, x: float, y: float) -> None:
        """Add one sample. Raises ValueError if x is not finite or lies before the last one."""
        if not self._last_x <= x < math.inf:
            raise ValueError(
                f"x should be finite and at least {self._last_x:g} (got {x:g}); use truncate_after to go back"
            )
        if not math.isfinite(y):
            self._broken.append(len(self._y))
        self._x.append(x)
        self._y.append(y)
        self._last_x = x
        if len(self._y) % BUCKET == 0:
            self._pyramid.grow()

    def extend(self, xs: Sequence[float] | Floats, ys: Sequence[float] | Floats) -> None:
        """Add many samples, (n,) each, or none: raises ValueError as `append` does, or if lengths differ."""
        x, y = np.asarray(xs, dtype=np.float64), np.asarray(ys, dtype=np.float64)
        if x.shape != y.shape or x.ndim != 1:
            raise ValueError(f"xs and ys should be two lists of one length (got shapes {x.shape} and {y.shape})")
        if not x.size:
            return
        if not (np.isfinite(x).all() and x[0] >= self._last_x and (np.diff(x) >= 0).all()):
            raise ValueError(
                f"xs should be finite, in order and at least {self._last_x:g}; use truncate_after to go back"
            )
        self._broken += (np.flatnonzero(~np.isfinite(y)) + len(self)).tolist()
        self._x.extend(x[np.newaxis])
        self._y.extend(y[np.newaxis])
        self._last_x = float(x[-1])
        self._pyramid.grow()

    def truncate_after(self, x: float) -> None:
        """Drop the samples beyond `x`: a resumed run writes them again."""
        length = self._x.first_above(x)
        if length == len(self):
            return
        for column in (self._x, self._y):
            column.truncate(length)
        self._pyramid.truncate(length)
        del self._broken[bisect.bisect_left(self._broken, length) :]
        self._cuts.append(length)
        self._last_x = self._x.at(length - 1) if length else -math.inf

    def draw(self, x0: float, x1: float, pixels: int) -> Line:
        """The line between x0 and x1, with one sample beyond each edge, in about two points a pixel.

        Every spike is there, and where the view reaches it the newest sample is too. Gaps are NaN.
        """
        return self._pyramid.draw(*self._beyond(x0, x1), pixels)

    def extrema(self, x0: float = -math.inf, x1: float = math.inf) -> Extrema | None:
        """Of the finite samples with x0 <= x <= x1; between two samples, of those two. None if none."""
        start, stop = self._x.first_at_least(x0), self._x.first_above(x1)
        if start >= stop:
            start, stop = self._beyond(x0, x1)
        return self._pyramid.extrema(start, stop)

    def value_at(self, x: float) -> Sample | None:
        """The sample nearest to `x`, whatever its value; the later one of two as near."""
        return self._sample(self._nearest(x)) if len(self) else None

    def broken(self, x0: float = -math.inf, x1: float = math.inf, most: int = 500) -> list[Sample]:
        """The samples between x0 and x1 that are NaN or infinite, evenly thinned out to at most `most`."""
        low = bisect.bisect_left(self._broken, self._x.first_at_least(x0))
        high = bisect.bisect_left(self._broken, self._x.first_above(x1))
        return [self._sample(i) for i in self._broken[low : high : max(-(-(high - low) // most), 1)]]

    def neighbour(self, x: float, offset: int) -> Sample | None:
        """The sample `offset` places after the one nearest to `x`, or the end of the series that way."""
        if not len(self):
            return None
        return self._sample(min(max(self._nearest(x) + offset, 0), len(self) - 1))

    def arrays(self) -> tuple[Floats, Floats]:
        """All samples, x and y, (n,) each. A copy for long series: for export, not for drawing."""
        return self._x.slice(0, len(self))[0], self._y.slice(0, len(self))[0]

    def _sample(self, index: int) -> Sample:
        return Sample(self._x.at(index), self._y.at(index))

    def _nearest(self, x: float) -> int:
        after = self._x.first_above(x)
        if after == 0:
            return 0
        if after == len(self):
            return after - 1
        return after if self._x.at(after) - x < x - self._x.at(after - 1) else after - 1

    def _beyond(self, x0: float, x1: float) -> tuple[int, int]:
        return max(self._x.first_at_least(x0) - 1, 0), min(self._x.first_above(x1) + 1, len(self))


class Smoothed:
    """The debiased exponential moving average of a series, over its whole history, before any decimation.

    s_t = (1 - w) * sum_i w^(t-i) y_i / (1 - w^t), counting finite samples only; a broken sample repeats the
    value before it. It owns no samples: it reads what the series gained since the last question. Weight 0 is
    the series.
    """

    def __init__(self, series: Series, weight: float = 0.9) -> None:
        self._series = series
        self._cuts_seen = 0
        self._reset(weight)

    @property
    def weight(self) -> float:
        return self._weight

    def set_weight(self, weight: float) -> None:
        """0 <= weight < 1. The line is made anew in whole blocks the next time it is asked for."""
        if weight != self._weight:
            self._reset(weight)

    def draw(self, x0: float, x1: float, pixels: int) -> Line:
        self._follow()
        return self._pyramid.draw(*self._series._beyond(x0, x1), pixels)

    def value_at(self, x: float) -> Sample | None:
        """The smoothed value at the sample nearest to `x`; NaN before the first finite sample."""
        self._follow()
        if not len(self._y):
            return None
        index = self._series._nearest(x)
        return Sample(self._series._x.at(index), self._y.at(index))

    def _reset(self, weight: float) -> None:
        if not 0 <= weight < 1:
            raise ValueError(f"weight should be at least 0 and below 1 (got {weight:g})")
        self._weight = weight
        self._y = Column()
        self._pyramid = Pyramid(self._series._x, self._y)

    def _follow(self) -> None:
        cuts = self._series._cuts
        kept = min(cuts[self._cuts_seen :], default=len(self._y))
        self._cuts_seen = len(cuts)
        self._y.truncate(kept)
        self._pyramid.truncate(len(self._y))
        start, stop = len(self._y), len(self._series)
        if start < stop:
            smooth = self._read_few(start, stop) if stop - start <= BLOCK else self._read_many(start, stop)
            self._y.extend(smooth[np.newaxis])
            self._pyramid.grow()

    def _before(self, start: int) -> tuple[int, float]:
        """How many finite samples came before `start`, and their smoothed value."""
        seen = start - bisect.bisect_left(self._series._broken, start)
        return seen, self._y.at(start - 1) if seen else math.nan

    def _read_few(self, start: int, stop: int) -> Floats:
        """As `_read_many`, one by one: cheaper for the handful that a live run adds."""
        seen, value = self._before(start)
        smooth = []
        for y in self._series._y.slice(start, stop)[0].tolist():
            if math.isfinite(y):
                carried = self._weight * value * (1 - self._weight**seen) if seen else 0.0
                seen += 1
                value = (carried + (1 - self._weight) * y) / (1 - self._weight**seen)
            smooth.append(value)
        return np.array(smooth)

    def _read_many(self, start: int, stop: int) -> Floats:
        """Smooth samples start <= i < stop, (stop - start,), carrying on from the value before them."""
        y = self._series._y.slice(start, stop)[0]
        finite = np.isfinite(y)
        seen, before = self._before(start)
        decayed = 1 - self._weight**seen if seen else 0.0
        values = (1 - self._weight) * y[finite]
        if values.size and seen:
            values[0] += self._weight * before * decayed
        debias = 1 - np.power(self._weight, np.arange(seen + 1, seen + values.size + 1))
        smooth = np.concatenate([[before], _decaying_sum(values, self._weight) / debias])
        return np.asarray(smooth[np.cumsum(finite)])


def _decaying_sum(values: Floats, weight: float) -> Floats:
    """u with u[t] = weight * u[t-1] + values[t], (n,), in whole-array passes.

    Blocks first, then the carry between them; the carries are such a sum themselves.
    """
    rows = -(-values.size // BLOCK)
    table = np.zeros((rows, BLOCK))
    table.reshape(-1)[: values.size] = values
    shift = 1
    while shift < BLOCK:
        # The right side is a fresh array, so the pass reads only what the pass before it wrote.
        table[:, shift:] += weight**shift * table[:, :-shift]
        shift *= 2
    if rows > 1:
        carry = _decaying_sum(table[:-1, -1], weight**BLOCK)
        table[1:] += carry[:, np.newaxis] * weight ** np.arange(1, BLOCK + 1)
    return table.reshape(-1)[: values.size]


def csv_text(columns: dict[str, Series], x_name: str = "step") -> str:
    """One row for each x that any series has, one column a series, empty where a series has no sample there.

    Where a series has several samples at one x the last one counts. Numbers are written to read back exactly.
    """
    tables = [_table(series) for series in columns.values()]
    rows = [",".join(map(_quoted, [x_name, *columns]))]
    for x in sorted(set().union(*tables)):
        rows.append(",".join([_exact(x), *(_exact(table[x]) if x in table else "" for table in tables)]))
    return "\n".join(rows) + "\n"


def _table(series: Series) -> dict[float, float]:
    xs, ys = series.arrays()
    return dict(zip(xs.tolist(), ys.tolist(), strict=True))


def _exact(value: float) -> str:
    return str(int(value)) if math.isfinite(value) and value == int(value) and abs(value) < 1e15 else repr(value)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if any(c in name for c in ',"\n') else name
