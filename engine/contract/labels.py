"""The labelling set: questions that were asked of people and what they answered. Version 1.

`labels/<set>/set.yaml` says how it was asked, `items.jsonl` what was shown, `judgements.jsonl` what was said. The
last is only ever appended to, and a line is on the disk before the next pair is shown; undo retracts a line.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, JsonValue, TypeAdapter, ValidationError, model_validator

from engine.contract import jsonl
from engine.contract.faults import Fault, PresetError, from_validation
from engine.contract.settings import STRICT, setting
from engine.contract.strict_yaml import YamlError, dump_yaml, load_yaml

LINE = {"frozen": True, "ser_json_inf_nan": "constants"}


class Protocol(BaseModel, **STRICT):
    """How people are asked. What was decided here stays for the whole set, or its answers could not be compared."""

    blind: bool = setting(True, "hide which model wrote what")
    tie: bool = setting(True, "allow: both are equally good")
    both_bad: bool = setting(True, "allow: neither is good enough to learn from")
    scale: Literal["binary", "graded"] = setting("binary", "which is better, or also by how much")


class LabelSet(BaseModel, **STRICT):
    """set.yaml."""

    version: Literal[1] = setting(1, "version of the format")
    name: str = setting(help="what presets call it: labels:<name>", pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
    question: str = setting("Which answer is better?", "what people are asked", min_length=1)
    kind: Literal["text", "image"] = setting("text", "what is judged")
    protocol: Protocol = Protocol()
    seed: int = setting(0, "start of every random choice: the order of items and who stands on which side", ge=0)


class Candidate(BaseModel, **LINE):
    """One thing to judge. text, or path of an image within the set. origin: run, checkpoint, sampling."""

    text: str | None = None
    image: str | None = None
    origin: dict[str, JsonValue] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _has_one(self) -> Self:
        if (self.text is None) == (self.image is None):
            raise ValueError("a candidate is a text or an image")
        return self


class Item(BaseModel, **LINE):
    """A prompt and what there is to choose between. Never changed once it is written."""

    id: str = Field(min_length=1)
    prompt: str | list[dict[str, str]]
    candidates: tuple[Candidate, ...] = Field(min_length=2)


class Judgement(BaseModel, **LINE):
    """What one person said of one item.

    ranking: groups of candidate indices, best first, those of a group alike; empty where all are bad or it was
    skipped. shown: candidate indices in the order in which they stood on the screen. strength: 1 to 3 on a graded
    scale. seconds: from shown to said. time: seconds since 1970.
    """

    kind: Literal["judgement"] = "judgement"
    id: str = Field(min_length=1)
    item: str
    labeller: str
    outcome: Literal["ranked", "both_bad", "skipped"] = "ranked"
    ranking: tuple[tuple[int, ...], ...] = ()
    shown: tuple[int, ...] = ()
    strength: int | None = Field(None, ge=1, le=3)
    seconds: float | None = Field(None, ge=0)
    time: float
    note: str = ""

    @model_validator(mode="after")
    def _ranks_each_once(self) -> Self:
        ranked = [index for group in self.ranking for index in group]
        if (self.outcome == "ranked") != bool(ranked) or not all(self.ranking):
            raise ValueError("a ranking belongs to the outcome `ranked` alone, and has no empty group")
        if len(set(ranked)) != len(ranked) or min(ranked, default=0) < 0:
            raise ValueError("each candidate stands in a ranking once, counted from 0")
        return self

    @property
    def is_tie(self) -> bool:
        return self.outcome == "ranked" and len(self.ranking) == 1


class Retraction(BaseModel, **LINE):
    """Takes back the judgement `judgement`, as undo does."""

    kind: Literal["retraction"] = "retraction"
    judgement: str
    labeller: str
    time: float


Line = Annotated[Judgement | Retraction, Field(discriminator="kind")]
_LINES: TypeAdapter[Judgement | Retraction] = TypeAdapter(Line)


@dataclass(frozen=True)
class LabelDir:
    """Paths within a labelling set. Nothing here creates or reads them."""

    path: Path

    @property
    def settings(self) -> Path:
        return self.path / "set.yaml"

    @property
    def items(self) -> Path:
        return self.path / "items.jsonl"

    @property
    def judgements(self) -> Path:
        return self.path / "judgements.jsonl"


@dataclass(frozen=True)
class Judgements:
    """Every line there is, in order, and how many could not be read."""

    lines: list[Judgement | Retraction]
    unreadable: int = 0


def standing(lines: Iterable[Judgement | Retraction]) -> list[Judgement]:
    """The judgements that count, in the order they were given: what was retracted is gone.

    Of several by the same labeller on the same item the last one counts. A retraction of what is not there, or of
    another labeller's judgement, does nothing; retracting the last lets the one before it stand again.
    """
    given: dict[str, Judgement] = {}
    for line in lines:
        if isinstance(line, Judgement):
            given.pop(line.id, None)
            given[line.id] = line
        elif (known := given.get(line.judgement)) is not None and known.labeller == line.labeller:
            del given[line.judgement]
    last = {(judgement.labeller, judgement.item): judgement.id for judgement in given.values()}
    kept = set(last.values())
    return [judgement for judgement in given.values() if judgement.id in kept]


def pairs(judgement: Judgement) -> Iterator[tuple[int, int]]:
    """(better, worse) for each two candidates that the judgement tells apart."""
    for place, group in enumerate(judgement.ranking):
        for lower in judgement.ranking[place + 1 :]:
            yield from ((better, worse) for better in group for worse in lower)


def create_set(path: Path, settings: LabelSet, items: Iterable[Item]) -> LabelDir:
    """A new set at `path`, whole or not at all. Raises FileExistsError, OSError, ValueError for equal ids."""
    if path.exists():
        raise FileExistsError(f"{path}: there is something already; choose another name")
    lines: dict[str, str] = {}
    for item in items:
        if item.id in lines:
            raise ValueError(f"item {item.id!r} is given twice; every item needs an id of its own")
        lines[item.id] = item.model_dump_json()
    staging = LabelDir(path.with_name(f".new-{path.name}"))
    staging.path.mkdir(parents=True, exist_ok=True)
    _write_durably(staging.items, "".join(f"{line}\n" for line in lines.values()))
    _write_durably(staging.settings, dump_yaml(settings.model_dump(mode="json")))
    staging.judgements.touch()
    staging.path.rename(path)
    return LabelDir(path)


def append_judgement(path: Path, line: Judgement | Retraction) -> None:
    """Put a line at the end of judgements.jsonl; it is on the disk when this returns. Raises OSError."""
    jsonl.end_torn_line(path)
    jsonl.append_line(path, line.model_dump_json(), durable=True)


def read_set(label_dir: LabelDir) -> LabelSet:
    """set.yaml. Raises PresetError, which lists every fault, and OSError."""
    try:
        data, lines = load_yaml(label_dir.settings.read_text("utf-8", "replace"))
    except YamlError as error:
        fault = Fault((), "", error.problem, "mend the YAML there", error.line)
        raise PresetError(str(label_dir.settings), [fault]) from error
    try:
        return LabelSet.model_validate(data)
    except ValidationError as error:
        found = [fault.at(lines) for fault in from_validation(error, LabelSet, data)]
        raise PresetError(str(label_dir.settings), found) from error


def read_items(label_dir: LabelDir) -> list[Item]:
    """Every item in order. Raises ValueError with the line of the first that is not one, as items never change."""
    found: list[Item] = []
    for number, line in enumerate(jsonl.follow(label_dir.items), start=1):
        try:
            found.append(Item.model_validate_json(line))
        except ValidationError as error:
            problem = error.errors()[0]["msg"]
            raise ValueError(f"{label_dir.items}, line {number}: {problem}; restore the file from a copy") from error
    return found


def read_judgements(label_dir: LabelDir) -> Judgements:
    """All that was said. A torn or unknown line is counted and skipped: the labels around it must not be lost."""
    found, unreadable = [], 0
    for line in jsonl.follow(label_dir.judgements):
        try:
            found.append(_LINES.validate_json(line))
        except ValidationError:
            unreadable += bool(line.strip())
    return Judgements(found, unreadable)


def _write_durably(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
