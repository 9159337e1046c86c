"""The labelling set: questions that were asked of people and what they answered. Version 1.

    labels/<set>/
        set.yaml           how it was asked
        guideline.md       what people are told to look at; it may change, and each judgement says which one it saw
        items.jsonl        what there is to judge; grows while items are being written, and no line ever changes
        judgements.jsonl   what was said; only ever appended to, each line on the disk before the next pair is shown
        votes.jsonl        what models said, in the same lines; apart, so that a model may vote while a person judges
        order.json         what chooses the items to judge, if not the lot; see `labels_order`
        set.lock           held by the one window that writes judgements; votes.lock by the one model that votes
        generation/        how items are being written: a directory that is watched and stopped like a run

This module holds the records. `labels_log` reads and writes them, `labels_standing` says which judgements count,
`labels_protocol` decides what is shown, to whom, where on the screen and when again.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, GetCoreSchemaHandler, JsonValue, model_validator
from pydantic_core import core_schema

from engine.contract.settings import STRICT, setting

#: The version that is written. A set of a later one opens read-only.
VERSION = 1
#: What the name of a labeller begins with who is a model.
MODEL = "model:"

LINE = {"frozen": True, "ser_json_inf_nan": "constants"}


def _without_lone_surrogates(value: Any) -> Any:
    """Half of a UTF-16 pair is no character and cannot be written as UTF-8; a question mark stands in its place."""
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value


class _Mended:
    """Text that is mended where Python made it. JSON is spared the look: pydantic's reader takes no half of a pair."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        text = handler(source)
        mended = core_schema.no_info_before_validator_function(_without_lone_surrogates, text)
        return core_schema.json_or_python_schema(text, mended)


#: Text of any origin, hostile too, in a form that can be written and read back.
Text = Annotated[str, _Mended]


class Protocol(BaseModel, **STRICT):
    """How people are asked. What was decided here stays for the whole set, or its answers could not be compared."""

    blind: bool = setting(True, "hide which model wrote what")
    tie: bool = setting(True, "allow: both are equally good")
    both_bad: bool = setting(True, "allow: neither is good enough to learn from")
    scale: Literal["binary", "graded"] = setting("graded", "which is better, or also by how much")
    default_strength: int = setting(2, "strength of a preference given without one, on a graded scale", ge=1, le=3)
    repeats: float = setting(0.05, "share of one's own items that come again with sides swapped", ge=0, le=0.5)
    repeat_distance: int = setting(20, "an item comes again after so many others at the earliest", unit="items", ge=1)
    overlap: float = setting(0.1, "share of items that a second person judges too", ge=0, le=1)
    audit: float = setting(0.2, "share drawn at random where something else chooses what to judge", ge=0, le=1)
    idle_after: float = setting(60.0, "after so long without a key, click or scrolling nobody is there", unit="s", gt=0)


class LabelSet(BaseModel, **STRICT):
    """set.yaml."""

    version: int = setting(VERSION, "version of the format", ge=1)
    name: str = setting(help="what presets call it: labels:<name>", pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
    question: str = setting("Which answer is better?", "what people are asked", min_length=1)
    kind: Literal["text", "image"] = setting("text", "what is judged")
    protocol: Protocol = Protocol()
    seed: int = setting(0, "start of every random choice: the order of items and who stands on which side", ge=0)


class Candidate(BaseModel, **LINE):
    """One thing to judge. text, or path of an image within the set.

    origin: where it came from, as far as it is known: `model`, `run`, `step`, `file`, `line`, and `sampling` with
    temperature, top_p, top_k, max_new_tokens and seed.
    """

    text: Text | None = None
    image: str | None = None
    origin: dict[str, JsonValue] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _has_one(self) -> Self:
        if (self.text is None) == (self.image is None):
            raise ValueError("a candidate is a text or an image")
        return self


#: Groups of candidate indices, best first, those of a group alike.
Ranking = tuple[Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)], ...]


class Item(BaseModel, **LINE):
    """A prompt and what there is to choose between. Never changed once it is written.

    gold: the ranking that everybody should give, of an item that checks the labeller; never learned from.
    """

    id: str = Field(min_length=1)
    prompt: Text | list[dict[str, Text]]
    candidates: tuple[Candidate, ...] = Field(min_length=2)
    gold: Ranking | None = None

    @model_validator(mode="after")
    def _gold_ranks_what_is_there(self) -> Self:
        ranked = sorted(index for group in self.gold or () for index in group)
        if self.gold is not None and ranked != list(range(len(self.candidates))):
            raise ValueError("gold ranks each candidate once, counted from 0")
        return self


class Judgement(BaseModel, **LINE):
    """What one person said of one item.

    ranking: groups of candidate indices, best first, those of a group alike; empty where all are bad or it was
    skipped. shown: candidate indices in the order in which they stood on the screen. strength: on a graded scale, 1
    slightly, 2 clearly, 3 much better. seconds: from shown to said; active_seconds: without the time nobody was there.
    time: seconds since 1970.

    repeat: the same item for the second time, to see how the labeller agrees with themselves; it never overrules the
    first. settles: judgements of others that this one decides between. guideline: hash of the text that was in force.
    picked_by: what chose the item: order, disagreement, spread, audit … labeller: a person's name, or model:<path>.
    """

    kind: Literal["judgement"] = "judgement"
    id: str = Field(min_length=1)
    item: str
    labeller: str
    outcome: Literal["ranked", "both_bad", "skipped"] = "ranked"
    ranking: Ranking = ()
    shown: tuple[int, ...] = ()
    strength: int | None = Field(None, ge=1, le=3)
    seconds: float | None = Field(None, ge=0)
    active_seconds: float | None = Field(None, ge=0)
    time: float
    note: Text = ""
    flagged: bool = False
    repeat: bool = False
    settles: tuple[str, ...] = ()
    guideline: str = ""
    picked_by: str = "order"

    @model_validator(mode="after")
    def _ranks_each_once(self) -> Self:
        if (self.outcome == "ranked") != bool(self.ranking):
            raise ValueError("a ranking belongs to the outcome `ranked` alone")
        if len(set().union(*self.ranking)) != sum(map(len, self.ranking)):
            raise ValueError("each candidate stands in a ranking once")
        return self

    @property
    def is_tie(self) -> bool:
        return self.outcome == "ranked" and len(self.ranking) == 1

    @property
    def is_vote(self) -> bool:
        """Whether a model said it."""
        return self.labeller.startswith(MODEL)


class Retraction(BaseModel, **LINE):
    """Takes back the judgement `judgement`, as undo does."""

    kind: Literal["retraction"] = "retraction"
    judgement: str
    labeller: str
    time: float


class Redo(BaseModel, **LINE):
    """Lets the retracted judgement `judgement` stand again."""

    kind: Literal["redo"] = "redo"
    judgement: str
    labeller: str
    time: float


class Guideline(BaseModel, **LINE):
    """The text that judgements with this hash were given under. It stands in the log once, before the first of them."""

    kind: Literal["guideline"] = "guideline"
    sha256: str
    text: Text
    time: float


Line = Judgement | Retraction | Redo | Guideline


@dataclass(frozen=True)
class LabelDir:
    """Paths within a labelling set. Nothing here creates or reads them."""

    path: Path

    @property
    def settings(self) -> Path:
        return self.path / "set.yaml"

    @property
    def guideline(self) -> Path:
        return self.path / "guideline.md"

    @property
    def items(self) -> Path:
        return self.path / "items.jsonl"

    @property
    def judgements(self) -> Path:
        return self.path / "judgements.jsonl"

    @property
    def votes(self) -> Path:
        return self.path / "votes.jsonl"

    @property
    def order(self) -> Path:
        return self.path / "order.json"

    @property
    def lock(self) -> Path:
        return self.path / "set.lock"

    @property
    def votes_lock(self) -> Path:
        return self.path / "votes.lock"

    @property
    def generation(self) -> Path:
        return self.path / "generation"


def prompt_key(item: Item) -> str:
    """The same for items that ask the same, so that none of them trains while another one measures."""
    return hashlib.sha256(json.dumps(item.prompt, sort_keys=True).encode()).hexdigest()[:16]
