"""Examples that were put away come back as they were, and take little room until then."""

import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data import store
from engine.data.chat import Example
from engine.data.preferences import Pair
from engine.data.store import Grouped, StoredExamples
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
    assert list(Grouped(stored, 2, Pair)) == [Pair(*examples[:2]), Pair(*examples[2:])]
