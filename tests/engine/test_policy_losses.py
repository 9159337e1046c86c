"""The losses of policies that learn from what they sampled, against numbers worked out by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from engine.policy_losses import PolicyLoss, grpo_loss


def policy_loss(
    logps: Tensor,
    old: Tensor,
    advantages: Tensor,
    *,
    reference: Tensor | None = None,
    normaliser: float = 1.0,
    high: float = 0.2,
    beta: float = 0.0,
    corrected: bool = True,
) -> PolicyLoss:
    return grpo_loss(
        logps,
        old,
        reference,
        advantages,
        normaliser=normaliser,
        epsilon_low=0.2,
        epsilon_high=high,
        beta=beta,
        kl_correction=corrected,
    )


def test_grpo_at_ratio_one_is_reinforce_with_baseline() -> None:
    # d/dlogp of -exp(logp - old) A / n at logp = old is -A / n.
    logps = torch.tensor([-1.0, -2.0, -0.5], requires_grad=True)
    result = policy_loss(logps, logps.detach(), torch.tensor([2.0, -1.0, 0.0]), normaliser=4)
    result.share.backward()
    assert logps.grad is not None
    assert logps.grad.tolist() == [-0.5, 0.25, 0.0]
    assert result.share.item() == pytest.approx(-(2 - 1 + 0) / 4)
    assert result.ratio.tolist() == [1.0, 1.0, 1.0]


# epsilon is 0.2 below and 0.5 above: the clip range is 0.8 to 1.5.
@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient"),
    [
        # A > 0: the gain is capped at 1.5, never floored.
        (1.4, 2.0, -2.8, -2.8),  # -1.4 x 2 within; the gradient is -ratio x A
        (1.6, 2.0, -3.0, 0.0),  # -1.5 x 2 capped, and so no pull
        (0.5, 2.0, -1.0, -1.0),  # -0.5 x 2: below the range it still pulls back up
        # A < 0: the loss is floored at 0.8, never capped.
        (0.9, -2.0, 1.8, 1.8),
        (0.5, -2.0, 1.6, 0.0),  # 0.8 x 2: already unlikely enough
        (1.6, -2.0, 3.2, 3.2),  # 1.6 x 2: above the range it still pushes down
    ],
)
def test_grpo_clips_only_what_already_went_the_right_way(
    ratio: float, advantage: float, loss: float, gradient: float
) -> None:
    logps = torch.tensor([math.log(ratio) - 1.0], dtype=torch.float64, requires_grad=True)
    old, advantages = torch.tensor([-1.0], dtype=torch.float64), torch.tensor([advantage], dtype=torch.float64)
    result = policy_loss(logps, old, advantages, high=0.5)
    result.share.backward()
    assert logps.grad is not None
    assert result.share.item() == pytest.approx(loss)
    assert logps.grad.item() == pytest.approx(gradient)


def test_grpo_tells_which_tokens_were_clipped_and_on_which_side() -> None:
    ratios = torch.tensor([0.7, 0.7, 1.0, 1.3, 1.3])
    advantages = torch.tensor([-1.0, 1.0, 1.0, 1.0, -1.0])
    result = policy_loss(ratios.log(), torch.zeros(5), advantages)
    assert result.is_clipped_low.tolist() == [True, False, False, False, False]
    assert result.is_clipped_high.tolist() == [False, False, False, True, False]


def test_grpo_adds_the_weighted_kl_per_token() -> None:
    # ratio 1, A = 1, KL with p_ref / p = 2: 2 - ln 2 - 1; so -1 + 0.5 (1 - ln 2), over 1 token.
    logps = torch.tensor([math.log(0.25)])
    result = policy_loss(logps, logps, torch.ones(1), reference=torch.tensor([math.log(0.5)]), beta=0.5)
    assert result.kl.item() == pytest.approx(1 - math.log(2))
    assert result.share.item() == pytest.approx(-1 + 0.5 * (1 - math.log(2)))
    assert result.policy.tolist() == [-1.0]


@pytest.mark.parametrize(
    ("corrected", "gradient"),
    [
        # With x = p_ref / p = 2 and KL = x - ln x - 1: dKL/dlogp = 1 - x = -1.
        (False, -1.0),
        # With the ratio r = 1 in front, d(r KL)/dlogp = r KL + r (1 - x) = (1 - ln 2) - 1 = -ln 2: the true gradient.
        (True, -math.log(2)),
    ],
)
def test_the_kl_correction_lets_the_gradient_see_the_sampling(corrected: bool, gradient: float) -> None:
    logps = torch.tensor([math.log(0.25)], requires_grad=True)
    reference = torch.tensor([math.log(0.5)])
    policy_loss(
        logps, logps.detach(), torch.zeros(1), reference=reference, beta=1.0, corrected=corrected
    ).share.backward()
    assert logps.grad is not None
    assert logps.grad.item() == pytest.approx(gradient, rel=1e-6)


def test_without_beta_the_reference_has_no_say() -> None:
    logps = torch.tensor([-1.0, -2.0], requires_grad=True)
    far = torch.tensor([-9.0, -0.1])
    policy_loss(logps, logps.detach(), torch.zeros(2), reference=far).share.backward()
    assert logps.grad is not None
    assert logps.grad.tolist() == [0.0, 0.0]


@given(st.integers(1, 30), st.integers(0, 30), st.integers(0, 2**31))
def test_grpo_shares_add_up_however_the_batch_is_cut(count: int, cut: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logps, old, reference, advantages = torch.randn(4, count, generator=generator, dtype=torch.float64)
    whole = policy_loss(logps, old, advantages, reference=reference, normaliser=count, beta=0.1)
    parts = [
        policy_loss(logps[p], old[p], advantages[p], reference=reference[p], normaliser=count, beta=0.1).share
        for p in (slice(0, cut), slice(cut, None))
    ]
    assert sum(parts).item() == pytest.approx(whole.share.item(), rel=1e-9, abs=1e-12)  # type: ignore[union-attr]


def test_what_is_reported_holds_no_graph() -> None:
    logps = torch.tensor([-1.0], requires_grad=True)
    result = policy_loss(logps, logps.detach(), torch.ones(1), reference=torch.zeros(1), beta=0.1)
    assert [t.requires_grad for t in result] == [True, False, False, False, False, False]
