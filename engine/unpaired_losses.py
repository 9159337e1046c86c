"""Losses of single answers, each wanted or not: KTO and its kin. Pure, so a test can call each.

Notation: l is the log-ratio policy / reference of an answer, summed, nats; β scales it to a reward. Every loss gives
one value an answer, (B,), and `unpaired_loss` weighs them and makes a share of them: a sum, divided by the answers of
the whole step. Shares of micro-batches and processes add up, as the KL estimate is the whole step's.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class UnpairedLoss(NamedTuple):
    """share: scalar to minimise, adds up over micro-batches. The others (B,), without gradient."""

    share: Tensor
    per_answer: Tensor
    rewards: Tensor


def unpaired_loss(
    log_ratios: Tensor,
    is_wanted: Tensor,
    *,
    kind: str,
    beta: float,
    kl: float,
    wanted_weight: float,
    unwanted_weight: float,
    normaliser: float,
) -> UnpairedLoss:
    """The loss of that kind, each answer weighed, and the implicit rewards β l.

    log_ratios, is_wanted: (B,). kl: see `kto`. normaliser: answers of the whole step, over all processes.
    """
    weights = torch.where(is_wanted, wanted_weight, unwanted_weight)
    per_answer = weights * LOSSES[kind](log_ratios, is_wanted, beta, kl)
    return UnpairedLoss(per_answer.sum() / normaliser, per_answer.detach(), beta * log_ratios.detach())


def kto(log_ratios: Tensor, is_wanted: Tensor, beta: float, kl: float) -> Tensor:
    """1 - sigmoid(β (l - z)) of a wanted answer, 1 - sigmoid(β (z - l)) of an unwanted one.

    Ethayarajh et al. 2024 (arXiv:2402.01306), eq. 7. z is kl, how far the policy is from its reference: nothing is
    gained by raising all answers alike.
    """
    gain = log_ratios - kl
    return 1 - torch.sigmoid(beta * torch.where(is_wanted, gain, -gain))


def apo_zero_unpaired(log_ratios: Tensor, is_wanted: Tensor, beta: float, kl: float) -> Tensor:
    """As `kto` with z = 0: APO-zero, D'Oosterlinck et al. 2024 (arXiv:2408.06266), eq. 7, of single answers."""
    return kto(log_ratios, is_wanted, beta, 0.0)


#: Kind -> loss of log-ratios, which are wanted, β and the KL estimate.
LOSSES: dict[str, Callable[[Tensor, Tensor, float, float], Tensor]] = {
    "kto": kto,
    "apo_zero_unpaired": apo_zero_unpaired,
}
