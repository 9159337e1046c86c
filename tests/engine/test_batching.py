"""Which rows a step takes, who takes them, and how they are cut up: nothing is lost, nothing is taken twice."""

import itertools
from collections import Counter
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.data import batching
from engine.data.batching import micro_batches, mix, pad_rows, rows_of_step, share_of
from engine.data.chat import Example
from engine.data.mixture import Part

sizes = st.integers(1, 12)


def rows_taken(steps: range, *, batch_size: int, n_rows: int, seed: int = 0, shuffle: bool = True) -> list[int]:
    taken = [rows_of_step(step, batch_size=batch_size, n_rows=n_rows, seed=seed, shuffle=shuffle) for step in steps]
    return [row for rows in taken for row in rows]


# ----------------------------------------------------------------------------------------------- rows of a step


@given(batch_size=sizes, n_rows=sizes, seed=st.integers(0, 2**32 - 1), shuffle=st.booleans())
def test_every_row_comes_once_an_epoch(batch_size: int, n_rows: int, seed: int, shuffle: bool) -> None:
    """Epochs follow without a gap, also where a batch is longer than the data or ends amid an epoch."""
    steps = range(1, 3 * n_rows + 1)
    taken = rows_taken(steps, batch_size=batch_size, n_rows=n_rows, seed=seed, shuffle=shuffle)
    epochs = [taken[start : start + n_rows] for start in range(0, len(taken), n_rows)]
    assert all(sorted(epoch) == list(range(n_rows)) for epoch in epochs)


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = [
        tuple(rows_taken(range(e + 1, e + 2), batch_size=50, n_rows=50, seed=s)) for e in range(5) for s in range(5)
    ]
    assert len(set(orders)) == 25


def test_a_step_depends_on_no_step_before_it() -> None:
    """So a resumed run takes the rows it would have taken."""
    batching._order.cache_clear()
    whole = rows_taken(range(1, 40), batch_size=7, n_rows=30)
    batching._order.cache_clear()
    assert rows_taken(range(25, 40), batch_size=7, n_rows=30) == whole[24 * 7 :]


def test_without_shuffling_rows_come_as_they_stand() -> None:
    assert rows_taken(range(1, 4), batch_size=3, n_rows=4, shuffle=False) == [0, 1, 2, 3, 0, 1, 2, 3, 0]


# ------------------------------------------------------------------------------------------------ several sources

PARTS = (Part(10, 3.0), Part(4, 1.0))


def mixed_rows(steps: range, parts: Sequence[Part] = PARTS, *, shuffle: bool = True) -> list[int]:
    n_rows = sum(part.rows for part in parts)
    taken = [rows_of_step(s, batch_size=8, n_rows=n_rows, seed=1, shuffle=shuffle, parts=parts) for s in steps]
    return [row for rows in taken for row in rows]


def test_every_step_has_the_share_of_each_source() -> None:
    for step in range(1, 50):
        assert sum(row < 10 for row in mixed_rows(range(step, step + 1))) == 6


@given(st.lists(st.tuples(st.integers(1, 9), st.floats(0.01, 100)), min_size=2, max_size=4))
def test_shares_hold_over_many_steps_whatever_the_weights(given: list[tuple[int, float]]) -> None:
    parts = [Part(rows, weight) for rows, weight in given]
    total = sum(weight for _, weight in given)
    taken = Counter(mixed_rows(range(1, 251), parts))
    for index, part in enumerate(parts):
        first = sum(other.rows for other in parts[:index])
        share = sum(taken[row] for row in range(first, first + part.rows)) / 2000
        assert share == pytest.approx((part.weight or 0) / total, abs=0.003)


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_source_is_gone_through_whole_before_it_begins_again(shuffle: bool) -> None:
    taken = mixed_rows(range(1, 101), shuffle=shuffle)
    for first, size in ((0, 10), (10, 4)):
        own = [row - first for row in taken if first <= row < first + size]
        epochs = [sorted(own[start : start + size]) for start in range(0, len(own) - size, size)]
        assert epochs
        assert all(epoch == list(range(size)) for epoch in epochs)


def test_a_mixed_step_depends_on_no_step_before_it() -> None:
    whole = mixed_rows(range(1, 300))
    batching._order.cache_clear()
    assert mixed_rows(range(200, 300)) == whole[199 * 8 :]


def test_a_source_with_no_row_left_gives_its_share_to_the_others() -> None:
    assert set(mixed_rows(range(1, 20), [Part(3, 1.0), Part(0, 5.0), Part(2, 1.0)])) == set(range(5))


def test_sources_without_weights_are_one_heap() -> None:
    parts = (Part(10), Part(4))
    assert mixed_rows(range(1, 9), parts) == rows_taken(range(1, 9), batch_size=8, n_rows=14, seed=1)


# ------------------------------------------------------------------------------------------------------- shares


@given(st.integers(1, 8), st.integers(0, 6))
def test_the_shares_of_all_processes_are_the_batch_in_order(processes: int, each: int) -> None:
    items = list(range(processes * each))
    shares = [share_of(items, rank=rank, processes=processes) for rank in range(processes)]
    assert [item for share in shares for item in share] == items
    assert {len(share) for share in shares} == {each}


@given(st.lists(st.integers(1, 40_000), min_size=1, max_size=40), st.one_of(st.just("auto"), st.integers(1, 10)))
def test_micro_batches_are_the_batch_in_order(lengths: list[int], size: int | str) -> None:
    items = list(range(len(lengths)))
    parts = micro_batches(items, lengths, size)  # type: ignore[arg-type]
    assert [item for part in parts for item in part] == items
    assert all(parts)
    if size == "auto":
        padded = [len(part) * max(lengths[item] for item in part) for part in parts]
        assert all(n <= batching.TOKENS_AT_ONCE or len(part) == 1 for n, part in zip(padded, parts, strict=True))
    else:
        assert [len(part) for part in parts[:-1]] == [size] * (len(parts) - 1)


def test_auto_counts_padding_too() -> None:
    # 16,384 tokens at once: 4 rows of 4,096 fit; a row of 8,192 makes every row of its part that long.
    assert micro_batches("abcd", [4096] * 4, "auto") == [["a", "b", "c", "d"]]
    assert micro_batches("abcde", [4096] * 5, "auto") == [["a", "b", "c", "d"], ["e"]]
    assert micro_batches("abcd", [100, 100, 8192, 100], "auto") == [["a", "b"], ["c", "d"]]


# ----------------------------------------------------------------------------------------------------- padding


def test_rows_are_padded_on_the_right_and_masks_say_what_counts() -> None:
    rows = pad_rows([Example([5, 6, 7], [False, True, True]), Example([8], [False])], pad_id=9)
    assert rows.input_ids.tolist() == [[5, 6, 7], [8, 9, 9]]
    assert rows.is_token.tolist() == [[True, True, True], [True, False, False]]
    assert rows.is_target.tolist() == [[False, True, True], [False, False, False]]


def test_a_token_that_is_also_the_pad_counts_like_any_other() -> None:
    rows = pad_rows([Example([5, 9], [False, True]), Example([5, 6, 7], [False, False, True])], pad_id=9)
    assert rows.is_token.tolist() == [[True, True, False], [True, True, True]]
    assert rows.is_target.tolist() == [[False, True, False], [False, False, True]]


# -------------------------------------------------------------------------------------------------------- seeds


def test_small_numbers_never_mix_into_the_same_seed() -> None:
    few = range(-1, 12)
    mixed = [mix(*numbers) for count in (1, 2, 3, 4) for numbers in itertools.product(few, repeat=count)]
    assert [seed for seed, count in Counter(mixed).items() if count > 1] == []
    assert all(0 <= seed < 2**63 for seed in mixed)


def test_the_answers_of_a_step_draw_from_streams_of_their_own() -> None:
    """PyTorch's generator keeps only 32 bits of a seed; those differ too."""
    seeds = [mix(0, step, place, member) for step in range(1, 4) for place in range(64) for member in range(16)]
    assert len({seed % 2**32 for seed in seeds}) == len(seeds)
    first = torch.stack([torch.rand(4, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
    assert len(first.unique(dim=0)) == len(seeds)
    assert first.mean(dim=0).tolist() == pytest.approx([0.5] * 4, abs=0.02)  # 3,072 draws: 4 standard errors
    assert torch.corrcoef(torch.stack([first[:-1, 0], first[1:, 0]]))[0, 1].abs() < 0.08  # neighbours know nothing


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=4))
def test_a_mix_depends_on_order_and_on_every_number(numbers: list[int]) -> None:
    assert mix(*numbers) == mix(*numbers)
    assert mix(*numbers, 0) != mix(*numbers)
    assert mix(*numbers[:-1], numbers[-1] ^ 1) != mix(*numbers)
