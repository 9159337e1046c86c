"""The losses, against numbers worked out by hand."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from engine.losses import PolicyLoss, RewardLoss, bradley_terry_loss, grpo_loss, sft_loss


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


# ----------------------------------------------------------------------------------------------------------- SFT


def test_sft_is_the_mean_negative_log_probability_of_the_targets() -> None:
    # Probabilities 1/2, 1/4, 1/8: (ln 2 + 2 ln 2 + 3 ln 2) / 3 = 2 ln 2.
    logps = torch.tensor([0.5, 0.25, 0.125]).log()
    assert sft_loss(logps, normaliser=3).share.item() == pytest.approx(2 * math.log(2))


def test_sft_weighs_every_target_alike_in_its_gradient() -> None:
    logps = torch.tensor([-1.0, -2.0, -3.0, -4.0], requires_grad=True)
    sft_loss(logps, normaliser=4).share.backward()
    assert logps.grad is not None
    assert logps.grad.tolist() == [-0.25] * 4


@given(
    st.lists(st.floats(-20, 0, width=32), min_size=1, max_size=40),
    st.lists(st.integers(0, 40), max_size=6),
)
def test_sft_shares_add_up_however_the_batch_is_cut(values: list[float], cuts: list[int]) -> None:
    logps = torch.tensor(values, dtype=torch.float64)
    edges = [0, *sorted(min(cut, len(values)) for cut in cuts), len(values)]
    parts = [logps[start:end] for start, end in itertools.pairwise(edges)]
    shares = [sft_loss(part, normaliser=len(values)).share.item() for part in parts]
    assert sum(shares) == pytest.approx(sft_loss(logps, normaliser=len(values)).share.item(), abs=1e-12)
    assert sum(shares) == pytest.approx(-sum(values) / len(values), abs=1e-12)


def test_a_micro_batch_without_targets_is_a_zero_that_can_be_differentiated() -> None:
    weight = torch.ones(3, requires_grad=True)
    share = sft_loss(weight[:0], normaliser=5).share
    share.backward()
    assert share.item() == 0.0
    assert weight.grad is not None
    assert weight.grad.tolist() == [0.0] * 3


# -------------------------------------------------------------------------------------------------- reward model


def reward_loss(
    chosen: list[float],
    rejected: list[float],
    *,
    margins: list[float] | None = None,
    weights: list[float] | None = None,
    centring: float = 0.0,
    prompts: float = 1.0,
) -> RewardLoss:
    count = len(chosen)
    columns = (chosen, rejected, margins or [0.0] * count, weights or [1.0] * count)
    better, worse, wide, counts = (torch.tensor(column, dtype=torch.float64) for column in columns)
    return bradley_terry_loss(better, worse, wide, counts, centring=centring, normaliser=prompts)


def test_a_pair_that_scores_alike_costs_log_two() -> None:
    assert reward_loss([3.0], [3.0]).share.item() == pytest.approx(math.log(2))


def test_bradley_terry_is_the_mean_negative_log_probability_of_the_preferences() -> None:
    # Odds of 3 and of 1/3 for the chosen answer: -(ln 3/4 + ln 1/4) / 2.
    loss = reward_loss([math.log(3), 0.0], [0.0, math.log(3)], prompts=2)
    assert loss.share.item() == pytest.approx(-(math.log(0.75) + math.log(0.25)) / 2)
    assert loss.per_pair.tolist() == pytest.approx([-math.log(0.75), -math.log(0.25)])


def test_a_margin_is_taken_off_the_difference() -> None:
    assert reward_loss([2.5], [1.0], margins=[1.5]).share.item() == pytest.approx(math.log(2))


def test_centring_costs_the_square_of_the_sum_and_moves_no_difference() -> None:
    # ln 2 + 0.01 (3 + 3)².
    assert reward_loss([3.0], [3.0], centring=0.01).share.item() == pytest.approx(math.log(2) + 0.36)
    assert reward_loss([1.0], [-1.0], centring=0.01).share.item() == reward_loss([1.0], [-1.0]).share.item()


def test_weights_let_three_pairs_of_a_prompt_count_as_one() -> None:
    pairs = reward_loss([1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 3.0], weights=[1 / 3] * 3 + [1.0], prompts=2)
    two = reward_loss([1.0, 1.0], [0.0, 3.0], prompts=2)
    assert pairs.share.item() == pytest.approx(two.share.item(), rel=1e-6)


def test_bradley_terry_pushes_by_how_wrong_the_scores_are() -> None:
    """The gradient is -sigma(r_rejected - r_chosen) for the chosen answer and its opposite for the other."""
    chosen, rejected = torch.tensor([0.0], requires_grad=True), torch.tensor([math.log(3)], requires_grad=True)
    zero, one = torch.zeros(1), torch.ones(1)
    bradley_terry_loss(chosen, rejected, zero, one, centring=0.0, normaliser=1).share.backward()
    assert chosen.grad is not None
    assert rejected.grad is not None
    assert (chosen.grad.item(), rejected.grad.item()) == pytest.approx((-0.75, 0.75))


# ---------------------------------------------------------------------------------------------------------- GRPO


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
