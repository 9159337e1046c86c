"""Answers judged one by one: from the rows that people have to examples that are wanted or not.

A row has `prompt`, `completion` and `label`, true or false; or it is a pair, of which one answer is wanted and one not.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple

from engine.data.chat import ChatEncoder, Example
from engine.data.left_out import LeftOut
from engine.data.mixture import Part
from engine.data.preferences import Pair, read_pair
from engine.data.rows import UnusableRow
from engine.data.sources import DataError, Row


class Judged(NamedTuple):
    """An answer and whether it is wanted."""

    example: Example
    is_wanted: bool

    @property
    def begins(self) -> int:
        """Tokens before the answer."""
        return self.example.is_target.index(True)


class Encoded(NamedTuple):
    """The answers that can be learned from, and how many each row gave; and why the other rows gave none.

    left_out: reason -> rows, by their numbers.
    """

    answers: list[Judged]
    given: list[int]
    left_out: LeftOut


def encode_judged(
    rows: Sequence[Row], encoder: ChatEncoder, *, max_length: int, breathe: Callable[[int], None]
) -> Encoded:
    """Every row's answers, cut at max_length. Raises DataError for a row that has none, or none that is judged.

    breathe: called with the index of each row.
    """
    answers: list[Judged] = []
    given: list[int] = []
    useless: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        breathe(index)
        found = _answers(row, encoder, max_length)
        if isinstance(found, str):
            useless.setdefault(found, []).append(index + 1)
        else:
            answers += found
            given.append(len(found))
    return Encoded(answers, given, useless)


def answers_of_sources(encoded: Encoded, parts: Sequence[Part]) -> tuple[Part, ...]:
    """Of each source how many answers there are, in place of how many rows."""
    ends = list(accumulate(part.rows for part in parts))
    starts = [0, *ends]
    return tuple(
        part._replace(rows=sum(encoded.given[start:end])) for part, start, end in zip(parts, starts, ends, strict=False)
    )


def mismatched(answer: Judged, other: Judged, *, max_length: int) -> Example:
    """The answer's prompt with the words of another."""
    before, after = answer.example, other.example
    ids = [*before.ids[: answer.begins], *after.ids[other.begins :]]
    is_target = [*before.is_target[: answer.begins], *after.is_target[other.begins :]]
    return Example(ids[:max_length], is_target[:max_length])


def _answers(row: Row, encoder: ChatEncoder, max_length: int) -> list[Judged] | str:
    """The row's answers, or why it is of no use."""
    if row.get("label") is None and row.get("chosen") is not None:
        pair = read_pair(row, encoder, max_length)
        return [Judged(pair.chosen, True), Judged(pair.rejected, False)] if isinstance(pair, Pair) else pair
    label = row.get("label")
    if not isinstance(label, bool) or row.get("prompt") is None or row.get("completion") is None:
        raise DataError(
            "a row has neither `prompt`, `completion` and a `label` of true or false, nor `chosen` and `rejected` "
            f"(it has {', '.join(row) or 'no columns'})"
        )
    if not row["prompt"]:
        return "nothing stands before the answer"
    if not str(row["completion"]).strip():
        return "an answer is empty"
    try:
        example = encoder.example(row, completion_only=True, max_length=max_length)
    except UnusableRow as why:
        return str(why)
    if not any(example.is_target):
        return f"nothing of the answer fits into {max_length} tokens"
    return [Judged(example, label)]
