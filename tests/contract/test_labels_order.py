"""What chooses the items to judge, by hand; and that a lot always draws its share."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.contract.labels import LabelDir, LabelSet, Protocol
from engine.contract.labels_log import create_set
from engine.contract.labels_order import Order, disagreement, queue, read_order, spread, write_order
from engine.contract.labels_protocol import interleaved, is_audited

NAMES = [f"item-{number}" for number in range(1000)]


def test_one_model_is_least_sure_where_its_scores_are_alike() -> None:
    assert disagreement([(1.0, 1.0)]) == pytest.approx(0.25)
    # a chance of 3 in 4: 3/4 * 1/4
    assert disagreement([(math.log(3), 0.0)]) == pytest.approx(3 / 16)
    assert disagreement([(800.0, -800.0)]) == pytest.approx(0.0)


def test_models_that_contradict_each_other_are_as_unsure_as_one_that_cannot_tell() -> None:
    # chances 0.9 and 0.1: within 0.09 each, between ((0.4)^2 + (0.4)^2) / 2 = 0.16, together 0.25
    assert disagreement([(math.log(9), 0.0), (0.0, math.log(9))]) == pytest.approx(0.25)
    assert disagreement([(math.log(9), 0.0), (math.log(9), 0.0)]) == pytest.approx(0.09)


def test_of_many_answers_it_is_the_mean_over_their_pairs() -> None:
    # two alike and one far off: 1/4 and twice nearly nothing
    assert disagreement([(0.0, 0.0, 50.0)]) == pytest.approx(0.25 / 3)


def test_spread_is_from_the_worst_to_the_best_as_a_mean_over_models() -> None:
    assert spread([(1.0, 4.0, 2.0), (0.0, 1.0, -1.0)]) == pytest.approx((3 + 2) / 2)


def test_an_item_whose_score_is_no_number_is_left_to_the_lot() -> None:
    order = Order(by="spread", models=("m",), time=0.0, scores={"a": ((1.0, 2.0),), "b": ((math.nan, 2.0),)})
    assert order.weights() == {"a": 1.0}


def test_the_largest_weight_comes_first_and_equal_ones_as_the_lot_has_them() -> None:
    assert queue(["c", "a", "d", "b"], {"a": 1.0, "b": 2.0, "c": 1.0}) == ["b", "c", "a"]


@given(st.integers(0, 2**32), st.floats(0, 1))
def test_two_orders_are_interleaved_without_losing_or_moving_anything(seed: int, audit: float) -> None:
    lot, chosen = NAMES[:20], NAMES[20:50]
    found = interleaved(seed, "ada", lot, chosen, Protocol(audit=audit))
    assert [item for item in found if item in lot] == lot
    assert [item for item in found if item in chosen] == chosen


def test_the_lot_has_its_share_of_the_first_and_of_all() -> None:
    protocol = Protocol(audit=0.2)
    lot = [name for name in NAMES if is_audited(3, name, protocol)]
    assert len(lot) == pytest.approx(200, abs=40)
    first = interleaved(3, "ada", lot, [name for name in NAMES if name not in lot], protocol)[:200]
    assert sum(name in lot for name in first) == pytest.approx(40, abs=20)


def test_without_an_audit_the_lot_comes_last() -> None:
    assert interleaved(0, "ada", ["x"], ["a", "b"], Protocol(audit=0.0)) == ["a", "b", "x"]


def test_what_is_judged_does_not_change_the_order_of_the_rest() -> None:
    lot, chosen, protocol = NAMES[:50], NAMES[50:200], Protocol(audit=0.3)
    whole = interleaved(1, "ada", lot, chosen, protocol)
    rest = whole[60:]
    assert interleaved(1, "ada", [n for n in lot if n in rest], [n for n in chosen if n in rest], protocol) == rest


def test_an_order_is_read_back_and_a_damaged_one_says_what_to_do(tmp_path: Path) -> None:
    label_dir: LabelDir = create_set(tmp_path / "set", LabelSet(name="set"))
    assert read_order(label_dir) is None
    order = Order(by="disagreement", models=("m", "n"), time=1.0, scores={"a": ((1.0, 2.5), (0.0, -1.0))})
    write_order(label_dir, order)
    assert read_order(label_dir) == order
    label_dir.order.write_text('{"by": "whim"}')
    with pytest.raises(ValueError, match=r"order.json: .*; run `order` again, or remove it"):
        read_order(label_dir)
