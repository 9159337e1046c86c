"""Sources that each give a share of every step. Which row stands where is a function of its place alone, so a resumed
run takes the rows it would have taken."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

#: Places in which every source has its share: shares are met to a thousandth.
ROUND = 1000


class Part(NamedTuple):
    """How many rows of a table are of one source, and its weight beside the others; None: as many as it has rows."""

    rows: int
    weight: float | None = None


def mixed(place: int, parts: Sequence[Part], order: Callable[[int, int, int], Sequence[int]]) -> int:
    """The row at a place, from 0, of the endless line that sources with weights form together.

    A source is gone through whole before it begins again. order(rows, source, epoch): of the rows of a source.
    """
    turns = _turns(tuple((part.weight or 0.0) if part.rows else 0.0 for part in parts))
    rounds, within = divmod(place, len(turns))
    source, turn, of = turns[within]
    epoch, here = divmod(rounds * of + turn, parts[source].rows)
    return sum(part.rows for part in parts[:source]) + order(parts[source].rows, source, epoch)[here]


@lru_cache(maxsize=8)
def _turns(weights: tuple[float, ...]) -> list[tuple[int, int, int]]:
    """Whose turn each place of a round is, the how-manieth of its turns, of how many.

    They are spread evenly, so that every step has about the same share of each source.
    """
    counts = [max(1, round(weight / sum(weights) * ROUND)) if weight else 0 for weight in weights]
    turns = [(source, turn, of) for source, of in enumerate(counts) for turn in range(of)]
    return sorted(turns, key=lambda t: ((t[1] + 0.5) / t[2], t[0]))
