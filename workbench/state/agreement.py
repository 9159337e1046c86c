"""How far judgements can be relied on: shares with their intervals, and agreement beyond chance."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Level = Literal["nominal", "ordinal", "interval"]

#: Standard normal quantile of a two-sided 95% interval.
Z95 = 1.959963984540054


class Share(NamedTuple):
    """A share of `total` cases and its interval. hits may hold halves, as a tie is half a win."""

    hits: float
    total: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """From 0 to 1; NaN of nothing."""
        return self.hits / self.total if self.total else math.nan

    def excludes(self, value: float) -> bool:
        """Whether the interval lies to one side of `value`: the data can tell."""
        return self.total > 0 and not self.low <= value <= self.high


def wilson(hits: float, count: int, z: float = Z95) -> Share:
    """A share with Wilson's score interval (1927), which holds its 95% also for few cases and near 0 or 1.

    0 to 1 for no case at all. Raises ValueError unless 0 <= hits <= count.
    """
    if not 0 <= hits <= count:
        raise ValueError(f"hits should lie between 0 and count (got {hits} of {count})")
    if count == 0:
        return Share(0, 0, 0.0, 1.0)
    share, spread = hits / count, z * z / count
    centre = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    return Share(hits, count, max(0.0, centre - half), min(1.0, centre + half))


def cohen_kappa(table: Sequence[Sequence[float]] | Floats) -> float:
    """Agreement of two people beyond chance, Cohen 1960, eq. 1.

    table: (k, k), how often one said the row while the other said the column.
    1 is full agreement, 0 what chance gives; NaN where both always said one and the same, as chance then explains all.
    """
    counts = np.asarray(table, dtype=np.float64)
    total = counts.sum()
    if not total:
        return math.nan
    observed = np.trace(counts) / total
    expected = counts.sum(axis=0) @ counts.sum(axis=1) / total**2
    return float((observed - expected) / (1 - expected)) if expected < 1 else math.nan


def krippendorff_alpha(ratings: Sequence[Sequence[float]] | Floats, level: Level = "ordinal") -> float:
    """Agreement of any number of people with gaps, Krippendorff 2011 (Computing Krippendorff's Alpha-Reliability).

    ratings: (people, items), NaN where someone did not rate. Items that fewer than two rated say nothing and are left
    out. 1 is full agreement, 0 what chance gives; NaN where only one value was ever given, or nothing can be compared.
    """
    given = np.asarray(ratings, dtype=np.float64)
    if given.ndim != 2 or not given.size:
        return math.nan
    values, counts = _counts_per_item(given)
    raters = counts.sum(axis=1)
    counts = counts[raters >= 2]
    weights = 1 / (raters[raters >= 2] - 1)
    pairs = counts.T @ (counts * weights[:, np.newaxis]) - np.diag(weights @ counts)
    margins = pairs.sum(axis=1)
    total = margins.sum()
    squares = _distances(values, margins, level)
    expected = margins @ squares @ margins / (total - 1) if total > 1 else 0.0
    return float(1 - (pairs * squares).sum() / expected) if expected else math.nan


def _counts_per_item(given: Floats) -> tuple[Floats, Floats]:
    """The values there are, (k,), and how often each was given to each item, (items, k)."""
    is_given = ~np.isnan(given)
    values, places = np.unique(given[is_given], return_inverse=True)
    counts = np.zeros((given.shape[1], values.size))
    np.add.at(counts, (np.nonzero(is_given)[1], places), 1)
    return values, counts


def _distances(values: Floats, margins: Floats, level: Level) -> Floats:
    """Squared distance of each two values, (k, k). Ordinal: by how many ratings lie between them."""
    if level == "nominal":
        return 1.0 - np.eye(values.size)
    # The middle of a value's ratings in the row of all: the difference is eq. 8's sum less half of both its ends.
    place = values if level == "interval" else np.cumsum(margins) - margins / 2
    return np.asarray((place[:, np.newaxis] - place) ** 2, dtype=np.float64)
