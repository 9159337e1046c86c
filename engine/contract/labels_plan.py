"""What `--check` tells of items, of an import and of an export before anything is written: how much, and what first."""

from typing import Any

from pydantic import BaseModel, JsonValue

#: Rows that are shown, and what is shown of a text among them.
FIRST_ROWS = 8
LONGEST_CELL = 2000


class PartPlan(BaseModel, frozen=True):
    """One part of a recipe.

    rows: prompts that will be answered, or rows of files. items, tokens: at most; answers that are the same are not
    compared. is_rough: only the beginning of a large file was read. left_out: rows that cannot be used, and why.
    """

    kind: str
    rows: int
    items: int
    tokens: int = 0
    is_rough: bool = False
    left_out: str = ""
    first: list[dict[str, JsonValue]] = []


class ItemsPlan(BaseModel, frozen=True):
    """What a recipe will make. is_new: the set is not there yet. seconds: what writing may take; None: nobody knows."""

    name: str
    is_new: bool
    parts: list[PartPlan]
    seconds: float | None = None

    @property
    def items(self) -> int:
        return sum(part.items for part in self.parts)

    @property
    def tokens(self) -> int:
        return sum(part.tokens for part in self.parts)


class FilePlan(BaseModel, frozen=True):
    """What an import would read or an export write. counts: rows or records by what they are.

    left_out: rows that cannot be used, and why.
    """

    format: str
    counts: dict[str, int]
    left_out: str = ""
    first: list[dict[str, JsonValue]] = []


def shortened(row: dict[str, Any]) -> dict[str, JsonValue]:
    """A row with its long texts cut, for somebody to look at."""
    return {name: _shortened(value) for name, value in row.items()}


def _shortened(value: Any) -> JsonValue:
    if isinstance(value, str):
        return value if len(value) <= LONGEST_CELL else f"{value[:LONGEST_CELL]}…"
    if isinstance(value, list | tuple):
        return [_shortened(one) for one in value[:FIRST_ROWS]]
    if isinstance(value, dict):
        return {str(name): _shortened(one) for name, one in value.items()}
    return value if isinstance(value, int | float | bool) or value is None else str(value)
