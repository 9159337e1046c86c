"""What the pages of proofs and toys draw, worked out without Qt: logarithmic axes, points and arrows of the plane."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.contract.toy import Toy

Floats = NDArray[np.float64]

#: Methods whose runs are shown so: they draw no images, and write no texts.
LABS = ("sampler_proof", "toy_diffusion")


@dataclass(frozen=True)
class LogLine:
    """A line of a plot with two logarithmic axes. note: stands at its end in the legend, as its slope."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    note: str = ""
    is_dashed: bool = False

    @property
    def points(self) -> list[tuple[float, float]]:
        """Those that a logarithm can show."""
        return [(x, y) for x, y in zip(self.x, self.y, strict=False) if 0 < x < math.inf and 0 < y < math.inf]


class Bounds(NamedTuple):
    """Of both axes, as powers of ten."""

    left: float
    right: float
    low: float
    high: float


def bounds_of(lines: Iterable[LogLine]) -> Bounds:
    """What shows every line, with a little room; one decade each where there is nothing."""
    points = [point for line in lines for point in line.points]
    if not points:
        return Bounds(0, 1, 0, 1)
    xs, ys = ([math.log10(value) for value in axis] for axis in zip(*points, strict=True))
    across, up = max(0.04 * (max(xs) - min(xs)), 0.05), max(0.06 * (max(ys) - min(ys)), 0.1)
    return Bounds(min(xs) - across, max(xs) + across, min(ys) - up, max(ys) + up)


def decades(low: float, high: float, most: int) -> list[int]:
    """Powers of ten between both, thinned to at most so many."""
    whole = list(range(math.ceil(low), math.floor(high) + 1))
    return whole[:: max(1, -(-len(whole) // max(most, 1)))]


def steps_between(low: float, high: float) -> list[int]:
    """Numbers to mark on a logarithmic axis of counts: 1, 2 and 5 times powers of ten."""
    marks = [mark * 10**power for power in range(math.floor(low), math.ceil(high) + 1) for mark in (1, 2, 5)]
    return [int(mark) for mark in marks if mark >= 1 and low <= math.log10(mark) <= high]


@dataclass(frozen=True)
class Plane:
    """One moment of a toy: where the particles are (N, 2), and where the field points (grid * grid, 2)."""

    particles: Floats
    field: Floats


def plane_of(toy: Toy, data: bytes) -> Plane:
    """Read what one moment says."""
    numbers = np.frombuffer(data, "<f4").astype(np.float64).reshape(-1, 2)
    return Plane(numbers[: toy.particles], numbers[toy.particles :])


def arrows(toy: Toy, field: Floats) -> Floats:
    """(n, 4): x, y and dx, dy of the arrows to draw, in the plane's own units; the longest is as long as a cell.

    Lengths are by the square root of the speed, as fields are far stronger near the data than away from it.
    """
    along = np.linspace(-toy.extent, toy.extent, toy.grid)
    x, y = np.meshgrid(along, along)
    speed = np.hypot(field[:, 0], field[:, 1])
    is_there = np.isfinite(speed) & (speed > 0)
    if not is_there.any():
        return np.empty((0, 4))
    cell = 2 * toy.extent / (toy.grid - 1)
    scale = cell * np.sqrt(speed[is_there] / speed[is_there].max()) / speed[is_there]
    return np.column_stack([x.ravel()[is_there], y.ravel()[is_there], field[is_there] * scale[:, None]])
