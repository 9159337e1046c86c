"""What the parts of a reward have in common: what they are given, what they give, and what they raise."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from engine.data.chat import ChatEncoder
from engine.data.sources import Row
from engine.data.tasks import Task
from engine.flops import Meter


@dataclass(frozen=True)
class Answered:
    """An answer that is to be scored.

    row: what it answers, with the columns of the data. text: what it says, without marks such as the end token.
    prompt, ids: both as tokens of the policy; ids with the end token, if it was written.
    """

    row: Row
    text: str
    ids: Sequence[int]
    prompt: Sequence[int] = ()


class Failure(NamedTuple):
    """Why a part has no value for an answer it should have one for. kind: a word or two, the same for like failures."""

    kind: str
    why: str


#: A value, None where the part has nothing to say of the answer, or why there is none.
Score = float | None | Failure
#: One part of the reward: answers in, a score for each. A batch, as a model that scores reads many at once.
Part = Callable[[Sequence[Answered]], Sequence[Score]]


class RewardError(ValueError):
    """A reward that cannot be computed for these rows, in words for a person."""


@dataclass(frozen=True)
class Surroundings:
    """What a part may need besides the answers.

    tasks: those that made the rows, by source. encoder: how the policy's prompts are written; None where no policy is.
    breathe: to be called within long work. notice(what, advice): tells whoever watches. meter: watches the models that
    score.
    """

    tasks: Mapping[str, Task] = field(default_factory=dict)
    encoder: ChatEncoder | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    breathe: Callable[[], None] = lambda: None
    notice: Callable[[str, str], None] = lambda what, advice: None
    meter: Meter = field(default_factory=Meter)
