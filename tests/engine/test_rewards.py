"""What an answer is worth: each part by hand, the weighted sum, and what is said where a part cannot be told."""

from typing import Any

import pytest
from pydantic import TypeAdapter

from engine import patterns
from engine.contract import online_settings, settings
from engine.data.sources import load_rows
from engine.rewards import Answered, Reward, RewardError, RewardSum, Surroundings, told
from engine.tally import Mean

READER: TypeAdapter[Any] = TypeAdapter(online_settings.Reward)


def reward_of(*parts: dict[str, Any]) -> RewardSum:
    return RewardSum([READER.validate_python(part) for part in parts], Surroundings())


def scored(reward: RewardSum, row: dict[str, Any], text: str, length: int) -> Reward:
    (told,) = reward.score([Answered(row, text, [0] * length)])
    return told


def worth(part: dict[str, Any], answer: str, *, row: dict[str, Any] | None = None, length: int = 1) -> float:
    return scored(reward_of(part), row or {}, answer, length).total


@pytest.mark.parametrize(("answer", "value"), [("85", 1.0), (" 85\n", 1.0), ("58", 0.0), ("", 0.0), ("85.", 0.0)])
def test_an_exact_match_is_the_column_and_nothing_else(answer: str, value: float) -> None:
    assert worth({"kind": "exact_match", "column": "sum"}, answer, row={"sum": 85}) == value


@pytest.mark.parametrize(("answer", "value"), [("a\nb", 1.0), (" ab ", 1.0), ("xab", 0.0), ("abx", 0.0)])
def test_a_pattern_has_to_match_the_whole_answer_over_lines(answer: str, value: float) -> None:
    assert worth({"kind": "pattern", "pattern": "a.?b"}, answer) == value


@pytest.mark.parametrize(
    ("length", "value"),
    [(1, 1.0), (10, 1.0), (11, 0.9), (15, 0.5), (20, 0.0), (50, 0.0)],  # 2 - length / 10, between 0 and 1
)
def test_length_pays_in_full_up_to_its_target_and_nothing_from_twice_it(length: int, value: float) -> None:
    assert worth({"kind": "length", "target": 10}, "", length=length) == pytest.approx(value)


@pytest.mark.parametrize(
    ("length", "value"),
    [(1, 0.0), (16, 0.0), (17, -0.25), (18, -0.5), (20, -1.0), (99, -1.0)],  # (20 - 4 - length) / 4, from -1 to 0
)
def test_overlong_answers_cost_more_and_more_up_to_the_longest(length: int, value: float) -> None:
    assert worth({"kind": "overlong", "longest": 20, "buffer": 4}, "", length=length) == pytest.approx(value)


def test_a_verifier_asks_the_task_that_made_the_row() -> None:
    sums = settings.Source(path="task:arithmetic", rows=3, options={"reversed": False})
    table = load_rows([sums])
    reward = RewardSum([online_settings.Verifier(kind="verifier")], Surroundings(table.tasks))
    assert [told.total for told in reward.score([Answered(row, row["answer"], [0]) for row in table.rows])] == [1.0] * 3
    assert [told.total for told in reward.score([Answered(row, "x", [0]) for row in table.rows])] == [0.0] * 3


def test_the_reward_is_the_weighted_sum_and_the_parts_are_told_unweighted() -> None:
    # 2 x 1 (exact) - 0.5 x 0.5 (length 15 of 10) = 1.75
    reward = reward_of({"kind": "exact_match", "weight": 2.0}, {"kind": "length", "target": 10, "weight": -0.5})
    told = scored(reward, {"answer": "a"}, "a", 15)
    assert told.total == pytest.approx(1.75)
    assert told.parts == {"exact_match": 1.0, "length": 0.5}


def test_a_batch_is_scored_in_its_order() -> None:
    reward = reward_of({"kind": "pattern", "pattern": "a"}, {"kind": "length", "target": 1})
    told = reward.score([Answered({}, "a", [0]), Answered({}, "b", [0]), Answered({}, "a", [0, 0])])
    assert [each.parts for each in told] == [
        {"pattern": 1.0, "length": 1.0},
        {"pattern": 0.0, "length": 1.0},
        {"pattern": 1.0, "length": 0.0},
    ]
    assert reward.score([]) == []


def test_two_parts_of_a_kind_keep_names_of_their_own() -> None:
    patterns = [{"kind": "pattern", "pattern": p, "weight": w} for p, w in (("a.*", 1.0), (".*b", 10.0), ("c", 100.0))]
    told = scored(reward_of(*patterns), {}, "xb", 2)
    assert told.parts == {"pattern": 0.0, "pattern_2": 1.0, "pattern_3": 0.0}
    assert told.total == 10.0


@pytest.mark.parametrize(
    ("part", "row", "told"),
    [
        ({"kind": "verifier"}, {"prompt": "a"}, "needs rows from a `task:` source"),
        ({"kind": "exact_match", "column": "gold"}, {"prompt": "a", "id": 1}, "'gold'; the rows have prompt, id"),
    ],
    ids=["verifier", "exact_match"],
)
def test_a_part_that_a_row_does_not_serve_says_what_it_needs(
    part: dict[str, Any], row: dict[str, Any], told: str
) -> None:
    with pytest.raises(RewardError, match=told):
        scored(reward_of(part), row, "a", 1)


SLOW = r"(.{1,20}){1,20}\d"  # as many ways to cut up the text as it has subsets


def test_a_pattern_that_hangs_on_an_answer_costs_that_answer_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "SECONDS", 0.05)
    notices: list[tuple[str, str]] = []
    around = Surroundings(notice=lambda *told: notices.append(told))
    reward = RewardSum([READER.validate_python({"kind": "pattern", "pattern": SLOW})], around)
    answers = [Answered({}, text, [0]) for text in ("ab1", "a" * 60, "c" * 60, "")]
    values = reward.score(answers)
    assert [each.is_known for each in values] == [True, False, False, True]
    assert values[0].total == 1.0
    assert told(values)["rewards/pattern/failed"] == Mean(2, 4)
    [(what, advice)] = notices
    assert what.startswith("the reward pattern failed on 2 of 4 answers: matching")
    assert "took more than 0.05 s on 'aaaa" in what
    assert "make it quicker" in advice


def test_a_batch_of_answers_that_hang_is_given_up_in_its_time() -> None:
    reward = reward_of({"kind": "pattern", "pattern": SLOW, "timeout": 0.02})
    with pytest.raises(RewardError, match=r"none of 9 answers has a reward, already in the first batch: .*0\.02 s"):
        reward.score([Answered({}, "a" * 60, [0])] * 9)


def test_a_pattern_that_is_none_is_told_before_anything_is_scored() -> None:
    with pytest.raises(RewardError, match=r"the pattern '\(' is not a regular expression"):
        reward_of({"kind": "pattern", "pattern": "("})
