"""What a `toy_diffusion` run shows: RUN_DIR/toy/ with toy.json and frames.bin, only ever appended.

A record is what one evaluation saw: the training step (u32), then, for each of the sampler's moments from noise on,
the particles (particles x 2 float32), and the field at the grid's points (grid x grid x 2 float32), little-endian. All
records are of one size; a last one that is not whole is not there yet.
"""

import struct
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from engine.contract.run_dir import write_json

FOLDER, ABOUT, FRAMES = "toy", "toy.json", "frames.bin"
LARGEST_ABOUT = 1024 * 1024


class Toy(BaseModel, frozen=True):
    """times: of the moments, 1 is noise and 0 the data. extent: the plane is shown from -extent to extent.

    grid: points of the field along each side. goal: points of the data itself, to compare with.
    """

    data: str
    sampler: str
    times: tuple[float, ...] = Field(min_length=2, max_length=1001)
    particles: int = Field(ge=1, le=5000)
    grid: int = Field(ge=2, le=64)
    extent: float = Field(gt=0, le=1000)
    goal: tuple[tuple[float, float], ...] = Field(max_length=5000)

    @property
    def moment_floats(self) -> int:
        return 2 * (self.particles + self.grid**2)

    @property
    def record_bytes(self) -> int:
        return 4 + 4 * self.moment_floats * len(self.times)


def begin_toy(run: Path, toy: Toy) -> None:
    """Write what the records will be; a run that goes on keeps those it has if they are of the same kind."""
    if read_toy(run) == toy:
        return
    folder = run / FOLDER
    folder.mkdir(exist_ok=True)
    (folder / FRAMES).unlink(missing_ok=True)
    write_json(folder / ABOUT, toy.model_dump(mode="json"))


def append_record(run: Path, toy: Toy, step: int, moments: Sequence[bytes]) -> None:
    """Add a record. moments: the particles and the field of each time, as they lie in the file.

    What a crash left torn, and what an earlier life saw at this step or later, is cut off first. Raises OSError.
    """
    path = run / FOLDER / FRAMES
    path.touch()
    kept = sum(seen < step for seen in steps_in(run, toy)) * toy.record_bytes
    with path.open("r+b") as file:
        file.truncate(kept)
        file.seek(kept)
        file.write(struct.pack("<I", step) + b"".join(moments))


def read_toy(run: Path) -> Toy | None:
    """What the run shows, or None where there is nothing that can be read."""
    path = run / FOLDER / ABOUT
    try:
        return Toy.model_validate_json(path.read_bytes()) if path.stat().st_size <= LARGEST_ABOUT else None
    except (OSError, ValidationError):
        return None


def steps_in(run: Path, toy: Toy) -> list[int]:
    """The training step of every whole record."""
    found = []
    try:
        with (run / FOLDER / FRAMES).open("rb") as file:
            whole = file.seek(0, 2) // toy.record_bytes
            for place in range(whole):
                file.seek(place * toy.record_bytes)
                found.append(struct.unpack("<I", file.read(4))[0])
    except (OSError, struct.error):
        pass  # gone, or cut while it was read: what was found stands
    return found


def read_moment(run: Path, toy: Toy, record: int, moment: int) -> bytes | None:
    """Particles and field of one moment of a record, as float32; None if it is not there."""
    size = 4 * toy.moment_floats
    try:
        with (run / FOLDER / FRAMES).open("rb") as file:
            file.seek(record * toy.record_bytes + 4 + moment * size)
            data = file.read(size)
    except OSError:
        return None
    return data if len(data) == size else None
