"""How pictures came out of noise: RUN_DIR/trajectories/<name>/ with trajectory.json and frames.bin.

frames.bin holds records of one fixed size, one a step that was kept, only ever appended: a header of little-endian
numbers (step u32, t, norm_x, norm_x0, seconds as f32), then x_t as count x height x width x 3 bytes of RGB, then the
predicted x0 likewise. A last record that is not whole is not there yet. So whoever shows one seeks, and reads nothing
twice. The files may come from a stranger: whatever they say is bounded before it is believed.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, Self

from pydantic import BaseModel, Field, ValidationError, model_validator

ABOUT, FRAMES = "trajectory.json", "frames.bin"
_HEADER = struct.Struct("<I4f")
CHANNELS = 3
#: No trajectory.json of ours comes near it.
LARGEST_ABOUT = 256 * 1024
#: Bytes of one record: sixteen pictures of 512 x 512, twice. More at once is not looked at.
LARGEST_RECORD = 32 * 1024 * 1024


class TrajectoryError(ValueError):
    """What is wrong with a trajectory's files, and what to do."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem = problem
        self.remedy = remedy


class About(BaseModel, frozen=True, extra="ignore"):
    """What a trajectory shows.

    what: in words, for a title. steps: the sampler's; records may be fewer, where steps came faster than was written.
    count: pictures in a record, of `width` x `height` pixels each, which may be smaller than the drawn ones.
    seeds, images: one entry a picture; where it will lie, relative to the run directory. is_latent: the frames are a
    cheap look at latents, not the decoder's pictures.
    """

    version: Literal[1] = 1
    what: str = Field(max_length=2000)
    sampler: str = Field(max_length=200)
    steps: int = Field(ge=1, le=1_000_000)
    count: int = Field(ge=1, le=256)
    width: int = Field(ge=1, le=4096)
    height: int = Field(ge=1, le=4096)
    seeds: tuple[int, ...]
    model: str = Field(max_length=4096)
    images: tuple[str, ...] = ()
    is_latent: bool = False

    @model_validator(mode="after")
    def _entry_per_picture(self) -> Self:
        if len(self.seeds) != self.count or len(self.images) not in (0, self.count):
            raise ValueError("seeds and images should have one entry a picture")
        if self.record_bytes > LARGEST_RECORD:
            raise ValueError(f"a record of {self.record_bytes} bytes is larger than any of ours")
        return self

    @property
    def frame_bytes(self) -> int:
        """Bytes of x_t of all pictures, and of their x0."""
        return self.count * self.height * self.width * CHANNELS

    @property
    def record_bytes(self) -> int:
        return _HEADER.size + 2 * self.frame_bytes


class Point(NamedTuple):
    """The numbers of a step, from 1. t: the timestep at which the network was last asked, in its own units.

    norm_x, norm_x0: root mean square of all values of x_t and of the predicted x0. seconds: since the drawing began.
    """

    step: int
    t: float
    norm_x: float
    norm_x0: float
    seconds: float


class Frame(NamedTuple):
    """A step as it can be shown. x, x0: RGB bytes, picture after picture, row after row."""

    point: Point
    x: bytes
    x0: bytes


def begin(folder: Path, about: About) -> "TrajectoryWriter":
    """Make room for a new trajectory; one that was there before is gone. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ABOUT).unlink(missing_ok=True)  # first, so that no reader takes old sizes for the new frames
    (folder / FRAMES).write_bytes(b"")
    written = folder / f".{ABOUT}"
    written.write_text(about.model_dump_json(), "utf-8")
    written.replace(folder / ABOUT)  # whole; not fsynced, as waiting for the disk would take longer than the drawing
    return TrajectoryWriter(folder / FRAMES, about)


@dataclass(frozen=True)
class TrajectoryWriter:
    """Appends records, several in one write, so that a reader sees whole ones."""

    path: Path
    about: About

    def append(self, frames: Iterable[Frame]) -> None:
        """Raises ValueError if a frame has not the size that `about` says; OSError."""
        data = b"".join(part for frame in frames for part in self._parts(frame))
        with self.path.open("ab", buffering=0) as file:
            file.write(data)

    def _parts(self, frame: Frame) -> tuple[bytes, bytes, bytes]:
        if not len(frame.x) == len(frame.x0) == self.about.frame_bytes:
            raise ValueError(f"a frame has {len(frame.x)} and {len(frame.x0)} bytes, not {self.about.frame_bytes}")
        return _HEADER.pack(*frame.point), frame.x, frame.x0


@dataclass(frozen=True)
class Trajectory:
    """A trajectory to look at, also while it is written. Records count from 0; they are in the order of their steps."""

    folder: Path
    about: About

    def __len__(self) -> int:
        """How many whole records there are now."""
        try:
            return (self.folder / FRAMES).stat().st_size // self.about.record_bytes
        except FileNotFoundError:
            return 0

    def points(self, start: int = 0, at_most: int = 10_000) -> list[Point]:
        """The numbers of whole records from `start` on."""
        end = min(len(self), start + at_most)
        if start >= end:
            return []
        with (self.folder / FRAMES).open("rb") as file:
            found = [self._point(file, record) for record in range(start, end)]
        return [point for point in found if point is not None]

    def frame(self, record: int) -> Frame | None:
        """A record; None if it is not there, or not whole yet."""
        if not 0 <= record < len(self):
            return None
        size = self.about.frame_bytes
        with (self.folder / FRAMES).open("rb") as file:
            point = self._point(file, record)
            x, x0 = file.read(size), file.read(size)
        return Frame(point, x, x0) if point is not None and len(x0) == size else None

    def at_step(self, step: int) -> int | None:
        """The newest record that is not after `step`, the first one if all are; None if there is none."""
        low, high = 0, len(self)
        if high == 0:
            return None
        with (self.folder / FRAMES).open("rb") as file:
            while low < high:
                middle = (low + high) // 2
                point = self._point(file, middle)
                if point is None or point.step > step:
                    high = middle
                else:
                    low = middle + 1
        return max(0, low - 1)

    def _point(self, file: BinaryIO, record: int) -> Point | None:
        file.seek(record * self.about.record_bytes)
        head = file.read(_HEADER.size)
        return Point(*_HEADER.unpack(head)) if len(head) == _HEADER.size else None


def open_trajectory(folder: Path) -> Trajectory:
    """The trajectory in a folder. Raises TrajectoryError if there is none, or one that cannot be of ours."""
    path = folder / ABOUT
    remedy = "draw the pictures again to have one"
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_ABOUT + 1)
    except OSError as error:
        raise TrajectoryError(f"{path} cannot be read: {error.strerror}", remedy) from error
    if len(text) > LARGEST_ABOUT:
        raise TrajectoryError(f"{path} is larger than {LARGEST_ABOUT} bytes, so it is not ours", remedy)
    try:
        return Trajectory(folder, About.model_validate_json(text))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise TrajectoryError(f"{path}: {where}: {first['msg']}", remedy) from error


def list_trajectories(run: Path) -> list[Path]:
    """The folders of a run's trajectories, in the order of their names."""
    folder = run / "trajectories"
    return sorted(path.parent for path in folder.glob(f"*/{ABOUT}")) if folder.is_dir() else []
