"""Win rates, boards and the sentence that says what they mean."""

import math

import numpy as np
import pytest

from workbench.state.agreement import Share
from workbench.state.comparison import Vote, board, bradley_terry, sentence, votes_needed, win_rate
from workbench.state.length_control import board_at_equal_length, rate_at_equal_length

TEAMS = ["Milwaukee", "Detroit", "Toronto", "New York", "Boston", "Cleveland", "Baltimore"]
#: American League 1987, wins of the row over the column: Agresti 2002 (Categorical Data Analysis), table 10.10.
BASEBALL = [
    [0, 7, 9, 7, 7, 9, 11],
    [6, 0, 7, 5, 11, 9, 9],
    [4, 6, 0, 7, 7, 8, 12],
    [6, 8, 6, 0, 6, 7, 10],
    [6, 2, 6, 7, 0, 7, 12],
    [4, 4, 5, 6, 6, 0, 6],
    [2, 4, 1, 3, 1, 7, 0],
]
#: Against Baltimore, as BradleyTerry2 gives them: Turner & Firth 2012 (doi:10.18637/jss.v048.i09), section 3.
ABILITIES = [1.5814, 1.4364, 1.2945, 1.2476, 1.1077, 0.6839, 0.0]


def test_bradley_terry_gives_the_published_strengths_of_the_baseball_teams() -> None:
    strengths = bradley_terry(BASEBALL)
    assert strengths - strengths[-1] == pytest.approx(ABILITIES, abs=2e-4)
    assert strengths.mean() == pytest.approx(0, abs=1e-12)


def test_two_models_differ_by_the_log_of_their_odds() -> None:
    strengths = bradley_terry([[0, 3], [1, 0]])
    assert strengths[0] - strengths[1] == pytest.approx(math.log(3))


def test_a_model_that_never_lost_has_a_place_on_the_board() -> None:
    votes = [Vote(f"p{i}", "base", "tuned", 1.0) for i in range(20)]
    first, last = board(votes)
    assert (first.model, last.model) == ("tuned", "base")
    assert math.isfinite(first.strength)
    assert first.votes == 20


def test_the_board_of_one_model_is_empty() -> None:
    assert board([]) == []


def test_a_win_rate_counts_a_tie_half() -> None:
    rate = win_rate(["p", "q", "r", "s"], [1, 0.5, 0, 1])
    assert (rate.hits, rate.total, rate.value) == (2.5, 4, 0.625)


def test_the_interval_of_independent_prompts_is_that_of_a_share() -> None:
    scores = [1.0] * 60 + [0.0] * 40
    rate = win_rate([str(i) for i in range(100)], scores)
    half = 1.96 * math.sqrt(0.6 * 0.4 / 100)
    assert (rate.low, rate.high) == pytest.approx((0.6 - half, 0.6 + half), abs=0.015)


def test_ten_judgements_of_one_prompt_say_no_more_than_one() -> None:
    prompts, scores = [str(i) for i in range(30)], [float(i % 3 > 0) for i in range(30)]
    once, tenfold = win_rate(prompts, scores), win_rate(prompts * 10, scores * 10)
    assert (tenfold.low, tenfold.high) == pytest.approx((once.low, once.high))


def test_five_prompts_that_all_say_the_same_do_not_settle_it_for_certain() -> None:
    rate = win_rate(list("abcde"), [1.0] * 5)
    # Wilson, 5 of 5: 5 / (5 + 1.96 ** 2)
    assert (rate.low, rate.high) == pytest.approx((5 / (5 + 1.959964**2), 1))


def test_many_judgements_of_one_prompt_are_one_prompt() -> None:
    rate = win_rate(["p"] * 100, [1.0] * 100)
    assert rate.low == pytest.approx(1 / (1 + 1.959964**2))
    assert not rate.excludes(0.5)
    votes = [Vote("p", "base", name, 1.0) for name in ("tuned", "merged") for _ in range(50)]
    assert [math.isfinite(place.low) for place in board(votes)] == [False] * 3


def test_a_bootstrap_is_the_same_twice() -> None:
    prompts, scores = [str(i) for i in range(50)], list(np.linspace(0, 1, 50))
    assert win_rate(prompts, scores, seed=3) == win_rate(prompts, scores, seed=3)
    assert win_rate(prompts, scores, seed=3) != win_rate(prompts, scores, seed=4)


@pytest.mark.parametrize(("rate", "count"), [(0.55, 783), (0.60, 194), (0.65, 85)])
def test_the_judgements_needed_are_those_of_the_usual_power_formula(rate: float, count: int) -> None:
    # by hand for 0.60: ((1.95996 * 0.5 + 0.84162 * sqrt(0.24)) / 0.1) ** 2 = 193.85
    assert votes_needed(rate) == count


def test_the_sentence_says_that_it_is_not_settled_and_what_would_settle_it() -> None:
    said = sentence(("A", "B"), Share(70, 120, 0.494, 0.667))
    assert said.startswith("B is preferred over A in 58% of 120, 95% interval 49\N{EN DASH}67%: ")
    assert said.endswith(": not settled; about 200 more would be needed.")


def test_the_sentence_names_the_model_that_is_preferred() -> None:
    said = sentence(("A", "B"), Share(53, 120, 0.356, 0.531))
    assert said.startswith("A is preferred over B in 56% of 120, 95% interval 47\N{EN DASH}64%: not settled; about ")


def test_the_sentence_says_that_it_is_settled() -> None:
    assert sentence(("A", "B"), Share(80, 100, 0.71, 0.87)) == (
        "B is preferred over A in 80% of 100, 95% interval 71\N{EN DASH}87%: settled."
    )
    assert sentence(("A", "B"), Share(20, 100, 0.13, 0.29)) == (
        "A is preferred over B in 80% of 100, 95% interval 71\N{EN DASH}87%: settled."
    )


def test_the_sentence_of_equals_does_not_promise_an_end() -> None:
    said = sentence(("A", "B"), Share(50, 100, 0.4, 0.6))
    assert said.startswith(
        "A and B are preferred alike, each in 50% of 100, 95% interval 40\N{EN DASH}60%: not settled"
    )
    assert "hardly settle" in said
    assert sentence(("A", "B"), Share(0, 0, 0, 1)) == "Nobody has compared A with B yet."


# --------------------------------------------------------------------------------------------------- at equal length


def cast(wins: int, losses: int, longer: int, at: str) -> list[Vote]:
    """Votes of a prompt each, of answers of which the second is so much longer."""
    scores = [1.0] * wins + [0.0] * losses
    return [Vote(f"{at}{n}", "base", "tuned", score, longer) for n, score in enumerate(scores)]


def test_at_equal_length_is_what_one_works_out_by_hand() -> None:
    # 80% where the second is longer, 40% where it is shorter by as much. With two lengths the regression is exact:
    # logit = (logit 0.8 + logit 0.4) / 2 = (1.38629 - 0.40547) / 2 = 0.49041, and 1 / (1 + exp(-0.49041)) = 0.62020.
    votes = cast(800, 200, 50, "long") + cast(400, 600, -50, "short")
    rate = rate_at_equal_length(votes)
    assert rate.value == pytest.approx(0.6202, abs=5e-4)
    assert rate.low < 0.6202 < rate.high
    assert win_rate([vote.prompt for vote in votes], [vote.score for vote in votes]).value == 0.6


def test_who_only_wins_by_length_wins_nothing_at_equal_length() -> None:
    # 70% where longer, 30% where shorter, and it is longer nine times in ten: 66% in all, and 50% at equal length
    votes = cast(630, 270, 80, "long") + cast(30, 70, -80, "short")
    rate = rate_at_equal_length(votes)
    assert rate.value == pytest.approx(0.5, abs=0.03)
    assert not rate.excludes(0.5)
    assert win_rate([vote.prompt for vote in votes], [vote.score for vote in votes]).excludes(0.5)


def test_answers_of_one_length_make_the_same_board_with_and_without_length() -> None:
    names = [("a", "b"), ("a", "c"), ("b", "c")]
    votes = [Vote(f"p{n}", *names[n % 3], float(n % 4 > 0)) for n in range(90)]
    plain, controlled = board(votes), board_at_equal_length(votes)
    assert [place.model for place in plain] == [place.model for place in controlled]
    assert [p.strength for p in controlled] == pytest.approx([p.strength for p in plain], abs=1e-6)


def test_few_prompts_say_nothing_at_equal_length_either() -> None:
    rate = rate_at_equal_length(cast(4, 0, 10, "p"))
    assert (rate.low, rate.high, rate.total) == (0.0, 1.0, 4)
    assert rate_at_equal_length([]).total == 0
    assert board_at_equal_length([]) == []
