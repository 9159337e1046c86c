"""From the rewards of a step's answers to what each of their tokens counts: advantages, and weights of the mean.

Both see the whole step, all processes' groups together, as (prompts, answers) matrices; so how a batch is cut up, or
shared between processes, changes nothing. Pure functions.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Baseline = Literal["group", "leave_one_out", "batch", "none"]
Scale = Literal["group", "batch", "advantages", "none"]
Aggregation = Literal["token", "sequence", "prompt", "constant"]

#: Keeps a group whose rewards are all alike at zero; TRL's value, so that ours are the same numbers.
TINY = 1e-4
#: Rewards that differ by no more count as alike.
ALIKE = 1e-8


def group_advantages(rewards: Tensor, *, baseline: Baseline = "group", scale: Scale = "group") -> Tensor:
    """How much better each answer did than expected, (prompts, answers), as rewards are.

    An answer without a reward (NaN) takes part in no mean and no spread, and its advantage is 0.

    baseline: what was expected. group: the mean of its prompt's answers, Shao et al. 2024 (arXiv:2402.03300), sec.
    4.1.2. leave_one_out: that of the others, RLOO, Ahmadian et al. 2024 (arXiv:2402.14740). batch: that of all
    answers, REINFORCE++, Hu 2025 (arXiv:2501.03262). none: 0, plain REINFORCE.
    scale: what an advantage is measured in: the spread of rewards of its prompt (GRPO), of all rewards (batch), of all
    differences to their baseline (advantages; ScaleRL, arXiv:2510.13786, REINFORCE++), or reward itself (none; Dr.
    GRPO, arXiv:2503.20783). Spreads are the sample's (n - 1), as in TRL.
    """
    # In float32 the mean of equal rewards can miss them by a rounding, and dividing by TINY makes that a push.
    exact = rewards.double()
    centred = (exact - _expected(exact, baseline)).where(_has_others(exact, baseline) | exact.isnan(), 0.0)
    spread = {
        "group": lambda: spread_of(exact, dim=1),
        "batch": lambda: spread_of(exact.flatten(), dim=0),
        "advantages": lambda: spread_of(centred.flatten(), dim=0),
    }
    if scale != "none":
        centred = centred / (spread[scale]() + TINY)
    return centred.where(~exact.isnan(), 0.0).to(rewards.dtype)


def token_advantages(
    rewards: Tensor, ahead: Sequence[Sequence[float]], *, baseline: Baseline, scale: Scale
) -> list[Tensor]:
    """As `group_advantages`, of each token by itself: the pull to the reference is felt from each token on.

    REINFORCE++, Hu 2025 (arXiv:2501.03262), eq. 4 to 6. rewards: (prompts, answers). ahead: of each answer, in order,
    what of the pull is still to come at each of its tokens, in the rewards' unit. What is taken over the batch (the
    baseline of `batch`, both spreads) is taken over its tokens. Returns (T,) for each answer.
    """
    exact = rewards.double()
    own = exact
    if baseline != "batch":
        own = (exact - _expected(exact, baseline)).where(_has_others(exact, baseline) | exact.isnan(), 0.0)
    lengths = [len(each) for each in ahead]
    flat = own.flatten().repeat_interleave(torch.tensor(lengths))
    flat = flat - torch.tensor([value for each in ahead for value in each], dtype=torch.float64)
    if baseline == "batch":
        flat = flat - flat.nanmean()
    if scale != "none":
        flat = flat / (spread_of(flat, dim=0) + TINY)
    return list(flat.nan_to_num(nan=0.0).to(rewards.dtype).split(lengths))


def _expected(rewards: Tensor, baseline: Baseline) -> Tensor:
    """In the shape of rewards, or one that broadcasts to it."""
    match baseline:
        case "group":
            return rewards.nanmean(dim=1, keepdim=True)
        case "leave_one_out":
            return (rewards.nansum(dim=1, keepdim=True) - rewards) / (_known(rewards) - 1)
        case "batch":
            return rewards.nanmean()
        case "none":
            return torch.zeros_like(rewards)


def _known(rewards: Tensor) -> Tensor:
    """How many answers of each prompt have a reward, (prompts, 1)."""
    return (~rewards.isnan()).sum(dim=1, keepdim=True)


def _has_others(rewards: Tensor, baseline: Baseline) -> Tensor:
    """Whether there is anything to compare a prompt's answers with, (prompts, 1); only others can be left out of."""
    return _known(rewards) > 1 if baseline == "leave_one_out" else torch.ones_like(rewards[:, :1], dtype=torch.bool)


def spread_of(values: Tensor, dim: int) -> Tensor:
    """Standard deviation of what is known along dim, kept; of a single value 0."""
    count = (~values.isnan()).sum(dim=dim, keepdim=True)
    squares = (values - values.nanmean(dim=dim, keepdim=True)).square().nansum(dim=dim, keepdim=True)
    return (squares / (count - 1).clamp(min=1)).sqrt()


def is_alike(rewards: Tensor) -> Tensor:
    """Which prompts' answers all scored alike, so that they tell nothing apart: (prompts,). What has no reward is not
    counted, and a single answer is like itself."""
    highest = rewards.nan_to_num(nan=-torch.inf, posinf=None, neginf=None).amax(dim=1)
    lowest = rewards.nan_to_num(nan=torch.inf, posinf=None, neginf=None).amin(dim=1)
    return highest - lowest < ALIKE


def token_weights(lengths: Tensor, *, aggregation: Aggregation, constant: int) -> Tensor:
    """What one token of each answer counts in the step's mean, (prompts, answers), as lengths are.

    lengths: tokens of each answer that count; 0 leaves an answer out, of every count. token: all tokens alike, DAPO
    (arXiv:2503.14476), eq. 12. sequence: all answers alike, GRPO,
    eq. 3. prompt: all prompts alike, and within them all
    tokens, ScaleRL. constant: a token counts 1 / constant of an answer, however long that is, Dr. GRPO.
    """
    counts = lengths > 0
    tokens = lengths.double()
    match aggregation:
        case "token":
            weights = 1 / tokens.sum()
        case "sequence":
            weights = 1 / (tokens * counts.sum())
        case "prompt":
            of_prompt = tokens.sum(dim=1, keepdim=True)
            weights = 1 / (of_prompt * (of_prompt > 0).sum())
        case "constant":
            weights = 1 / (counts.sum().double() * constant)
    return torch.where(counts, weights, 0.0).to(torch.float32)
