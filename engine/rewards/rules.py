"""Parts of a reward that look at one answer at a time: the task's verifier, the right answer, a pattern, the length."""

import re
from collections.abc import Callable, Sequence

from engine.contract import online_settings
from engine.data.sources import TASK
from engine.rewards.parts import Answered, Part, RewardError, Surroundings


def verifier(part: online_settings.Verifier, around: Surroundings) -> Part:
    def score(answered: Answered) -> float:
        row = answered.row
        if row.get(TASK) not in around.tasks:
            raise RewardError("rewards: `verifier` needs rows from a `task:` source; use exact_match for other data")
        return around.tasks[row[TASK]].score(row, answered.text)

    return _each(score)


def exact_match(part: online_settings.ExactMatch, around: Surroundings) -> Part:
    def score(answered: Answered) -> float:
        row = answered.row
        if part.column not in row:
            raise RewardError(f"rewards: exact_match needs the column {part.column!r}; the rows have {', '.join(row)}")
        return float(answered.text.strip() == str(row[part.column]).strip())

    return _each(score)


def pattern(part: online_settings.Pattern, around: Surroundings) -> Part:
    try:
        matcher = re.compile(part.pattern, re.DOTALL)
    except re.error as error:
        raise RewardError(f"rewards: the pattern {part.pattern!r} is not a regular expression: {error}") from error
    return _each(lambda answered: float(matcher.fullmatch(answered.text.strip()) is not None))


def length(part: online_settings.Length, around: Surroundings) -> Part:
    return _each(lambda answered: min(1.0, max(0.0, 2.0 - len(answered.ids) / part.target)))


def overlong(part: online_settings.Overlong, around: Surroundings) -> Part:
    """Soft overlong punishment, DAPO, Yu et al. 2025 (arXiv:2503.14476), eq. 13."""
    return _each(lambda answered: -min(1.0, max(0.0, (len(answered.ids) - part.longest) / part.buffer + 1.0)))


def _each(score: Callable[[Answered], float]) -> Part:
    def scored(answers: Sequence[Answered]) -> list[float]:
        return [score(answered) for answered in answers]

    return scored
