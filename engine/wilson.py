"""How far a share of few can be relied on."""

import math
from typing import NamedTuple

#: Normal quantile of a two-sided 95% interval.
Z95 = 1.959963984540054


class Interval(NamedTuple):
    low: float
    high: float


def wilson(mean: float, count: int, *, z: float = Z95) -> Interval:
    """Wilson 1927 (JASA 22:209), score interval of a mean of `count` values within [0, 1].

    Exact in its coverage nowhere, but good for shares also near 0 and 1; for values between 0 and 1 it is on the safe
    side, as nothing with that mean varies more than mean x (1 - mean). Raises ValueError unless 0 <= mean <= 1 and
    count > 0.
    """
    if not 0 <= mean <= 1 or count < 1:
        raise ValueError(f"mean should lie in [0, 1] and count be 1 or more (got {mean}, {count})")
    shrink = 1 + z * z / count
    middle = (mean + z * z / (2 * count)) / shrink
    half = z / shrink * math.sqrt(mean * (1 - mean) / count + z * z / (4 * count * count))
    # At 0 and 1 an end is the mean itself, and rounding must not put it inside.
    return Interval(max(0.0, min(mean, middle - half)), min(1.0, max(mean, middle + half)))
