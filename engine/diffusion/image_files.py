"""One image from a file or from bytes, whoever made it: bounded before anything of it is decoded, and nothing run."""

import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

#: What is read. Others, such as EPS, would start a program.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
#: More pixels than this are not decoded: 30,000 x 30,000 of them take 3.6 GB, whatever the size of the file.
LARGEST = 89_000_000
#: Kinds of pixels that mean the same everywhere. The colours of CMYK depend on a printer.
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX")


class UnusableImageError(ValueError):
    """Why an image cannot be learned from, as it goes on after its name."""


def read_image(file: Path | bytes, shape: tuple[int, int, int]) -> tuple[Tensor, tuple[int, int]]:
    """(C, H, W) bytes, and the width and height that it had. What is transparent becomes white.

    An image of other proportions is cropped around its middle, then scaled. Raises UnusableImageError, OSError.
    """
    channels, height, width = shape
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        image = _opened(file)
        with image:
            size = image.size
            _refuse(image)
            found = _decoded(image)
    if found.mode in ("LA", "PA", "RGBA", "P"):
        found = found.convert("RGBA")
        found = Image.alpha_composite(Image.new("RGBA", found.size, "white"), found)
    found = found.convert("L" if channels == 1 else "RGB")
    if found.size != (width, height):
        found = ImageOps.fit(found, (width, height), Image.Resampling.LANCZOS)
    pixels = torch.from_numpy(np.array(found)).view(height, width, channels)
    return pixels.permute(2, 0, 1).contiguous(), size


def _opened(file: Path | bytes) -> Image.Image:
    """Its header alone."""
    try:
        return Image.open(BytesIO(file) if isinstance(file, bytes) else file, formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnusableImageError(f"has more than {LARGEST:,} pixels; make it smaller") from error
    except UnidentifiedImageError as error:
        raise UnusableImageError(f"is none of {', '.join(FORMATS)}, whatever its name says") from error
    except (ValueError, SyntaxError, EOFError) as error:
        raise UnusableImageError(f"is broken: {_brief(error)}") from error


def _refuse(image: Image.Image) -> None:
    width, height = image.size
    if width * height > LARGEST:
        raise UnusableImageError(f"has {width:,} x {height:,} pixels, more than {LARGEST:,}; make it smaller")
    if image.mode == "CMYK":
        raise UnusableImageError("is CMYK, whose colours depend on a printer; convert it to RGB")
    if image.mode not in MODES:
        raise UnusableImageError(f"has pixels of kind {image.mode}; convert it to 8 bits, grey or RGB")


def _decoded(image: Image.Image) -> Image.Image:
    """Its pixels, turned the way that its camera noted."""
    try:
        image.load()
        return ImageOps.exif_transpose(image)
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, MemoryError) as error:
        raise UnusableImageError(f"is broken: {_brief(error)}") from error


def _brief(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
