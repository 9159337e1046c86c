"""How far a labelling set is filled: its engine's events in the words and figures that a window shows."""

import itertools
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from engine.contract import events
from engine.contract.status import Status
from workbench.state import figures

#: Steps that pace and rate are taken from.
RECENT = 20


@dataclass(frozen=True)
class Filling:
    """A set whose items are being written, or were until something ended it.

    step of steps: batches of prompts, rows or groups. share: of the batch under way. pace: seconds a step, NaN while
    not known. rate: tokens a second, 0 where no model writes. source: a run whose answers are judged while it trains,
    and how that stands.
    """

    name: str
    status: Status
    items: int = 0
    step: int = 0
    steps: int = 0
    what: str = ""
    share: float = 0.0
    pace: float = math.nan
    rate: float = 0.0
    source: Path | None = None
    source_status: Status | None = None

    @property
    def is_done(self) -> bool:
        return self.status.state == "finished"

    @property
    def fraction(self) -> float:
        return min(1.0, (self.step + self.share) / self.steps) if self.steps else 0.0

    @property
    def seconds_left(self) -> float:
        return max(0.0, self.steps - self.step - self.share) * self.pace

    @property
    def is_following(self) -> bool:
        """Whether it waits for what a run has yet to write, so that nobody knows how much there will be."""
        return self.source is not None and self.steps == 1


def folded(filling: Filling, told: Iterable[events.Event | events.Unreadable]) -> Filling:
    """The filling with what the tail of its events says, oldest first."""
    steps: list[events.Step] = []
    phase: events.Phase | None = None
    planned = filling.steps
    for event in told:
        match event:
            case events.RunStarted():
                planned, steps, phase = event.steps, [], None
            case events.Resumed():
                steps, phase = [], None
            case events.Phase():
                phase = event
            case events.Step():
                steps, phase = [*steps[-RECENT:], event], None
    items = int(steps[-1].values.get("items", 0)) if steps else filling.items
    return replace(
        filling,
        items=items,
        step=steps[-1].step if steps else 0,
        steps=planned,
        what=phase.what if phase is not None else "",
        share=(phase.progress or 0.0) if phase is not None else 0.0,
        pace=_pace(steps),
        rate=_rate(steps),
    )


def _pace(steps: list[events.Step]) -> float:
    taken = [
        (later.time - earlier.time) / (later.step - earlier.step)
        for earlier, later in itertools.pairwise(steps)
        if later.step > earlier.step
    ]
    return statistics.median(taken) if taken else math.nan


def _rate(steps: list[events.Step]) -> float:
    if len(steps) < 2 or steps[-1].time <= steps[0].time:
        return 0.0
    written = steps[-1].values.get("tokens", 0.0) - steps[0].values.get("tokens", 0.0)
    return written / (steps[-1].time - steps[0].time)


# ------------------------------------------------------------------------------------------------------------ words


def in_brief(filling: Filling) -> str:
    """For a list: `12 items, 30%`, `stopped at 12 items, 30%`, `failed`; empty once it is whole."""
    if filling.is_done:
        return ""
    if filling.status.is_alive:
        return _so_far(filling) or "starting"
    word = "failed" if filling.status.state in ("failed", "crashed") else "stopped"
    return f"{word} at {_so_far(filling)}" if filling.items else word


def in_one_line(fillings: Sequence[Filling]) -> str:
    """For the line at the bottom of every page: the sets that are being filled now."""
    return "   ·   ".join(f"{one.name}: {_in_one_line(one)}" for one in fillings if one.status.is_alive)


def _in_one_line(filling: Filling) -> str:
    """How far and how long; before the first item, what it is about, as a model takes its time to load."""
    then = figures.left(filling.seconds_left) or ("" if filling.step else filling.what)
    return f"{in_brief(filling)}, {then}" if then else in_brief(filling)


def in_full(filling: Filling) -> str:
    """For the strip: what is done now, how far, how fast, how long."""
    if not filling.status.is_alive:
        sentence = filling.status.sentence or "ended"
        is_one = filling.items == 1
        return f"{sentence}; {figures.many(filling.items, 'item')} {'is' if is_one else 'are'} there"
    parts = [_now(filling), _so_far(filling)]
    parts += [f"{figures.number(filling.rate)} tokens/s" if filling.rate else "", figures.left(filling.seconds_left)]
    return "   ·   ".join(part for part in parts if part)


def _now(filling: Filling) -> str:
    what = filling.what or ("waiting for the run to write more" if filling.is_following else "")
    return f"{what} {figures.share(filling.share)}" if filling.share else what


def _so_far(filling: Filling) -> str:
    """How many items there are, and how much of the work is done: how many will come of the rest, nobody knows."""
    if not filling.items and not filling.fraction and filling.status.is_alive:
        return ""
    if filling.is_following or not filling.steps:
        return f"{figures.many(filling.items, 'item')} so far"
    return f"{figures.many(filling.items, 'item')}, {figures.share(filling.fraction)}"
