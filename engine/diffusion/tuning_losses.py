"""Losses that tune a diffusion model by judgements and rewards: tensors in, a NamedTuple out.

Where losses are of single steps of sampling, a step is an action: from x_t to x_s, drawn from a Gaussian whose mean the
network decides (gaussian_steps.py). D is how many numbers an image has, C x H x W. Every loss gives a share of the
step's: shares of micro-batches and processes add up.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from engine.policy_losses import Objective, policy_loss

Reduce = Literal["sum", "mean"]


# ------------------------------------------------------------------------------------------------ pairs, one preferred


class PairErrors(NamedTuple):
    """Squared errors of the predicted noise, means over D, of B pairs of images: (B,) each.

    Both images of a pair at the same time and with the same noise, for policy and reference alike: what is left of the
    difference is then the images'.
    """

    chosen: Tensor
    rejected: Tensor
    reference_chosen: Tensor
    reference_rejected: Tensor


class DiffusionDpoLoss(NamedTuple):
    """share: scalar to minimise. The others (B,), without gradient.

    chosen_rewards, rejected_rewards: by how much the policy removes noise better than the reference, times beta / 2;
    their difference is what the loss raises, and its sign is the implicit accuracy.
    """

    share: Tensor
    per_pair: Tensor
    chosen_rewards: Tensor
    rejected_rewards: Tensor


def diffusion_dpo_loss(errors: PairErrors, *, beta: float, normaliser: float) -> DiffusionDpoLoss:
    """-logsigmoid(-β/2 [(e_w - e_w_ref) - (e_l - e_l_ref)]): Wallace et al. 2023 (arXiv:2311.12908), eq. 14.

    As in the authors' code: β stands for the paper's β T, errors are means over D, not sums, and the weight over time
    is 1. So β depends on D: 5000 of theirs is for latents of 16,384 numbers. normaliser: pairs of the whole step.
    """
    chosen_rewards = beta / 2 * (errors.reference_chosen - errors.chosen)
    rejected_rewards = beta / 2 * (errors.reference_rejected - errors.rejected)
    per_pair = -logsigmoid(chosen_rewards - rejected_rewards)
    return DiffusionDpoLoss(
        per_pair.sum() / normaliser, per_pair.detach(), chosen_rewards.detach(), rejected_rewards.detach()
    )


# ------------------------------------------------------------------------------------- steps of sampling, as actions


class StepLoss(NamedTuple):
    """share: scalar to minimise. The others (N,), without gradient.

    log_ratio: of new to old policy, true whatever the ratio is clipped by; nats. is_clipped: whether clipping took the
    gradient.
    """

    share: Tensor
    log_ratio: Tensor
    is_clipped: Tensor


def step_policy_loss(
    logps: Tensor,
    old_logps: Tensor,
    advantages: Tensor,
    path_kl: Tensor,
    weights: Tensor,
    *,
    numbers: int,
    reduce: Reduce,
    clip: float,
    kl_weight: float,
) -> StepLoss:
    """Clipped policy gradient on steps of sampling: DDPO, Black et al. 2023 (arXiv:2305.13301), with PPO's clip.

    logps, old_logps: (N,), log-densities of N actions under the policy now and when it sampled, summed over D; nats.
    advantages: (N,), of the image that an action led to; within its group they make this Flow-GRPO (arXiv:2505.05470).
    path_kl: (N,), exact KL(policy || reference) of each action's law, with gradient; nats. weights: (N,), what an
    action counts in the mean over the whole step. numbers: D.

    reduce: the ratio is clipped as it is (sum), or its D-th root is (mean), as published code does: then the true
    log-ratio may move by about clip x D, and a `clip` of one form says nothing of the other. Where we depart: mean
    divides the pull, too, so that `kl_weight` means the same in both, nats for units of advantage.
    """
    scale = 1 / numbers if reduce == "mean" else 1.0
    ones = torch.ones_like(logps, dtype=torch.long)
    both = Objective(epsilon_low=clip, epsilon_high=clip)
    clipped = policy_loss(logps * scale, old_logps * scale, advantages, weights, ones, both)
    share = clipped.share + kl_weight * scale * (weights * path_kl).sum()
    return StepLoss(share, (logps - old_logps).detach(), clipped.is_clipped_low | clipped.is_clipped_high)


# ------------------------------------------------------------------------------------ images by themselves, good or bad


def goodness(advantages: Tensor, *, limit: float) -> Tensor:
    """How much an image counts as good, 0 to 1: 1/2 + clip(A / limit, -1, 1) / 2, as DiffusionNFT. Any shape."""
    return 0.5 + 0.5 * (advantages / limit).clamp(-1, 1)


def nft_loss(prediction: Tensor, old: Tensor, target: Tensor, good: Tensor, *, beta: float) -> Tensor:
    """DiffusionNFT, Zheng et al. 2025 (arXiv:2509.16117): what each image costs, (N,).

    prediction, old, target: (N, C, H, W), what policy, old policy and truth say the noise is. good: (N,), 0 to 1.
    The error of (1-β) old + β prediction counts by how good an image is, that of (1+β) old - β prediction by how bad:
    towards good images, away from bad ones, both from where the old policy stands. Where we depart: of noise, not of
    velocity, which weighs times differently, and without the paper's weight by the error of x0.
    """
    towards = ((1 - beta) * old + beta * prediction - target).square().flatten(1).mean(dim=1)
    away = ((1 + beta) * old - beta * prediction - target).square().flatten(1).mean(dim=1)
    return good * towards + (1 - good) * away


def anchor(prediction: Tensor, reference: Tensor) -> Tensor:
    """Squared distance of what policy and reference say the noise is, mean over D, (N,).

    DPOK's pull (Fan et al. 2023, arXiv:2305.16381): the exact KL of a step without its factor, so it also serves where
    steps draw nothing at random and have no KL.
    """
    return (prediction - reference).square().flatten(1).mean(dim=1)


def old_policy_share(step: int, *, rate: float, most: float) -> float:
    """How much of the old policy stays after `step` (from 1), as in DiffusionNFT: little at first, then more."""
    return min(rate * step, most)
