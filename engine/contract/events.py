"""What the engine says: one JSON object a line in events.jsonl, told apart by `kind`.

Readers are tolerant: an unknown kind or key is kept out of the way, so that an old window opens a newer run.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from engine.contract.findings import Report

#: Version of everything in this package. A reader may show a newer run, and says so.
CONTRACT_VERSION = 1

# NaN and Infinity are written as such: JSON's null would hide that a loss diverged.
EVENT = {"frozen": True, "ser_json_inf_nan": "constants"}


class RunStarted(BaseModel, **EVENT):
    """The plan: how many steps there will be, on how many processes, by which method."""

    kind: Literal["run_started"] = "run_started"
    time: float
    method: str
    steps: int
    processes: int = 1
    contract: int = CONTRACT_VERSION


class Resumed(BaseModel, **EVENT):
    """A new life of the run. What an earlier life wrote after `from_step` no longer counts."""

    kind: Literal["resumed"] = "resumed"
    time: float
    from_step: int


class Phase(BaseModel, **EVENT):
    """What the engine is busy with outside the steps. progress: 0 to 1, or None where nobody knows."""

    kind: Literal["phase"] = "phase"
    time: float
    what: str
    progress: float | None = None


class Preflight(BaseModel, **EVENT):
    """What was found out before the first step of a new run. A reader that does not know it loses nothing else."""

    kind: Literal["preflight"] = "preflight"
    time: float
    report: Report


class Step(BaseModel, **EVENT):
    """One optimiser step is done. Steps count from 1."""

    kind: Literal["step"] = "step"
    step: int
    time: float
    values: dict[str, float]


class Evaluation(BaseModel, **EVENT):
    """Measures on held-out data after `step`."""

    kind: Literal["evaluation"] = "evaluation"
    step: int
    time: float
    values: dict[str, float]


class Samples(BaseModel, **EVENT):
    """Completions of `step` begin at byte `offset` of rollouts.jsonl; `count` lines belong to it."""

    kind: Literal["samples"] = "samples"
    step: int
    time: float
    offset: int
    count: int


class Image(BaseModel, **EVENT):
    """An image was drawn. path: relative to the run directory."""

    kind: Literal["image"] = "image"
    step: int
    time: float
    path: str
    role: str = ""


class Checkpoint(BaseModel, **EVENT):
    """A checkpoint is whole and in place. path: relative to the run directory."""

    kind: Literal["checkpoint"] = "checkpoint"
    step: int
    time: float
    path: str


class CommandDone(BaseModel, **EVENT):
    """What was asked in commands.jsonl, what came of it, and why it was asked, where that was said."""

    kind: Literal["command"] = "command"
    step: int
    time: float
    id: str
    ask: str
    outcome: str = ""
    why: str = ""


class Notice(BaseModel, **EVENT):
    """Something a person should know."""

    kind: Literal["notice"] = "notice"
    time: float
    level: Literal["info", "warning", "error"]
    what: str
    advice: str = ""


class RunFinished(BaseModel, **EVENT):
    """The engine's last word. message: why it failed, and what to do."""

    kind: Literal["run_finished"] = "run_finished"
    time: float
    reason: Literal["finished", "stopped", "failed"]
    message: str = ""


Event = (
    RunStarted
    | Resumed
    | Phase
    | Preflight
    | Step
    | Evaluation
    | Samples
    | Image
    | Checkpoint
    | CommandDone
    | Notice
    | RunFinished
)


class Unreadable(BaseModel, **EVENT):
    """A line that says nothing to this version: garbage, a torn line, or a kind it does not know."""

    kind: Literal["unreadable"] = "unreadable"
    text: str
    reason: str


_READER: TypeAdapter[Any] = TypeAdapter(Annotated[Event, Field(discriminator="kind")])


def read_event(line: bytes) -> Event | Unreadable:
    """The event on a line of events.jsonl. Never raises."""
    try:
        event: Event = _READER.validate_json(line)
    except (ValidationError, ValueError) as error:
        unknown = isinstance(error, ValidationError) and error.errors()[0]["type"].startswith("union_tag")
        reason = "a kind of event this version does not know" if unknown else "not a whole event"
        return Unreadable(text=line[:200].decode("utf-8", "replace"), reason=reason)
    return event


def event_line(event: Event) -> str:
    """The event as a line, without its newline."""
    return event.model_dump_json()
