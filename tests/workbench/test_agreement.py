"""Agreement and its intervals, against published values."""

import math

import numpy as np
import pytest

from workbench.state.agreement import cohen_kappa, krippendorff_alpha, wilson

GAP = math.nan
#: Krippendorff 2011 (Computing Krippendorff's Alpha-Reliability), section C: four observers, twelve units, gaps.
FOUR_OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, GAP, GAP, GAP],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, GAP, 3],
    [GAP, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, GAP],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, GAP],
]


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    # Newcombe 1998 (Statistics in Medicine 17, 857), table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_a_share_has_wilsons_interval(hits: int, count: int, low: float, high: float) -> None:
    share = wilson(hits, count)
    assert (round(share.low, 4), round(share.high, 4)) == (low, high)


def test_no_case_at_all_may_be_any_share() -> None:
    share = wilson(0, 0)
    assert (share.low, share.high) == (0.0, 1.0)
    assert math.isnan(share.value)
    assert not share.excludes(0.5)


def test_a_share_of_more_than_all_is_refused() -> None:
    with pytest.raises(ValueError, match="3 of 2"):
        wilson(3, 2)


def test_kappa_of_two_raters_is_what_one_works_out_by_hand() -> None:
    # 35 of 50 agree; by chance (25 * 30 + 25 * 20) / 2500 = 0.5 would: (0.7 - 0.5) / (1 - 0.5)
    assert cohen_kappa([[20, 5], [10, 15]]) == pytest.approx(0.4)


def test_kappa_is_negative_below_chance() -> None:
    # Cohen 1960, table 1: 0.29 observed, 0.35 by chance
    table = [[0.25, 0.13, 0.12], [0.12, 0.02, 0.16], [0.03, 0.15, 0.02]]
    assert cohen_kappa(table) == pytest.approx(-0.06 / 0.65)


def test_kappa_of_one_constant_answer_is_unknown() -> None:
    assert math.isnan(cohen_kappa([[7, 0], [0, 0]]))
    assert math.isnan(cohen_kappa([[0, 0], [0, 0]]))


@pytest.mark.parametrize(("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_of_four_observers_with_gaps_is_the_published_one(level: str, alpha: float) -> None:
    assert krippendorff_alpha(FOUR_OBSERVERS, level) == pytest.approx(alpha, abs=5e-4)  # type: ignore[arg-type]


def test_alpha_is_one_in_full_agreement_and_unknown_where_nothing_can_be_compared() -> None:
    assert krippendorff_alpha([[1, 2, 7], [1, 2, 7]]) == 1
    assert math.isnan(krippendorff_alpha([[1, GAP], [GAP, 2]]))
    assert math.isnan(krippendorff_alpha([[4, 4], [4, 4]]))
    assert math.isnan(krippendorff_alpha([]))


def test_alpha_does_not_depend_on_who_is_who() -> None:
    ratings = np.asarray(FOUR_OBSERVERS)
    assert krippendorff_alpha(ratings[::-1, ::-1]) == pytest.approx(krippendorff_alpha(ratings))
