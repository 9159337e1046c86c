"""The pictures of one run: its trajectories, what it drew, and what each picture says of how it was drawn."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from PySide6.QtCore import QObject, Signal

from engine.contract.image_record import ImageRecord, read_picture
from engine.contract.png_text import PngError
from engine.contract.run_dir import RunDir
from engine.contract.trajectory import About, TrajectoryError, list_trajectories, open_trajectory
from workbench.io.background import Background
from workbench.io.picture_store import PictureStore
from workbench.io.track_reader import TrackReader
from workbench.state.gallery import worded

#: Records read in one go: parsing holds Python's lock, and the window is to draw in between.
RECORDS_A_GO = 32
#: What a trajectory's own title has.
SAID_ALREADY = ("sampler", "steps", "eta")


class RunPictures(QObject):
    """trajectories: the folders there are, in order, and what each is called. told: records by path; None where a
    picture says nothing."""

    trajectories = Signal(object)
    told = Signal(object)

    def __init__(self, run: RunDir, background: Background) -> None:
        super().__init__()
        self.run = run
        self.tracks = (TrackReader(background), TrackReader(background))
        self.small = PictureStore(background, is_small=True)
        self.whole = PictureStore(background)
        self._background = background
        self._is_listing = False
        self._unread: list[str] = []
        self._is_reading = False
        self._is_closed = False

    def close(self) -> None:
        self._is_closed = True
        self._unread = []
        for track in self.tracks:
            track.open(None)
        for store in (self.small, self.whole):
            store.drop()

    def list_trajectories(self) -> None:
        """Look which there are; `trajectories` tells."""
        if not self._is_listing and not self._is_closed:
            self._is_listing = True
            self._background.submit(lambda: _titled(self.run.path), self._listed, lambda _: self._listed({}))

    def read_records(self, paths: Iterable[str]) -> None:
        """Read what these pictures say, besides those that were asked for before. paths: within the run directory."""
        self._unread.extend(paths)
        self._read_next()

    def _listed(self, titles: dict[Path, str]) -> None:
        self._is_listing = False
        if not self._is_closed:
            self.trajectories.emit(titles)

    def _read_next(self) -> None:
        if self._is_reading or not self._unread or self._is_closed:
            return
        now, self._unread = self._unread[:RECORDS_A_GO], self._unread[RECORDS_A_GO:]
        self._is_reading = True
        folder = self.run.path
        self._background.submit(lambda: {path: _record(folder, path) for path in now}, self._were_read)

    def _were_read(self, records: Mapping[str, ImageRecord | None]) -> None:
        self._is_reading = False
        if not self._is_closed:
            self.told.emit(records)
            self._read_next()


def place_of(run: RunDir, path: str) -> Path | None:
    """The file of a picture; None if the path leads out of the run, as a stranger's events may."""
    within = PurePosixPath(path)
    return None if within.is_absolute() or ".." in within.parts else run.path / within


def _titled(run: Path) -> dict[Path, str]:
    """What each trajectory says it is; with its place in the grid, where two say the same."""
    abouts = {folder: _about(folder) for folder in list_trajectories(run)}
    counts = Counter(about.what for about in abouts.values() if about is not None)
    return {folder: _title(run, folder, about, counts) for folder, about in abouts.items()}


def _about(folder: Path) -> About | None:
    try:
        return open_trajectory(folder).about
    except TrajectoryError:
        return None


def _title(run: Path, folder: Path, about: About | None, counts: Counter[str]) -> str:
    """Of one among several alike: what its first picture says of its cell, its folder's name until that is there."""
    if about is None or counts[about.what] == 1:
        return about.what if about is not None else folder.name
    record = _record(run, about.images[0]) if about.images else None
    cell = record.cell if record is not None else {}
    words = [worded(name, value) for name, value in cell.items() if name not in SAID_ALREADY]
    return "  ".join([about.what, *words]) if words else f"{about.what}  {folder.name}"


def _record(folder: Path, path: str) -> ImageRecord | None:
    place = place_of(RunDir(folder), path)
    try:
        return read_picture(place).record if place is not None else None
    except (PngError, OSError):
        return None
