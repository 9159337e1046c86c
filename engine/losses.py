"""Losses: tensors in, a NamedTuple out. Pure, so a test can call each with hand-made numbers.

Every loss works on flat vectors with one entry per scored token, (N,), or per pair of answers, (P,), and is a *share*:
a sum over its entries, divided by a normaliser that counts the whole step. Shares of micro-batches and processes add up
to the loss of the step.
"""

from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import logsigmoid


class SftLoss(NamedTuple):
    """share: scalar, adds up over micro-batches."""

    share: Tensor


def sft_loss(logps: Tensor, *, normaliser: float) -> SftLoss:
    """Negative log-likelihood of the targets, token mean over the step.

    logps: (N,) log-probability of each target, nats. normaliser: targets of the whole step, over all processes.
    """
    return SftLoss(-logps.sum() / normaliser)


def dft_loss(logps: Tensor, *, normaliser: float) -> SftLoss:
    """Dynamic fine-tuning, Wu et al. 2025 (arXiv:2508.05629), eq. 9: each token weighed by its own probability.

    The weight takes away the 1/p that makes likelihood chase what the model finds unlikely. It carries no gradient.
    Arguments as of sft_loss.
    """
    return SftLoss(-(logps * logps.detach().exp()).sum() / normaliser)


class RewardLoss(NamedTuple):
    """share: scalar, adds up over micro-batches. per_pair: (P,), before its weight, without gradient."""

    share: Tensor
    per_pair: Tensor


def bradley_terry_loss(
    chosen: Tensor, rejected: Tensor, margins: Tensor, weights: Tensor, *, centring: float, normaliser: float
) -> RewardLoss:
    """Negative log-likelihood of the preferences, Ouyang et al. 2022 (arXiv:2203.02155), eq. 1, mean over prompts.

    chosen, rejected: (P,) scores of the answers of each pair. margins: (P,) what their difference should exceed,
    Touvron et al. 2023 (arXiv:2307.09288), eq. 2. weights: (P,) 1 / pairs of the same prompt, which so counts once.
    centring: weight of (chosen + rejected)², which pulls scores to 0, Eisenstein et al. 2023 (arXiv:2312.09244).
    normaliser: prompts of the whole step, over all processes.
    """
    per_pair = -logsigmoid(chosen - rejected - margins)
    if centring:
        per_pair = per_pair + centring * (chosen + rejected) ** 2
    return RewardLoss((weights * per_pair).sum() / normaliser, per_pair.detach())
