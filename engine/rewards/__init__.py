"""What an answer is worth: a weighted sum of parts, each reported by itself.

Registry of parts: preset kind -> builder. A part is a function of the row and the answer, and says nothing of weights.
"""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from engine.contract import online_settings
from engine.data.sources import TASK, Row
from engine.data.tasks import Task

#: One part of the reward: the row, the answer's text and its length in tokens.
Part = Callable[[Row, str, int], float]


class Reward(NamedTuple):
    """total: weighted sum. parts: each part's own value by name."""

    total: float
    parts: dict[str, float]


class RewardError(ValueError):
    """A reward that cannot be computed for these rows, in words for a person."""


class RewardSum:
    """Scores answers by the parts of a preset."""

    def __init__(self, parts: Sequence[online_settings.Reward], tasks: dict[str, Task]) -> None:
        self._parts = [(name, part.weight, BUILDERS[type(part)](part, tasks)) for name, part in _named(parts)]

    def score(self, row: Row, answer: str, length: int) -> Reward:
        """length: tokens of the answer. Raises RewardError if the row lacks what a part needs."""
        values = {name: part(row, answer, length) for name, _, part in self._parts}
        return Reward(sum(weight * values[name] for name, weight, _ in self._parts), values)


def _named(parts: Sequence[online_settings.Reward]) -> list[tuple[str, online_settings.Reward]]:
    """Each part under its kind; the second of a kind gets a number."""
    names: list[str] = []
    for part in parts:
        count = sum(name.split("_#")[0] == part.kind for name in names)
        names.append(part.kind if count == 0 else f"{part.kind}_#{count + 1}")
    return list(zip((name.replace("_#", "_") for name in names), parts, strict=True))


def _verifier(part: online_settings.Verifier, tasks: dict[str, Task]) -> Part:
    def score(row: Row, answer: str, length: int) -> float:
        if row.get(TASK) not in tasks:
            raise RewardError("rewards: `verifier` needs rows from a `task:` source; use exact_match for other data")
        return tasks[row[TASK]].score(row, answer)

    return score


def _exact_match(part: online_settings.ExactMatch, tasks: dict[str, Task]) -> Part:
    def score(row: Row, answer: str, length: int) -> float:
        if part.column not in row:
            raise RewardError(f"rewards: exact_match needs the column {part.column!r}; the rows have {', '.join(row)}")
        return float(answer.strip() == str(row[part.column]).strip())

    return score


def _pattern(part: online_settings.Pattern, tasks: dict[str, Task]) -> Part:
    try:
        matcher = re.compile(part.pattern, re.DOTALL)
    except re.error as error:
        raise RewardError(f"rewards: the pattern {part.pattern!r} is not a regular expression: {error}") from error
    return lambda row, answer, length: float(matcher.fullmatch(answer.strip()) is not None)


def _length(part: online_settings.Length, tasks: dict[str, Task]) -> Part:
    return lambda row, answer, length: min(1.0, max(0.0, 2.0 - length / part.target))


BUILDERS: dict[type, Callable[..., Part]] = {
    online_settings.Verifier: _verifier,
    online_settings.ExactMatch: _exact_match,
    online_settings.Pattern: _pattern,
    online_settings.Length: _length,
}
