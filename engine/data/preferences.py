"""Pairs of answers to one prompt, one preferred: from the rows that people have to examples that share their prompt.

A row has `prompt`, `chosen` and `rejected`, as text or messages; without a prompt of its own, that is what both answers
begin with.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from engine.data import left_out
from engine.data.chat import ChatEncoder, Example
from engine.data.left_out import LeftOut, Origin
from engine.data.rows import UnusableRow
from engine.data.sources import DataError, Row


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
    """The pairs that can be learned from; and why the others cannot: reason -> their rows, from 1."""

    pairs: list[Pair]
    left_out: LeftOut


def encode_pairs(
    rows: Sequence[Row], encoder: ChatEncoder, *, max_length: int, breathe: Callable[[int], None]
) -> Encoded:
    """Every row as a pair, cut at max_length. Raises DataError for a row that is no pair at all.

    breathe: called with the index of each row.
    """
    pairs: list[Pair] = []
    useless: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        breathe(index)
        pair = read_pair(row, encoder, max_length)
        if isinstance(pair, Pair):
            pairs.append(pair)
        else:
            useless.setdefault(pair, []).append(index + 1)
    return Encoded(pairs, useless)


def read_pair(row: Row, encoder: ChatEncoder, max_length: int) -> Pair | str:
    """The row's pair, or why it is of no use. Raises DataError for a row that is no pair at all."""
    return _pair(_with_prompt(row), encoder, max_length)


def told(encoded: Encoded, origins: Sequence[Origin] = ()) -> str:
    """Which rows were left out and why, in words; empty if none was. origins: the files that they are from."""
    total = len(encoded.pairs) + sum(map(len, encoded.left_out.values()))
    return left_out.told(encoded.left_out, total, "pairs", origins)


def _pair(row: Row, encoder: ChatEncoder, max_length: int) -> Pair | str:
    """The row's pair, or why it is of no use."""
    if not row["prompt"]:
        return "nothing stands before the answers"
    if _is_empty(row["chosen"]) or _is_empty(row["rejected"]):
        return "an answer is empty"
    sides = [{**row, "completion": row[side]} for side in ("chosen", "rejected")]
    try:
        chosen, rejected = (encoder.example(side, completion_only=True, max_length=max_length) for side in sides)
    except UnusableRow as why:
        return str(why)
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


def _is_empty(answer: Any) -> bool:
    if isinstance(answer, list):
        return not any(str(message.get("content") or "").strip() for message in answer)
    return not str(answer).strip()


# ---------------------------------------------------------------------------------------------- prompts not told apart


def _with_prompt(row: Row) -> Row:
    """The row with its prompt told apart from the answers. Raises DataError if it has no answers."""
    chosen, rejected = row.get("chosen"), row.get("rejected")
    if chosen is None or rejected is None:
        raise DataError(f"a row has no `chosen` and `rejected` (it has {', '.join(row) or 'no columns'})")
    if type(chosen) is not type(rejected):
        raise DataError("a row has text as one answer and messages as the other; write both alike")
    if row.get("prompt") is not None and not _is_conversation(chosen):
        return row
    shared = _shared_length(chosen, rejected)
    return {"prompt": chosen[:shared], "chosen": chosen[shared:], "rejected": rejected[shared:]}


def _is_conversation(answer: Any) -> bool:
    """Whether messages begin before the answer, as where a column `prompt` only repeats the first of them."""
    return isinstance(answer, list) and bool(answer) and answer[0].get("role") != "assistant"


def _shared_length(chosen: Sequence[Any], rejected: Sequence[Any]) -> int:
    """How much both begin with: messages, or characters. Something is always left to answer with."""
    longest = max(0, min(len(chosen), len(rejected)) - 1)
    shared = next((i for i in range(longest) if chosen[i] != rejected[i]), longest)
    # Tokenizers count a space to the word after it, so it belongs to the answer.
    return shared - 1 if shared and chosen[shared - 1] == " " else shared
