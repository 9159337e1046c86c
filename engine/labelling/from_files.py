"""Files of completions or of preferences become items."""

from collections.abc import Iterator
from typing import Any

from engine.contract.labels import Candidate, Item
from engine.contract.labels_recipe import Completions, Preferences
from engine.contract.settings import Source
from engine.data.formats import canonical
from engine.data.rows import Row, UnusableRow
from engine.data.sources import DataError, load_rows
from engine.labelling.items import Batch, Batches, Prompt, answer_text, compared, grouped, identity

#: What the column of several answers, or of one, is called.
SEVERAL = ("completions", "responses", "answers", "generations")
ONE = ("completion", "response", "answer", "generation")


def open_part(part: Completions | Preferences) -> tuple[int, Batches]:
    """How many groups of rows there are, and the items of each with its number from 1. Raises DataError."""
    items = _of_preferences(part) if isinstance(part, Preferences) else _of_completions(part)
    return len(items), (Batch(found, number) for number, found in enumerate(items, start=1))


def prompts_of(sources: list[Source]) -> tuple[list[Prompt], str]:
    """Every prompt of the sources in order, and in words which rows have none. Raises DataError if no row has one."""
    table = load_rows(sources, "prompt")
    return [row["prompt"] for row in table.rows], table.unusable


def prompt_text(prompt: Prompt) -> str:
    """A prompt as one text: of a conversation, what was said last."""
    return prompt if isinstance(prompt, str) else prompt[-1]["content"]


def _rows(sources: list[Source], of: str) -> Iterator[tuple[Source, int, Row]]:
    """Every row as method `of` reads it, and its number. Raises DataError naming the first that cannot be read so."""
    for source in sources:
        for number, row in enumerate(load_rows([source]).rows, start=1):
            try:
                given = _as_messages(row) if of == "prompt" else row
                yield source, number, canonical(given, of, format=source.format, columns=source.columns)
            except UnusableRow as why:
                raise DataError(f"{source.path}, row {number}: {why}; mend the row or rename its columns") from why


def _of_completions(part: Completions) -> list[list[Item]]:
    """Raises DataError."""
    read: list[tuple[str, tuple[Prompt, Candidate]]] = []
    for source, number, row in _rows(part.source, "prompt"):
        prompt, answers = row["prompt"], _answers(source, number, row)
        known = {"model": row["model"]} if isinstance(row.get("model"), str) else {}
        origin = {"file": source.path, "row": number, **known}
        read += [(identity(prompt), (prompt, Candidate(text=answer_text(a), origin=origin))) for a in answers]
    together = grouped(iter(read)).values()
    return [compared(found[0][0], [[candidate for _, candidate in found]], part.compare) for found in together]


def _as_messages(row: Row) -> Row:
    """A conversation that ends with an answer, as its prompt and that answer."""
    messages = row.get("messages")
    if not isinstance(messages, list) or not messages or any(row.get(name) for name in (*SEVERAL, *ONE)):
        return row
    return {**row, "prompt": messages[:-1], "completion": messages[-1:], "messages": None}


def _answers(source: Source, number: int, row: Row) -> list[Any]:
    several: list[Any] | None = next((row[name] for name in SEVERAL if isinstance(row.get(name), list)), None)
    one = next((row[name] for name in ONE if row.get(name) is not None), None)
    if several is None and one is None:
        has = ", ".join(f"`{name}`" for name in row)
        problem = f"has no `completion` and no `completions` (it has {has})"
        raise DataError(f"{source.path}, row {number}: {problem}; rename its columns")
    return [one] if several is None else several


def _of_preferences(part: Preferences) -> list[list[Item]]:
    """Raises DataError."""
    found = []
    for source, number, pair in _rows(part.source, "dpo"):
        sides = [
            Candidate(text=answer_text(pair[was]), origin={"file": source.path, "row": number, "was": was})
            for was in ("chosen", "rejected")
        ]
        items = compared(pair["prompt"], [sides], "pairs")
        gold = ((0,), (1,)) if part.gold else None
        found.append([item.model_copy(update={"gold": gold}) for item in items])
    return found
