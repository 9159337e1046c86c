"""How good the scores of a reward model are: order, calibration, agreement with ratings. Tensors in, a number out."""

import torch
from torch import Tensor

BINS = 10


def area_under_curve(better: Tensor, worse: Tensor) -> float:
    """The chance that some better answer outscores some worse one, whatever their prompts; a tie is half a win.

    better, worse: (P,) scores. Below the accuracy of pairs where scores of different prompts cannot be compared.
    """
    n, m = len(better), len(worse)
    ranks = average_ranks(torch.cat([better, worse]))
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


def calibration_error(margins: Tensor) -> float:
    """Expected calibration error of sigmoid(margin) in ten equal bins, Guo et al. 2017 (arXiv:1706.04599), eq. 3.

    margins: (P,) score of the better answer less that of the worse. A model that puts the wrong answer first is as
    sure of it as the size of the margin says, so confidence is sigmoid(|margin|), from 0.5 to 1.
    """
    confidence = torch.sigmoid(margins.double().abs())
    is_right = (margins > 0).double()
    bin_of = ((confidence - 0.5) * 2 * BINS).long().clamp(max=BINS - 1)
    # The bin's size times |its accuracy - its mean confidence| is |the sum of their differences|.
    differences = torch.zeros(BINS, dtype=torch.float64).index_add_(0, bin_of, is_right - confidence)
    return float(differences.abs().sum() / len(margins))


def pearson(x: Tensor, y: Tensor) -> float:
    """Linear correlation of (N,) and (N,); NaN where one of them is constant."""
    x, y = x.double() - x.double().mean(), y.double() - y.double().mean()
    return float((x * y).sum() / (x.norm() * y.norm()))


def spearman(x: Tensor, y: Tensor) -> float:
    """Rank correlation of (N,) and (N,), ties at their average rank; NaN where one of them is constant."""
    return pearson(average_ranks(x), average_ranks(y))


def average_ranks(values: Tensor) -> Tensor:
    """Ranks from 1, (N,); equal values share the mean of theirs."""
    _, place, counts = torch.unique(values, return_inverse=True, return_counts=True)
    ranks: Tensor = counts.cumsum(0) - (counts - 1).double() / 2
    return ranks[place]
