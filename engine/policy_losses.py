"""Losses of policies that learn from answers they sampled: tensors in, a NamedTuple out.

One function for GRPO and all its relatives, which differ in choices that do not touch each other (`Objective`): of what
the ratio of new to old policy is taken, how that ratio is kept near 1, and how the pull to a reference is measured. Who
counts how much is not decided here but in the weights (group_advantages.py), which is why shares of micro-batches and
processes add up.
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from engine.advantages import kl_k1, kl_k3

Ratio = Literal["token", "sequence", "sequence_token", "answer"]
Clip = Literal["two_sided", "one_sided", "soft", "gamma", "none"]
KlEstimator = Literal["k1", "k2", "k3"]

#: Of VESPO's gamma weighting: k and λ for answers better than expected, and for the others.
GAMMA_UP, GAMMA_DOWN = (2.0, 3.0), (3.0, 2.0)
#: Its log-ratio is held between these, as TRL does.
GAMMA_RANGE = (math.log(1e-8), 20.0)


@dataclass(frozen=True)
class Objective:
    """The choices. epsilon_low, epsilon_high: the ratio is trusted between 1 - epsilon_low and 1 + epsilon_high.

    cap: one_sided's largest weight, and two_sided's largest ratio where the advantage is negative. gate_up, gate_down:
    steepness of the soft gate, for positive advantages and the others.
    """

    ratio: Ratio = "token"
    clip: Clip = "two_sided"
    epsilon_low: float = 0.2
    epsilon_high: float = 0.2
    cap: float = math.inf
    gate_up: float = 1.0
    gate_down: float = 1.05
    beta: float = 0.0
    kl: KlEstimator = "k3"
    kl_correction: bool = True


class PolicyLoss(NamedTuple):
    """share: scalar to minimise. policy: its part without the KL term, (N,). The others (N,), without gradient."""

    share: Tensor
    policy: Tensor
    kl: Tensor
    ratio: Tensor
    is_clipped_low: Tensor
    is_clipped_high: Tensor


def policy_loss(
    logps: Tensor,
    old_logps: Tensor,
    advantages: Tensor,
    weights: Tensor,
    lengths: Tensor,
    how: Objective,
    *,
    reference_logps: Tensor | None = None,
    importance: Tensor | None = None,
) -> PolicyLoss:
    """Surrogate of the policy gradient with a KL term, Shao et al. 2024 (arXiv:2402.03300), eq. 3, and its relatives.

    logps, old_logps, advantages, weights, reference_logps, importance: (N,), one entry per token of the answers, one
    answer after the other; nats. lengths: (B,), how many of them each answer has. weights: what each token counts in
    the mean over the whole step. importance: corrects the policy's part where the tokens came from another law than
    old_logps. Where we depart from the paper: with kl_correction the KL term is weighed by the ratio (DeepSeek-V3.2,
    arXiv:2512.02556, eq. 7), as TRL does.
    """
    ratio = _ratio(logps, old_logps, lengths, how.ratio)
    policy = _surrogate(ratio, advantages, logps, how)
    if importance is not None:
        policy = policy * importance
    kl = torch.zeros_like(logps) if reference_logps is None else kl_estimate(logps, reference_logps, how.kl)
    per_token = policy + how.beta * (kl * ratio if how.kl_correction else kl) if how.beta else policy
    with torch.no_grad():
        is_clipped_low, is_clipped_high = _is_clipped(ratio, advantages, how)
    share = (weights * per_token).sum()
    return PolicyLoss(share, policy.detach(), kl.detach(), ratio.detach(), is_clipped_low, is_clipped_high)


def _ratio(logps: Tensor, old_logps: Tensor, lengths: Tensor, of: Ratio) -> Tensor:
    """New over old probability, (N,): of each token, or the same for all tokens of an answer.

    sequence: the geometric mean of its tokens, GSPO, Zheng et al. 2025 (arXiv:2507.18071), eq. 7; sequence_token: the
    same number, whose gradient is the token's own (eq. 14). answer: the product of its tokens, as in RLOO.
    """
    log_ratio = logps - old_logps
    if of == "token":
        return torch.exp(log_ratio)
    sums = by_answer(log_ratio, lengths).sum(dim=1)
    if of == "answer":
        return torch.exp(_to_tokens(sums, lengths))
    sequence = torch.exp(_to_tokens(sums / lengths.clamp(min=1), lengths))
    return sequence if of == "sequence" else sequence.detach() * torch.exp(logps - logps.detach())


def by_answer(values: Tensor, lengths: Tensor) -> Tensor:
    """Flat values, (N,), as rows of answers, (B, T); 0 after an answer's end.

    For sums over an answer: not index_add, whose order on a GPU is another each time.
    """
    is_token = _is_token(lengths)
    return torch.zeros(is_token.shape, dtype=values.dtype, device=values.device).masked_scatter(is_token, values)


def _to_tokens(values: Tensor, lengths: Tensor) -> Tensor:
    """One value an answer, (B,), at each of its tokens, (N,)."""
    is_token = _is_token(lengths)
    return values.unsqueeze(1).expand(is_token.shape)[is_token]


def _is_token(lengths: Tensor) -> Tensor:
    return torch.arange(int(lengths.max()), device=lengths.device) < lengths.unsqueeze(1)


def _surrogate(ratio: Tensor, advantages: Tensor, logps: Tensor, how: Objective) -> Tensor:
    """What a token costs, (N,)."""
    match how.clip:
        case "two_sided":  # PPO's, Schulman et al. 2017 (arXiv:1707.06347), eq. 7; apart above and below, DAPO, eq. 10
            capped = ratio.clamp(max=how.cap)  # INTELLECT-2, arXiv:2505.07291
            trusted = ratio.clamp(1 - how.epsilon_low, 1 + how.epsilon_high)
            return -torch.minimum(capped * advantages, trusted * advantages)
        case "one_sided":  # CISPO, arXiv:2506.13585: a weight, so no token loses its gradient
            return -ratio.detach().clamp(max=how.cap) * advantages * logps
        case "soft":  # SAPO, arXiv:2511.20347
            steepness = torch.where(advantages > 0, how.gate_up, how.gate_down)
            return -torch.sigmoid(steepness * (ratio - 1)) * 4 / steepness * advantages
        case "gamma":
            return -_gamma_weight(ratio, advantages) * advantages * logps
        case "none":
            return -ratio * advantages


@torch.no_grad()
def _gamma_weight(ratio: Tensor, advantages: Tensor) -> Tensor:
    """VESPO (arXiv:2602.10693): w^k · exp(λ (1 - w)), 1 where the policies agree, falling on both sides of it."""
    log_ratio = ratio.log().clamp(*GAMMA_RANGE)
    is_up = advantages >= 0
    power, decay = (torch.where(is_up, up, down) for up, down in zip(GAMMA_UP, GAMMA_DOWN, strict=True))
    return torch.exp(decay + power * log_ratio - decay * log_ratio.exp())


def _is_clipped(ratio: Tensor, advantages: Tensor, how: Objective) -> tuple[Tensor, Tensor]:
    """Where clipping took the gradient of a token, or bounded its weight: below, and above. (N,) each."""
    nowhere = torch.zeros_like(ratio, dtype=torch.bool)
    if how.clip == "two_sided":
        low, high = ratio < 1 - how.epsilon_low, ratio > 1 + how.epsilon_high
        return low & (advantages < 0), high & (advantages > 0)
    if how.clip == "one_sided":
        return nowhere, (ratio > how.cap) & (advantages > 0)
    return nowhere, nowhere


def kl_estimate(logps: Tensor, reference_logps: Tensor, estimator: KlEstimator) -> Tensor:
    """KL(policy || reference) per sampled token, nats, by Schulman's 2020 estimators. Any shape; returns the same.

    k1: unbiased, of either sign; its gradient, unless weighed by the ratio, is zero in expectation. k2: never negative,
    biased, with the right gradient. k3: unbiased and never negative.
    """
    match estimator:
        case "k1":
            return kl_k1(logps, reference_logps)
        case "k2":
            return (logps - reference_logps) ** 2 / 2
        case "k3":
            return kl_k3(logps, reference_logps)
