"""From pixels to PNG files that say how they were drawn: whole, or not there."""

import io
import os
from pathlib import Path

from PIL import Image
from torch import Tensor

from engine.contract.image_record import ImageRecord, with_record
from engine.diffusion.pictures import as_bytes

#: How every whole PNG ends: an empty IEND chunk.
_END = b"\0\0\0\0IEND\xaeB`\x82"


def in_colour(pixels: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, 3, H, W): grey ones thrice, of more channels the first three."""
    return pixels.expand(-1, 3, -1, -1) if pixels.shape[1] == 1 else pixels[:, :3]


def png_of(pixels: Tensor, record: ImageRecord) -> bytes:
    """A PNG of one picture, (C, H, W) in [-1, 1], grey or RGB."""
    levels = as_bytes(pixels.unsqueeze(0))[0].numpy()
    image = Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels[..., :3])
    with io.BytesIO() as file:
        image.save(file, format="png", compress_level=4)
        return with_record(file.getvalue(), record)


def save_whole(path: Path, png: bytes) -> None:
    """Put a file in place whole, so that a kill leaves none in halves. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        staging.write_bytes(png)
        staging.replace(path)
    except OSError:
        staging.unlink(missing_ok=True)
        raise


def is_whole(path: Path) -> bool:
    """Whether a picture is there to its last byte. A machine that lost its power may have left the name alone."""
    try:
        with path.open("rb") as file:
            file.seek(-len(_END), os.SEEK_END)
            return file.read() == _END
    except OSError:
        return False
