"""The blind protocol: balanced sides, an order that nothing moves, repeats that nobody can foresee."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.contract.labels import Candidate, Item, Judgement, Protocol
from engine.contract.labels_protocol import (
    ROUNDS_PER_BLOCK,
    active_seconds,
    agrees_with_gold,
    choice_of,
    is_shared,
    is_wanted,
    ranking_of,
    repeat_due,
    sequence,
    sides,
)

seeds = st.integers(0, 2**32)
NAMES = [f"item-{number}" for number in range(400)]


@given(seeds, st.integers(2, 5))
def test_every_candidate_stands_in_every_place_equally_often_in_a_block(seed: int, candidates: int) -> None:
    size = candidates * ROUNDS_PER_BLOCK
    shown = [sides(seed, number, "ada", candidates=candidates) for number in range(size, 2 * size)]
    for place in range(candidates):
        assert set(Counter(one[place] for one in shown).values()) == {ROUNDS_PER_BLOCK}


def test_sides_belong_to_seed_item_and_labeller_and_a_repeat_swaps_them() -> None:
    ada = [sides(0, number, "ada") for number in range(64)]
    assert ada == [sides(0, number, "ada") for number in range(64)]
    assert ada != [sides(1, number, "ada") for number in range(64)]
    assert ada != [sides(0, number, "bob") for number in range(64)]
    assert all(sides(0, number, "ada", repeat=True) == shown[::-1] for number, shown in enumerate(ada))


def test_the_side_of_a_pair_tells_nothing_of_the_next_blocks() -> None:
    blocks = {tuple(sides(0, block * 8 + place, "ada") for place in range(8)) for block in range(60)}
    assert len(blocks) > 30  # of the 70 ways to choose four of eight


def test_items_that_come_later_move_none_that_were_there() -> None:
    grown = sequence(0, "ada", NAMES)
    assert [name for name in grown if name in NAMES[:100]] == sequence(0, "ada", NAMES[:100])
    assert sorted(grown) == sorted(NAMES)
    assert grown != sequence(0, "bob", NAMES)


def test_about_the_share_asked_for_is_judged_by_two() -> None:
    protocol = Protocol(overlap=0.25)
    shared = [name for name in NAMES if is_shared(7, name, protocol)]
    assert 70 < len(shared) < 130
    one, both = next(name for name in NAMES if name not in shared), shared[0]
    assert is_wanted(7, both, "bob", {"ada"}, protocol)
    assert not is_wanted(7, one, "bob", {"ada"}, protocol)
    assert not is_wanted(7, both, "bob", {"ada", "eve"}, protocol)
    assert not is_wanted(7, both, "ada", {"ada"}, protocol)
    assert is_wanted(7, one, "bob", {"model:judge"}, protocol)  # a vote of a model takes no person's place


def repeats_of(seed: int, protocol: Protocol, judgements: int) -> list[tuple[int, str]]:
    """(judgements given before it, item) of each repeat that a labeller is shown."""
    judged: list[str] = []
    found: list[tuple[int, str]] = []
    while len(judged) < judgements:
        due = repeat_due(seed, "ada", judged, [name for _, name in found], protocol)
        if due is None:
            judged.append(NAMES[len(judged)])
        else:
            found.append((len(judged), due))
    return found


@given(seeds)
def test_one_item_in_twenty_comes_again_once_and_no_sooner_than_twenty_items_later(seed: int) -> None:
    found = repeats_of(seed, Protocol(), 400)
    assert len(found) in (18, 19)  # (400 - 20) / 20, the last of them perhaps still to come
    assert all(given - NAMES.index(name) > 20 for given, name in found)
    assert len({name for _, name in found}) == len(found)


def test_repeats_come_at_places_that_the_seed_chooses() -> None:
    assert [given for given, _ in repeats_of(0, Protocol(), 400)] != [
        given for given, _ in repeats_of(1, Protocol(), 400)
    ]
    assert repeats_of(0, Protocol(repeats=0.0), 400) == []


@pytest.mark.parametrize("shown", [(0, 1), (1, 0)])
@pytest.mark.parametrize("choice", range(1, 8))
def test_a_choice_from_one_to_seven_is_read_back_as_it_was_made(choice: int, shown: tuple[int, int]) -> None:
    ranking, strength = ranking_of(choice, shown)
    judgement = Judgement(id="1", item="x", labeller="ada", ranking=ranking, strength=strength, shown=shown, time=0.0)
    assert choice_of(judgement) == choice
    assert judgement.is_tie == (choice == 4)


def test_one_means_the_left_is_much_better_whoever_stands_there() -> None:
    assert ranking_of(1, (1, 0)) == (((1,), (0,)), 3)
    assert ranking_of(5, (1, 0)) == (((0,), (1,)), 1)
    assert ranking_of(4, (1, 0)) == (((1, 0),), None)


def test_gold_is_compared_whatever_the_order_within_a_tie() -> None:
    texts = tuple(Candidate(text=text) for text in "abc")
    gold = Item(id="x", prompt="?", candidates=texts, gold=((0, 2), (1,)))
    said = Judgement(id="1", item="x", labeller="ada", ranking=((2, 0), (1,)), time=0.0)
    assert agrees_with_gold(said, gold) is True
    assert agrees_with_gold(said.model_copy(update={"ranking": ((1,), (0, 2))}), gold) is False
    assert agrees_with_gold(said.model_copy(update={"outcome": "skipped", "ranking": ()}), gold) is None
    assert agrees_with_gold(said, gold.model_copy(update={"gold": None})) is None


def test_time_that_nobody_was_there_counts_as_idle() -> None:
    assert active_seconds([2.0, 600.0, 3.0], Protocol(idle_after=60.0)) == 65.0
