"""When to end a run early: a held-out measure has not become better for some evaluations."""

import math
from typing import NamedTuple

from engine.contract.metrics import describe
from engine.contract.settings import EarlyStopping


class Best(NamedTuple):
    """The best value so far and the step it was measured after, 0 before the first; evaluations since then."""

    value: float = math.nan
    step: int = 0
    since: int = 0


NOTHING_YET = Best()


def judged(best: Best, measured: dict[str, float], step: int, wish: EarlyStopping) -> Best:
    """`best` after an evaluation; the same where it did not measure what is waited for. A value of NaN is no better."""
    if wish.metric not in measured:
        return best
    value = measured[wish.metric]
    gain = value - best.value if describe(wish.metric).direction == "up" else best.value - value
    is_first = best.step == 0 and not math.isnan(value)
    return Best(value, step) if is_first or gain > wish.min_delta else best._replace(since=best.since + 1)


def is_enough(best: Best, wish: EarlyStopping | None) -> bool:
    """Whether patience is at its end."""
    return wish is not None and best.since >= wish.patience
