"""What a picture says of itself, written once for all that draw: all that draws it again."""

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from engine.contract.drawing_plan import How, Shot
from engine.contract.image_record import ImageRecord
from engine.diffusion.exposure import asked_of
from engine.diffusion.painters import Painter
from engine.environment import version_of

#: What a picture depends on to its last bit, beside our own version.
VERSIONS = ("plumbline-workbench", "torch", "diffusers", "transformers")


class Hand(NamedTuple):
    """Who drew. model: as pictures say it; weights: their fingerprint. device, dtype: where, and in which numbers."""

    model: str
    weights: str
    painter: Painter
    device: torch.device
    dtype: torch.dtype = torch.float32


def record_of(hand: Hand, how: How, shot: Shot, pixels: Tensor, *, rows: int, place: int, run: str = "") -> ImageRecord:
    """Of pixels (..., H, W) that were drawn as one of `rows`, at `place` among them.

    A class or prompt that the shot leaves open is recorded as what was drawn in its stead.
    """
    asked = asked_of(hand.painter, how, [shot])
    return ImageRecord(
        model=hand.model,
        fingerprint=hand.weights,
        sampler=how.sampler,
        steps=how.steps,
        eta=how.eta,
        guidance=how.guidance,
        prompt=asked.prompts[0],
        negative_prompt=how.negative_prompt,
        label=asked.labels[0],
        seed=shot.seed,
        index=shot.number,
        width=pixels.shape[-1],
        height=pixels.shape[-2],
        schedule=dict(hand.painter.config),
        cell=dict(shot.cell),
        rows=rows,
        place=place,
        dtype=str(hand.dtype).removeprefix("torch."),
        device=str(hand.device),
        threads=torch.get_num_threads(),
        versions=_versions(),
        run=run,
    )


@cache
def _versions() -> dict[str, str]:
    return {name: version for name in VERSIONS if (version := version_of(name))}
