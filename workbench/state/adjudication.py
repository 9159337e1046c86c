"""Where people disagree, and what somebody who settles it is told once they have."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from engine.contract.labels import Judgement
from engine.contract.labels_standing import Ledger, pairs


class Disagreement(NamedTuple):
    """An item of which two people said the opposite. judgements: all that people said of it. gap: how far apart."""

    item: str
    judgements: tuple[Judgement, ...]
    gap: int


def disagreements(ledger: Ledger) -> list[Disagreement]:
    """Those that nobody has settled yet, the furthest apart first. Votes of models are not disagreed with."""
    return _among(ledger.standing(), {judgement.item for judgement in ledger.adjudications()})


def disagreements_on(ledger: Ledger, item: str) -> list[Disagreement]:
    """The one on this item, if there is one that nobody has settled."""
    settled = {judgement.item for judgement in ledger.adjudications()}
    return _among([judgement for judgement in ledger.standing() if judgement.item == item], settled)


def _among(judgements: Iterable[Judgement], settled: Collection[str]) -> list[Disagreement]:
    said: dict[str, list[Judgement]] = defaultdict(list)
    for judgement in judgements:
        if not judgement.is_vote and judgement.item not in settled:
            said[judgement.item].append(judgement)
    found = [
        Disagreement(item, tuple(together), gap)
        for item, together in said.items()
        if len(together) > 1 and (gap := _gap(together))
    ]
    return sorted(found, key=lambda one: one.gap, reverse=True)


def _gap(judgements: Sequence[Judgement]) -> int:
    """The largest sum of two strengths that point opposite ways; 0 where none do. A tie is no opposite."""
    if len({judgement.ranking for judgement in judgements}) == 1:
        return 0
    strongest: dict[tuple[int, int], int] = {}
    for judgement in judgements:
        for pair in pairs(judgement):
            strongest[pair] = max(strongest.get(pair, 0), judgement.strength or 1)
    both = [
        strength + strongest[worse, better]
        for (better, worse), strength in strongest.items()
        if (worse, better) in strongest
    ]
    return max(both, default=0)


def revealed(decided: Judgement, others: Sequence[Judgement]) -> str:
    """Whom a decision agrees with; told after it, as it would not be blind before."""
    alike = [one.labeller for one in others if _agree(one, decided)]
    unlike = [one.labeller for one in others if not _agree(one, decided)]
    if not alike:
        return f"unlike {_named(unlike)}"
    return f"as {_named(alike)} did" + (f", against {_named(unlike)}" if unlike else "")


def _agree(one: Judgement, other: Judgement) -> bool:
    return one.outcome == other.outcome and list(map(set, one.ranking)) == list(map(set, other.ranking))


def _named(names: Sequence[str]) -> str:
    return " and ".join(names)
