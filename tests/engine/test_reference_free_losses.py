"""ORPO, SimPO and CPO against numbers worked by hand, and how their gradients push."""

import math

import pytest
import torch
from torch import Tensor

from engine.reference_free_losses import KINDS, cpo_loss, log_odds_ratio, orpo_loss, simpo_loss


def logs(*probabilities: float) -> Tensor:
    return torch.tensor(probabilities, dtype=torch.float64).log()


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def test_the_odds_ratio_is_that_of_the_probabilities() -> None:
    # 0.8 / 0.2 = 4 to 0.5 / 0.5 = 1; 0.999 / 0.001 = 999 to 0.01 / 0.99
    found = log_odds_ratio(logs(0.8, 0.999), logs(0.5, 0.01)).exp()
    assert found.tolist() == pytest.approx([4.0, 999 * 99], rel=1e-9)


def test_the_odds_of_what_is_all_but_certain_and_all_but_impossible_keep_their_digits_and_gradients() -> None:
    chosen = torch.tensor([-1e-6, -40.0], requires_grad=True)
    found = log_odds_ratio(chosen, torch.tensor([-1.0, -1.0]))
    odds = -math.log(math.e - 1)  # of log-probability -1: -1 - log(1 - 1/e)
    assert found.tolist() == pytest.approx([math.log(1e6) - odds, -40.0 - odds], rel=1e-5)
    found.sum().backward()
    assert chosen.grad is not None
    assert chosen.grad.tolist() == pytest.approx([1e6, 1.0], rel=1e-3)


def test_orpo_is_the_negative_log_sigmoid_of_the_log_odds_ratio_times_beta() -> None:
    result = orpo_loss(logs(0.8), logs(0.5), beta=0.3, normaliser=1.0)
    assert result.share.item() == pytest.approx(-0.3 * math.log(4 / 5), rel=1e-9)  # sigmoid(log 4) = 4 / 5
    assert result.chosen_rewards.item() == pytest.approx(0.3 * math.log(0.8))


def test_simpo_asks_for_a_margin() -> None:
    result = simpo_loss(
        torch.tensor([-1.0]), torch.tensor([-2.0]), beta=2.0, gamma=0.5, label_smoothing=0.0, normaliser=1.0
    )
    assert result.share.item() == pytest.approx(softplus(-1.5), rel=1e-6)
    smoothed = simpo_loss(
        torch.tensor([-1.0]), torch.tensor([-2.0]), beta=2.0, gamma=0.5, label_smoothing=0.1, normaliser=1.0
    )
    assert smoothed.share.item() == pytest.approx(0.9 * softplus(-1.5) + 0.1 * softplus(1.5), rel=1e-6)


@pytest.mark.parametrize(("kind", "wanted"), [("sigmoid", softplus(-0.5)), ("hinge", 0.5), ("ipo", 0.0)])
def test_cpo_of_a_pair_that_is_one_nat_apart(kind: str, wanted: float) -> None:
    chosen, rejected = torch.tensor([-3.0]), torch.tensor([-4.0])
    result = cpo_loss(chosen, rejected, kind=kind, beta=0.5, label_smoothing=0.0, normaliser=1.0)
    assert result.share.item() == pytest.approx(wanted, rel=1e-6, abs=1e-12)
    assert result.rejected_rewards.item() == -2.0


@pytest.mark.parametrize("kind", [*KINDS, "simpo", "orpo"])
def test_shares_add_up_and_push_the_two_answers_apart(kind: str) -> None:
    torch.manual_seed(0)
    answers = (-3 * torch.rand(2, 5, dtype=torch.float64)).requires_grad_()

    def share(part: slice) -> Tensor:
        chosen, rejected = answers[0, part], answers[1, part]
        if kind == "orpo":
            return orpo_loss(chosen, rejected, beta=0.3, normaliser=5.0).share
        if kind == "simpo":
            return simpo_loss(chosen, rejected, beta=0.3, gamma=0.1, label_smoothing=0.0, normaliser=5.0).share
        return cpo_loss(chosen, rejected, kind=kind, beta=0.1, label_smoothing=0.0, normaliser=5.0).share

    whole = share(slice(0, 5))
    assert (share(slice(0, 2)) + share(slice(2, 5))).item() == pytest.approx(whole.item(), rel=1e-12)
    [gradient] = torch.autograd.grad(whole, answers)
    assert (gradient[0] < 0).all()
    assert (gradient[1] > 0).all()
