"""The losses, against numbers worked out by hand."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.losses import RewardLoss, bradley_terry_loss, sft_loss

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
