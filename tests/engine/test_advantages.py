"""Advantages and KL estimators, against numbers worked out by hand."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.advantages import Scale, group_relative_advantages, kl_k3

SCALES: list[Scale] = ["group", "batch", "none"]


def test_a_group_of_two_is_scaled_by_its_sample_deviation() -> None:
    # Rewards 1 and 0: mean 1/2, deviation sqrt((1/4 + 1/4) / 1) = 0.7071068; 0.5 / (0.7071068 + 0.0001) = 0.707007.
    # Rewards 3/4 and 1/4: mean 1/2, deviation 0.3535534; 0.25 / 0.3536534 = 0.706907.
    rewards = torch.tensor([[1.0, 0.0], [0.75, 0.25]])
    found = group_relative_advantages(rewards, scale="group")
    expected = torch.tensor([[0.707007, -0.707007], [0.706907, -0.706907]])
    assert torch.allclose(found, expected, atol=5e-7)


def test_batch_scaling_divides_by_the_deviation_of_the_whole_step() -> None:
    # Mean 1/2; squares 1/4 + 1/4 + 1/16 + 1/16 = 0.625; sqrt(0.625 / 3) = 0.4564355; 0.5 / 0.4565355 = 1.095205.
    rewards = torch.tensor([[1.0, 0.0], [0.75, 0.25]])
    found = group_relative_advantages(rewards, scale="batch")
    expected = torch.tensor([[1.095205, -1.095205], [0.547603, -0.547603]])
    assert torch.allclose(found, expected, atol=1e-6)


def test_processes_that_share_a_step_share_its_deviation() -> None:
    rewards = torch.tensor([[1.0, 0.0], [0.75, 0.25]])
    whole = group_relative_advantages(rewards, scale="batch")
    parts = [group_relative_advantages(part, scale="batch", batch_std=rewards.std()) for part in rewards.split(1)]
    assert torch.equal(torch.cat(parts), whole)


def test_without_scaling_an_advantage_is_the_distance_to_the_group_mean() -> None:
    rewards = torch.tensor([[1.0, 0.0], [0.75, 0.25]])
    assert group_relative_advantages(rewards, scale="none").tolist() == [[0.5, -0.5], [0.25, -0.25]]


def test_three_answers_and_one_right() -> None:
    # Mean 1/3, deviation sqrt((4/9 + 1/9 + 1/9) / 2) = 0.5773503.
    # (2/3) / 0.5774503 = 1.154501 and (1/3) / 0.5774503 = 0.577250.
    found = group_relative_advantages(torch.tensor([[1.0, 0.0, 0.0]]), scale="group")
    assert torch.allclose(found, torch.tensor([[1.154501, -0.577250, -0.577250]]), atol=1e-6)


@pytest.mark.parametrize("scale", SCALES)
@given(reward=st.floats(-1000, 1000, width=32), size=st.integers(2, 16))
def test_where_all_answers_score_alike_no_token_is_pushed(scale: Scale, reward: float, size: int) -> None:
    """Exactly none: the rounding of a mean, over a deviation of zero, would be a push of its own."""
    rewards = torch.tensor([[reward] * size, [0.0, 1.0] + [0.0] * (size - 2)])
    alike = group_relative_advantages(rewards, scale=scale)[0]
    assert alike.tolist() == [0.0] * size


@pytest.mark.parametrize("scale", SCALES)
@given(st.integers(0, 2**31), st.floats(-3, 3))
def test_only_differences_within_a_group_count(scale: Scale, seed: int, shift: float) -> None:
    rewards = torch.rand(3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    spread = torch.tensor(0.7, dtype=torch.float64)  # the deviation of a step does see a shift; here it is given
    plain = group_relative_advantages(rewards, scale=scale, batch_std=spread)
    shifted = rewards + torch.tensor([[shift], [0.0], [-shift]], dtype=torch.float64)
    assert torch.allclose(group_relative_advantages(shifted, scale=scale, batch_std=spread), plain, atol=1e-9)
    assert torch.allclose(plain.sum(dim=1), torch.zeros(3, dtype=torch.float64), atol=1e-9)
    assert torch.equal(plain.argsort(dim=1), rewards.argsort(dim=1))


# ----------------------------------------------------------------------------------------------------------- k3


def test_k3_by_hand() -> None:
    # p = 1/4, p_ref = 1/2: x - ln x - 1 with x = 2.
    found = kl_k3(torch.tensor([0.25]).log(), torch.tensor([0.5]).log())
    assert found.item() == pytest.approx(1 - math.log(2))


@given(st.floats(-30, 0, width=32), st.floats(-30, 0, width=32))
def test_k3_is_never_negative_and_zero_only_where_the_two_agree(logp: float, reference: float) -> None:
    found = kl_k3(torch.tensor(logp, dtype=torch.float64), torch.tensor(reference, dtype=torch.float64)).item()
    assert found >= 0
    assert (found == 0) == (abs(logp - reference) < 1e-8) or abs(logp - reference) < 1e-7


def test_k3_keeps_its_digits_where_policy_and_reference_nearly_agree() -> None:
    # For a small d, exp(d) - 1 - d = d^2 / 2; computed the plain way in float32 it would be 0 or negative.
    found = kl_k3(torch.tensor([-1.0]), torch.tensor([-1.0 + 2.0**-10]))
    assert found.item() == pytest.approx(2.0**-21, rel=1e-3)


def test_k3_is_unbiased() -> None:
    """Over every answer of two tokens, weighted by its probability, it is the KL divergence of the answers."""
    policy = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]], dtype=torch.float64)
    reference = torch.tensor([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]], dtype=torch.float64)
    exact = (policy * (policy / reference).log()).sum().item()
    expected = 0.0
    for first, second in itertools.product(range(3), repeat=2):
        probability = policy[0, first] * policy[1, second]
        p = torch.stack([policy[0, first], policy[1, second]]).log()
        q = torch.stack([reference[0, first], reference[1, second]]).log()
        expected += float(probability * kl_k3(p, q).sum())
    assert expected == pytest.approx(exact, abs=1e-12)
