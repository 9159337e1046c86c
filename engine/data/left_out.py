"""Rows that cannot be learned from, told with the reason, so that none is lost in silence."""

from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import NamedTuple

#: Rows named in a message; of more, only the count is told.
NAMED = 8

#: Why rows cannot be learned from -> their numbers.
LeftOut = Mapping[str, Sequence[int]]


class Origin(NamedTuple):
    """Where some rows came from. unit: what its numbers count, line or row. first: number that its line 1 has among
    those of all sources."""

    name: str
    unit: str
    first: int


class Reasons:
    """Gathers why rows are left out. Numbers take 8 bytes each, so that a file full of faults needs no memory."""

    def __init__(self) -> None:
        self.found: dict[str, array[int]] = {}

    def add(self, reason: str, number: int) -> None:
        """One more row, by its number."""
        self.found.setdefault(reason, array("q")).append(number)


def told(left_out: LeftOut, total: int, what: str, origins: Sequence[Origin] = ()) -> str:
    """In words; empty if none was. what: of the `total`, as "pairs". origins: where numbers are from, in order."""
    count = sum(map(len, left_out.values()))
    if not count:
        return ""
    return f"{count} of {total} {what} {'is' if count == 1 else 'are'} left out: {reasons(left_out, origins)}"


def reasons(left_out: LeftOut, origins: Sequence[Origin] = ()) -> str:
    """Each reason with its rows."""
    return "; ".join(f"{reason} ({named(numbers, origins)})" for reason, numbers in left_out.items())


def named(numbers: Sequence[int], origins: Sequence[Origin] = ()) -> str:
    """The first of these rows: `row 3`, or by file, `a.jsonl, lines 3, 9; b.csv, row 2 and 4 more`."""
    by_origin: dict[Origin | None, list[int]] = {}
    for number in numbers[:NAMED]:
        origin = origins[bisect_right([o.first for o in origins], number) - 1] if origins else None
        by_origin.setdefault(origin, []).append(number - (origin.first - 1 if origin else 0))
    more = f" and {len(numbers) - NAMED} more" if len(numbers) > NAMED else ""
    return "; ".join(_listed(origin, own) for origin, own in by_origin.items()) + more


def _listed(origin: Origin | None, numbers: list[int]) -> str:
    unit = (origin.unit if origin else "row") + ("s" if len(numbers) > 1 else "")
    return f"{origin.name + ', ' if origin else ''}{unit} {', '.join(map(str, numbers))}"
