"""How good scores are, against numbers worked out by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.reward_measures import area_under_curve, average_ranks, calibration_error, pearson, spearman


def t(*values: float) -> torch.Tensor:
    return torch.tensor(values)


def test_equal_values_share_their_average_rank() -> None:
    assert average_ranks(t(5, 1, 5, 9)).tolist() == [2.5, 1.0, 2.5, 4.0]


def test_the_area_is_the_share_of_wins_of_any_better_over_any_worse_answer() -> None:
    # 3 beats 1 and 2; 2 beats 1 and ties with 2: (2 + 1.5) / 4.
    assert area_under_curve(t(3, 2), t(1, 2)) == pytest.approx(3.5 / 4)


def test_pairs_in_order_whose_prompts_are_on_other_scales_have_a_lower_area_than_accuracy() -> None:
    assert area_under_curve(t(1, 11), t(0, 10)) == pytest.approx(3 / 4)


@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=1, max_size=12))
def test_the_area_counts_every_pair_of_a_better_and_a_worse(pairs: list[tuple[int, int]]) -> None:
    better, worse = [a for a, _ in pairs], [b for _, b in pairs]
    wins = sum((a > b) + 0.5 * (a == b) for a in better for b in worse)
    assert area_under_curve(t(*better), t(*worse)) == pytest.approx(wins / len(pairs) ** 2)


def test_scores_are_calibrated_where_they_are_right_as_often_as_they_say() -> None:
    """Sigmoid of log 4 is 0.8: four pairs in order and one that is not, all as sure."""
    sure = math.log(4)
    assert calibration_error(t(sure, sure, sure, sure, -sure)) == pytest.approx(0.0, abs=1e-7)
    assert calibration_error(t(sure, sure, sure, sure, sure)) == pytest.approx(0.2)
    assert calibration_error(t(-sure)) == pytest.approx(0.8)


def test_each_bin_of_confidence_counts_by_its_size() -> None:
    # Sure by 0.8 and right in both, off by 0.2; sure by 0.6 and wrong, off by 0.6.
    found = calibration_error(t(math.log(4), math.log(4), -math.log(1.5)))
    assert found == pytest.approx((2 * 0.2 + 0.6) / 3)


def test_in_one_bin_what_is_too_sure_makes_up_for_what_is_not_sure_enough() -> None:
    """Both are sure by 0.52 to 0.54, one of them rightly."""
    high, low = math.log(0.54 / 0.46), math.log(0.52 / 0.48)
    assert calibration_error(t(high, -low)) == pytest.approx(abs(1 - 0.54 - 0.52) / 2)


def test_correlations_of_a_line_and_of_a_bent_one() -> None:
    assert pearson(t(1, 2, 3), t(2, 4, 6)) == pytest.approx(1.0)
    # Deviations (-1.5, -.5, .5, 1.5) and (-3.75, -2.75, -.75, 7.25): 17.5 / sqrt(5 * 74.75).
    assert pearson(t(1, 2, 3, 4), t(0, 1, 3, 11)) == pytest.approx(17.5 / math.sqrt(5 * 74.75))
    assert spearman(t(1, 2, 3, 4), t(0, 1, 3, 11)) == pytest.approx(1.0)
    assert spearman(t(1, 2, 3), t(3, 2, 1)) == pytest.approx(-1.0)


def test_rank_correlation_with_a_tie() -> None:
    # Ranks (1, 2, 3) and (1.5, 1.5, 3): deviations (-1, 0, 1) and (-.5, -.5, 1): 1.5 / sqrt(2 * 1.5).
    assert spearman(t(1, 2, 3), t(4, 4, 9)) == pytest.approx(1.5 / math.sqrt(3))


def test_nothing_correlates_with_what_is_always_the_same() -> None:
    assert math.isnan(pearson(t(1, 2), t(3, 3)))
