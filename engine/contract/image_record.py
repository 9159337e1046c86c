"""What a picture says of how it was drawn: all that draws it again, kept in the PNG itself.

One iTXt chunk `plumbline` holds an ImageRecord as JSON; `parameters` says the same as far as other programs read it.
A PNG from a stranger is read the same way: bounded, and nothing in it is run, fetched or opened.
"""

from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, Field, ValidationError

from engine.contract import image_tools
from engine.contract.image_tools import Told
from engine.contract.png_text import PngError, read_png_text, with_texts

KEYWORD, PARAMETERS = "plumbline", "parameters"
#: No record of ours is longer, and none is nested deeper than pydantic reads.
LONGEST_RECORD = 256 * 1024

Scalar = str | int | float | bool | None


class ImageRecord(BaseModel, frozen=True, extra="ignore"):
    """How a picture was drawn.

    model: as the run's preset names it. fingerprint: of its weights, so that another model of that name is noticed.
    seed, index: the noise is a function of both and of nothing else. label: the class of a model with classes.
    schedule: the noise schedule's own settings, by diffusers' names. cell: where it lies in a grid, setting -> value.
    rows, place: how many pictures were drawn at once, and which of them this was; sums are only rounded alike if these
    are the same. dtype, device, threads, versions: what else rounding depends on.
    """

    version: Literal[1] = 1
    model: str = Field(max_length=4096)
    fingerprint: str = Field("", max_length=200)
    sampler: str = Field(max_length=100)
    spacing: str = Field("", max_length=100)
    steps: int = Field(ge=1, le=100_000)
    eta: float = Field(0.0, ge=0, le=1, allow_inf_nan=False)
    guidance: float = Field(1.0, ge=-1000, le=1000, allow_inf_nan=False)
    prompt: str | None = Field(None, max_length=100_000)
    negative_prompt: str = Field("", max_length=100_000)
    label: int | None = Field(None, ge=0, lt=2**31)
    seed: int = Field(ge=0, lt=2**63)
    index: int = Field(0, ge=0, lt=2**31)
    width: int = Field(ge=1, le=65_535)
    height: int = Field(ge=1, le=65_535)
    schedule: dict[str, Scalar | list[Scalar]] = Field(default_factory=dict, max_length=200)
    cell: dict[str, Scalar] = Field(default_factory=dict, max_length=20)
    rows: int = Field(1, ge=1, le=65_536)
    place: int = Field(0, ge=0, le=65_535)
    dtype: str = Field("float32", max_length=40)
    device: str = Field("cpu", max_length=200)
    threads: int = Field(1, ge=1, le=65_536)
    versions: dict[str, str] = Field(default_factory=dict, max_length=50)
    run: str = Field("", max_length=4096)


class Picture(NamedTuple):
    """What a PNG says. record: None unless we drew it. told: what other programs say, or our own in their words."""

    width: int
    height: int
    record: ImageRecord | None
    told: Told


def read_picture(path: Path) -> Picture:
    """What a PNG file says of itself. Raises PngError if it is no PNG, damaged, or its record is not one."""
    width, height, texts = read_png_text(path)
    if KEYWORD not in texts:
        return Picture(width, height, None, image_tools.told(texts))
    record = parse_record(texts[KEYWORD], path.name)
    return Picture(width, height, record, told_of(record))


def parse_record(text: str, name: str = "the picture") -> ImageRecord:
    """The record a text holds. Raises PngError, which names the first field that is wrong."""
    problem = f"{name} has a record that is not one"
    if len(text) > LONGEST_RECORD:
        raise PngError(f"{problem}: it has {len(text)} characters")
    try:
        return ImageRecord.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "JSON"
        raise PngError(f"{problem}: {where}: {first['msg']}") from error


def with_record(png: bytes, record: ImageRecord) -> bytes:
    """A PNG that says how it was drawn. Raises PngError if `png` is none."""
    return with_texts(png, {KEYWORD: record.model_dump_json(), PARAMETERS: image_tools.parameters(told_of(record))})


def told_of(record: ImageRecord) -> Told:
    """A record as other programs tell it: a class stands where they have a prompt."""
    prompt = record.prompt if record.prompt is not None or record.label is None else f"class {record.label}"
    return Told(
        tool="plumbline",
        prompt=prompt,
        negative_prompt=record.negative_prompt or None,
        seed=record.seed,
        steps=record.steps,
        guidance=record.guidance,
        sampler=record.sampler,
        model=Path(record.model).name,
        width=record.width,
        height=record.height,
    )
