"""The section `diffusion_sample`: what is drawn from a model of images, and the grid it is compared in."""

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, Field, StrictBool, StrictFloat, StrictInt, StrictStr

from engine.contract.sampler_names import Sampler
from engine.contract.settings import STRICT, AutoOrCount, setting

#: What a grid may vary: settings of this section, one entry of those that are lists, and which model draws.
AxisName = Literal[
    "sampler",
    "steps",
    "eta",
    "guidance",
    "negative_prompt",
    "width",
    "height",
    "seed",
    "class",
    "prompt",
    "model",
    "checkpoint",
]
AXES: tuple[str, ...] = get_args(AxisName)
#: An axis of one entry of a list -> the list.
LISTS = {"seed": "seeds", "class": "classes", "prompt": "prompts"}
#: Pictures of one run at most: more is a data set, not something to look at.
MOST_PICTURES = 100_000

AxisValue = StrictBool | StrictInt | StrictFloat | StrictStr
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Class = Annotated[int, Field(ge=0, lt=2**31)]


class Axis(BaseModel, **STRICT):
    """One direction of a grid."""

    vary: AxisName = setting(help="what varies; checkpoint = steps of model.path, a run directory")
    values: list[AxisValue] = setting(help="its values, one row or column each", min_length=1, max_length=1000)


class Among(BaseModel, **STRICT):
    """How many pictures were drawn at once, and which of them this was: sums then round alike to the last bit."""

    rows: int = setting(1, "draw each picture as one of so many rows", ge=1, le=4096)
    place: int = setting(0, "which of the rows it is, from 0", ge=0, le=4095)


class DiffusionSample(BaseModel, **STRICT):
    sampler: Sampler = setting("ddim", "how noise becomes an image", main=True)
    steps: int = setting(20, "steps from noise to image", main=True, ge=1, le=100_000)
    eta: float = setting(0.0, "share of DDPM's noise on the way; 0 = none", needs="sampler=ddim", ge=0, le=1)
    guidance: float = setting(
        1.0,
        "how far to go from what is drawn unasked: 1 = the model itself, 0 = unasked (arXiv:2207.12598)",
        main=True,
        ge=-100,
        le=100,
    )
    classes: list[Class] = setting([], "classes in turn, for a model that has some; empty = all in turn")
    prompts: list[str] = setting([], "prompts in turn, for a model that reads text")
    negative_prompt: str = setting("", "what to go away from; needs guidance above 1", max_length=100_000)
    seeds: list[Seed] = setting(
        [0], "noise is a function of a seed and a picture's number, of nothing else", main=True, min_length=1
    )
    count: int = setting(16, "pictures for each seed", main=True, ge=1, le=MOST_PICTURES)
    first: int = setting(0, "number of the first of them", ge=0, lt=2**31)
    width: int | None = setting(None, "empty = what the model was trained for", unit="pixels", ge=1, le=8192)
    height: int | None = setting(None, "empty = what the model was trained for", unit="pixels", ge=1, le=8192)
    batch_size: int = setting(16, "pictures drawn at once, at most", ge=1, le=4096)
    grid: list[Axis] = setting([], "settings to compare: every value with every other, cell by cell", max_length=6)
    trajectory: int = setting(
        8, "pictures whose way from noise is kept, of the first batch with the same settings; 0 = none", ge=0, le=64
    )
    threads: AutoOrCount = setting("auto", "CPU threads; another number rounds otherwise")
    among: Among | None = setting(None, "to repeat one picture bit for bit; a picture's own record says it")
