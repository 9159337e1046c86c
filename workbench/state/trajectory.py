"""Where somebody is in a trajectory, and its pictures laid side by side as one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.contract.trajectory import About, Point

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]
#: Pictures below this side get dots for pixels, until they have about so many.
SHARP = 128


@dataclass
class Playback:
    """Which record of how many is looked at: the newest, until somebody looks back or plays."""

    at: int = 0
    count: int = 0
    is_playing: bool = False

    def grew(self, count: int) -> None:
        """So many there are now; fewer than before, if a new life of the run draws it again."""
        was_at_end = self.is_at_end
        self.count = count
        if count == 0:
            self.is_playing = False
        self.at = count - 1 if was_at_end and not self.is_playing else self.at
        self.at = max(0, min(self.at, count - 1))

    @property
    def is_at_end(self) -> bool:
        return self.at >= self.count - 1

    def seek(self, at: int) -> None:
        """Go there and stay: at the end that means to follow what comes."""
        self.is_playing = False
        self.at = max(0, min(at, self.count - 1))

    def toggle(self) -> None:
        """Play on, from the beginning if this is the end; or hold still."""
        self.is_playing = not self.is_playing and self.count > 1
        if self.is_playing and self.is_at_end:
            self.at = 0

    def advance(self) -> None:
        """One record on while it plays; the end ends it."""
        if self.is_playing:
            self.at = min(self.at + 1, self.count - 1)
            self.is_playing = not self.is_at_end


class Sheet(NamedTuple):
    """Pictures in rows: how many beside each other, how many dots a pixel is wide, and how many lie in between.

    Pixels of tiny pictures are dots already here, so that they come out sharp and alike at any size.
    """

    columns: int
    dots: int
    gap: int

    def size(self, about: About) -> tuple[int, int]:
        """Height and width of all of them, in dots."""
        rows = -(-about.count // self.columns)
        height, width = self.dots * about.height + self.gap, self.dots * about.width + self.gap
        return rows * height - self.gap, self.columns * width - self.gap


def sheet_for(about: About, room_width: int, room_height: int) -> Sheet:
    """The rows in which the pictures get largest; fewer columns where it makes no difference."""
    side = max(about.width, about.height)
    dots = max(1, SHARP // side)
    gap = max(1, dots * side // 16) if about.count > 1 else 0
    sheets = [Sheet(columns, dots, gap) for columns in range(1, about.count + 1)]
    return max(sheets, key=lambda sheet: (round(_scale(sheet, about, room_width, room_height), 3), -sheet.columns))


def _scale(sheet: Sheet, about: About, room_width: int, room_height: int) -> float:
    height, width = sheet.size(about)
    return min(max(room_width, 1) / width, max(room_height, 1) / height)


def mosaic(rgb: bytes, about: About, sheet: Sheet) -> Pixels:
    """RGB bytes, picture after picture -> (height, width, 4) blue, green, red, opacity; what is between is clear."""
    pictures = np.frombuffer(rgb, np.uint8).reshape(about.count, about.height, about.width, 3)
    made = np.zeros((*sheet.size(about), 4), np.uint8)
    height, width = sheet.dots * about.height, sheet.dots * about.width
    for at, picture in enumerate(pictures):
        top, left = at // sheet.columns * (height + sheet.gap), at % sheet.columns * (width + sheet.gap)
        cell = made[top : top + height, left : left + width]
        cell[:, :, :3] = picture[:, :, ::-1].repeat(sheet.dots, axis=0).repeat(sheet.dots, axis=1)
        cell[:, :, 3] = 255
    return made


def places(points: Sequence[Point], steps: int) -> Floats:
    """Where each record stands from 0, noise, to 1, picture: by its timestep, or by its step where those make no sense.

    So two samplers stand at one place where they have as much noise, however many steps each of them takes.
    """
    times = np.array([point.t for point in points], np.float64)
    if times.size and np.isfinite(times).all() and times[0] > 0 and (np.diff(times) <= 0).all():
        found: Floats = 1 - times / times[0]
    else:
        found = np.array([point.step for point in points], np.float64) / max(steps, 1)
    return found.clip(0.0, 1.0)


def nearest(stands: Floats, place: float) -> int:
    """The record that stands next to `place`: so two samplers of different steps are stepped together."""
    return int(np.abs(stands - place).argmin()) if stands.size else 0


def norms(points: Sequence[Point]) -> tuple[Floats, Floats]:
    """Size of x_t and of the predicted x0 at each record; NaN where one is no number."""
    x, x0 = (np.array([getattr(point, name) for point in points], np.float64) for name in ("norm_x", "norm_x0"))
    return np.where(np.isfinite(x), x, math.nan), np.where(np.isfinite(x0), x0, math.nan)
