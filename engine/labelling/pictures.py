"""The pictures of a labelling set: each is on the disk, whole, before an item names it.

A picture's name is a hash of its bytes. So the same picture is kept once, a name tells nothing of who drew it, and a
picture that is not what its name says is known to be damaged.
"""

import hashlib
import io
import os
import warnings
from pathlib import Path

from engine.contract.labels import LabelDir
from engine.data.rows import UnusableRow

FOLDER = "images"
#: What the window reads too, see `workbench.io.picture_store`; the rest are programs or nobody's pictures.
FORMATS = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp", "BMP": ".bmp", "GIF": ".gif", "TIFF": ".tif", "PPM": ".ppm"}
MOST_PIXELS = 120_000_000
#: Hexadecimal digits of SHA-256 in a name.
NAME_LENGTH = 32


def name_of(data: bytes, suffix: str) -> str:
    """Where in a set a picture of these bytes is."""
    return f"{FOLDER}/{hashlib.sha256(data).hexdigest()[:NAME_LENGTH]}{suffix}"


def keep(label_dir: LabelDir, data: bytes, suffix: str = ".png") -> str:
    """Put a picture into the set, whole or not at all. Returns its path within the set. Raises OSError."""
    name = name_of(data, suffix)
    path = label_dir.path / name
    if path.exists():
        return name
    path.parent.mkdir(exist_ok=True)
    staging = path.with_name(f".new-{os.getpid()}-{path.name}")
    with staging.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    staging.replace(path)
    return name


def clear_leftovers(label_dir: LabelDir) -> None:
    """Take away what a killed process left of a picture."""
    for path in (label_dir.path / FOLDER).glob(".new-*"):
        path.unlink(missing_ok=True)


def suffix_of(data: bytes) -> str:
    """How a file with these bytes is called. Raises UnusableRow, with the reason, of what is no whole picture."""
    from PIL import Image, UnidentifiedImageError  # here, as the commands that see no picture start quicker without

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit is ours, below
            image = Image.open(io.BytesIO(data), formats=list(FORMATS))
        size, suffix = image.size, FORMATS[str(image.format)]
        is_too_large = size[0] * size[1] > MOST_PIXELS
        if not is_too_large:
            image.load()
    except UnidentifiedImageError as error:
        raise UnusableRow(f"is no picture that can be read ({', '.join(FORMATS)})") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UnusableRow(f"is a damaged picture ({error})") from error
    if is_too_large:
        raise UnusableRow(f"is a picture of {size[0]} x {size[1]} pixels, more than can be shown")
    return suffix


def why_gone(folder: Path, name: str) -> str:
    """Why there is no picture `name` in the set in `folder`; empty if there is one."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        return "of pictures outside the set"
    return "" if path.is_file() else "of pictures that are gone"


def why_not(folder: Path, name: str) -> str:
    """Why the picture `name` cannot be learned from; empty if it can. Reads it whole.

    One that we named ourselves is known to be damaged by its name, any other by whether it can be drawn.
    """
    if why := why_gone(folder, name):
        return why
    try:
        data = (folder / name).read_bytes()
        suffix_of(data)
    except (OSError, UnusableRow):
        return "of pictures that are damaged"
    stem = Path(name).stem
    is_ours = len(stem) == NAME_LENGTH and not set(stem) - set("0123456789abcdef")
    is_another = is_ours and not hashlib.sha256(data).hexdigest().startswith(stem)
    return "of pictures that are damaged" if is_another else ""
