"""Answers judged one by one: from the rows that people have to examples that are wanted or not.

A row has `prompt`, `completion` and `label`, true or false; or it is a pair, of which one answer is wanted and one not.
"""

from array import array
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from engine.data.chat import ChatEncoder, Example
from engine.data.left_out import LeftOut, Reasons
from engine.data.mixture import Part
from engine.data.preferences import Pair, read_pair
from engine.data.rows import UnusableRow
from engine.data.sources import DataError, Row
from engine.data.store import StoredExamples


class Judged(NamedTuple):
    """An answer and whether it is wanted."""

    example: Example
    is_wanted: bool


class Encoded(NamedTuple):
    """The answers that can be learned from, and which of them are wanted; and why other rows gave none.

    given: how many answers each row gave. left_out: reason -> rows, by their numbers.
    """

    answers: Sequence[Example]
    is_wanted: Sequence[int]
    given: Sequence[int]
    left_out: LeftOut


def encode_judged(
    rows: Sequence[Row],
    encoder: ChatEncoder,
    *,
    max_length: int,
    breathe: Callable[[int], None],
    folder: Path | None = None,
) -> Encoded:
    """Every row's answers, cut at max_length. Raises DataError for a row that has none, or none that is judged.

    breathe: called with the index of each row. folder: on whose disk many answers go.
    """
    answers, is_wanted, given, useless = StoredExamples(folder), array("b"), array("b"), Reasons()
    for index, row in enumerate(rows):
        breathe(index)
        found = _answers(row, encoder, max_length)
        if isinstance(found, str):
            useless.add(found, index + 1)
            continue
        for answer in found:
            answers.append(answer.example)
            is_wanted.append(answer.is_wanted)
        given.append(len(found))
    return Encoded(answers, is_wanted, given, useless.found)


def answers_of_sources(encoded: Encoded, parts: Sequence[Part]) -> tuple[Part, ...]:
    """Of each source how many answers there are, in place of how many rows."""
    ends = list(accumulate(part.rows for part in parts))
    starts = [0, *ends]
    return tuple(
        part._replace(rows=sum(encoded.given[start:end])) for part, start, end in zip(parts, starts, ends, strict=False)
    )


def mismatched(one: Example, other: Example, *, max_length: int) -> Example:
    """The prompt of one answer with the words of the other."""
    begins, others = one.is_target.index(True), other.is_target.index(True)
    ids = [*one.ids[:begins], *other.ids[others:]]
    is_target = [*one.is_target[:begins], *other.is_target[others:]]
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
