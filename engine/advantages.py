"""From rewards to advantages, and estimators of the KL divergence. Pure functions of tensors."""

from typing import Literal

import torch
from torch import Tensor

Scale = Literal["group", "batch", "none"]

#: Keeps a group whose rewards are all alike at zero; TRL's value, so that ours are the same numbers.
TINY = 1e-4


def group_relative_advantages(rewards: Tensor, *, scale: Scale, batch_std: Tensor | None = None) -> Tensor:
    """How much better an answer scored than the others to its prompt, Shao et al. 2024 (arXiv:2402.03300), sec. 4.1.2.

    rewards: (prompts, completions_per_prompt). Returns the same shape. scale: divide by the standard deviation of the
    group, by that of the whole step (`batch_std`, which more than one process must share), or not at all
    (Dr. GRPO, arXiv:2503.20783). The deviation is the sample's (n - 1), as in TRL.
    """
    # In float32 the mean of equal rewards can miss them by a rounding, and dividing by TINY makes that a push.
    exact = rewards.double()
    centred = exact - exact.mean(dim=1, keepdim=True)
    if scale == "batch":
        centred = centred / ((exact.std() if batch_std is None else batch_std) + TINY)
    elif scale == "group":
        centred = centred / (exact.std(dim=1, keepdim=True) + TINY)
    return centred.to(rewards.dtype)


def kl_k3(logps: Tensor, reference_logps: Tensor) -> Tensor:
    """KL(policy || reference) per sampled token: unbiased, never negative. Schulman 2020, estimator k3.

    logps, reference_logps: any shape, nats. Returns the same shape, nats.
    """
    difference = reference_logps - logps
    return torch.expm1(difference) - difference
