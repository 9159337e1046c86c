"""Rows that cannot be learned from, told with the reason, so that none is lost in silence."""

from collections.abc import Mapping, Sequence

#: Rows named in a message; of more, only the count is told.
NAMED = 8


def told(left_out: Mapping[str, Sequence[int]], total: int, what: str) -> str:
    """In words; empty if none was. left_out: reason -> rows, from 1. what: of the `total`, as "pairs"."""
    count = sum(map(len, left_out.values()))
    if not count:
        return ""
    why = "; ".join(f"{reason} ({_named(rows)})" for reason, rows in left_out.items())
    return f"{count} of {total} {what} are left out: {why}"


def _named(rows: Sequence[int]) -> str:
    listed = ", ".join(map(str, rows[:NAMED]))
    more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    return f"row{'s' if len(rows) > 1 else ''} {listed}{more}"
