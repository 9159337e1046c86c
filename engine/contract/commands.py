"""What a watcher may ask of a run: one JSON object a line in commands.jsonl."""

import time
import uuid
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, ValidationError

from engine.contract.jsonl import append_line

Ask = Literal["stop", "stop_now", "pause", "resume", "save"]

#: What each request means, in the words the window uses.
MEANING: dict[str, str] = {
    "stop": "stop after this step, with a checkpoint",
    "stop_now": "stop at once; the work since the last checkpoint is lost",
    "pause": "wait after this step",
    "resume": "go on",
    "save": "write a checkpoint after this step",
}


class Command(BaseModel, frozen=True):
    """why: for whoever finds that it was asked; what a rule of the run's own saw. A person need not say."""

    ask: Ask
    why: str = ""
    id: str = Field(default_factory=lambda: uuid.uuid4().hex)
    time: float = Field(default_factory=time.time)


def send(commands_file: Path, ask: Ask, *, why: str = "") -> Command:
    """Append the request; it is on the disk when this returns. Raises OSError."""
    command = Command(ask=ask, why=why)
    append_line(commands_file, command.model_dump_json(), durable=True)
    return command


def read_command(line: bytes) -> Command | None:
    """The request on a line, or None if it is not one this version knows."""
    try:
        return Command.model_validate_json(line)
    except ValidationError:
        return None
