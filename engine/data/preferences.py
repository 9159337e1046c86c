"""Pairs of answers to one prompt, one preferred: from rows, whose forms `formats` knows, to examples that share their
prompt."""

import math
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from engine.data import left_out
from engine.data.chat import ChatEncoder, Example
from engine.data.formats import canonical
from engine.data.left_out import LeftOut, Origin, Reasons
from engine.data.rows import Row, UnusableRow
from engine.data.store import Grouped, StoredExamples


class Pair(NamedTuple):
    """Two answers to the same prompt, whose tokens are the same up to where the answers begin."""

    chosen: Example
    rejected: Example

    @property
    def shared(self) -> int:
        """Tokens that both have before their answers begin."""
        begins = min(self.chosen.is_target.index(True), self.rejected.is_target.index(True))
        same = (i for i in range(begins) if self.chosen.ids[i] != self.rejected.ids[i])
        return next(same, begins)


class Encoded(NamedTuple):
    """The pairs that can be learned from; and why the others cannot: reason -> their rows, from 1.

    margins: what the data says of each pair's difference, NaN where it says nothing.
    """

    pairs: Sequence[Pair]
    left_out: LeftOut
    margins: Sequence[float] = ()


def encode_pairs(
    rows: Sequence[Row],
    encoder: ChatEncoder,
    *,
    max_length: int,
    breathe: Callable[[int], None],
    folder: Path | None = None,
) -> Encoded:
    """Every row as a pair, cut at max_length.

    breathe: called with the index of each row. folder: on whose disk many pairs go.
    """
    examples, margins, useless = StoredExamples(folder), array("d"), Reasons()
    for index, row in enumerate(rows):
        breathe(index)
        pair = read_pair(row, encoder, max_length)
        if isinstance(pair, Pair):
            examples.append(pair.chosen)
            examples.append(pair.rejected)
            margins.append(row.get("margin", math.nan))
        else:
            useless.add(pair, index + 1)
    pairs = Grouped(examples, range(2, len(examples) + 1, 2), lambda _, both: Pair(*both))
    return Encoded(pairs, useless.found, margins)


def read_pair(row: Row, encoder: ChatEncoder, max_length: int) -> Pair | str:
    """The row's pair, or why it is of no use."""
    try:
        return _pair(canonical(row, "dpo"), encoder, max_length)
    except UnusableRow as why:
        return str(why)


def told(encoded: Encoded, origins: Sequence[Origin] = ()) -> str:
    """Which rows were left out and why, in words; empty if none was. origins: the files that they are from."""
    total = len(encoded.pairs) + sum(map(len, encoded.left_out.values()))
    return left_out.told(encoded.left_out, total, "pairs", origins)


def _pair(row: Row, encoder: ChatEncoder, max_length: int) -> Pair | str:
    """The pair, or why it is of no use. Raises UnusableRow where the chat template refuses it."""
    if not row["prompt"]:
        return "nothing stands before the answers"
    sides = [{**row, "completion": row[side]} for side in ("chosen", "rejected")]
    chosen, rejected = (encoder.example(side, completion_only=True, max_length=max_length) for side in sides)
    if not any(chosen.is_target) or not any(rejected.is_target):
        return f"nothing of an answer fits into {max_length} tokens"
    if chosen.ids == rejected.ids:
        return f"both answers are the same within {max_length} tokens"
    return _sharing_prompt(chosen, rejected)


def _sharing_prompt(chosen: Example, rejected: Example) -> Pair:
    """A tokenizer may merge across the border in one answer only; both then begin where the first of them does."""
    begins = min(chosen.is_target.index(True), rejected.is_target.index(True))

    def from_there(example: Example) -> Example:
        own = example.is_target.index(True)
        is_target = [counts or begins <= i < own for i, counts in enumerate(example.is_target)]
        return example._replace(is_target=is_target)

    return Pair(from_there(chosen), from_there(rejected))
