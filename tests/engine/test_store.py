"""Examples that were put away come back as they were, and take little room until then."""

import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data import store
from engine.data.byte_tokenizer import byte_tokenizer
from engine.data.chat import ChatEncoder, Example
from engine.data.formats import canonical
from engine.data.preferences import Pair, encode_pairs
from engine.data.rankings import as_one_text, encode_rankings
from engine.data.rows import Row
from engine.data.store import Grouped, StoredExamples, one_by_one
from engine.data.unpaired import encode_judged
from tests.tiny import random_ids

tokens = st.lists(st.tuples(st.integers(0, 2**31 - 1), st.booleans()), max_size=5)


@given(st.lists(st.tuples(tokens, st.booleans()), max_size=6))
def test_what_was_put_away_comes_back(rows: list[tuple[list[tuple[int, bool]], bool]]) -> None:
    examples = [Example([i for i, _ in row], [counts for _, counts in row], cut) for row, cut in rows]
    stored = StoredExamples()
    for example in examples:
        stored.append(example)
    assert list(stored) == examples
    assert stored[1:] == examples[1:]
    assert stored[::-2] == examples[::-2]


def test_there_is_nothing_beyond_the_last(tmp_path: Path) -> None:
    with pytest.raises(IndexError):
        StoredExamples(tmp_path)[0]


def test_many_go_to_the_disk_and_leave_nothing_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "IN_MEMORY", 10_000)
    examples = [Example(random_ids(100, seed=seed), [True] * 100) for seed in range(10)]
    tracemalloc.start()
    stored = StoredExamples(tmp_path)
    for _ in range(500):
        for example in examples:
            stored.append(example)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(stored) == 5_000
    assert all(stored[place] == examples[place % 10] for place in (0, 1234, 4999))
    assert most < 500_000 < 5 * 100 * len(stored)
    assert list(tmp_path.iterdir()) == []


def test_two_at_a_time_they_are_pairs(tmp_path: Path) -> None:
    examples = [Example([place], [True]) for place in range(4)]
    stored = StoredExamples(tmp_path)
    for example in examples:
        stored.append(example)
    pairs = Grouped(stored, range(2, 5, 2), lambda _, both: Pair(*both))
    assert list(pairs) == [Pair(*examples[:2]), Pair(*examples[2:])]
    assert list(one_by_one(stored)) == [[example] for example in examples]


def test_what_is_made_of_some_knows_their_place(tmp_path: Path) -> None:
    stored = StoredExamples(tmp_path)
    for place in range(6):
        stored.append(Example([place], [True]))
    grouped = Grouped(stored, [1, 3, 3, 6], lambda place, some: (place, [one.ids[0] for one in some]))
    assert list(grouped) == [(0, [0]), (1, [1, 2]), (2, []), (3, [3, 4, 5])]
    assert grouped[-1] == grouped[3] == (3, [3, 4, 5])
    assert grouped[1:3] == [(1, [1, 2]), (2, [])]
    with pytest.raises(IndexError):
        grouped[4]


ANSWER = "lorem ipsum " * 20
MANY = {
    "pairs": ("dpo", {"prompt": "p", "chosen": ANSWER, "rejected": "no"}),
    "judged answers": ("kto", {"prompt": "p", "completion": ANSWER, "label": True}),
    "rankings": ("reward_model", {"prompt": "p", "answers": [ANSWER, "no"], "ranks": [1, 2]}),
}


def encode_many(method: str, row: Row, count: int, folder: Path) -> object:
    encoder, rows, quiet = ChatEncoder(byte_tokenizer()), [canonical(row, method)] * count, {"breathe": lambda _: None}
    if method == "reward_model":
        how: dict[str, Any] = {"to_learn": True, **quiet}
        return encode_rankings(rows, as_one_text(encoder), max_length=512, folder=folder, **how)
    encode = encode_pairs if method == "dpo" else encode_judged
    return encode(rows, encoder, max_length=512, folder=folder, **quiet)


@pytest.mark.parametrize(("method", "row"), MANY.values(), ids=MANY)
def test_what_any_method_reads_takes_no_memory_that_grows_with_its_tokens(
    method: str, row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As lists, 2,000 answers of 240 tokens would be 8 MB and more; what stays is some bytes for each."""
    monkeypatch.setattr(store, "IN_MEMORY", 10_000)
    encode_many(method, row, 1, tmp_path)  # what is set up once
    tracemalloc.start()
    kept = encode_many(method, row, 2_000, tmp_path)
    now, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept
    assert now < 200 * 2_000
    assert most < 300 * 2_000
