"""Estimators of the KL divergence. Pure functions of tensors."""

import torch
from torch import Tensor


def kl_k3(logps: Tensor, reference_logps: Tensor) -> Tensor:
    """KL(policy || reference) per sampled token: unbiased, never negative. Schulman 2020, estimator k3.

    logps, reference_logps: any shape, nats. Returns the same shape, nats.
    """
    difference = reference_logps - logps
    return torch.expm1(difference) - difference
