"""Images to learn from, as bytes in memory, all of one size."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from engine.contract import image_settings
from engine.contract.findings import Finding


class ImageDataError(ValueError):
    """Images that cannot be learned from, in words for a person."""


@dataclass(frozen=True)
class Images:
    """pixels: (N, C, H, W) bytes. labels: (N,) classes, -1 where an image has none. names: of the classes, in order."""

    pixels: Tensor
    labels: Tensor
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pixels)

    def at(self, places: Sequence[int]) -> Tensor:
        """The images at these places, (n, C, H, W) float32 in [-1, 1]."""
        return self.pixels[list(places)].float() / 127.5 - 1

    def classes_at(self, places: Sequence[int]) -> Tensor:
        """Their classes, (n,)."""
        return self.labels[list(places)]

    def only(self, places: Sequence[int]) -> "Images":
        """Those at these places alone."""
        return Images(self.pixels[list(places)], self.labels[list(places)], self.names)


def finding_of(train: Images, held_out: Images | None) -> Finding:
    """What there is to learn from, in words."""
    channels, height, width = train.pixels.shape[1:]
    classes = f", {len(train.names)} classes" if train.names else ""
    apart = "" if held_out is None else f"; {len(held_out):,} more are held out"
    kind = "grey" if channels == 1 else f"{channels} channels"
    what = f"{len(train):,} images of {width} \N{MULTIPLICATION SIGN} {height}, {kind}{classes}{apart}"
    return Finding(level="good", what=what)


def load_images(
    data: image_settings.ImageData,
    shape: tuple[int, int, int],
    *,
    seed: int,
    breathe: Callable[[], None] = lambda: None,
) -> tuple[Images, Images | None]:
    """What trains and what is held out, as images of `shape` (channels, height, width). Raises ImageDataError."""
    train = _joined([_read(source, shape, breathe) for source in data.train])
    if data.eval is not None:
        return train, _joined([_read(source, shape, breathe) for source in data.eval])
    if not data.eval_share:
        return train, None
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(train), generator=generator).tolist()
    count = round(len(train) * data.eval_share)
    if not 0 < count < len(train):
        told = f"{data.eval_share:g} of {len(train)} images holds out {count}"
        raise ImageDataError(f"data.eval_share: {told}; choose another share, or give more images")
    return train.only(sorted(order[count:])), train.only(sorted(order[:count]))


def _read(source: image_settings.ImageSource, shape: tuple[int, int, int], breathe: Callable[[], None]) -> Images:
    breathe()
    path = Path(source.path)
    if path.suffix.lower() != ".npz":
        raise ImageDataError(f"{path} is of no kind that can be read; use .npz")
    return _of_npz(path, source, shape)


def _of_npz(path: Path, source: image_settings.ImageSource, shape: tuple[int, int, int]) -> Images:
    """Arrays `images`, (N, H, W) or (N, H, W, C) bytes, and perhaps `labels`, (N,)."""
    with np.load(path, allow_pickle=False) as arrays:
        if "images" not in arrays:
            raise ImageDataError(f"{path.name} has no array `images`; it has {', '.join(arrays) or 'none'}")
        images = arrays["images"][: source.rows]
        labels = arrays["labels"][: source.rows] if "labels" in arrays else np.full(len(images), -1)
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        told = f"{images.dtype}, {images.ndim} dimensions"
        raise ImageDataError(f"{path.name}: `images` should be bytes of 3 or 4 dimensions, not {told}")
    pixels = torch.from_numpy(images).reshape(len(images), *images.shape[1:3], -1).permute(0, 3, 1, 2).contiguous()
    if tuple(pixels.shape[1:]) != shape:
        raise ImageDataError(f"{path.name} has images of {tuple(pixels.shape[1:])}, and the model takes {shape}")
    classes = torch.from_numpy(labels.astype(np.int64))
    return Images(pixels, classes, tuple(map(str, range(int(classes.max()) + 1))))


def _joined(parts: list[Images]) -> Images:
    names = max((part.names for part in parts), key=len)
    return Images(torch.cat([p.pixels for p in parts]), torch.cat([p.labels for p in parts]), names)
