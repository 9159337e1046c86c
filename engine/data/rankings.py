"""Answers to one prompt, and which of them is better than which: from canonical rows to examples.

A pair is a ranking of two. Of K answers in order, each of the K(K - 1) / 2 pairs is learned from, and each answer is
read once.
"""

import math
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerBase

from engine.data import left_out
from engine.data.chat import ChatEncoder, Example
from engine.data.left_out import LeftOut, Origin, Reasons
from engine.data.rows import Row
from engine.data.store import Grouped, StoredExamples

#: From a row with `prompt` and `completion` to the tokens of both; the answer's are its targets.
Reader = Callable[[Row], Example]
#: Longer than any text: whole texts are read first, and those that do not fit are left out.
WHOLE = 2**31


class Ranking(NamedTuple):
    """answers: each with its prompt before it. pairs: (better, worse), indices of answers.

    margins: by how much the better one of each pair should score higher. ratings: of each answer, where the data has
    them.
    """

    answers: list[Example]
    pairs: list[tuple[int, int]]
    margins: list[float]
    ratings: list[float] | None


class Encoded(NamedTuple):
    """The rankings that can be used, and of each its answers; and why other rows cannot: reason -> which, from 1."""

    rankings: Sequence[Ranking]
    answers: Sequence[Sequence[Example]]
    left_out: LeftOut


class StoredRankings:
    """Rankings put away, as one of many answers takes as much room as many answers."""

    def __init__(self, folder: Path | None = None) -> None:
        self._answers = StoredExamples(folder)
        self._answer_ends, self._pair_ends = array("q"), array("q")
        self._better, self._worse, self._margins = array("i"), array("i"), array("d")
        self._ratings = array("d")  # of each answer, NaN where nobody rated

    def append(self, ranking: Ranking) -> None:
        for answer in ranking.answers:
            self._answers.append(answer)
        self._answer_ends.append(len(self._answers))
        self._better.extend(better for better, _ in ranking.pairs)
        self._worse.extend(worse for _, worse in ranking.pairs)
        self._margins.extend(ranking.margins)
        self._pair_ends.append(len(self._better))
        self._ratings.extend(ranking.ratings or [math.nan] * len(ranking.answers))

    def rankings(self) -> Sequence[Ranking]:
        """Each read when it is asked for."""
        return Grouped(self._answers, self._answer_ends, self._ranking)

    def answers(self) -> Sequence[Sequence[Example]]:
        """Those of each ranking, as well."""
        return Grouped(self._answers, self._answer_ends, lambda _, answers: answers)

    def _ranking(self, place: int, answers: list[Example]) -> Ranking:
        pairs = slice(self._pair_ends[place - 1] if place else 0, self._pair_ends[place])
        last = self._answer_ends[place]
        ratings = self._ratings[last - len(answers) : last].tolist()
        return Ranking(
            answers,
            list(zip(self._better[pairs], self._worse[pairs], strict=True)),
            self._margins[pairs].tolist(),
            None if math.isnan(ratings[0]) else ratings,
        )


def encode_rankings(
    rows: Sequence[Row],
    read: Reader,
    *,
    max_length: int,
    to_learn: bool,
    breathe: Callable[[int], None],
    folder: Path | None = None,
) -> Encoded:
    """Every row as a ranking, if its texts fit whole: one that is cut would lose its end, where it is scored.

    to_learn: leave out what compares nothing; to measure, ratings are enough. breathe: called with the index of each
    row. folder: on whose disk many texts go.
    """
    stored, useless = StoredRankings(folder), Reasons()
    for index, row in enumerate(rows):
        breathe(index)
        ranking = _ranking(row, read)
        if any(len(answer.ids) > max_length for answer in ranking.answers):
            useless.add(f"an answer and its prompt are longer than {max_length} tokens", index + 1)
        elif not ranking.pairs and (to_learn or ranking.ratings is None):
            useless.add("no answer is better than another", index + 1)
        else:
            stored.append(ranking)
    return Encoded(stored.rankings(), stored.answers(), useless.found)


def told(encoded: Encoded, origins: Sequence[Origin] = ()) -> str:
    """Which rows were left out and why, in words; empty if none was. origins: the files that they are from."""
    total = len(encoded.rankings) + sum(map(len, encoded.left_out.values()))
    return left_out.told(encoded.left_out, total, "rows", origins)


def _ranking(row: Row, read: Reader) -> Ranking:
    if "answers" in row:
        return _of_many(row, [read({**row, "completion": answer}) for answer in row["answers"]])
    if "chosen_ids" in row:
        sides = (row["chosen_ids"], row["rejected_ids"])
        return _of_two(row, [Example(list(ids), [False] * len(ids)) for ids in sides])
    return _of_two(row, [read({**row, "completion": row[side]}) for side in ("chosen", "rejected")])


def _of_two(row: Row, answers: list[Example]) -> Ranking:
    pairs = [] if answers[0].ids == answers[1].ids else [(0, 1)]
    ratings = [row[name] for name in ("chosen_score", "rejected_score") if name in row]
    return Ranking(answers, pairs, [row.get("margin", 0.0)] * len(pairs), ratings if len(ratings) == 2 else None)


def _of_many(row: Row, answers: list[Example]) -> Ranking:
    """Of answers with the same rank or score, none is better."""
    scores: list[float] | None = row.get("scores")
    worth = [-rank for rank in row["ranks"]] if scores is None else scores
    places = range(len(answers))
    pairs = [(i, j) for i in places for j in places if worth[i] > worth[j] and answers[i].ids != answers[j].ids]
    return Ranking(answers, pairs, [0.0] * len(pairs), scores)


# ------------------------------------------------------------------------------------------------ what models read


def as_one_text(encoder: ChatEncoder) -> Reader:
    """For a decoder: the whole conversation by the tokenizer's template, or the text with the token that ends it."""

    def read(row: Row) -> Example:
        return encoder.example(row, completion_only=True, max_length=WHOLE)

    return read


def as_two_segments(tokenizer: PreTrainedTokenizerBase, *, system_prompt: str | None = None) -> Reader:
    """For an encoder: `[CLS] prompt [SEP] answer [SEP]`, the second segment being the target; no chat template."""

    def read(row: Row) -> Example:
        prompt, answer = _said(row["prompt"], system_prompt), _said(row["completion"])
        encoded = tokenizer(prompt, answer) if prompt else tokenizer(answer)
        ids = list(encoded["input_ids"])
        return Example(ids, [segment == 1 for segment in encoded.get("token_type_ids") or [0] * len(ids)])

    return read


def _said(text: str | list[dict[str, Any]], system_prompt: str | None = None) -> str:
    """Text as it is; of a conversation what was said, a line each, after the system's words."""
    if not isinstance(text, list):
        return text
    has_own = bool(text) and text[0]["role"] == "system"
    before = [system_prompt] if system_prompt is not None and not has_own else []
    return "\n".join([*before, *(str(message.get("content") or "") for message in text)])
