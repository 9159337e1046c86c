"""The weight of KL that follows a target, and moments of all scores so far, by hand."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kl_control import KlControl, Moments, State


def test_the_weight_grows_after_a_step_too_far_and_falls_after_one_too_near() -> None:
    control = KlControl(0.2, target=6.0, horizon=100)
    control.update(6.6, answers=10)  # 10% too far: 0.2 * (1 + 0.1 * 10 / 100)
    assert control.weight == pytest.approx(0.202)
    control.update(5.4, answers=10)
    assert control.weight == pytest.approx(0.202 * 0.99)


def test_one_step_moves_the_weight_by_a_fifth_of_its_share_of_the_horizon_at_most() -> None:
    control = KlControl(0.2, target=6.0, horizon=100)
    control.update(600.0, answers=10)
    assert control.weight == pytest.approx(0.2 * 1.02)
    control = KlControl(0.2, target=6.0, horizon=100)
    control.update(-600.0, answers=10)
    assert control.weight == pytest.approx(0.2 * 0.98)


@pytest.mark.parametrize("kl", [float("nan"), float("inf")])
def test_the_weight_stays_where_kl_is_no_number_or_nobody_set_a_target(kl: float) -> None:
    control = KlControl(0.2, target=6.0, horizon=100)
    control.update(kl, answers=10)
    fixed = KlControl(0.2, target=None, horizon=100)
    fixed.update(50.0, answers=10)
    assert (control.weight, fixed.weight) == (0.2, 0.2)


@given(st.lists(st.lists(st.floats(-100, 100), max_size=6), max_size=6))
def test_moments_merged_batch_by_batch_are_those_of_all_numbers(batches: list[list[float]]) -> None:
    moments, everything = Moments(), [value for batch in batches for value in batch]
    for batch in batches:
        moments.add(batch)
    assert moments.count == len(everything)
    if len(everything) > 1 and (spread := statistics.stdev(everything)) > 1e-3:
        assert moments.mean == pytest.approx(statistics.fmean(everything), abs=1e-9)
        assert moments.std == pytest.approx(spread)


def test_what_is_no_number_does_not_spoil_the_moments_and_no_spread_divides_by_1() -> None:
    moments = Moments()
    assert moments.std == 1.0
    moments.add([2.0, float("nan"), 2.0])
    assert (moments.count, moments.mean, moments.std) == (2, 2.0, 1.0)


def test_what_is_kept_is_taken_back() -> None:
    state = State(KlControl(0.2, 6.0, 100), Moments())
    state.kl.update(12.0, 10)
    state.scores.add([1.0, 4.0])
    other = State(KlControl(0.2, 6.0, 100), Moments())
    other.recall(state.kept())
    assert other == state
