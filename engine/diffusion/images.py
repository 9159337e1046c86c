"""Images to learn from, as bytes in memory, all of one size."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from engine.contract import image_settings
from engine.contract.findings import Finding
from engine.diffusion.bench import ImageBench
from engine.diffusion.image_sources import ImageDataError as ImageDataError  # methods know it by this module
from engine.diffusion.image_sources import Read, read_source

#: Images that are named where some cannot be used.
TOLD = 3


@dataclass(frozen=True)
class Images:
    """pixels: (N, C, H, W) bytes. labels: (N,) classes, -1 where an image has none. names: of the classes, in order.

    captions: N of them, empty where an image has none; or none at all, where nobody asked for them.
    left_out: names of images of the sources that cannot be used, each with why. sizes: widths and heights there were.
    """

    pixels: Tensor
    labels: Tensor
    names: tuple[str, ...] = ()
    captions: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    sizes: frozenset[tuple[int, int]] = frozenset()

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
        captions = tuple(self.captions[place] for place in places) if self.captions else ()
        return Images(self.pixels[list(places)], self.labels[list(places)], self.names, captions)


def images_for(
    bench: ImageBench[Any],
    data: image_settings.ImageData,
    shape: tuple[int, int, int],
    *,
    seed: int,
    with_captions: bool = False,
) -> tuple[Images, Images | None]:
    """As load_images; what there is and what cannot be used is told. Raises ImageDataError."""
    train, held_out = load_images(data, shape, seed=seed, breathe=bench.breathe, with_captions=with_captions)
    bench.findings.append(finding_of(train, held_out))
    if train.sizes - {(shape[2], shape[1])}:
        size = f"{shape[2]} \N{MULTIPLICATION SIGN} {shape[1]}"
        what = f"images of {len(train.sizes)} sizes are cropped around their middle and scaled to {size}"
        bench.findings.append(Finding(level="info", what=what))
    lost = [*train.left_out, *(held_out.left_out if held_out is not None else ())]
    if lost:
        more = f"; and {len(lost) - TOLD} more" if len(lost) > TOLD else ""
        count = "1 image is" if len(lost) == 1 else f"{len(lost):,} images are"
        what = f"{count} left out: {'; '.join(lost[:TOLD])}{more}"
        bench.warn(what, "mend those images if they matter; the run goes on without them")
    return train, held_out


def refuse_strangers(images: Images | None, classes: int | None) -> None:
    """Raises ImageDataError if an image is of a class that the network does not know. classes: None if it asks none."""
    most = -1 if images is None else int(images.labels.max())
    if classes is not None and most >= classes:
        raise ImageDataError(f"model.scratch.classes: {classes}, and the images have {most + 1}; use {most + 1}")


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
    with_captions: bool = False,
) -> tuple[Images, Images | None]:
    """What trains and what is held out, as images of `shape` (channels, height, width). Raises ImageDataError."""

    def read(sources: list[image_settings.ImageSource]) -> Images:
        return _joined([read_source(source, shape, breathe, with_captions=with_captions) for source in sources])

    train = read(data.train)
    if data.eval is not None:
        return train, read(data.eval)
    if not data.eval_share:
        return train, None
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed)).tolist()
    count = round(len(train) * data.eval_share)
    if not 0 < count < len(train):
        told = f"{data.eval_share:g} of {len(train)} images holds out {count}"
        raise ImageDataError(f"data.eval_share: {told}; choose another share, or give more images")
    kept = train.only(sorted(order[count:]))
    return replace(kept, left_out=train.left_out, sizes=train.sizes), train.only(sorted(order[:count]))


def _joined(parts: list[Read]) -> Images:
    """Raises ImageDataError where sources have other classes by the same numbers."""
    known = {part.names for part in parts if part.names}
    if len(known) > 1:
        told = " and ".join(", ".join(names[:4]) for names in sorted(known)[:2])
        raise ImageDataError(f"data: the sources have different classes, {told}; give them the same folders")
    return Images(
        torch.cat([part.pixels for part in parts]),
        torch.cat([part.labels for part in parts]),
        next(iter(known), ()),
        tuple(caption for part in parts for caption in part.captions),
        tuple(name for part in parts for name in part.left_out),
        frozenset(size for part in parts for size in part.sizes),
    )
