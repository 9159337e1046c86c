"""The losses of PPO, each against numbers worked out by hand."""

import math

import pytest
import torch
from torch import Tensor

from engine.ppo_losses import PpoLoss, clipped_surrogate, clipped_value_error, ppo_loss


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "is_clipped"),
    [
        (1.0, 2.0, -2.0, False),
        (1.5, 2.0, -2.4, True),  # no credit beyond 1.2
        (0.5, 2.0, -1.0, False),  # a good token that fell counts in full
        (0.5, -2.0, 1.6, True),  # no credit below 0.8
        (1.5, -2.0, 3.0, False),  # a bad token that rose counts in full
    ],
)
def test_the_surrogate_gives_no_credit_for_leaving_the_trust_region(
    ratio: float, advantage: float, loss: float, is_clipped: bool
) -> None:
    found = clipped_surrogate(torch.tensor([ratio]), torch.tensor([advantage]), epsilon=0.2)
    assert found.loss.item() == pytest.approx(loss)
    assert found.is_clipped.item() is is_clipped


@pytest.mark.parametrize(
    ("value", "old", "target", "loss", "is_clipped"),
    [
        (0.5, 0.4, 1.0, 0.125, False),  # (0.5 - 1)^2 / 2
        (0.9, 0.4, 1.0, 0.08, True),  # held at 0.6: (0.6 - 1)^2 / 2
        (-0.5, 0.4, 1.0, 1.125, False),  # further away than held at 0.2: (-0.5 - 1)^2 / 2
    ],
)
def test_the_value_error_gives_no_credit_for_moving_further_than_epsilon(
    value: float, old: float, target: float, loss: float, is_clipped: bool
) -> None:
    given = (torch.tensor([number]) for number in (value, old, target))
    found = clipped_value_error(*given, epsilon=0.2)
    assert found.loss.item() == pytest.approx(loss)
    assert found.is_clipped.item() is is_clipped


def test_without_clipping_the_value_error_is_half_the_square() -> None:
    found = clipped_value_error(torch.tensor([0.9]), torch.tensor([0.4]), torch.tensor([1.0]), epsilon=None)
    assert found.loss.item() == pytest.approx(0.005)
    assert not found.is_clipped.item()


def whole(logps: Tensor, values: Tensor, entropy: Tensor, *, learns_policy: bool = True) -> PpoLoss:
    return ppo_loss(
        logps,
        torch.tensor([-1.0, -2.0]),
        torch.tensor([1.0, -1.0]),
        values,
        torch.tensor([0.0, 0.5]),
        torch.tensor([1.0, 0.5]),
        entropy,
        normaliser=4.0,
        epsilon=0.2,
        value_epsilon=0.2,
        value_weight=0.1,
        entropy_weight=0.01,
        learns_policy=learns_policy,
    )


def test_the_loss_is_policy_critic_and_entropy_over_the_tokens_of_the_update() -> None:
    logps = torch.tensor([-1.0, -2.0 + math.log(1.1)], requires_grad=True)
    found = whole(logps, torch.tensor([0.1, 0.5]), torch.tensor([2.0, 3.0]))
    # Policy: -1 * 1 + 1 * 1.1 = 0.1. Critic: 0.9^2 / 2 + 0 = 0.405. Entropy: 5.
    assert found.share.item() == pytest.approx((0.1 + 0.1 * 0.405 - 0.01 * 5) / 4)
    found.share.backward()
    assert logps.grad is not None
    assert torch.allclose(logps.grad, torch.tensor([-1.0, 1.1]) / 4)


def test_while_the_critic_learns_alone_the_policys_gradient_is_zero_but_there() -> None:
    logps = torch.tensor([-1.2, -2.1], requires_grad=True)
    values = torch.tensor([0.1, 0.5], requires_grad=True)
    found = whole(logps, values, torch.tensor([2.0, 3.0]), learns_policy=False)
    found.share.backward()
    assert logps.grad is not None
    assert torch.equal(logps.grad, torch.zeros(2))
    assert values.grad is not None
    assert torch.allclose(values.grad, torch.tensor([0.1 * (0.1 - 1.0) / 4, 0.0]))
