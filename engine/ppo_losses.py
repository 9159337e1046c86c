"""The losses of PPO: a clipped surrogate for the policy, a clipped squared error for the critic, and their sum.

Pure, and shares, as in losses.py: flat vectors with one entry per answer token, (N,), divided by a count of the update.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Clipped(NamedTuple):
    """loss: (N,), with gradient. is_clipped: (N,), whether the clipped term is the one that counts."""

    loss: Tensor
    is_clipped: Tensor


class PpoLoss(NamedTuple):
    """share: scalar to minimise. policy, value: (N,), without gradient. ratio: (N,). The last two: (N,), booleans."""

    share: Tensor
    policy: Tensor
    value: Tensor
    ratio: Tensor
    is_policy_clipped: Tensor
    is_value_clipped: Tensor


def clipped_surrogate(ratio: Tensor, advantages: Tensor, *, epsilon: float) -> Clipped:
    """Schulman et al. 2017 (arXiv:1707.06347), eq. 7, negated to be minimised. All (N,)."""
    plain = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - epsilon, 1 + epsilon)
    return Clipped(torch.maximum(plain, clipped), clipped > plain)


def clipped_value_error(values: Tensor, old_values: Tensor, returns: Tensor, *, epsilon: float | None) -> Clipped:
    """Half the squared error, and no credit for going further than epsilon from the old value. All (N,), reward units.

    Not in the paper, but in the code of its authors and of TRL. epsilon: None = not clipped.
    """
    error = (values - returns) ** 2
    if epsilon is None:
        return Clipped(0.5 * error, torch.zeros_like(error, dtype=torch.bool))
    near = torch.maximum(torch.minimum(values, old_values + epsilon), old_values - epsilon)
    held = (near - returns) ** 2
    return Clipped(0.5 * torch.maximum(error, held), held > error)


def ppo_loss(
    logps: Tensor,
    old_logps: Tensor,
    advantages: Tensor,
    values: Tensor,
    old_values: Tensor,
    returns: Tensor,
    entropy: Tensor,
    *,
    normaliser: float,
    epsilon: float,
    value_epsilon: float | None,
    value_weight: float,
    entropy_weight: float,
    learns_policy: bool = True,
) -> PpoLoss:
    """Policy, critic and entropy bonus, Schulman et al. 2017 (arXiv:1707.06347), eq. 9, token mean over the update.

    All (N,), one entry per answer token; nats, and reward units. normaliser: answer tokens of the whole update, over
    all its micro-batches and processes. learns_policy: False while only the critic is to learn; the policy's gradient
    is then 0, not missing, as processes wait for each other's gradients.
    """
    ratio = torch.exp(logps - old_logps)
    policy = clipped_surrogate(ratio, advantages, epsilon=epsilon)
    value = clipped_value_error(values, old_values, returns, epsilon=value_epsilon)
    of_policy = policy.loss - entropy_weight * entropy if entropy_weight else policy.loss
    share = (of_policy * float(learns_policy) + value_weight * value.loss).sum() / normaliser
    return PpoLoss(
        share, policy.loss.detach(), value.loss.detach(), ratio.detach(), policy.is_clipped, value.is_clipped
    )
