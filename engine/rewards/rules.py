"""Parts of a reward that look at one answer at a time: the task's verifier, the right answer, a pattern, the length."""

import math
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from engine import patterns
from engine.contract import online_settings
from engine.data.sources import TASK, Row
from engine.rewards.parts import Answered, Failure, Part, RewardError, Score, Surroundings


def verifier(part: online_settings.Verifier, around: Surroundings) -> Part:
    def score(answered: Answered) -> float:
        row = answered.row
        if row.get(TASK) not in around.tasks:
            raise RewardError("rewards: `verifier` needs rows from a `task:` source; use exact_match for other data")
        return around.tasks[row[TASK]].score(row, answered.text)

    return _each(score)


def exact_match(part: online_settings.ExactMatch, around: Surroundings) -> Part:
    return _each(
        lambda answered: float(answered.text.strip() == right_answer(answered.row, part.column, "exact_match").strip())
    )


def pattern(part: online_settings.Pattern, around: Surroundings) -> Part:
    try:
        matcher = patterns.compiled(part.pattern)
    except patterns.PatternError as error:
        raise RewardError(f"rewards: the pattern {part.pattern!r} is not a regular expression: {error}") from error

    def scored(answers: Sequence[Answered]) -> list[Score]:
        deadline = time.monotonic() + part.timeout
        return [_matched(answered.text, left=deadline - time.monotonic()) for answered in answers]

    def _matched(text: str, *, left: float) -> Score:
        around.breathe()
        if left <= 0:
            return Failure("time-out", f"{part.timeout:g} s were gone before all answers of the batch were matched")
        seconds = min(left, patterns.SECONDS)
        try:
            return float(patterns.matches(matcher, text, seconds=seconds))
        except TimeoutError:
            return Failure("time-out", f"matching {part.pattern!r} took more than {seconds:.2g} s on {text[:60]!r}")

    return scored


def length(part: online_settings.Length, around: Surroundings) -> Part:
    return _each(lambda answered: min(1.0, max(0.0, 2.0 - len(answered.ids) / part.target)))


def overlong(part: online_settings.Overlong, around: Surroundings) -> Part:
    """Soft overlong punishment, DAPO, Yu et al. 2025 (arXiv:2503.14476), eq. 13."""
    return _each(lambda answered: -min(1.0, max(0.0, (len(answered.ids) - part.longest) / part.buffer + 1.0)))


def right_answer(row: Row, column: str, kind: str) -> str:
    """What stands in the column. Raises RewardError if the row has none."""
    if column not in row:
        raise RewardError(f"rewards: {kind} needs the column {column!r}; the rows have {', '.join(row)}")
    return str(row[column])


def _each(score: Callable[[Answered], float]) -> Part:
    def scored(answers: Sequence[Answered]) -> list[Score]:
        return [_scored(score, answered) for answered in answers]

    return scored


def _scored(score: Callable[[Answered], float], answered: Answered) -> Score:
    """An answer that a verifier stumbles over costs itself, not the run."""
    try:
        value = score(answered)
    except RewardError:
        raise
    except Exception as error:  # noqa: BLE001 - verifiers of others meet texts that nobody thought of
        step = traceback.extract_tb(error.__traceback__)[-1]
        why = f"{Path(step.filename).name}, line {step.lineno}: {type(error).__name__}: {error}"
        return Failure(type(error).__name__, why)
    return value if math.isfinite(value) else Failure("no number", f"it gave {value}")
