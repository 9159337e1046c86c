"""Losses of policies that learn from answers they sampled: tensors in, a NamedTuple out.

As losses.py: flat vectors with one entry per scored token, (N,), and shares that add up to the loss of the step.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from engine.advantages import kl_k3


class PolicyLoss(NamedTuple):
    """share: scalar to minimise. policy: its part without the KL term, (N,). The others (N,), without gradient."""

    share: Tensor
    policy: Tensor
    kl: Tensor
    ratio: Tensor
    is_clipped_low: Tensor
    is_clipped_high: Tensor


def grpo_loss(
    logps: Tensor,
    old_logps: Tensor,
    reference_logps: Tensor | None,
    advantages: Tensor,
    *,
    normaliser: float,
    epsilon_low: float,
    epsilon_high: float,
    beta: float,
    kl_correction: bool,
) -> PolicyLoss:
    """Clipped surrogate with a KL term, Shao et al. 2024 (arXiv:2402.03300), eq. 3, token mean over the step.

    logps, old_logps, reference_logps, advantages: (N,), one entry per completion token; nats. Where we depart from the
    paper: the mean is over all tokens of the step, not over answers (DAPO, arXiv:2503.14476, eq. 12), and with
    kl_correction the KL term is weighed by the ratio (DeepSeek-V3.2, arXiv:2512.02556, eq. 7), both as TRL's defaults.
    """
    ratio = torch.exp(logps - old_logps)
    clipped = ratio.clamp(1 - epsilon_low, 1 + epsilon_high)
    policy = -torch.minimum(ratio * advantages, clipped * advantages)
    kl = torch.zeros_like(logps) if reference_logps is None else kl_k3(logps, reference_logps)
    penalty = beta * (kl * ratio if kl_correction else kl)
    share = (policy + penalty).sum() / normaliser if beta else policy.sum() / normaliser
    with torch.no_grad():
        is_clipped_low = (ratio < 1 - epsilon_low) & (advantages < 0)
        is_clipped_high = (ratio > 1 + epsilon_high) & (advantages > 0)
    return PolicyLoss(share, policy.detach(), kl.detach(), ratio.detach(), is_clipped_low, is_clipped_high)
