"""KL estimators, against numbers worked out by hand."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.advantages import explained_variance, generalized_advantage, kl_k1, kl_k3, whiten


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


def test_generalized_advantages_look_ahead_with_what_is_left_of_gamma_and_lambda() -> None:
    # Rewards 0, 0, 1 and values 0.5, 0.6, 0.8; gamma 0.9, lambda 0.5, so 0.45 of each surprise goes back.
    # Surprises: 0 + 0.9 * 0.6 - 0.5 = 0.04; 0 + 0.9 * 0.8 - 0.6 = 0.12; 1 + 0 - 0.8 = 0.2.
    # Advantages: 0.2; 0.12 + 0.45 * 0.2 = 0.21; 0.04 + 0.45 * 0.21 = 0.1345.
    found = generalized_advantage(
        torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[0.5, 0.6, 0.8, 0.0]]), gamma=0.9, lam=0.5
    )
    assert torch.allclose(found, torch.tensor([[0.1345, 0.21, 0.2]]))


def test_a_text_that_ends_early_is_judged_as_it_would_be_alone() -> None:
    rewards = torch.tensor([[0.1, -0.2, 0.0, 0.0], [0.3, 0.0, 0.2, 1.0]])
    values = torch.tensor([[0.5, 0.4, 0.0, 0.0, 0.0], [0.1, 0.2, 0.3, 0.4, 0.0]])
    together = generalized_advantage(rewards, values, gamma=0.97, lam=0.9)
    alone = generalized_advantage(rewards[:1, :2], values[:1, :3], gamma=0.97, lam=0.9)
    assert torch.equal(together[:1, :2], alone)
    assert torch.equal(together[0, 2:], torch.zeros(2))


def test_with_lambda_1_the_advantage_is_what_is_still_to_come_less_the_value() -> None:
    rewards = torch.tensor([[0.1, -0.2, 0.7]])
    values = torch.tensor([[0.5, 0.4, -0.3, 0.0]])
    found = generalized_advantage(rewards, values, gamma=1.0, lam=1.0)
    assert torch.allclose(found, torch.tensor([[0.6 - 0.5, 0.5 - 0.4, 0.7 + 0.3]]))


@pytest.mark.parametrize(("gamma", "lam"), [(1.1, 0.9), (-0.1, 0.9), (1.0, 1.5)])
def test_gamma_and_lambda_are_shares(gamma: float, lam: float) -> None:
    with pytest.raises(ValueError, match="should be from 0 to 1"):
        generalized_advantage(torch.zeros(1, 2), torch.zeros(1, 3), gamma=gamma, lam=lam)


def test_whitening_gives_mean_0_and_spread_1_or_keeps_the_mean() -> None:
    # Mean 2, variance ((-2)^2 + 0 + 2^2) / 2 = 4, deviation 2.
    values = torch.tensor([0.0, 2.0, 4.0])
    assert torch.allclose(whiten(values), torch.tensor([-1.0, 0.0, 1.0]))
    assert torch.allclose(whiten(values, keeps_mean=True), torch.tensor([1.0, 2.0, 3.0]))


def test_whitening_what_is_all_alike_gives_zeros() -> None:
    assert torch.equal(whiten(torch.full((4,), 0.5)), torch.zeros(4))
    assert torch.equal(whiten(torch.tensor([3.0])), torch.zeros(1))


def test_explained_variance_is_1_for_a_prophet_0_for_who_knows_the_mean_and_less_for_who_is_wrong() -> None:
    returns = torch.tensor([1.0, 2.0, 3.0, 6.0])
    assert explained_variance(returns, returns) == 1
    assert explained_variance(torch.full((4,), 3.0), returns) == 0
    # Errors 2, 4, 6, 12 have four times the variance.
    assert explained_variance(-returns, returns) == pytest.approx(1 - 4)


def test_k1_is_the_log_ratio_and_may_be_negative() -> None:
    assert torch.equal(kl_k1(torch.tensor([-1.0, -3.0]), torch.tensor([-2.0, -1.0])), torch.tensor([1.0, -2.0]))
