"""pass@k: how likely at least one of k answers is right, estimated from n answers of which c were."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def pass_at_k(answers: int, right: int, k: int) -> float:
    """1 - C(n - c, k) / C(n, k): Chen et al. 2021 (arXiv:2107.03374), eq. 1, unbiased.

    1 - (1 - c/n)^k would be biased. As a product, since the binomials overflow. Raises ValueError unless
    0 <= right <= answers and 1 <= k <= answers.
    """
    if not 0 <= right <= answers or not 1 <= k <= answers:
        raise ValueError(f"there are {answers} answers, {right} of them right; k = {k} cannot be drawn from them")
    if answers - right < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(answers - right + 1, answers + 1))


def mean_pass_at_k(right: Sequence[int], *, answers: int, k: int) -> float:
    """Over prompts, each with how many of its `answers` were right."""
    return float(by_prompt(right, answers=answers, ks=[k]).mean())


def by_prompt(right: Sequence[int], *, answers: int, ks: Sequence[int]) -> Tensor:
    """pass@k of each prompt, (prompts, ks)."""
    # Prompts share few different counts, and a product of up to `answers` factors is worked out once for each.
    known = {count: [pass_at_k(answers, count, k) for k in ks] for count in set(right)}
    return torch.tensor([known[count] for count in right], dtype=torch.float64)


def usual_ks(answers: int) -> list[int]:
    """2, 4, 8 … and all of them; 1 is the accuracy."""
    powers = [2**i for i in range(1, answers.bit_length()) if 2**i < answers]
    return [*powers, answers] if answers > 1 else []
