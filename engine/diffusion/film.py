"""Keeps how pictures come out of noise while they are drawn, and costs the drawing next to nothing.

Steps are gathered and turned into bytes together, at most twenty times a second; what a window shows is then at most a
frame old, and a scrubber still has every step. Where even that would cost more than the sampler can spare, they wait
and are written together.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.contract.trajectory import About, Frame, Point, TrajectoryWriter, begin
from engine.diffusion.pictures import as_bytes
from engine.diffusion.stepping import Moment

FRAME_SECONDS = 1 / 20
#: Share of the sampler's time that may go into this.
SHARE = 0.04
#: Steps that wait at most; of more every other one is let go.
MOST_WAITING = 1024
#: Larger pictures are kept smaller: it is a look at how they form, and the pictures themselves are whole.
LARGEST_SIDE = 128
#: Bytes of a trajectory; of samplers with very many steps some are left out, evenly.
LARGEST_FILE = 128 * 1024 * 1024


class Film:
    """One trajectory being written. look: what the network denoises (N, C, h, w) -> RGB in [-1, 1], (N, 3, h, w)."""

    def __init__(self, writer: TrajectoryWriter, look: Callable[[Tensor], Tensor]) -> None:
        self._writer = writer
        self._look = look
        self._every = math.ceil(writer.about.steps * writer.about.record_bytes / LARGEST_FILE)
        self._waiting: list[tuple[Moment, float]] = []
        self._started = self._written = time.perf_counter()
        self._spent = 0.0

    def watch(self, moment: Moment) -> None:
        """Take a step in; the last one is always kept."""
        now = time.perf_counter()
        is_last = moment.step == moment.steps
        if moment.step % self._every and moment.step != 1 and not is_last:
            return
        count = self._writer.about.count
        self._waiting.append((moment._replace(x=moment.x[:count], x0=moment.x0[:count]), now - self._started))
        if is_last or now - self._written >= FRAME_SECONDS:
            self._write(is_last=is_last)
            self._spent += time.perf_counter() - now

    def _write(self, *, is_last: bool) -> None:
        if not is_last and self._spent > SHARE * (time.perf_counter() - self._started):
            if len(self._waiting) > MOST_WAITING:
                self._waiting = self._waiting[::2]
            return  # many steps together cost little more than one: they wait until there is time
        self._writer.append(frames_of(self._waiting, self._look))
        self._waiting = []
        self._written = time.perf_counter()


def begin_film(folder: Path, about: About, look: Callable[[Tensor], Tensor]) -> Film:
    """about: with the size of what is denoised; where that is large, the frames are smaller. Raises OSError."""
    scale = _shrinking(about.height, about.width)
    sized = about.model_copy(update={"height": about.height // scale, "width": about.width // scale})
    return Film(begin(folder, sized), look)


def frames_of(steps: list[tuple[Moment, float]], look: Callable[[Tensor], Tensor]) -> list[Frame]:
    """Steps as they are kept, with the seconds they came at."""
    pairs = torch.stack([torch.stack([moment.x, moment.x0]) for moment, _ in steps])  # (S, 2, N, C, h, w)
    norms = pairs.flatten(2).square().mean(dim=2).sqrt().tolist()
    shown = as_bytes(shrunk(look(pairs.flatten(0, 2)))).unflatten(0, pairs.shape[:3])
    return [
        Frame(Point(moment.step, moment.t, norm, norm0, seconds), x.numpy().tobytes(), x0.numpy().tobytes())
        for (moment, seconds), (norm, norm0), (x, x0) in zip(steps, norms, shown, strict=True)
    ]


def shrunk(pixels: Tensor) -> Tensor:
    """Means over squares, where the pictures are larger than they are shown."""
    scale = _shrinking(*pixels.shape[-2:])
    return pixels if scale == 1 else F.avg_pool2d(pixels, scale)


def _shrinking(height: int, width: int) -> int:
    return math.ceil(max(height, width) / LARGEST_SIDE)
