"""What a run is going to draw, from its preset alone: the settings that each picture will say of itself."""

from typing import Any

from pydantic import ValidationError

from engine.contract import drawing_plan
from engine.contract.drawing_settings import DiffusionSample
from engine.contract.image_record import Scalar

#: What an axis is called, where a picture calls it otherwise.
CALLED = {"class": "label", "prompts": "prompt"}
#: More pictures than this are not shown before they are there, as no grid would show them either.
MOST_PLANNED = 2500

Settings = dict[str, Scalar]


def planned(preset: dict[str, Any]) -> dict[str, Settings]:
    """By the name of its file, what each picture of a grid will be drawn with; what nobody knows yet is left out.

    Empty where there is no grid, where models are an axis, as pictures name them in their own words, and for a preset
    that cannot be read.
    """
    section = _section(preset)
    if section is None or any(axis.vary in drawing_plan.OF_MODELS for axis in section.grid):
        return {}
    if not section.grid or drawing_plan.pictures(section) > MOST_PLANNED:
        return {}
    batches = drawing_plan.batches(section, "")
    shots = sorted(((shot, batch.how) for batch in batches for shot in batch.shots), key=lambda one: one[0].name)
    return {shot.name: _settings(shot, how) for shot, how in shots}


def columns(preset: dict[str, Any]) -> str:
    """The setting that stands across at first: the last of the grid's axes; "" without a grid."""
    section = _section(preset)
    if section is None or not section.grid:
        return ""
    last = section.grid[-1].vary
    return CALLED.get(last, last)


def _section(preset: dict[str, Any]) -> DiffusionSample | None:
    try:
        return DiffusionSample.model_validate(preset["diffusion_sample"])
    except (KeyError, ValidationError):
        return None


def _settings(shot: drawing_plan.Shot, how: drawing_plan.How) -> Settings:
    told: dict[str, Scalar | None] = {
        "prompt": shot.prompt,
        "label": shot.label,
        "sampler": how.sampler,
        "steps": how.steps,
        "eta": how.eta,
        "guidance": how.guidance,
        "negative_prompt": how.negative_prompt,
        "seed": shot.seed,
        "index": shot.number,
    }
    own = {name: value for name, value in shot.cell.items() if name not in told and name != "class"}
    return {name: value for name, value in (told | own).items() if value is not None}
