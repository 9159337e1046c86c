"""The blind protocol: what is shown to whom, where on the screen, and when again. Pure functions of the set's seed.

Nothing here needs saving: a sitting that is opened again, or on another machine, asks the same in the same way.
"""

import hashlib
import random
from collections.abc import Collection, Sequence
from typing import Literal

from engine.contract.labels import MODEL, Item, Judgement, Protocol, Ranking

#: Each candidate stands in each place so often in a block of items; larger blocks are harder to guess within.
ROUNDS_PER_BLOCK = 4

#: The keys 1 to 7: which of the two shown is better, and by how much.
Side = Literal["left", "right"]
SCALE: dict[int, tuple[Side, int] | None] = {
    1: ("left", 3),
    2: ("left", 2),
    3: ("left", 1),
    4: None,
    5: ("right", 1),
    6: ("right", 2),
    7: ("right", 3),
}


def sides(seed: int, number: int, labeller: str, *, candidates: int = 2, repeat: bool = False) -> tuple[int, ...]:
    """Candidate indices in the order in which they stand on the screen, for item `number` of the set, from 0.

    Balanced: over each block of `candidates` * ROUNDS_PER_BLOCK items of that many candidates, every candidate stands
    in every place equally often. A repeat is shown the other way round.
    """
    size = candidates * ROUNDS_PER_BLOCK
    block, place = divmod(number, size)
    draw = _random(seed, "sides", labeller, candidates, block)
    shifts = list(range(candidates)) * ROUNDS_PER_BLOCK
    order = list(range(candidates))
    draw.shuffle(shifts)
    draw.shuffle(order)
    shown = order[shifts[place] :] + order[: shifts[place]]
    return tuple(reversed(shown) if repeat else shown)


def sequence(seed: int, labeller: str, items: Sequence[str]) -> list[str]:
    """The items in the order in which this labeller is asked. An item that comes to the set later moves no other."""
    return sorted(items, key=lambda item: _digest(seed, "order", labeller, item))


def is_audited(seed: int, item: str, protocol: Protocol) -> bool:
    """Whether the item belongs to the share that a lot always draws, whatever else chooses what to judge."""
    return _share(seed, "audit", item) < protocol.audit


def interleaved(seed: int, labeller: str, lot: Sequence[str], queue: Sequence[str], protocol: Protocol) -> list[str]:
    """Both in their order, each next item from `lot` with the probability `audit`; what is left of one comes last."""
    found: list[str] = []
    drawn = 0
    for item in queue:
        while drawn < len(lot) and _share(seed, "turn", labeller, lot[drawn], item) < protocol.audit:
            found.append(lot[drawn])
            drawn += 1
        found.append(item)
    return [*found, *lot[drawn:]]


def is_shared(seed: int, item: str, protocol: Protocol) -> bool:
    """Whether a second person is to judge the item too."""
    return _share(seed, "overlap", item) < protocol.overlap


def is_wanted(seed: int, item: str, labeller: str, judged_by: Collection[str], protocol: Protocol) -> bool:
    """Whether the labeller should be asked: not twice, and not once as many people have answered as are needed."""
    needed = 2 if is_shared(seed, item, protocol) else 1
    people = [name for name in judged_by if not name.startswith(MODEL)]
    return labeller not in judged_by and len(people) < needed


def repeat_due(
    seed: int, labeller: str, judged: Sequence[str], repeated: Collection[str], protocol: Protocol
) -> str | None:
    """The item to show this labeller again now, or None.

    judged: the items judged first-hand, in that order. repeated: those that came again already. The n-th repeat falls
    at a random place of its stretch of 1 / `repeats` judgements, so that nobody can tell which ones they are.
    """
    if not protocol.repeats or len(repeated) >= len(judged):
        return None
    draw = _random(seed, "repeat", labeller, len(repeated))
    due = protocol.repeat_distance + (len(repeated) + draw.random()) / protocol.repeats
    if len(judged) < due:
        return None
    old_enough = [item for item in judged[: -protocol.repeat_distance] if item not in repeated]
    return draw.choice(old_enough) if old_enough else None


def ranking_of(choice: int, shown: tuple[int, ...]) -> tuple[Ranking, int | None]:
    """(ranking, strength) of a choice from 1 to 7 on a pair that stood there as `shown`; 4 is a tie."""
    left, right = shown
    if (meant := SCALE[choice]) is None:
        return ((left, right),), None
    side, strength = meant
    return (((left,), (right,)) if side == "left" else ((right,), (left,))), strength


def choice_of(judgement: Judgement) -> int | None:
    """The key from 1 to 7 that says what the judgement says, or None where none does (both bad, skipped, K > 2)."""
    if judgement.outcome != "ranked" or len(judgement.shown) != 2:
        return None
    if judgement.is_tie:
        return 4
    strength = judgement.strength or 1
    return 4 - strength if judgement.ranking[0] == judgement.shown[:1] else 4 + strength


def agrees_with_gold(judgement: Judgement, item: Item) -> bool | None:
    """Whether a gold item was judged as it should be; None where it is none or was skipped."""
    if item.gold is None or judgement.outcome == "skipped":
        return None
    return [set(group) for group in judgement.ranking] == [set(group) for group in item.gold]


def active_seconds(gaps: Sequence[float], protocol: Protocol) -> float:
    """Time that somebody was there. gaps: seconds between signs of life (keys, mouse, scrolling), each cut as idle."""
    return sum(min(gap, protocol.idle_after) for gap in gaps)


def _digest(*key: object) -> bytes:
    return hashlib.sha256("\x1f".join(map(str, key)).encode("utf-8", "replace")).digest()


def _random(*key: object) -> random.Random:
    """A stream of random numbers of its own for each decision; Python promises its generator never changes."""
    return random.Random(int.from_bytes(_digest(*key)[:8]))  # noqa: S311 - a lot is drawn here, not a secret


def _share(*key: object) -> float:
    """A number from 0 to 1 that belongs to the key."""
    return float(int.from_bytes(_digest(*key)[:7])) / 2**56
