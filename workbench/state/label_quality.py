"""How good a set's labels are: a few numbers, each with what it means, none of them in the way of judging."""

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.contract.labels import Item, Judgement
from engine.contract.labels_order import is_chosen
from engine.contract.labels_protocol import agrees_with_gold
from engine.contract.labels_standing import Ledger
from workbench.state.adjudication import disagreements
from workbench.state.agreement import Share, cohen_kappa, krippendorff_alpha, wilson
from workbench.state.comparison import Place, Vote, board, wilson_rate, win_rate
from workbench.state.label_votes import Choice, choices, circles, leaning, votes
from workbench.state.length_control import board_at_equal_length, rate_at_equal_length
from workbench.state.sitting import are_alike

Floats = NDArray[np.float64]

#: What Cohen's kappa tells apart: the first is better, a tie, the second is better.
KINDS = 3


class Agreement(NamedTuple):
    """Between people: raw share of alike answers, Krippendorff's ordinal alpha over all, Cohen's kappa of the two who
    share most items. items: judged by more than one. people: those two."""

    raw: Share
    alpha: float
    kappa: float
    items: int
    people: tuple[str, str]


class Voter(NamedTuple):
    """A model that voted, beside people. alike: of the pairs that both told apart, how often they preferred the same.

    kappa: agreement beyond chance, ties included. ties: how often it found both alike, or its two orders disagreed.
    """

    name: str
    alike: Share
    kappa: float
    ties: Share


class Comparison(NamedTuple):
    """Of two models: how often the second one is preferred. Of more: the board.

    is_at_equal_length: whether what longer answers win by their length was taken off.
    """

    models: tuple[str, ...]
    rate: Share | None
    board: list[Place]
    is_at_equal_length: bool = False


class Quality(NamedTuple):
    """judgements: first-hand ones of people that stand, or of models where only those judged. scale: how often each
    place from 1 to 7 was chosen.

    times: active seconds of each judgement, in order. leaned_left, leaned_long: of each strict choice of a pair, in
    order, whether the left answer or the longer one won; NaN where both are as long. drift: how a person's median time
    over the last third compares to that over the first; NaN below nine. disagreements: items that wait for somebody to
    settle them. chosen: judgements of items that no lot chose; the comparison leaves them out.
    """

    judgements: int
    labellers: tuple[str, ...]
    consistency: Share
    position: Share
    length: Share
    ties: Share
    both_bad: Share
    skipped: Share
    gold: Share
    scale: tuple[int, ...]
    times: Floats
    drift: float
    leaned_left: Floats
    leaned_long: Floats
    agreement: Agreement | None
    disagreements: int
    voters: tuple[Voter, ...]
    circles: int
    triples: int
    chosen: int
    comparison: Comparison | None

    @property
    def median_seconds(self) -> float:
        return float(np.median(self.times)) if self.times.size else math.nan


def quality(items: Sequence[Item], ledger: Ledger, *, at_equal_length: bool = False) -> Quality:
    """Everything at once; 10,000 judgements take a fifth of a second, and more for a comparison at equal length."""
    by_id = {item.id: item for item in items}
    standing, settled = _of_people(ledger.standing()), _of_people(ledger.settled())
    outcomes = Counter(judgement.outcome for judgement in standing)
    chosen = list(choices(standing, by_id))
    strict = [choice for choice in chosen if choice.place != 4]
    left = np.asarray([choice.place < 4 for choice in strict], dtype=np.float64)
    long = np.asarray([_chose_longer(choice) for choice in strict], dtype=np.float64)
    times = np.asarray([j.active_seconds for j in standing if j.active_seconds is not None], dtype=np.float64)
    ranked = outcomes["ranked"]
    tied = sum(judgement.is_tie for judgement in standing)
    found = circles(standing, by_id)
    return Quality(
        judgements=len(standing),
        labellers=tuple(sorted({judgement.labeller for judgement in standing})),
        consistency=_consistency(ledger),
        position=wilson(float(left.sum()), left.size),
        length=wilson(float(np.nansum(long)), int(np.isfinite(long).sum())),
        ties=wilson(tied, ranked),
        both_bad=wilson(outcomes["both_bad"], len(standing)),
        skipped=wilson(outcomes["skipped"], len(standing)),
        gold=_gold(standing, by_id),
        scale=tuple(Counter(choice.place for choice in chosen)[place] for place in range(1, 8)),
        times=times,
        drift=_drift(standing),
        leaned_left=left,
        leaned_long=long,
        agreement=_agreement(chosen),
        disagreements=len(disagreements(ledger)),
        voters=_voters(ledger.standing(), settled),
        circles=found[0],
        triples=found[1],
        chosen=sum(is_chosen(judgement) for judgement in standing),
        comparison=compare(votes(_by_lot(settled), by_id), at_equal_length=at_equal_length),
    )


def compare(cast: Sequence[Vote], *, at_equal_length: bool = False) -> Comparison | None:
    """Which model is preferred; None if the set does not know who wrote what, or one wrote all."""
    models = tuple(sorted({name for vote in cast for name in (vote.first, vote.second)}))
    if len(models) < 2:
        return None
    if len(models) > 2:
        return Comparison(models, None, (board_at_equal_length if at_equal_length else board)(cast), at_equal_length)
    if at_equal_length:
        return Comparison(models, rate_at_equal_length(cast), [], is_at_equal_length=True)
    rate = wilson_rate if all(vote.is_drawn for vote in cast) else win_rate
    return Comparison(models, rate([vote.prompt for vote in cast], [vote.score for vote in cast]), [])


def running_share(leaned: Floats) -> Floats:
    """The share so far after each choice, (n,); a NaN counts for nothing."""
    known = np.isfinite(leaned)
    counts = np.maximum(np.cumsum(known), 1)
    return np.asarray(np.cumsum(np.where(known, leaned, 0.0)) / counts, dtype=np.float64)


def _chose_longer(choice: Choice) -> float:
    return math.nan if choice.left_longer is None else float((choice.place < 4) == choice.left_longer)


def _of_people(judgements: Sequence[Judgement]) -> list[Judgement]:
    """What people said; where only models judged, what they said."""
    people = [judgement for judgement in judgements if not judgement.is_vote]
    return people or list(judgements)


def _by_lot(judgements: Sequence[Judgement]) -> list[Judgement]:
    """Those of items that a lot drew: what a reward model chose is no sample of all there is."""
    return [judgement for judgement in judgements if not is_chosen(judgement)]


def _voters(standing: Sequence[Judgement], settled: Sequence[Judgement]) -> tuple[Voter, ...]:
    """Each model against what people settled on; nobody to compare with where no person judged the same."""
    cast: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for judgement in standing:
        if judgement.is_vote and (kind := leaning(judgement)) is not None:
            cast[judgement.labeller].append((judgement.item, kind))
    people: dict[str, list[int]] = defaultdict(list)
    for judgement in settled if cast else ():
        if not judgement.is_vote and (kind := leaning(judgement)) is not None:
            people[judgement.item].append(kind)
    return tuple(_voter(name, told, people) for name, told in sorted(cast.items()))


def _voter(name: str, told: Sequence[tuple[str, int]], people: Mapping[str, Sequence[int]]) -> Voter:
    table = np.zeros((KINDS, KINDS))
    for item, kind in told:
        for person in people.get(item, ()):
            table[kind, person] += 1
    decided = table[np.ix_((0, 2), (0, 2))]
    ties = sum(kind == 1 for _, kind in told)
    return Voter(name, wilson(np.trace(decided), int(decided.sum())), cohen_kappa(table), wilson(ties, len(told)))


def _consistency(ledger: Ledger) -> Share:
    repeats = [(ledger.of(again.item, again.labeller), again) for again in ledger.repeats()]
    both = [(first, again) for first, again in repeats if first is not None]
    return wilson(sum(are_alike(first, again) for first, again in both), len(both))


def _gold(standing: Sequence[Judgement], items: Mapping[str, Item]) -> Share:
    known = [agrees_with_gold(j, items[j.item]) for j in standing if j.item in items]
    checked = [agrees for agrees in known if agrees is not None]
    return wilson(sum(checked), len(checked))


def _drift(standing: Sequence[Judgement]) -> float:
    """By how much each person's pace changed, as a geometric mean that weighs people by how much they judged."""
    times: dict[str, list[float]] = defaultdict(list)
    for judgement in standing:
        if judgement.active_seconds is not None:
            times[judgement.labeller].append(judgement.active_seconds)
    changes = [(math.log(change), len(taken)) for taken in times.values() if (change := _change(taken))]
    total = sum(count for _, count in changes)
    return math.exp(sum(change * count for change, count in changes) / total) if total else math.nan


def _change(times: Sequence[float]) -> float:
    """The median of the last third over that of the first; 0 where there are too few to tell."""
    third = len(times) // 3
    if third < 3 or not (first := median(times[:third])):
        return 0.0
    return median(times[-third:]) / first


def _agreement(chosen: Sequence[Choice]) -> Agreement | None:
    """Of those items that more than one person judged; their last word on each, and not what settled it."""
    said: dict[str, dict[str, int]] = defaultdict(dict)
    for choice in chosen:
        said[choice.item][choice.labeller] = choice.leans_first
    shared = {item: by for item, by in said.items() if len(by) > 1}
    if not shared:
        return None
    together: Counter[tuple[str, str]] = Counter()
    alike = 0
    for by in shared.values():
        for one, other in itertools.combinations(sorted(by), 2):
            together[one, other] += 1
            alike += _kind(by[one]) == _kind(by[other])
    people = max(together, key=lambda pair: together[pair])
    raw = wilson(alike, together.total())
    return Agreement(raw, _alpha(shared), _kappa(shared, people), len(shared), people)


def _alpha(shared: Mapping[str, Mapping[str, int]]) -> float:
    row = {labeller: at for at, labeller in enumerate(sorted({name for by in shared.values() for name in by}))}
    ratings = np.full((len(row), len(shared)), np.nan)
    for column, by in enumerate(shared.values()):
        for labeller, place in by.items():
            ratings[row[labeller], column] = place
    return krippendorff_alpha(ratings)


def _kappa(shared: Mapping[str, Mapping[str, int]], people: tuple[str, str]) -> float:
    table = np.zeros((KINDS, KINDS))
    for by in shared.values():
        if all(name in by for name in people):
            table[_kind(by[people[0]]), _kind(by[people[1]])] += 1
    return cohen_kappa(table)


def _kind(place: int) -> int:
    """0 the first is better, 1 a tie, 2 the second is."""
    return 1 if place == 4 else 0 if place < 4 else 2
