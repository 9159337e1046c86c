"""A trajectory as it is written: its numbers, and the record somebody looks at, read off the thread that draws."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QImage

from engine.contract.trajectory import ABOUT, About, Point, Trajectory, open_trajectory
from workbench.io.background import Background
from workbench.io.picture_store import Picture, with_levels
from workbench.state.trajectory import Sheet, mosaic

#: Numbers of so many records are read at a look; the next look goes on.
POINTS_A_LOOK = 5_000


class Wanted(NamedTuple):
    """A record to be drawn, and in which rows its pictures stand."""

    record: int
    sheet: Sheet


class Shown(NamedTuple):
    """A record as it is drawn. x, x0: all its pictures as one."""

    wanted: Wanted
    point: Point
    x: Picture
    x0: Picture


@dataclass(frozen=True)
class _Look:
    """trajectory: None if it is not there yet. mark: tells one writing of it from the next."""

    trajectory: Trajectory | None
    mark: tuple[int, int] | None
    points: list[Point]
    is_new: bool
    has_more: bool = False
    newest: Shown | None = None


class TrackReader(QObject):
    """One trajectory at a time. grew: there are more points, or other ones. drawn: a Shown. failed: a sentence.

    Of several wishes the last one counts, so scrubbing never queues up.
    """

    grew = Signal()
    drawn = Signal(object)
    failed = Signal(str)

    def __init__(self, background: Background) -> None:
        super().__init__()
        self.folder: Path | None = None
        self.about: About | None = None
        self.points: list[Point] = []
        self._background = background
        self._trajectory: Trajectory | None = None
        self._mark: tuple[int, int] | None = None
        self._is_looking = False
        self._is_reading = False
        self._wanted: Wanted | None = None
        self._newest: Shown | None = None  # read together with the numbers, as it is wanted next

    def open(self, folder: Path | None) -> None:
        """Read another one from now on; None is none."""
        self.folder, self.about, self.points = folder, None, []
        self._trajectory = self._mark = self._wanted = self._newest = None
        self.look()

    def look(self, follow: Sheet | None = None) -> None:
        """See whether there is more of it. follow: the newest record will be wanted in these rows."""
        if self.folder is None or self._is_looking:
            return
        self._is_looking = True
        folder, known, mark, count = self.folder, self._trajectory, self._mark, len(self.points)
        self._ask(
            lambda: _look(folder, known, mark, count, follow),
            lambda look: self._looked(folder, look),
            self._not_looked,
        )

    def want(self, wanted: Wanted) -> None:
        """Draw this record as soon as it is read."""
        if self._newest is not None and self._newest.wanted == wanted:
            self._wanted = None
            self.drawn.emit(self._newest)
            return
        self._wanted = wanted
        self._read_next()

    def _looked(self, folder: Path, look: _Look) -> None:
        self._is_looking = False
        if folder != self.folder:
            self.look()
            return
        if look.is_new:
            self.points = []
        if look.is_new or look.points:
            self._trajectory, self._mark = look.trajectory, look.mark
            self.about = look.trajectory.about if look.trajectory is not None else None
            self.points.extend(look.points)
            self._newest = look.newest
            self.grew.emit()
        if look.has_more:
            self.look()

    def _not_looked(self, error: Exception) -> None:
        self._is_looking = False
        self.failed.emit(str(error))

    def _read_next(self) -> None:
        if self._wanted is None or self._is_reading or self._trajectory is None:
            return
        wanted, self._wanted = self._wanted, None
        trajectory, self._is_reading = self._trajectory, True
        self._ask(lambda: _draw(trajectory, wanted), lambda shown: self._was_read(trajectory, shown), self._not_read)

    def _was_read(self, trajectory: Trajectory, shown: Shown | None) -> None:
        self._is_reading = False
        if shown is not None and trajectory is self._trajectory:
            self.drawn.emit(shown)
        self._read_next()

    def _not_read(self, error: Exception) -> None:
        self._is_reading = False
        self.failed.emit(f"A step cannot be read: {error}. Choose the trajectory again to try once more.")

    def _ask(self, job: Callable[[], object], done: Callable[..., None], failed: Callable[[Exception], None]) -> None:
        self._background.submit(job, done, failed)


def _look(
    folder: Path, known: Trajectory | None, mark: tuple[int, int] | None, count: int, follow: Sheet | None
) -> _Look:
    """What is there now beyond `count` points. Raises TrajectoryError if it can be none of ours."""
    try:
        about = (folder / ABOUT).stat()
    except OSError:
        return _Look(None, None, [], is_new=known is not None)
    now = (about.st_ino, about.st_mtime_ns)
    trajectory = known if known is not None and now == mark else open_trajectory(folder)
    is_new = trajectory is not known or len(trajectory) < count
    begin = 0 if is_new else count
    points = trajectory.points(begin, POINTS_A_LOOK)
    newest = Wanted(begin + len(points) - 1, follow) if follow is not None and points and not is_new else None
    shown = _draw(trajectory, newest) if newest is not None else None
    return _Look(trajectory, now, points, is_new, len(points) == POINTS_A_LOOK, shown)


def _draw(trajectory: Trajectory, wanted: Wanted) -> Shown | None:
    frame = trajectory.frame(wanted.record)
    if frame is None:
        return None
    x, x0 = (_picture(rgb, trajectory.about, wanted.sheet) for rgb in (frame.x, frame.x0))
    return Shown(wanted, frame.point, x, x0)


def _picture(rgb: bytes, about: About, sheet: Sheet) -> Picture:
    pixels = mosaic(rgb, about, sheet)
    height, width = pixels.shape[:2]
    image = QImage(pixels.data, width, height, 4 * width, QImage.Format.Format_ARGB32_Premultiplied)
    picture = with_levels(image)
    return Picture(picture.levels, buffers=(pixels, *picture.buffers))
