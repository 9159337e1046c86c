"""The losses that tune diffusion models, against numbers worked out by hand."""

import math

import pytest
import torch
from torch import Tensor

from engine.diffusion.tuning_losses import (
    PairErrors,
    StepLoss,
    anchor,
    diffusion_dpo_loss,
    goodness,
    nft_loss,
    old_policy_share,
    step_policy_loss,
)


def pair(chosen: float, rejected: float, reference_chosen: float, reference_rejected: float) -> PairErrors:
    numbers = (chosen, rejected, reference_chosen, reference_rejected)
    return PairErrors(*(torch.tensor([number], requires_grad=True) for number in numbers))


def test_diffusion_dpo_of_a_policy_equal_to_its_reference_is_log_two() -> None:
    errors = pair(0.1, 0.3, 0.1, 0.3)
    result = diffusion_dpo_loss(errors, beta=2000, normaliser=1)
    result.share.backward()
    assert result.share.item() == pytest.approx(math.log(2))
    # d/de of -logsigmoid(-b/2 (e_w - e_l)) at 0 is +-b/2 x 1/2: down with the chosen error, up with the rejected one.
    assert errors.chosen.grad is not None
    assert errors.rejected.grad is not None
    assert errors.chosen.grad.item() == pytest.approx(500.0)
    assert errors.rejected.grad.item() == pytest.approx(-500.0)


def test_diffusion_dpo_rewards_are_half_beta_times_what_is_gained_on_the_reference() -> None:
    # chosen: 10/2 x (0.5 - 0.4) = 0.5; rejected: 10/2 x (0.5 - 0.8) = -1.5; margin 2; -logsigmoid(2) = 0.126928
    result = diffusion_dpo_loss(pair(0.4, 0.8, 0.5, 0.5), beta=10, normaliser=4)
    assert result.chosen_rewards.item() == pytest.approx(0.5)
    assert result.rejected_rewards.item() == pytest.approx(-1.5)
    assert result.per_pair.item() == pytest.approx(0.126928, abs=1e-6)
    assert result.share.item() == pytest.approx(0.126928 / 4, abs=1e-6)


def step_loss(
    logps: Tensor, old: list[float], advantages: list[float], *, kl: float = 0.0, reduce: str = "sum", clip: float = 0.2
) -> StepLoss:
    """Of images of 64 numbers, each action with weight 1 and a pull of 0.5."""
    ones = torch.ones_like(logps)
    return step_policy_loss(
        logps,
        torch.tensor(old),
        torch.tensor(advantages),
        kl * ones,
        ones,
        numbers=64,
        reduce=reduce,  # type: ignore[arg-type]
        clip=clip,
        kl_weight=0.5,
    )


def test_steps_at_ratio_one_follow_the_plain_policy_gradient() -> None:
    logps = torch.tensor([-90.0, -80.0], requires_grad=True)
    result = step_loss(logps, [-90.0, -80.0], [2.0, -1.0])
    result.share.backward()
    assert result.share.item() == pytest.approx(-2 + 1)
    assert logps.grad is not None
    assert logps.grad.tolist() == [-2.0, 1.0]  # -A


def test_the_mean_form_has_a_64th_of_the_gradient_and_of_the_pull() -> None:
    logps = torch.tensor([-90.0], requires_grad=True)
    result = step_loss(logps, [-90.0], [2.0], kl=3.0, reduce="mean")
    result.share.backward()
    assert logps.grad is not None
    assert logps.grad.item() == pytest.approx(-2 / 64)
    assert result.share.item() == pytest.approx(-2 + 0.5 * 3 / 64)


def test_a_true_log_ratio_of_a_half_is_clipped_as_a_sum_and_not_as_a_mean() -> None:
    for reduce, is_clipped in (("sum", True), ("mean", False)):  # exp(0.5) = 1.65, exp(0.5 / 64) = 1.008
        logps = torch.tensor([-89.5], requires_grad=True)
        result = step_loss(logps, [-90.0], [2.0], reduce=reduce)
        result.share.backward()
        assert logps.grad is not None
        assert result.is_clipped.item() is is_clipped
        assert (logps.grad.item() == 0) is is_clipped
        assert result.log_ratio.item() == pytest.approx(0.5)  # told as it is, in both


def test_a_bad_step_that_became_unlikely_is_let_be_and_one_that_became_likely_is_not() -> None:
    logps = torch.tensor([-90.5, -89.5], requires_grad=True)
    result = step_loss(logps, [-90.0, -90.0], [-1.0, -1.0])
    result.share.backward()
    assert logps.grad is not None
    assert result.is_clipped.tolist() == [True, False]
    assert logps.grad.tolist() == [0.0, pytest.approx(math.exp(0.5))]


def test_the_pull_adds_its_weight_times_the_exact_path_kl() -> None:
    still = torch.tensor([-90.0])
    assert step_loss(still, [-90.0], [0.0], kl=3.0).share.item() == pytest.approx(1.5)


def test_an_image_counts_as_good_by_its_advantage_within_a_limit() -> None:
    found = goodness(torch.tensor([-9.0, -5.0, 0.0, 2.5, 7.0]), limit=5.0)
    assert found.tolist() == [0.0, 0.0, 0.5, 0.75, 1.0]


def one(value: float) -> Tensor:
    return torch.full((1, 1, 1, 2), value)


def test_nft_by_hand() -> None:
    # old 1, prediction 2, target 4, beta 0.5: towards (1.5 - 4)^2 = 6.25, away (0.5 - 4)^2 = 12.25; 3/4 good: 7.75
    found = nft_loss(one(2.0), one(1.0), one(4.0), torch.tensor([0.75]), beta=0.5)
    assert found.tolist() == [7.75]


@pytest.mark.parametrize(("good", "gradient"), [(1.0, -6.0), (0.5, 0.0), (0.0, 6.0)])
def test_nft_starts_towards_good_images_away_from_bad_ones_and_nowhere_from_average_ones(
    good: float, gradient: float
) -> None:
    # At prediction = old = 1, target 4: d/dp is good x 2b(1 - 4) - (1 - good) x 2b(1 - 4), b = 1.
    prediction = one(1.0).requires_grad_()
    nft_loss(prediction, one(1.0), one(4.0), torch.tensor([good]), beta=1.0).sum().backward()
    assert prediction.grad is not None
    assert prediction.grad.sum().item() == pytest.approx(gradient)


def test_the_anchor_is_the_mean_squared_distance_of_two_predictions() -> None:
    assert anchor(torch.tensor([[[[1.0, 3.0]]]]), torch.tensor([[[[0.0, 0.0]]]])).tolist() == [5.0]


def test_little_of_the_old_policy_stays_at_first_and_half_later() -> None:
    assert [old_policy_share(step, rate=1e-3, most=0.5) for step in (1, 100, 9000)] == [0.001, 0.1, 0.5]
