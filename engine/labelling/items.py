"""From several answers to one prompt to the items that compare them. Pure functions."""

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from engine.contract.labels import Candidate, Item
from engine.contract.labels_recipe import Compare

Prompt = str | list[dict[str, str]]


class Batch(NamedTuple):
    """Items that came to be together, and how much of their part of the recipe is done with them.

    tokens: what models wrote for it.
    """

    items: list[Item]
    done: int
    tokens: int = 0


Batches = Iterator[Batch]


def compared(prompt: Prompt, groups: Sequence[Sequence[Candidate]], compare: Compare, key: str = "") -> list[Item]:
    """Items over the answers to one prompt. groups: one for each writer.

    Pairs set the n-th answers of each two writers against each other; those of one writer alone, two by two. Answers
    that are the same are not compared. key: makes the ids, where the texts are not to decide them.
    """
    everything = [candidate for group in groups for candidate in group]
    if compare == "ranking":
        sets = [_different(everything)]
    elif len(groups) == 1:
        sets = [_different(two) for two in zip(everything[::2], everything[1::2], strict=False)]
    else:
        two_writers = itertools.combinations(groups, 2)
        sets = [_different(two) for one, other in two_writers for two in zip(one, other, strict=False)]
    return [_item(prompt, found, f"{key}/{place}" if key else "") for place, found in enumerate(sets) if len(found) > 1]


def _different(candidates: Sequence[Candidate]) -> list[Candidate]:
    return list({candidate.text: candidate for candidate in candidates}.values())


def _item(prompt: Prompt, candidates: Sequence[Candidate], key: str) -> Item:
    name = key or identity(prompt, [candidate.text for candidate in candidates])
    return Item(id=name, prompt=as_prompt(prompt), candidates=tuple(candidates))


def identity(*parts: Any) -> str:
    """A short name that the same parts always get."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=True).encode()).hexdigest()[:16]


def as_prompt(prompt: Any) -> Prompt:
    """Text, or messages with a role and a content; what else a message may have, nobody is shown."""
    if isinstance(prompt, str):
        return prompt
    return [{"role": str(m["role"]), "content": str(m.get("content") or "")} for m in prompt]


def answer_text(answer: Any) -> str:
    """An answer's text, given as such or as messages."""
    if isinstance(answer, list):
        return "\n\n".join(str(message.get("content") or "") for message in answer)
    return str(answer)


def grouped(rows: Iterator[tuple[Any, Any]]) -> dict[Any, list[Any]]:
    """Values by key, in the order of first appearance."""
    found: dict[Any, list[Any]] = {}
    for key, value in rows:
        found.setdefault(key, []).append(value)
    return found
