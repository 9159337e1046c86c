"""From the section `diffusion_sample` to pictures: the cells of its grid, and what is drawn together.

The order of everything follows from the preset alone, so that a run which goes on finds what it had.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from engine.contract.drawing_settings import LISTS, MOST_PICTURES, Axis, DiffusionSample
from engine.contract.faults import Fault, Key

#: Axes that choose which model draws, so that the section itself has no such setting.
OF_MODELS = ("model", "checkpoint")


class How(NamedTuple):
    """What pictures that are drawn together have in common. checkpoint: a step of the model's run, or None."""

    model: str
    checkpoint: int | None
    sampler: str
    steps: int
    eta: float
    guidance: float
    negative_prompt: str
    width: int | None
    height: int | None


class Shot(NamedTuple):
    """One picture. name: of its file, without a suffix. cell: where in the grid it is, axis -> value.

    label, prompt: the class or the text that is asked for; None where that is the model's to say.
    """

    name: str
    cell: Mapping[str, Any]
    seed: int
    number: int
    label: int | None
    prompt: str | None


class Batch(NamedTuple):
    """Pictures drawn at once. is_first: of those with these settings."""

    how: How
    shots: tuple[Shot, ...]
    is_first: bool


def with_value(section: DiffusionSample, axis: str, value: Any) -> DiffusionSample:
    """The section with one value of a grid in place of its own. Raises ValidationError."""
    if axis in OF_MODELS:
        return section
    key, given = (LISTS[axis], [value]) if axis in LISTS else (axis, value)
    return DiffusionSample.model_validate({**section.model_dump(), key: given})


def cells(section: DiffusionSample) -> Iterator[tuple[dict[str, Any], DiffusionSample]]:
    """Every cell of the grid, the last axis fastest: its values, and the section with them. Without a grid just one."""
    for values in itertools.product(*(axis.values for axis in section.grid)):
        cell: dict[str, Any] = {axis.vary: value for axis, value in zip(section.grid, values, strict=True)}
        found = section
        for name, value in cell.items():
            found = with_value(found, name, value)
        yield cell, found


def pictures(section: DiffusionSample) -> int:
    """How many pictures the section asks for."""
    seeds = 1 if any(axis.vary == "seed" for axis in section.grid) else len(section.seeds)
    return seeds * section.count * math.prod(len(axis.values) for axis in section.grid)


def batches(section: DiffusionSample, model: str) -> list[Batch]:
    """All pictures in the order they are drawn in: together those that are alike in all that the sampler asks for."""
    alike: dict[How, list[Shot]] = {}
    for number, (cell, found) in enumerate(cells(section)):
        stem = f"cell{number:04d}-" if section.grid else ""
        how = _how(found, cell, model)
        for seed, index in itertools.product(found.seeds, range(found.first, found.first + found.count)):
            label, prompt = _in_turn(found.classes, index), _in_turn(found.prompts, index)
            shot = Shot(f"{stem}seed{seed}-{index:05d}", cell, seed, index, label, prompt)
            alike.setdefault(how, []).append(shot)
    size = 1 if section.among else section.batch_size
    return [
        Batch(how, tuple(shots[start : start + size]), start == 0)
        for how, shots in alike.items()
        for start in range(0, len(shots), size)
    ]


def faults(section: DiffusionSample) -> list[Fault]:
    """What is wrong with the section that takes two settings to see."""
    found = [fault for index, axis in enumerate(section.grid) for fault in _axis_faults(section, index, axis)]
    names = [axis.vary for axis in section.grid]
    key = ("diffusion_sample", "grid")
    if twice := next((name for name in names if names.count(name) > 1), None):
        found.append(Fault(key, twice, "is an axis twice", "put all its values on one axis"))
    if set(names) >= set(OF_MODELS):
        found.append(Fault(key, "checkpoint", "stands beside an axis of models", "name the checkpoints as models"))
    if section.classes and section.prompts:
        remedy = "a model knows classes or reads text; leave one empty"
        found.append(Fault(("diffusion_sample", "prompts"), section.prompts[0], "stands beside classes", remedy))
    if section.among and section.among.place >= section.among.rows:
        given = str(section.among.place)
        found.append(Fault(("diffusion_sample", "among", "place"), given, "is not one of the rows", "count from 0"))
    if (count := pictures(section)) > MOST_PICTURES:
        remedy = f"ask for {MOST_PICTURES:,} at most: fewer values, fewer seeds, or a smaller count"
        found.append(Fault(("diffusion_sample", "count"), f"{count:,} pictures", "are too many for one run", remedy))
    return found


def _axis_faults(section: DiffusionSample, index: int, axis: Axis) -> Iterator[Fault]:
    for place, value in enumerate(axis.values):
        key: Key = ("diffusion_sample", "grid", index, "values", place)
        if repr(value) in map(repr, axis.values[:place]):
            yield Fault(key, str(value), "is on this axis already", "name each value once")
        if axis.vary == "model" and not isinstance(value, str):
            yield Fault(key, str(value), "cannot be a model", "write it as model.path is written")
        if axis.vary == "checkpoint" and (not isinstance(value, int) or value < 0):
            yield Fault(key, str(value), "cannot be a checkpoint", "write the step it was saved at")
        try:
            with_value(section, axis.vary, value)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]["msg"]
            setting = LISTS.get(axis.vary, axis.vary)
            remedy = f"it is a value of diffusion_sample.{setting}"
            yield Fault(key, str(value), f"cannot be {axis.vary}: {problem}", remedy)


def _how(section: DiffusionSample, cell: Mapping[str, Any], model: str) -> How:
    return How(
        model=cell.get("model", model),
        checkpoint=cell.get("checkpoint"),
        sampler=section.sampler,
        steps=section.steps,
        eta=section.eta if section.sampler == "ddim" else 0.0,
        guidance=section.guidance,
        negative_prompt=section.negative_prompt,
        width=section.width,
        height=section.height,
    )


def _in_turn(values: Sequence[Any], index: int) -> Any:
    return values[index % len(values)] if values else None
