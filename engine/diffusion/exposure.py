"""One batch of pictures, from noise to what the sampler makes of it.

A picture's noise is a function of its seed and number, and each text is encoded by itself: who else is drawn at the
same time changes a picture by rounding alone.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from engine.contract.drawing_plan import How, Shot
from engine.diffusion.noise import generator_of, noise_like
from engine.diffusion.painters import Asked, Painter, PainterError
from engine.diffusion.samplers import sample
from engine.diffusion.schedules import schedule_of
from engine.diffusion.stepping import Moment


class Exposed(NamedTuple):
    """x: (N, C, h, w), what the sampler gave. spoilt: row -> the first step after which not all of it was numbers."""

    x: Tensor
    spoilt: dict[int, int]


class _AllSpoilt(Exception):  # noqa: N818 - ends the sampler early, and never leaves this module
    """Nothing of the batch is a number any more."""


@torch.no_grad()
def expose(
    painter: Painter, how: How, shots: Sequence[Shot], device: torch.device, watch: Callable[[Moment], None]
) -> Exposed:
    """Draw the shots together. watch: told after each step. Raises PainterError, ScheduleError."""
    schedule = schedule_of(painter.config)
    shape = painter.shape(how.width, how.height)
    generators = [generator_of(shot.seed, shot.number) for shot in shots]
    noise = noise_like(torch.empty((len(shots), *shape), device=device), generators)
    spoilt: dict[int, int] = {}
    last = noise

    def look(moment: Moment) -> None:
        nonlocal last
        last = moment.x
        if not bool(torch.isfinite(moment.x).all()):
            rows = torch.isfinite(moment.x).flatten(1).all(1).logical_not().nonzero().flatten().tolist()
            spoilt.update({row: moment.step for row in rows if row not in spoilt})
            if len(spoilt) == len(shots):
                raise _AllSpoilt
        watch(moment)

    try:
        x = sample(
            painter.predict(asked_of(painter, how, shots)), schedule, noise,
            sampler=how.sampler, steps=how.steps, eta=how.eta, generators=generators, watch=look,
        )  # fmt: skip
    except _AllSpoilt:
        x = last
    return Exposed(x, spoilt)


def asked_of(painter: Painter, how: How, shots: Sequence[Shot]) -> Asked:
    """What the shots ask this painter for: where a shot leaves it open, its classes in turn, or nothing in particular.

    Raises PainterError if it does not know what is asked for.
    """
    for shot in shots:
        if shot.prompt is not None and not painter.reads_text:
            problem = "diffusion_sample.prompts: this model reads no text"
            raise PainterError(f"{problem}\nleave them empty, or ask for classes")
        if shot.prompt is None and painter.reads_text:
            problem = "diffusion_sample.prompts: is empty, and this model is asked in words"
            raise PainterError(f'{problem}\nwrite what to draw; [""] draws nothing in particular')
        if shot.label is not None and not 0 <= shot.label <= painter.classes - (not painter.classes):
            known = f"its classes are 0 to {painter.classes - 1}, and {painter.classes} is none in particular"
            told = known if painter.classes else "it knows no classes"
            raise PainterError(f"diffusion_sample.classes: this model has no class {shot.label}\n{told}")
    turn = [shot.number % painter.classes if painter.classes else None for shot in shots]
    labels = [open_ if shot.label is None else shot.label for open_, shot in zip(turn, shots, strict=True)]
    return Asked(labels, [shot.prompt for shot in shots], how.negative_prompt, how.guidance)
