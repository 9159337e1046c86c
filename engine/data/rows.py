"""What a row is, and what is said of one that cannot be used."""

from typing import Any

#: Column -> value, as a file has it or as `formats` made it.
Row = dict[str, Any]


class UnusableRow(ValueError):  # noqa: N818 - it is told of the row, and the run goes on without it
    """Why a row cannot be learned from, in words that are the same for every row with that fault."""


class DataError(ValueError):
    """A source that cannot be used: file, line, what is wrong, what to do."""
