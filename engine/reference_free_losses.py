"""Losses of pairs of answers that know no reference: ORPO, SimPO and CPO. Pure, so a test can call each.

All take the log-probabilities of B chosen and B rejected answers, summed or a token, (B,), nats, and give a share: a
sum over the pairs, divided by those of the whole step. An answer's implicit reward is β times its log-probability.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from engine.preference_losses import PreferenceLoss


def log_odds_ratio(chosen: Tensor, rejected: Tensor) -> Tensor:
    """log (odds of chosen / odds of rejected), odds = P / (1 - P): Hong et al. 2024 (arXiv:2403.07691), eqs. 4 and 5.

    chosen, rejected: log-probability a token, so that P is the geometric mean of the tokens' probabilities.
    """
    return (chosen - rejected) - (_log_one_less(chosen) - _log_one_less(rejected))


def orpo_loss(chosen: Tensor, rejected: Tensor, *, beta: float, normaliser: float) -> PreferenceLoss:
    """-β logsigmoid(log odds ratio): the second part of ORPO, Hong et al. 2024 (arXiv:2403.07691), eqs. 6 and 7.

    The first is the SFT loss of the chosen answers. chosen, rejected: log-probability a token. β is the paper's λ.
    """
    return _told(-beta * logsigmoid(log_odds_ratio(chosen, rejected)), chosen, rejected, beta, normaliser)


def simpo_loss(
    chosen: Tensor, rejected: Tensor, *, beta: float, gamma: float, label_smoothing: float, normaliser: float
) -> PreferenceLoss:
    """-logsigmoid(β (c - r) - gamma): SimPO, Meng et al. 2024 (arXiv:2405.14734), eq. 6.

    chosen, rejected: c and r, log-probability a token. label_smoothing as in `cpo_loss`.
    """
    per_pair = _smoothed(beta * (chosen - rejected) - gamma, label_smoothing)
    return _told(per_pair, chosen, rejected, beta, normaliser)


def cpo_loss(
    chosen: Tensor, rejected: Tensor, *, kind: str, beta: float, label_smoothing: float, normaliser: float
) -> PreferenceLoss:
    """The preference part of CPO, Xu et al. 2024 (arXiv:2401.08417), eq. 3, by the kind of loss.

    chosen, rejected: summed log-probabilities, but for the kinds in A_TOKEN. label_smoothing: only sigmoid knows of it.
    """
    per_pair = KINDS[kind](chosen - rejected, beta, label_smoothing)
    return _told(per_pair, chosen, rejected, beta, normaliser)


def sigmoid(difference: Tensor, beta: float, label_smoothing: float) -> Tensor:
    """-logsigmoid(β d): CPO as published, which is DPO with a reference that finds all answers equally likely."""
    return _smoothed(beta * difference, label_smoothing)


def hinge(difference: Tensor, beta: float, label_smoothing: float) -> Tensor:
    """max(0, 1 - β d): SLiC-HF, Zhao et al. 2023 (arXiv:2305.10425), eq. 1, with 1 as margin."""
    return torch.relu(1 - beta * difference)


def ipo(difference: Tensor, beta: float, label_smoothing: float) -> Tensor:
    """(d - 1 / (2 β))²: IPO, Azar et al. 2023 (arXiv:2310.12036), eq. 17, of log-probabilities a token."""
    return (difference - 1 / (2 * beta)) ** 2


#: Kind of CPO -> loss of differences, β and label smoothing.
KINDS: dict[str, Callable[[Tensor, float, float], Tensor]] = {"sigmoid": sigmoid, "hinge": hinge, "ipo": ipo}
#: Kinds that take log-probabilities a token, as TRL's.
A_TOKEN = ("ipo",)


def _told(per_pair: Tensor, chosen: Tensor, rejected: Tensor, beta: float, normaliser: float) -> PreferenceLoss:
    rewards = (beta * chosen.detach(), beta * rejected.detach())
    return PreferenceLoss(per_pair.sum() / normaliser, per_pair.detach(), *rewards)


def _smoothed(logits: Tensor, label_smoothing: float) -> Tensor:
    """-(1 - ε) logsigmoid(x) - ε logsigmoid(-x)."""
    return -(1 - label_smoothing) * logsigmoid(logits) - label_smoothing * logsigmoid(-logits)


def _log_one_less(logp: Tensor) -> Tensor:
    """log(1 - exp(x)), x < 0, in the form that is exact there (Mächler 2012, "Accurately computing log(1 - e^-a)")."""
    is_near = logp > -0.6931
    near, far = torch.where(is_near, logp, -1.0), torch.where(is_near, -1.0, logp)
    return torch.where(is_near, torch.log(-torch.expm1(near)), torch.log1p(-torch.exp(far)))
