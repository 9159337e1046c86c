"""How much an answer counts that was drawn from another law than the one that is trained.

Where top_k, top_p or min_p cut the softmax, or an engine of its own computes other logits, E over the trained law is
E over the law that drew, weighed by π(y) / μ(y) (Yao et al. 2025, "Your efficient RL framework secretly brings you
off-policy RL training"; TRL's `vllm_importance_sampling_*`). Whole-answer ratios are exact and spread widely; a token's
alone is off but tame; bounds keep either from letting one answer rule a step.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor


def importance_weights(
    trainer_logps: Tensor,
    drawn_logps: Tensor,
    lengths: Sequence[int],
    *,
    level: Literal["token", "sequence"],
    beyond: Literal["truncate", "mask"],
    highest: float,
    lowest: float = 0.0,
) -> Tensor:
    """exp(trainer - drawn) for each token, or for each answer as a whole and all its tokens alike: (N,), no gradient.

    trainer_logps, drawn_logps: (N,), nats, answers one after the other; lengths: tokens of each. A drawn_logp that is
    NaN, which an engine did not tell, counts as the trainer's own. beyond: weights outside [lowest, highest] are set to
    the bound, or to 0, so that the token or the answer counts for nothing.
    """
    difference = torch.nan_to_num(trainer_logps.detach() - drawn_logps, nan=0.0)
    if level == "sequence":
        counts = torch.tensor(lengths, device=difference.device)
        answer = torch.arange(len(counts), device=difference.device).repeat_interleave(counts)
        difference = difference.new_zeros(len(counts)).index_add_(0, answer, difference)[answer]
    weights = torch.exp(difference)
    if beyond == "truncate":
        return weights.clamp(lowest, highest)
    return weights.masked_fill((weights < lowest) | (weights > highest), 0.0)
