"""Advantages of groups and weights of tokens, against numbers worked out by hand."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.group_advantages import (
    Aggregation,
    Baseline,
    Scale,
    group_advantages,
    is_alike,
    token_advantages,
    token_weights,
)

SCALES: list[Scale] = ["group", "batch", "advantages", "none"]
#: Those that measure an answer against its own prompt.
OF_GROUP: list[Baseline] = ["group", "leave_one_out"]

REWARDS = torch.tensor([[1.0, 0.0], [0.75, 0.25]])


def test_a_group_of_two_is_scaled_by_its_sample_deviation() -> None:
    # Rewards 1 and 0: mean 1/2, deviation sqrt((1/4 + 1/4) / 1) = 0.7071068; 0.5 / (0.7071068 + 0.0001) = 0.707007.
    # Rewards 3/4 and 1/4: mean 1/2, deviation 0.3535534; 0.25 / 0.3536534 = 0.706907.
    found = group_advantages(REWARDS, scale="group")
    expected = torch.tensor([[0.707007, -0.707007], [0.706907, -0.706907]])
    assert torch.allclose(found, expected, atol=5e-7)


def test_batch_scaling_divides_by_the_deviation_of_the_whole_step() -> None:
    # Mean 1/2; squares 1/4 + 1/4 + 1/16 + 1/16 = 0.625; sqrt(0.625 / 3) = 0.4564355; 0.5 / 0.4565355 = 1.095205.
    found = group_advantages(REWARDS, scale="batch")
    expected = torch.tensor([[1.095205, -1.095205], [0.547603, -0.547603]])
    assert torch.allclose(found, expected, atol=1e-6)


def test_without_scaling_an_advantage_is_the_distance_to_the_group_mean() -> None:
    assert group_advantages(REWARDS, scale="none").tolist() == [[0.5, -0.5], [0.25, -0.25]]


def test_three_answers_and_one_right() -> None:
    # Mean 1/3, deviation sqrt((4/9 + 1/9 + 1/9) / 2) = 0.5773503.
    # (2/3) / 0.5774503 = 1.154501 and (1/3) / 0.5774503 = 0.577250.
    found = group_advantages(torch.tensor([[1.0, 0.0, 0.0]]), scale="group")
    assert torch.allclose(found, torch.tensor([[1.154501, -0.577250, -0.577250]]), atol=1e-6)


def test_what_is_left_after_the_baseline_is_scaled_by_its_own_spread() -> None:
    # 1/2, -1/2, 1/4, -1/4: squares sum to 0.625, as the rewards' own about their mean, which is 1/2 for both prompts.
    alike = group_advantages(REWARDS, scale="advantages")
    assert torch.allclose(alike, group_advantages(REWARDS, scale="batch"), atol=1e-7)
    # With a second prompt worth 10 more, the spread of rewards grows and that of the advantages does not.
    shifted = REWARDS + torch.tensor([[0.0], [10.0]])
    assert torch.allclose(group_advantages(shifted, scale="advantages"), alike, atol=1e-6)
    assert float(group_advantages(shifted, scale="batch").abs().max()) < 0.1


def test_leaving_an_answer_out_of_its_own_baseline() -> None:
    # The others' means are 0.25, 0.75 and 0.5 for rewards 1, 0 and 0.5: n / (n - 1) times the distance to the mean.
    found = group_advantages(torch.tensor([[1.0, 0.0, 0.5]]), baseline="leave_one_out", scale="none")
    assert found.tolist() == [[0.75, -0.75, 0.0]]


def test_a_baseline_of_the_batch_compares_across_prompts_and_none_not_at_all() -> None:
    rewards = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    assert group_advantages(rewards, baseline="batch", scale="none").tolist() == [[0.5, 0.5], [-0.5, -0.5]]
    assert group_advantages(rewards, baseline="none", scale="none").tolist() == rewards.tolist()
    # REINFORCE++: squares 4 x 1/4, deviation sqrt(1 / 3) = 0.5773503; 0.5 / 0.5774503 = 0.865875.
    found = group_advantages(rewards, baseline="batch", scale="advantages")
    assert found[0, 0].item() == pytest.approx(0.865875, abs=1e-6)


def test_one_answer_a_prompt_can_be_measured_against_the_batch() -> None:
    found = group_advantages(torch.tensor([[1.0], [0.0]]), baseline="batch", scale="batch")
    assert found.flatten().tolist() == pytest.approx([0.5 / 0.7072068, -0.5 / 0.7072068], rel=1e-6)


@pytest.mark.parametrize("baseline", OF_GROUP)
@pytest.mark.parametrize("scale", SCALES)
@given(reward=st.floats(-1000, 1000, width=32), size=st.integers(2, 16))
def test_where_all_answers_score_alike_no_token_is_pushed(
    baseline: Baseline, scale: Scale, reward: float, size: int
) -> None:
    """Exactly none: the rounding of a mean, over a deviation of zero, would be a push of its own."""
    rewards = torch.tensor([[reward] * size, [0.0, 1.0] + [0.0] * (size - 2)])
    alike = group_advantages(rewards, baseline=baseline, scale=scale)[0]
    assert alike.tolist() == [0.0] * size
    assert is_alike(rewards).tolist() == [True, False]


@pytest.mark.parametrize("baseline", OF_GROUP)
@pytest.mark.parametrize("scale", ["group", "advantages", "none"])
@given(st.integers(0, 2**31), st.floats(-3, 3))
def test_only_differences_within_a_group_count(baseline: Baseline, scale: Scale, seed: int, shift: float) -> None:
    rewards = torch.rand(3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    plain = group_advantages(rewards, baseline=baseline, scale=scale)
    shifted = rewards + torch.tensor([[shift], [0.0], [-shift]], dtype=torch.float64)
    assert torch.allclose(group_advantages(shifted, baseline=baseline, scale=scale), plain, atol=1e-9)
    assert torch.allclose(plain.sum(dim=1), torch.zeros(3, dtype=torch.float64), atol=1e-9)
    assert torch.equal(plain.argsort(dim=1), rewards.argsort(dim=1))


@pytest.mark.parametrize("baseline", ["group", "leave_one_out", "batch", "none"])
@pytest.mark.parametrize("scale", SCALES)
def test_the_order_of_groups_and_of_answers_changes_no_advantage(baseline: Baseline, scale: Scale) -> None:
    rewards = torch.rand(4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    rows, columns = torch.tensor([2, 0, 3, 1]), torch.tensor([4, 1, 0, 3, 2])
    found = group_advantages(rewards[rows][:, columns], baseline=baseline, scale=scale)
    expected = group_advantages(rewards, baseline=baseline, scale=scale)[rows][:, columns]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


# ------------------------------------------------------------------------------------------------------- weights

#: Two prompts of two answers; the last answer does not count.
LENGTHS = torch.tensor([[1, 3], [4, 0]])


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [
        ("token", [[1 / 8, 1 / 8], [1 / 8, 0]]),  # 8 tokens
        ("sequence", [[1 / 3, 1 / 9], [1 / 12, 0]]),  # 3 answers, of 1, 3 and 4 tokens
        ("prompt", [[1 / 8, 1 / 8], [1 / 8, 0]]),  # 2 prompts of 4 tokens each
        ("constant", [[1 / 30, 1 / 30], [1 / 30, 0]]),  # 3 answers, taken to have 10 tokens
    ],
)
def test_what_a_token_counts(aggregation: Aggregation, expected: list[list[float]]) -> None:
    found = token_weights(LENGTHS, aggregation=aggregation, constant=10)
    assert torch.allclose(found, torch.tensor(expected))


def test_prompts_count_alike_however_much_was_written_to_them() -> None:
    found = token_weights(torch.tensor([[1, 3], [40, 0], [0, 0]]), aggregation="prompt", constant=1)
    assert torch.allclose(found, torch.tensor([[1 / 8, 1 / 8], [1 / 80, 0], [0, 0]]))


@pytest.mark.parametrize("aggregation", ["token", "sequence", "prompt"])
@given(seed=st.integers(0, 2**31))
def test_a_mean_is_a_mean(aggregation: Aggregation, seed: int) -> None:
    lengths = torch.randint(0, 9, (3, 4), generator=torch.Generator().manual_seed(seed))
    lengths[0, 0] = 5
    total = (token_weights(lengths, aggregation=aggregation, constant=1) * lengths).sum()
    assert total.item() == pytest.approx(1, rel=1e-6)


NAN = float("nan")


@pytest.mark.parametrize(
    ("baseline", "scale", "expected"),
    [
        # The first prompt knows 1 and 3: mean 2, spread sqrt(2). The second knows 5 alone.
        ("group", "none", [[-1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]),
        ("group", "group", [[-0.7071, 0.0, 0.7071], [0.0, 0.0, 0.0]]),
        ("leave_one_out", "none", [[-2.0, 0.0, 2.0], [0.0, 0.0, 0.0]]),
        ("batch", "none", [[-2.0, 0.0, 0.0], [2.0, 0.0, 0.0]]),  # mean of 1, 3 and 5
        ("none", "batch", [[0.5, 0.0, 1.5], [2.5, 0.0, 0.0]]),  # their spread is 2
    ],
)
def test_an_answer_without_a_reward_is_in_no_mean_and_no_spread_and_moves_nothing(
    baseline: Any, scale: Any, expected: list[list[float]]
) -> None:
    rewards = torch.tensor([[1.0, NAN, 3.0], [5.0, NAN, NAN]])
    found = group_advantages(rewards, baseline=baseline, scale=scale)
    assert torch.allclose(found, torch.tensor(expected), atol=2e-4)


def test_answers_without_a_reward_tell_nothing_apart() -> None:
    rewards = torch.tensor([[1.0, NAN, 3.0], [5.0, NAN, 5.0], [5.0, NAN, NAN], [NAN, NAN, NAN]])
    assert is_alike(rewards).tolist() == [False, True, True, True]


def test_of_tokens_each_feels_what_of_the_pull_is_still_to_come() -> None:
    """Two prompts of one answer each, worth 1 and 0, of two tokens and one."""
    found = token_advantages(torch.tensor([[1.0], [0.0]]), [[0.3, 0.1], [0.2]], baseline="none", scale="none")
    assert [each.tolist() for each in found] == [pytest.approx([0.7, 0.9]), pytest.approx([-0.2])]
    mean = (0.7 + 0.9 - 0.2) / 3
    centred = token_advantages(torch.tensor([[1.0], [0.0]]), [[0.3, 0.1], [0.2]], baseline="batch", scale="none")
    assert centred[0].tolist() == pytest.approx([0.7 - mean, 0.9 - mean])
    spread = math.sqrt(((0.7 - mean) ** 2 + (0.9 - mean) ** 2 + (0.2 + mean) ** 2) / 2)
    scaled = token_advantages(torch.tensor([[1.0], [0.0]]), [[0.3, 0.1], [0.2]], baseline="batch", scale="advantages")
    assert scaled[1].tolist() == pytest.approx([(-0.2 - mean) / (spread + 1e-4)])


@pytest.mark.parametrize("scale", ["advantages", "none"])
@pytest.mark.parametrize("baseline", ["group", "leave_one_out", "batch", "none"])
def test_of_tokens_without_a_pull_and_one_to_an_answer_they_are_those_of_answers(
    baseline: Baseline, scale: Scale
) -> None:
    rewards = torch.tensor([[1.0, 0.0, 0.5], [0.2, 0.9, 0.1]])
    found = token_advantages(rewards, [[0.0]] * 6, baseline=baseline, scale=scale)
    wanted = group_advantages(rewards, baseline=baseline, scale=scale)
    torch.testing.assert_close(torch.cat(found), wanted.flatten())


def test_of_tokens_those_of_an_answer_without_a_reward_are_in_no_mean_and_move_nothing() -> None:
    """The others' tokens are worth 1, 1 and 3: mean 5/3, and a spread of 2/sqrt(3)."""
    rewards, ahead = torch.tensor([[1.0, NAN], [3.0, NAN]]), [[0.0, 0.0], [0.5], [0.0], [0.0, 9.0]]
    found = token_advantages(rewards, ahead, baseline="batch", scale="advantages")
    assert [each.tolist() for each in found] == [
        pytest.approx([-0.57735, -0.57735], abs=1e-3),
        [0.0],
        pytest.approx([1.15470], abs=1e-3),
        [0.0, 0.0],
    ]
