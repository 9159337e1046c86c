"""Pictures of a set or a run: read off the thread that draws, the next ones while these are looked at."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtGui import QImage, QImageReader

from workbench.io.background import Background
from workbench.state.picture_view import halved

Fault = Literal["", "gone", "broken", "too large"]

#: What is read; SVG and the like are not, as they are programs rather than pictures.
FORMATS = {"png", "jpeg", "webp", "bmp", "gif", "tiff", "ppm", "pgm", "pbm"}
MOST_PIXELS = 120_000_000
#: Qt refuses to read what would take more, in MiB, whatever a file says of its size.
MOST_MEMORY = 520
#: So much is kept beside what is on show; a pair that is larger than this is not joined by the next one.
KEPT_PIXELS = 40_000_000
#: The next pair is read once this one was drawn, so that they do not ask for the processor together.
AHEAD_MS = 30
#: A level that is smaller than this is not halved again.
SMALLEST = 256


@dataclass(frozen=True)
class Picture:
    """levels: the picture, then each half as large as the one before. fault: why there is none. buffers: what the
    smaller levels stand on."""

    levels: tuple[QImage, ...] = ()
    fault: Fault = ""
    buffers: tuple[np.typing.NDArray[np.uint8], ...] = ()

    @property
    def pixels(self) -> int:
        return self.levels[0].width() * self.levels[0].height() if self.levels else 0


class PictureStore(QObject):
    """Holds what is wanted now and next. arrived: a Path that was read; `get` has it.

    is_small: many are on show at once, so none is kept larger than it takes.
    """

    arrived = Signal(object)

    def __init__(self, background: Background, *, is_small: bool = False) -> None:
        super().__init__()
        self._background = background
        self._is_small = is_small
        self._kept: dict[Path, Picture] = {}
        self._awaited: set[Path] = set()
        self._next: tuple[Path, ...] = ()
        self._now: tuple[Path, ...] = ()
        self._wanted: frozenset[Path] = frozenset()
        self._missing: set[Path] = set()  # of what is on show
        QImageReader.setAllocationLimit(MOST_MEMORY)

    def want(self, now: Sequence[Path], next: Sequence[Path] = ()) -> None:
        """These are on show, those come next. What was on show before is kept while there is room, for undo."""
        self._now, self._next = tuple(now), tuple(next)
        self._wanted = frozenset([*now, *next])
        for path in self._now:
            if (picture := self._kept.pop(path, None)) is not None:
                self._kept[path] = picture  # the newest stand last
        self._make_room()
        self._missing = {path for path in self._now if path not in self._kept}
        for path in self._now:
            self._read(path)
        QTimer.singleShot(AHEAD_MS, self, self._read_ahead)

    def get(self, path: Path) -> Picture | None:
        """The picture, or what is wrong with it; None while it is being read."""
        return self._kept.get(path)

    @property
    def kept(self) -> int:
        """How many pictures are in memory."""
        return len(self._kept)

    def drop(self) -> None:
        """Nothing is on show any more."""
        self._now = self._next = ()
        self._wanted, self._missing = frozenset(), set()
        self._kept.clear()

    def _read(self, path: Path) -> None:
        if path not in self._kept and path not in self._awaited:
            self._awaited.add(path)
            self._background.submit(lambda: self._read_if_wanted(path), lambda picture: self._take(path, picture))

    def _read_if_wanted(self, path: Path) -> Picture | None:
        """On another thread: what was scrolled past meanwhile is not read."""
        if path not in self._wanted:
            return None
        return read_small(path) if self._is_small else read_picture(path)

    def _take(self, path: Path, picture: Picture | None) -> None:
        self._awaited.discard(path)
        if picture is None:
            if path in self._wanted:  # again, meanwhile
                self._read(path)
        elif path in self._wanted:
            self._kept[path] = picture
            self.arrived.emit(path)
            if path in self._missing:
                self._missing.discard(path)
                self._read_ahead()

    def _read_ahead(self) -> None:
        """Once all that is on show is there, so that it comes first."""
        if self._missing:
            return
        shown = [self._kept.get(path) for path in self._now]
        if sum(picture.pixels for picture in shown if picture) <= KEPT_PIXELS:
            for path in self._next:
                self._read(path)

    def _make_room(self) -> None:
        others = [path for path in self._kept if path not in self._wanted]
        room = KEPT_PIXELS - sum(self._kept[path].pixels for path in others)
        for path in others:
            if room < 0 or self._kept[path].fault:  # what was gone may be back
                room += self._kept.pop(path).pixels


def read_picture(path: Path) -> Picture:
    """The picture at a path, or why there is none. For a thread that may wait."""
    if not path.is_file():
        return Picture(fault="gone")
    reader = QImageReader(str(path))
    reader.setDecideFormatFromContent(True)
    reader.setAutoTransform(True)
    if reader.format().toStdString() not in FORMATS:
        return Picture(fault="broken")
    if reader.size().width() * reader.size().height() > MOST_PIXELS:
        return Picture(fault="too large")
    image = reader.read()
    if image.isNull():
        return Picture(fault="broken")
    return with_levels(image)


def read_small(path: Path) -> Picture:
    """The picture no larger than it takes to look at many at once."""
    picture = read_picture(path)
    return replace(picture, levels=picture.levels[-1:], buffers=picture.buffers[-1:])


def with_levels(image: QImage) -> Picture:
    """An image and what it looks like from afar. For a thread that may wait."""
    wanted = QImage.Format.Format_ARGB32_Premultiplied if image.hasAlphaChannel() else QImage.Format.Format_RGB32
    image.convertTo(wanted)
    levels, buffers = [image], []
    pixels = np.frombuffer(image.constBits(), dtype=np.uint8)
    pixels = pixels.reshape(image.height(), image.bytesPerLine() // 4, 4)[:, : image.width()]
    while min(pixels.shape[:2]) >= 2 * SMALLEST:
        pixels = halved(pixels)
        buffers.append(pixels)
        height, width = pixels.shape[:2]
        levels.append(QImage(pixels.data, width, height, 4 * width, wanted))
    return Picture(tuple(levels), buffers=tuple(buffers))
