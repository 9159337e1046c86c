"""Which judgements count: a log of what was said and taken back, folded line by line."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from engine.contract.labels import Guideline, Judgement, Line, Redo, Retraction

#: (labeller, item) -> ids of judgements, the one that counts last.
_Places = dict[tuple[str, str], tuple[str, ...]]


class Ledger:
    """All that was said so far. `apply` takes constant time, so a window may keep one up to date key by key.

    Of several judgements by the same labeller on the same item the last one counts; repeats and adjudications are
    counted apart, so neither overrules what the person said first. A retraction or redo of what is not there, or of
    another labeller's judgement, does nothing; retracting the last lets the one before it stand again.
    """

    def __init__(self, lines: Iterable[Line] = ()) -> None:
        self._given: dict[str, Judgement] = {}
        self._undone: dict[str, dict[str, Judgement]] = defaultdict(dict)
        self._of_labeller: dict[str, dict[str, None]] = defaultdict(dict)
        self._first: _Places = {}
        self._again: _Places = {}
        self._settling: _Places = {}
        self.guidelines: dict[str, str] = {}
        for line in lines:
            self.apply(line)

    def apply(self, line: Line) -> None:
        """Take in the next line of the log."""
        match line:
            case Judgement():
                if line.labeller in self._undone:
                    del self._undone[line.labeller]
                if line.id in self._given:
                    self._take_back(line.id)
                self._give(line)
            case Retraction(judgement=id, labeller=labeller) if self._is_of(id, labeller):
                self._undone[labeller][id] = self._take_back(id)
            case Redo(judgement=id, labeller=labeller) if id in self._undone[labeller]:
                self._give(self._undone[labeller].pop(id))
            case Guideline(sha256=sha256, text=text):
                self.guidelines[sha256] = text

    def standing(self) -> list[Judgement]:
        """The first-hand judgements that count, in the order they were given: no repeats, no adjudications."""
        return self._last(self._first)

    def repeats(self) -> list[Judgement]:
        """What was said the second time."""
        return self._last(self._again)

    def adjudications(self) -> list[Judgement]:
        """What was decided between labellers who disagree."""
        return self._last(self._settling)

    def settled(self) -> list[Judgement]:
        """What to learn from: `standing`, but where an item was adjudicated, the last adjudication alone."""
        decided = {j.item: j for j in self.adjudications()}
        return [j for j in self.standing() if j.item not in decided] + list(decided.values())

    def of(self, item: str, labeller: str, *, repeat: bool = False, settles: bool = False) -> Judgement | None:
        """What counts of this labeller on this item: said first, at a repeat, or to settle a disagreement."""
        given = (self._settling if settles else self._again if repeat else self._first).get((labeller, item))
        return self._given[given[-1]] if given else None

    def undoable(self, labeller: str) -> Judgement | None:
        """What undo would take back next: the labeller's last that was not taken back."""
        given = self._of_labeller.get(labeller)
        return self._given[next(reversed(given))] if given else None

    def redoable(self, labeller: str) -> Judgement | None:
        """What redo would give back next; nothing once something new was said."""
        undone = self._undone.get(labeller)
        return undone[next(reversed(undone))] if undone else None

    def _give(self, judgement: Judgement) -> None:
        id, places, place = judgement.id, self._places(judgement), (judgement.labeller, judgement.item)
        self._given[id] = judgement
        self._of_labeller[judgement.labeller][id] = None
        before = places.get(place)
        places[place] = (*before, id) if before else (id,)

    def _take_back(self, id: str) -> Judgement:
        judgement = self._given.pop(id)
        del self._of_labeller[judgement.labeller][id]
        places, place = self._places(judgement), (judgement.labeller, judgement.item)
        places[place] = tuple(other for other in places[place] if other != id)
        return judgement

    def _is_of(self, id: str, labeller: str) -> bool:
        return id in self._given and self._given[id].labeller == labeller

    def _places(self, judgement: Judgement) -> _Places:
        """Where a later judgement of the same kind would take this one's place."""
        return self._settling if judgement.settles else self._again if judgement.repeat else self._first

    def _last(self, places: _Places) -> list[Judgement]:
        """Those that no later one replaced, in the order they were given."""
        last = {given[-1] for given in places.values() if given}
        return [judgement for id, judgement in self._given.items() if id in last]


def standing(lines: Iterable[Line]) -> list[Judgement]:
    """The first-hand judgements that count, in the order they were given."""
    return Ledger(lines).standing()


def pairs(judgement: Judgement) -> Iterator[tuple[int, int]]:
    """(better, worse) for each two candidates that the judgement tells apart."""
    for place, group in enumerate(judgement.ranking):
        for lower in judgement.ranking[place + 1 :]:
            yield from ((better, worse) for better in group for worse in lower)
