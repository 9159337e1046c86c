"""Advantages of tokens, whitening, and estimators of the KL divergence. Pure functions of tensors."""

import torch
from torch import Tensor


def generalized_advantage(rewards: Tensor, values: Tensor, *, gamma: float, lam: float) -> Tensor:
    """Advantage per token, Schulman et al. 2016 (arXiv:1506.02438), eq. 16.

    rewards: (B, T), reward units, 0 after the end of a text. values: (B, T + 1), each of the state before its token; 0
    from where the text ended. Returns (B, T). Raises ValueError unless 0 <= gamma <= 1 and 0 <= lam <= 1.
    """
    if not (0 <= gamma <= 1 and 0 <= lam <= 1):
        raise ValueError(f"gamma and lam should be from 0 to 1 (got {gamma} and {lam})")
    surprise = rewards + gamma * values[:, 1:] - values[:, :-1]
    advantages = torch.zeros_like(rewards)
    ahead = torch.zeros_like(rewards[:, 0])
    for place in reversed(range(rewards.shape[1])):
        ahead = surprise[:, place] + gamma * lam * ahead
        advantages[:, place] = ahead
    return advantages


def whiten(values: Tensor, *, keeps_mean: bool = False) -> Tensor:
    """Values (N,) with standard deviation 1 and mean 0, or with the mean they had. Variance n - 1, as in TRL."""
    mean = values.mean()
    # One value alone has no deviation to divide by.
    variance = values.var() if len(values) > 1 else torch.zeros_like(mean)
    whitened = (values - mean) * torch.rsqrt(variance + 1e-8)
    return whitened + mean if keeps_mean else whitened


def explained_variance(values: Tensor, returns: Tensor) -> Tensor:
    """Share of the variance of returns (N,) that values (N,) foretell: 1 is all, 0 no more than their mean would."""
    return 1 - (returns - values).var(correction=0) / returns.var(correction=0).clamp(min=1e-12)


def kl_k1(logps: Tensor, reference_logps: Tensor) -> Tensor:
    """KL(policy || reference) per sampled token: unbiased, may be negative. Schulman 2020, estimator k1. As kl_k3."""
    return logps - reference_logps


def kl_k3(logps: Tensor, reference_logps: Tensor) -> Tensor:
    """KL(policy || reference) per sampled token: unbiased, never negative. Schulman 2020, estimator k3.

    logps, reference_logps: any shape, nats. Returns the same shape, nats.
    """
    difference = reference_logps - logps
    return torch.expm1(difference) - difference
