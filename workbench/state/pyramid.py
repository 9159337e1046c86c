"""Growing arrays in fixed chunks, and a min-max pyramid over them.

A pyramid answers "what does this stretch look like in 600 pixels?" at a cost that does not depend on the
length of the stretch. Level k keeps, for every BUCKET * FANOUT**k samples, the lowest and the highest value
and where they stood, so a spike of one sample is drawn at its own x however long the run is.
"""

from __future__ import annotations

import bisect
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Samples a chunk. Doubling an array of 1e7 points stalls the window for a second; chunks never move.
CHUNK = 65_536
LEVEL_CHUNK = 4_096
BUCKET = 16
FANOUT = 4


class Column:
    """A growing (rows, n) float64 array that is never moved or copied while it grows."""

    def __init__(self, rows: int = 1, chunk: int = CHUNK) -> None:
        self._rows = rows
        self._chunk = chunk
        self._chunks: list[Floats] = []
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, value: float) -> None:
        """Add one sample to a column of one row."""
        offset = self._length % self._chunk
        if offset == 0:
            self._chunks.append(np.empty((self._rows, self._chunk)))
        self._chunks[-1][0, offset] = value
        self._length += 1

    def extend(self, values: Floats) -> None:
        """Add `values`, (rows, m)."""
        taken = 0
        while taken < values.shape[1]:
            offset = self._length % self._chunk
            if offset == 0:
                self._chunks.append(np.empty((self._rows, self._chunk)))
            count = min(self._chunk - offset, values.shape[1] - taken)
            self._chunks[-1][:, offset : offset + count] = values[:, taken : taken + count]
            self._length += count
            taken += count

    def truncate(self, length: int) -> None:
        if length < self._length:
            self._length = length
            del self._chunks[-(-length // self._chunk) :]

    def at(self, index: int) -> float:
        """The first row's value at `index`, counted from 0."""
        return float(self._chunks[index // self._chunk][0, index % self._chunk])

    def slice(self, start: int, stop: int) -> Floats:
        """(rows, stop - start): a view where one chunk holds it all, else a copy."""
        if stop <= start:
            return np.empty((self._rows, 0))
        first, last = start // self._chunk, (stop - 1) // self._chunk
        if first == last:
            base = first * self._chunk
            return self._chunks[first][:, start - base : stop - base]
        parts = [
            self._chunks[c][:, max(start - c * self._chunk, 0) : min(stop - c * self._chunk, self._chunk)]
            for c in range(first, last + 1)
        ]
        return np.concatenate(parts, axis=1)

    def first_at_least(self, value: float) -> int:
        """Index of the first sample >= value, for a sorted column of one row."""
        return self._search(value, "left")

    def first_above(self, value: float) -> int:
        """Index of the first sample > value, for a sorted column of one row."""
        return self._search(value, "right")

    def _search(self, value: float, side: str) -> int:
        find = bisect.bisect_left if side == "left" else bisect.bisect_right
        chunk = max(find(self._chunks, value, key=lambda c: float(c[0, 0])) - 1, 0)
        base = chunk * self._chunk
        inside = self.slice(base, min(base + self._chunk, self._length))[0]
        return base + int(np.searchsorted(inside, value, side="right" if side == "right" else "left"))


class Extrema(NamedTuple):
    """The lowest and the highest finite value of a stretch, and the x of each."""

    low: float
    low_x: float
    high: float
    high_x: float


class Line(NamedTuple):
    """Points to draw: x and y are (n,) float64; y holds NaN only where the line has a gap."""

    x: Floats
    y: Floats


def _as_buckets(x: Floats, y: Floats) -> Floats:
    """Each sample as a bucket of its own, (4, n): low, low_x, high, high_x. A non-finite y becomes NaN."""
    buckets = np.empty((4, x.size))
    buckets[0] = buckets[2] = np.where(np.isfinite(y), y, np.nan)
    buckets[1] = buckets[3] = x
    return buckets


def _merged(buckets: Floats, size: int) -> Floats:
    """Join every `size` neighbours: (4, n) to (4, n // size). NaN yields to any number beside it."""
    count = buckets.shape[1] // size
    table = buckets[:, : count * size].reshape(4, count, size)
    low, high = table[0], table[2]
    missing = np.isnan(low)
    if missing.any():
        lowest = np.where(missing, np.inf, low).argmin(axis=1)
        highest = np.where(missing, -np.inf, high).argmax(axis=1)
    else:
        lowest, highest = low.argmin(axis=1), high.argmax(axis=1)
    rows = np.arange(count)
    merged = np.empty((4, count))
    merged[:2] = table[:2, rows, lowest]
    merged[2:] = table[2:, rows, highest]
    return merged


def _zigzag(buckets: Floats) -> Floats:
    """(4, n) buckets to (2, 2n) points: low and high of each, in the order in which they happened."""
    low, low_x, high, high_x = buckets
    low_first = low_x <= high_x
    points = np.empty((2, 2 * low.size))
    points[0, 0::2] = np.minimum(low_x, high_x)
    points[0, 1::2] = np.maximum(low_x, high_x)
    points[1, 0::2] = np.where(low_first, low, high)
    points[1, 1::2] = np.where(low_first, high, low)
    return points


class Pyramid:
    """Minima and maxima, level by level, of two columns that grow together: x, finite and sorted, and y."""

    def __init__(self, x: Column, y: Column) -> None:
        self._x = x
        self._y = y
        self._levels: list[Column] = []

    def grow(self) -> None:
        """Fold in what the columns gained; buckets that are not full wait."""
        level = 0
        while True:
            if level == len(self._levels):
                if self._size_below(level) < self._fan(level):
                    return
                self._levels.append(Column(rows=4, chunk=LEVEL_CHUNK))
            target = self._levels[level]
            start, stop = len(target) * self._fan(level), self._size_below(level)
            if stop - start < self._fan(level):
                return  # nothing new here, so nothing new above
            target.extend(_merged(self._below(level, start, stop), self._fan(level)))
            level += 1

    def truncate(self, length: int) -> None:
        for level, column in enumerate(self._levels):
            column.truncate(length // (BUCKET * FANOUT**level))

    def extrema(self, start: int, stop: int) -> Extrema | None:
        """Of the samples start <= i < stop; None if none is finite. Touches a few dozen buckets a level."""
        parts = self._cover(start, stop)
        if not parts:
            return None
        joined = np.concatenate(parts, axis=1)
        found = Extrema(*_merged(joined, joined.shape[1])[:, 0].tolist())
        return None if np.isnan(found.low) else found

    def draw(self, start: int, stop: int, pixels: int) -> Line:
        """Samples start <= i < stop in about two points a pixel: each group's extremes, and the last sample.

        Groups are counted from sample 0, not from `start`, so old points stand still while new ones arrive.
        """
        if stop - start <= 2 * pixels:
            return Line(*self._points(start, stop))
        size = -(-(stop - start) // max(pixels, 1))
        level, width = -1, 1
        while level + 1 < len(self._levels) and BUCKET * FANOUT ** (level + 1) * 2 <= size:
            level += 1
            width = BUCKET * FANOUT**level
        group = -(-size // width)
        first = start // (group * width)
        last = max(min(stop // width, self._size_at(level)) // group, first)
        body = _merged(self._below(level + 1, first * group, last * group), group)
        parts = [body]
        tail = self._cover(last * group * width, stop)
        if tail:
            rest = np.concatenate(tail, axis=1)
            parts.append(_merged(rest, rest.shape[1]))
        points = _zigzag(np.concatenate(parts, axis=1))
        return Line(*np.concatenate([points, self._points(stop - 1, stop)], axis=1))

    def _points(self, start: int, stop: int) -> Floats:
        y = self._y.slice(start, stop)[0]
        return np.stack([self._x.slice(start, stop)[0], np.where(np.isfinite(y), y, np.nan)])

    def _cover(self, start: int, stop: int) -> list[Floats]:
        """Buckets that together hold exactly start <= i < stop: fine at both ends, coarse between."""
        parts: list[Floats] = []
        level = 0
        while start < stop:
            fan = self._fan(level)
            left, right = -(-start // fan) * fan, stop // fan * fan
            top = level >= len(self._levels) or left >= right
            if top:
                parts.append(self._below(level, start, stop))
                return parts
            if start < left:
                parts.append(self._below(level, start, left))
            if right < stop:
                parts.append(self._below(level, right, stop))
            start, stop = left // fan, right // fan
            level += 1
        return parts

    def _fan(self, level: int) -> int:
        return BUCKET if level == 0 else FANOUT

    def _size_at(self, level: int) -> int:
        return len(self._y) if level < 0 else len(self._levels[level])

    def _size_below(self, level: int) -> int:
        return self._size_at(level - 1)

    def _below(self, level: int, start: int, stop: int) -> Floats:
        """Buckets start <= i < stop of what `level` is made from: the samples themselves for level 0."""
        if level == 0:
            return _as_buckets(self._x.slice(start, stop)[0], self._y.slice(start, stop)[0])
        return self._levels[level - 1].slice(start, stop)
