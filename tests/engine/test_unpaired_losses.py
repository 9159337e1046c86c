"""KTO against numbers worked by hand, and how its gradients push."""

import math

import pytest
import torch
from torch import Tensor

from engine.unpaired_losses import LOSSES, UnpairedLoss, unpaired_loss

WANTED = torch.tensor([True, False])


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def loss_of(log_ratios: Tensor, is_wanted: Tensor = WANTED, *, kind: str = "kto", kl: float = 0.5) -> UnpairedLoss:
    return unpaired_loss(
        log_ratios,
        is_wanted,
        kind=kind,
        beta=0.5,
        kl=kl,
        wanted_weight=1.5,
        unwanted_weight=0.5,
        normaliser=float(len(log_ratios)),
    )


def test_kto_measures_gains_from_the_divergence() -> None:
    result = loss_of(torch.tensor([2.0, -1.0]))
    wanted = [1.5 * (1 - sigmoid(0.5 * (2.0 - 0.5))), 0.5 * (1 - sigmoid(0.5 * (0.5 + 1.0)))]
    assert result.per_answer.tolist() == pytest.approx(wanted, rel=1e-6)
    assert result.share.item() == pytest.approx(sum(wanted) / 2, rel=1e-6)
    assert result.rewards.tolist() == [1.0, -0.5]


def test_apo_zero_measures_gains_from_zero() -> None:
    found = loss_of(torch.tensor([2.0, -1.0]), kind="apo_zero_unpaired", kl=9.0)
    assert found.per_answer.tolist() == loss_of(torch.tensor([2.0, -1.0]), kl=0.0).per_answer.tolist()


@pytest.mark.parametrize("kind", LOSSES)
def test_of_a_policy_equal_to_its_reference_every_answer_costs_half_its_weight(kind: str) -> None:
    assert loss_of(torch.zeros(2), kind=kind, kl=0.0).per_answer.tolist() == [0.75, 0.25]


@pytest.mark.parametrize("kind", LOSSES)
def test_wanted_answers_rise_and_unwanted_ones_fall_and_shares_add_up(kind: str) -> None:
    ratios = torch.tensor([0.3, -2.0, 1.0, 4.0], dtype=torch.float64, requires_grad=True)
    is_wanted = torch.tensor([True, False, False, True])

    def share(part: slice) -> Tensor:
        mine = (ratios[part], is_wanted[part])
        return unpaired_loss(
            *mine, kind=kind, beta=0.5, kl=0.2, wanted_weight=1.0, unwanted_weight=2.0, normaliser=4.0
        ).share

    whole = share(slice(0, 4))
    assert (share(slice(0, 1)) + share(slice(1, 4))).item() == pytest.approx(whole.item(), rel=1e-12)
    [gradient] = torch.autograd.grad(whole, ratios)
    assert (gradient < 0).tolist() == is_wanted.tolist()
