"""Where images come from: folders, arrays, tables and `datasets`. Each source is read once, into bytes of one size."""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from engine.contract.image_settings import ImageSource
from engine.diffusion.caption_files import METADATA, CaptionFileError, captions_of
from engine.diffusion.image_files import SUFFIXES, UnusableImageError, read_image

#: What stands for the name of an image's class in a caption that is made of it.
CLASS = "{class}"
#: Bytes that the images of a source may take in memory.
LARGEST_SET = 8 * 1024**3


class ImageDataError(ValueError):
    """Images that cannot be learned from, in words for a person."""


class Read(NamedTuple):
    """What a source gave. pixels: (N, C, H, W) bytes. labels: (N,), -1 where there is none. names: of the classes.

    captions: N of them, empty where an image has none; or none at all, where nobody asked for them.
    left_out: names of images that cannot be used, each with why. sizes: widths and heights that were met.
    """

    pixels: Tensor
    labels: Tensor
    names: tuple[str, ...]
    captions: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    sizes: frozenset[tuple[int, int]] = frozenset()


class Found(NamedTuple):
    """One image before it is read. label: -1 for none. caption: empty for none."""

    name: str
    file: Path | bytes
    label: int
    caption: str = ""


def read_source(
    source: ImageSource, shape: tuple[int, int, int], breathe: Callable[[], None], *, with_captions: bool = False
) -> Read:
    """with_captions: read them, too. Raises ImageDataError if nothing of it can be used."""
    path = Path(source.path)
    if path.suffix.lower() == ".npz":
        read = _of_npz(path, source, shape, with_captions=with_captions)
    else:
        found, names = (_of_folder if path.is_dir() else _of_table)(source, with_captions=with_captions)
        read = _read_all(source.path, islice(found, source.rows), names, shape, breathe)
    if source.class_names is not None:
        read = read._replace(names=_class_names(source, read))
    return read._replace(captions=_captions(source, read) if with_captions else ())


def _class_names(source: ImageSource, read: Read) -> tuple[str, ...]:
    """As the preset says. Raises ImageDataError where it has too few."""
    names, known = tuple(source.class_names or ()), int(read.labels.max()) + 1
    if len(names) < known:
        told = f"data: {source.path} has classes 0 to {known - 1}, and class_names names {len(names)}"
        raise ImageDataError(f"{told}\nname every class, in order")
    return names


def _captions(source: ImageSource, read: Read) -> tuple[str, ...]:
    """Each image's own; else what `caption` makes of the name of its class. Raises ImageDataError if there are none."""
    if source.caption is None:
        return read.captions
    made = {label: source.caption.replace(CLASS, name) for label, name in enumerate(read.names)}
    if CLASS not in source.caption:
        made[-1] = source.caption
    elif not made:
        problem = f"data: caption is {source.caption!r}, and {source.path} does not say what its classes are called"
        raise ImageDataError(f"{problem}\nname them in class_names, in order; or take {CLASS} out")
    return tuple(own or made.get(label, "") for own, label in zip(read.captions, read.labels.tolist(), strict=True))


def _read_all(
    where: str,
    found: Iterator[Found],
    names: tuple[str, ...],
    shape: tuple[int, int, int],
    breathe: Callable[[], None],
) -> Read:
    pixels: list[Tensor] = []
    labels, captions, left_out, sizes = [], [], [], set()
    for each in found:
        breathe()
        try:
            image, size = read_image(each.file, shape)
        except UnusableImageError as error:
            left_out.append(f"{each.name} {error}")
            continue
        except OSError as error:
            left_out.append(f"{each.name} cannot be read: {error.strerror or error}")
            continue
        pixels.append(image)
        labels.append(each.label)
        captions.append(each.caption)
        sizes.add(size)
        if len(pixels) * image.numel() > LARGEST_SET:
            raise ImageDataError(f"{where}: more than {LARGEST_SET / 1e9:.0f} GB of pixels; set data.train.rows")
    if not pixels:
        why = f": {'; '.join(left_out[:3])}" if left_out else f"; put files such as {', '.join(SUFFIXES[:3])} into it"
        raise ImageDataError(f"{where} has no image that can be used{why}")
    return Read(torch.stack(pixels), torch.tensor(labels), names, tuple(captions), tuple(left_out), frozenset(sizes))


def _of_folder(source: ImageSource, *, with_captions: bool) -> tuple[Iterator[Found], tuple[str, ...]]:
    """Every image below it, in the order of names. Where all are in folders of it, those are the classes.

    Raises ImageDataError if its captions cannot be read.
    """
    folder = Path(source.path)
    files = [file for file in sorted(folder.rglob("*")) if file.suffix.lower() in SUFFIXES and file.is_file()]
    inner = [file.relative_to(folder).parts for file in files]
    names = tuple(sorted({parts[0] for parts in inner})) if all(len(parts) > 1 for parts in inner) else ()
    place = {name: label for label, name in enumerate(names)}
    try:
        caption = captions_of(folder, source.text) if with_captions else lambda file: ""
    except (OSError, CaptionFileError) as error:
        raise ImageDataError(f"{source.path}/{METADATA}: {error}") from error
    found = (
        Found("/".join(parts), file, place.get(parts[0], -1), caption(file))
        for file, parts in zip(files, inner, strict=True)
    )
    return found, names


def _of_table(source: ImageSource, *, with_captions: bool) -> tuple[Iterator[Found], tuple[str, ...]]:
    """A Parquet file, or a set of `datasets` on the hub. Raises ImageDataError."""
    from datasets import Image, load_dataset

    is_file = Path(source.path).is_file()
    if is_file and not source.path.lower().endswith(".parquet"):
        raise ImageDataError(f"{source.path} is of no kind that can be read; use a folder, .npz or .parquet")
    where: dict[str, Any] = {"path": "parquet", "data_files": source.path} if is_file else {"path": source.path}
    try:
        table = load_dataset(**where, split=source.split)
    except Exception as error:
        told = " ".join(str(error).split())[:300]
        remedy = "name a folder, a .parquet or .npz file, or a set of images that is on this machine"
        raise ImageDataError(f"{source.path} cannot be read: {told}\n{remedy}") from error
    known = ", ".join(table.column_names)
    if source.image not in table.column_names:
        raise ImageDataError(f"{source.path} has no column {source.image!r}; set image to one of {known}")
    if with_captions and source.caption is None and source.text not in table.column_names:
        problem = f"{source.path} has no column {source.text!r} for captions"
        raise ImageDataError(f"{problem}; set text to one of {known}, or caption to what all are called")
    table = table.cast_column(source.image, Image(decode=False))
    classes = table.features.get(source.label)
    names = tuple(getattr(classes, "names", None) or ())
    return (_found(row, place, source) for place, row in enumerate(table, start=1)), names


def _found(row: dict[str, Any], place: int, source: ImageSource) -> Found:
    image, label, caption = row[source.image] or {}, row.get(source.label), row.get(source.text)
    file = image.get("bytes") or (Path(image["path"]) if image.get("path") else b"")
    own = caption.strip() if isinstance(caption, str) else ""
    return Found(f"row {place}", file, label if isinstance(label, int) else -1, own)


def _of_npz(path: Path, source: ImageSource, shape: tuple[int, int, int], *, with_captions: bool) -> Read:
    """Arrays `images`, (N, H, W) or (N, H, W, C) bytes, and perhaps `labels`, (N,), and captions, (N,) text.

    Raises ImageDataError.
    """
    wanted_arrays = ("images", "labels", *([source.text] if with_captions else []))
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name][: source.rows] for name in wanted_arrays if name in arrays}
    except (OSError, ValueError, EOFError) as error:
        raise ImageDataError(f"{path.name} cannot be read: {error}; save it by numpy.savez_compressed") from error
    images = found.get("images")
    if images is None or images.dtype != np.uint8 or images.ndim not in (3, 4) or not len(images):
        raise ImageDataError(f"{path.name} should have an array `images` of bytes, (N, H, W) or (N, H, W, C)")
    pixels = torch.from_numpy(images).reshape(*images.shape[:3], -1).permute(0, 3, 1, 2).contiguous()
    if tuple(pixels.shape[1:]) != shape:
        given, wanted = (" x ".join(map(str, each)) for each in (pixels.shape[1:], shape))
        raise ImageDataError(f"{path.name} has images of {given} (channels, height, width); the model takes {wanted}")
    labels = torch.from_numpy(found["labels"].astype(np.int64)) if "labels" in found else torch.full((len(pixels),), -1)
    captions = [str(each).strip() for each in found.get(source.text, [""] * len(pixels))]
    return Read(pixels, labels, tuple(map(str, range(int(labels.max()) + 1))), tuple(captions))
