"""How far a measure over few prompts can be relied on."""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from engine.wilson import Interval as Interval
from engine.wilson import wilson as wilson


def bootstrap(
    measure: Callable[[Tensor], Mapping[str, float]], count: int, *, resamples: int = 1000, seed: int = 0
) -> dict[str, Interval]:
    """Efron 1979, percentile intervals: between which values 95% of the measures of resampled prompts lie.

    measure: of the prompts with these indices, (count,), some of them more than once. One that is no number in some
    resamples, such as a correlation with a constant, is judged by the others; NaN if there are none.
    The seed is fixed, so that measuring again tells the same.
    """
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, list[float]] = {}
    for _ in range(resamples):
        for name, value in measure(torch.randint(count, (count,), generator=generator)).items():
            found.setdefault(name, []).append(value)
    return {name: _middle(torch.tensor(values, dtype=torch.float64)) for name, values in found.items()}


def bootstrap_of_means(values: Tensor, *, resamples: int = 2000, seed: int = 0) -> list[Interval]:
    """As `bootstrap`, of the mean over prompts of each column of `values`, (prompts, K)."""
    generator = torch.Generator().manual_seed(seed)
    prompts, values = len(values), values.double()
    # Some at a time: of 10,000 prompts all resamples would take 160 MB.
    at_once = max(1, 2_000_000 // prompts)
    means = []
    for start in range(0, resamples, at_once):
        drawn = torch.randint(prompts, (min(at_once, resamples - start), prompts), generator=generator)
        # How often each prompt was drawn, so that one product serves every column.
        times = torch.zeros(len(drawn), prompts, dtype=torch.float64).scatter_add_(
            1, drawn, torch.ones(drawn.shape, dtype=torch.float64)
        )
        means.append(times @ values / prompts)
    return [_middle(column) for column in torch.cat(means).unbind(dim=1)]


def interval_of_shares(values: Tensor) -> list[Interval]:
    """Of the mean over prompts of each column of values within [0, 1], (prompts, K): by bootstrap, and by Wilson where
    every prompt is 0 or 1, as a bootstrap of prompts that are all alike says that nothing is uncertain."""
    intervals = bootstrap_of_means(values)
    for index, column in enumerate(values.unbind(dim=1)):
        if bool(((column == 0) | (column == 1)).all()):
            intervals[index] = wilson(float(column.double().mean()), len(column))
    return intervals


def _middle(found: Tensor) -> Interval:
    found = found[~found.isnan()]
    if not len(found):
        return Interval(math.nan, math.nan)
    low, high = torch.quantile(found, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Interval(low, high)
