"""The best of n: what the answer is worth that a reward picks from n, estimated from all N that were drawn."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def kl_of_best(n: int) -> float:
    """How far picking the best of n moves from the model at most, nats: log n - (n - 1) / n, Stiennon et al. 2020
    (arXiv:2009.01325), appendix G.3.

    An upper bound (Beirami et al. 2024, arXiv:2401.01879, theorem 1): met where no two answers have one reward, and far
    from met where few answers are likely, as picking among equals moves nothing.
    """
    return math.log(n) - (n - 1) / n


def chances(rewards: Tensor, n: int) -> Tensor:
    """How likely each of N answers is the best of n that are drawn from them without replacement, (prompts, N).

    rewards: (prompts, N). Over all subsets, so that its mean of any score is unbiased for n fresh answers, as pass@k
    is: Nakano et al. 2021 (arXiv:2112.09332), appendix I. Equals share their chance. An answer without a reward (NaN)
    is never picked, and draws of nothing else do not count; a row is NaN where no answer has one. Raises ValueError
    unless 1 <= n <= N.
    """
    answers = rewards.shape[-1]
    if not 1 <= n <= answers:
        raise ValueError(f"there are {answers} answers; the best of {n} cannot be drawn from them")
    is_known = rewards.isfinite()
    ranked = rewards.double().masked_fill(~is_known, -math.inf)
    in_order, within = ranked.sort().values, _all_within(answers, n)
    worse, no_better = (torch.searchsorted(in_order, ranked, right=right) for right in (False, True))
    chance = (within[no_better] - within[worse]) / (no_better - worse)
    chance = chance.masked_fill(~is_known, 0.0)
    return chance / chance.sum(dim=-1, keepdim=True)


def _all_within(answers: int, n: int) -> Tensor:
    """How likely n of the answers are all among certain i of them, i from 0 on: C(i, n) / C(N, n), (N + 1,)."""
    i = torch.arange(n, answers + 1, dtype=torch.float64)
    # By logarithms, since the binomials overflow; n! is in both and left out.
    ways = torch.lgamma(i + 1) - torch.lgamma(i - n + 1)
    return torch.cat([torch.zeros(n, dtype=torch.float64), (ways - ways[-1]).exp()])


def by_prompt(rewards: Sequence[Sequence[float]], ns: Sequence[int], scores: Sequence[Sequence[float]]) -> Tensor:
    """The mean score of the best of n by reward, (prompts, ns). rewards, scores: [prompts][answers]; where both are
    one, this is the curve of the reward itself."""
    ranked, earned = (torch.tensor(each, dtype=torch.float64) for each in (rewards, scores))
    earned = earned.nan_to_num(nan=0.0)  # has no chance where it is not known
    return torch.stack([(chances(ranked, n) * earned).sum(dim=-1) for n in ns], dim=-1)
