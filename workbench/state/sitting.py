"""One person judging one set: what is asked next, how it stands on the screen, and what was said of it.

Nothing here writes: `judge`, `undo` and `redo` make the line for the log, and once it is on the disk `follow` goes on.
All of it follows from the set and its log, so a sitting that was killed goes on where it stood.
"""

import itertools
import statistics
import time
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from engine.contract import labels_protocol as protocol
from engine.contract.labels import Item, Judgement, LabelSet, Ranking, Redo, Retraction
from engine.contract.labels_order import Order, queue
from engine.contract.labels_standing import Ledger
from workbench.state.adjudication import Disagreement, disagreements, disagreements_on, revealed

Choice = Literal["left", "right", "tie", "both_bad", "skip", 1, 2, 3, 4, 5, 6, 7]
#: The pace is the median of so many judgements: a slow one does not move it, and it follows how people get faster.
RECENT = 20
#: `picked_by` of an item that the lot drew while scores choose the others.
AUDIT = "audit"


class Turn(NamedTuple):
    """What is asked now. shown: candidate indices as they stand on the screen, from the left. settles: ids of the
    judgements that the answer decides between; none where it is first-hand."""

    item: Item
    shown: tuple[int, ...]
    is_repeat: bool
    settles: tuple[str, ...] = ()


class Taken(NamedTuple):
    """How long an answer took, in seconds: since it was shown, and those of them that somebody was there."""

    seconds: float
    active: float


class Progress(NamedTuple):
    """done, total: items. pace: active seconds an item; NaN before the first. repeats: items that came twice."""

    done: int
    total: int
    pace: float
    repeats: int
    repeats_alike: int

    @property
    def seconds_left(self) -> float:
        return self.pace * (self.total - self.done)


class RefusedError(ValueError):
    """What cannot be said in this set, and why."""


class Sitting:
    """ledger: what was said so far, by anybody; it has each line before `follow` is called. guideline: its hash."""

    def __init__(
        self,
        settings: LabelSet,
        items: Sequence[Item] | Mapping[str, Item],
        ledger: Ledger,
        labeller: str,
        guideline: str = "",
        order: Order | None = None,
    ) -> None:
        self.settings = settings
        self.labeller = labeller
        self.guideline = guideline
        self.is_flagged = False
        self.note = ""
        self._ledger = ledger
        self._items: dict[str, Mapping[str, Item]] = {}
        self._numbers: dict[str, int] = {}
        self._order: deque[str] = deque()
        self._others: dict[str, set[str]] = {}
        self._mine: dict[str, None] = {}
        self._repeats: dict[str, bool] = {}
        self._paces: deque[float] = deque(maxlen=RECENT)
        self._by = order.by if order is not None else "order"
        self._weights = order.weights() if order is not None else {}
        self._queue: deque[Disagreement] | None = None
        self._settled = 0
        self._left = 0
        self.turn: Turn | None = None
        self._read_ledger()
        self.add_items(items)

    # ------------------------------------------------------------------------------------------------ what is asked

    def add_items(self, items: Sequence[Item] | Mapping[str, Item]) -> None:
        """Items that came to the set, in its order. What is on the screen stays there."""
        found = items if isinstance(items, Mapping) else {item.id: item for item in items}
        self._numbers.update(zip(found, itertools.count(len(self._numbers)), strict=False))
        self._items.update(dict.fromkeys(found, found))
        wanted = [item for item in self._items if self._is_wanted(item)]
        self._order = deque(self._sequence(wanted))
        self._left = len(wanted)
        if self.turn is None:
            self._show_next()

    @property
    def is_settling(self) -> bool:
        """Whether disagreements between others are asked about."""
        return self._queue is not None

    def settle(self, on: bool) -> None:
        """Ask about the items that two people judged the opposite way, the furthest apart first; or about others."""
        self._settled = len(self._ledger.adjudications()) if on else 0
        known = [found for found in disagreements(self._ledger) if found.item in self._items] if on else []
        self._queue = deque(known) if on else None
        self._show_next()

    def reveal(self, decided: Judgement) -> str:
        """Whom a decision on the disagreement on show agrees with, in words; "" of any other judgement."""
        return revealed(decided, self._queue[0].judgements) if decided.settles and self._queue else ""

    @property
    def coming(self) -> Turn | None:
        """What will most likely be asked next; None at the end."""
        if self._queue is not None:
            return self._turn(self._queue[1].item, is_repeat=False) if len(self._queue) > 1 else None
        here = self.turn.item.id if self.turn is not None and not self.turn.is_repeat else None
        item = next((item for item in self._order if item != here and self._is_wanted(item)), None)
        return self._turn(item, is_repeat=False) if item is not None else None

    @property
    def progress(self) -> Progress:
        if self._queue is not None:
            return Progress(self._settled, self._settled + len(self._queue), float("nan"), 0, 0)
        pace = statistics.median(self._paces) if self._paces else float("nan")
        alike = sum(self._repeats.values())
        return Progress(len(self._mine), len(self._mine) + self._left, pace, len(self._repeats), alike)

    @property
    def takes_strength(self) -> bool:
        """Whether how much better is asked for, beside which."""
        return self.settings.protocol.scale == "graded"

    @property
    def undoable(self) -> Judgement | None:
        """What undo would take back."""
        return self._ledger.undoable(self.labeller)

    @property
    def redoable(self) -> Judgement | None:
        """What redo would let stand again."""
        return self._ledger.redoable(self.labeller)

    @property
    def said_before(self) -> Judgement | None:
        """What was said of the item on show before it was taken back; None where redo concerns another one."""
        undone = self.redoable
        if undone is None or self.turn is None or undone.item != self.turn.item.id:
            return None
        return undone if bool(undone.settles) == self.is_settling else None

    # ------------------------------------------------------------------------------------------------ what is said

    def judge(self, choice: Choice, taken: Taken) -> Judgement:
        """The line that says this of the pair on show. Raises RefusedError where the set does not allow it."""
        turn = self._asked()
        self._check(choice, len(turn.shown))
        if choice == "both_bad" or choice == "skip":
            return self._line(taken, outcome="both_bad" if choice == "both_bad" else "skipped")
        if choice == "tie":
            return self._line(taken, ranking=(turn.shown,))
        default = self.settings.protocol.default_strength
        key = {"left": 4 - default, "right": 4 + default}[choice] if isinstance(choice, str) else choice
        ranking, strength = protocol.ranking_of(key, turn.shown)
        return self._line(taken, ranking=ranking, strength=strength if self.takes_strength else None)

    def rank(self, groups: Sequence[Sequence[int]], taken: Taken) -> Judgement:
        """The line for a ranking. groups: places on the screen from 0, best first; places left out rank last."""
        turn = self._asked()
        if any(len(group) > 1 for group in groups) and not self.settings.protocol.tie:
            raise RefusedError("This set does not allow ties; say which is better, or skip.")
        ranking = [tuple(turn.shown[place] for place in group) for group in groups]
        named = {index for group in ranking for index in group}
        if rest := tuple(index for index in turn.shown if index not in named):
            ranking.append(rest)
        if len(ranking) == 1 and not self.settings.protocol.tie:
            raise RefusedError("This set does not allow ties; say which is better, or skip.")
        return self._line(taken, ranking=tuple(ranking))

    def undo(self) -> Retraction | None:
        """The line that takes back this person's last judgement, however long ago it was."""
        last = self.undoable
        return Retraction(judgement=last.id, labeller=self.labeller, time=time.time()) if last else None

    def redo(self) -> Redo | None:
        """The line that lets it stand again."""
        undone = self.redoable
        return Redo(judgement=undone.id, labeller=self.labeller, time=time.time()) if undone else None

    def follow(self, concerned: Judgement) -> None:
        """The ledger has a line about this judgement: go on to what is asked now."""
        if bool(concerned.settles) != self.is_settling:
            self.settle(bool(concerned.settles))
        if concerned.settles:
            self._follow_settling(concerned)
        elif not concerned.repeat:
            self._follow_first(concerned)
        self._read_repeats(concerned.item)
        self._show_next()

    # ------------------------------------------------------------------------------------------------------- within

    def _asked(self) -> Turn:
        if self.turn is None:
            raise RefusedError("Everything here is judged.")
        return self.turn

    def _check(self, choice: Choice, shown: int) -> None:
        rules = self.settings.protocol
        if choice in ("tie", 4) and not rules.tie:
            raise RefusedError("This set does not allow ties; say which is better, or skip.")
        if choice == "both_bad" and not rules.both_bad:
            raise RefusedError("This set does not allow “both bad”; say which is better, or skip.")
        if shown != 2 and choice not in ("tie", "both_bad", "skip"):
            raise RefusedError("There are more than two answers: choose the best by its number.")

    def _line(
        self,
        taken: Taken,
        *,
        outcome: Literal["ranked", "both_bad", "skipped"] = "ranked",
        ranking: Ranking = (),
        strength: int | None = None,
    ) -> Judgement:
        turn = self._asked()
        return Judgement(
            id=uuid.uuid4().hex,
            item=turn.item.id,
            labeller=self.labeller,
            outcome=outcome,
            ranking=ranking,
            shown=turn.shown,
            strength=strength,
            seconds=round(taken.seconds, 3),
            active_seconds=round(taken.active, 3),
            time=time.time(),
            note=self.note,
            flagged=self.is_flagged,
            repeat=turn.is_repeat,
            settles=turn.settles,
            guideline=self.guideline,
            picked_by="disagreement of labellers" if turn.settles else self._picked_by(turn.item.id),
        )

    def _read_ledger(self) -> None:
        for judgement in self._ledger.standing():
            if judgement.labeller == self.labeller:
                self._mine[judgement.item] = None
                self._note_pace(judgement)
            else:
                self._others.setdefault(judgement.item, set()).add(judgement.labeller)
        for judgement in self._ledger.repeats():
            if judgement.labeller == self.labeller:
                self._read_repeats(judgement.item)

    def _follow_first(self, concerned: Judgement) -> None:
        item = concerned.item
        was_wanted = self._is_wanted(item)
        self._mine.pop(item, None)
        if (standing := self._ledger.of(item, self.labeller)) is not None:
            self._mine[item] = None
            self._note_pace(standing)
        else:
            self._order.appendleft(item)  # what was taken back is asked next
            if self._paces:
                self._paces.pop()
        self._left += self._is_wanted(item) - was_wanted

    def _follow_settling(self, concerned: Judgement) -> None:
        """The first of the queue was settled, or one that was is open again and comes first."""
        found, before = disagreements_on(self._ledger, concerned.item), self._queue or ()
        waiting = [one for one in before if one.item != concerned.item]
        self._settled += len(before) - len(waiting) - len(found)
        self._queue = deque([*found, *waiting])

    def _read_repeats(self, item: str) -> None:
        first, again = (self._ledger.of(item, self.labeller, repeat=repeat) for repeat in (False, True))
        if first is not None and again is not None:
            self._repeats[item] = are_alike(first, again)
        else:
            self._repeats.pop(item, None)

    def _note_pace(self, judgement: Judgement) -> None:
        if judgement.active_seconds is not None:
            self._paces.append(judgement.active_seconds)

    def _sequence(self, wanted: Sequence[str]) -> list[str]:
        """By lot; where scores choose, those that they choose among those of the lot."""
        seed = self.settings.seed
        by_lot = protocol.sequence(seed, self.labeller, wanted)
        if not self._weights:
            return by_lot
        lot = [item for item in by_lot if self._picked_by(item) == AUDIT]
        chosen = queue([item for item in by_lot if self._picked_by(item) != AUDIT], self._weights)
        return protocol.interleaved(seed, self.labeller, lot, chosen, self.settings.protocol)

    def _picked_by(self, item: str) -> str:
        """What chooses the item, which does not depend on what else was judged."""
        if not self._weights:
            return "order"
        is_lot = item not in self._weights or protocol.is_audited(self.settings.seed, item, self.settings.protocol)
        return AUDIT if is_lot else self._by

    def _is_wanted(self, item: str) -> bool:
        others = self._others.get(item)
        if item in self._mine or not others:
            return item not in self._mine
        return protocol.is_wanted(self.settings.seed, item, self.labeller, others, self.settings.protocol)

    def _show_next(self) -> None:
        self.turn = self._next_settling() if self._queue is not None else self._next_first()
        self.is_flagged, self.note = False, ""
        if (before := self.said_before) is not None:
            self.is_flagged, self.note = before.flagged, before.note

    def _next_first(self) -> Turn | None:
        item, is_repeat = self._next()
        return self._turn(item, is_repeat=is_repeat) if item is not None else None

    def _next_settling(self) -> Turn | None:
        """As blind as any other; to somebody who judged the item before, the other way round."""
        if not self._queue:
            return None
        found = self._queue[0]
        turn = self._turn(found.item, is_repeat=found.item in self._mine)
        return turn._replace(is_repeat=False, settles=tuple(one.id for one in found.judgements))

    def _turn(self, item: str, *, is_repeat: bool) -> Turn:
        found = self._items[item][item]
        shown = protocol.sides(
            self.settings.seed,
            self._numbers[item],
            self.labeller,
            candidates=len(found.candidates),
            repeat=is_repeat,
        )
        return Turn(found, shown, is_repeat)

    def _next(self) -> tuple[str | None, bool]:
        again = protocol.repeat_due(
            self.settings.seed, self.labeller, list(self._mine), self._repeats, self.settings.protocol
        )
        if again is not None and again in self._items:
            return again, True
        while self._order and not self._is_wanted(self._order[0]):
            self._order.popleft()
        return (self._order[0] if self._order else None), False


def are_alike(one: Judgement, other: Judgement) -> bool:
    """Whether both say the same of the answers, by however much."""
    return one.outcome == other.outcome and [set(group) for group in one.ranking] == [
        set(group) for group in other.ranking
    ]
