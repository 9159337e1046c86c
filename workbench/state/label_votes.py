"""Judgements as numbers: who was preferred over whom, on which side it stood and how long it was."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from engine.contract.labels import Candidate, Item, Judgement
from engine.contract.labels_protocol import choice_of
from engine.contract.labels_standing import pairs
from workbench.state.comparison import Vote


class Choice(NamedTuple):
    """A judgement of a pair. place: from 1, the left is much better, to 7, the right is; 4 is a tie.

    leans_first: the same with the item's first candidate in place of the left one, which is what people can agree on.
    left_longer: whether the left answer has more characters; None if both have as many.
    """

    item: str
    labeller: str
    place: int
    leans_first: int
    left_longer: bool | None


def leaning(judgement: Judgement) -> int | None:
    """Of a pair: 0 the first candidate is better, 1 a tie, 2 the second is; None of anything else."""
    if judgement.outcome != "ranked" or sum(map(len, judgement.ranking)) != 2:
        return None
    return 1 if judgement.is_tie else 0 if judgement.ranking[0] == (0,) else 2


def choices(judgements: Iterable[Judgement], items: Mapping[str, Item]) -> Iterator[Choice]:
    """The judgements of pairs that rank; those of more answers, skipped ones and “both bad” are left out."""
    for judgement in judgements:
        item, place = items.get(judgement.item), choice_of(judgement)
        if item is None or place is None:
            continue
        left, right = (len(item.candidates[index].text or "") for index in judgement.shown)
        leans_first = place if judgement.shown[0] == 0 else 8 - place
        longer = None if left == right else left > right
        yield Choice(judgement.item, judgement.labeller, place, leans_first, longer)


def author(candidate: Candidate) -> str:
    """Who wrote it, as far as the set knows; "" if it does not. Of a file of preferences: what it was there."""
    origin = candidate.origin
    name = str(origin.get("run") or origin.get("model") or origin.get("was") or "")
    step = origin.get("step")
    return f"{name}, step {step}" if name and step is not None else name


def authors_of(item: Item) -> list[str]:
    """Who made each candidate; pictures that one model drew in different ways are told apart by the way."""
    authors = [author(candidate) for candidate in item.candidates]
    ways = [_way(candidate) for candidate in item.candidates]
    if len(set(authors)) > 1 or len(set(ways)) == 1 or not all(authors):
        return authors
    return [f"{name}, {way}" for name, way in zip(authors, ways, strict=True)]


def _way(candidate: Candidate) -> str:
    """How a picture was drawn; "" of any other."""
    record = candidate.origin.get("record")
    if not isinstance(record, dict):
        return ""
    more = [f"{name} {record[name]:g}" for name in ("eta", "guidance") if isinstance(record.get(name), int | float)]
    return ", ".join([f"{record.get('sampler')} in {record.get('steps')} steps", *more])


def votes(judgements: Iterable[Judgement], items: Mapping[str, Item]) -> list[Vote]:
    """A vote for each two answers of different authors that a judgement compares, also those it finds alike."""
    found: list[Vote] = []
    for judgement in judgements:
        item = items.get(judgement.item)
        if item is not None and judgement.ranking:
            authors = authors_of(item)
            if len(set(authors)) > 1:
                found += _votes(judgement, item, authors)
    return found


def _votes(judgement: Judgement, item: Item, authors: Sequence[str]) -> Iterator[Vote]:
    is_drawn = all(candidate.image is not None for candidate in item.candidates)
    prompt = item.id if is_drawn else prompt_of(item)
    alike = [
        (one, other) for group in judgement.ranking for place, one in enumerate(group) for other in group[place + 1 :]
    ]
    compared = [(worse, better, 1.0) for better, worse in pairs(judgement)] + [(*two, 0.5) for two in alike]
    for first, second, score in compared:
        one, other = authors[first], authors[second]
        if one and other and one != other:
            longer = len(item.candidates[second].text or "") - len(item.candidates[first].text or "")
            vote = Vote(prompt, one, other, score, longer, is_drawn)
            # Always in the same order, so that two models make one pair.
            yield vote if one < other else Vote(prompt, other, one, 1 - score, -longer, is_drawn)


def prompt_of(item: Item) -> str:
    """The same for items that ask the same."""
    return item.prompt if isinstance(item.prompt, str) else json.dumps(item.prompt)


def circles(judgements: Iterable[Judgement], items: Mapping[str, Item]) -> tuple[int, int]:
    """(circles, triples): of three answers to one prompt that one person compared with each other, how often A beat B,
    B beat C and C beat A. A ranking alone has none, so only prompts that were judged more than once are looked at."""
    judged: dict[tuple[str, str], list[tuple[Judgement, Item]]] = {}
    for judgement in judgements:
        if (item := items.get(judgement.item)) is not None:
            judged.setdefault((judgement.labeller, prompt_of(item)), []).append((judgement, item))
    found = [_count_circles(_beaten(several)) for several in judged.values() if len(several) > 1]
    return sum(circular for circular, _ in found), sum(triples for _, triples in found)


def _beaten(judged: Iterable[tuple[Judgement, Item]]) -> dict[str, set[str]]:
    beats: dict[str, set[str]] = {}
    for judgement, item in judged:
        for better, worse in pairs(judgement):
            winner, loser = (_answer(item.candidates[index]) for index in (better, worse))
            beats.setdefault(winner, set()).add(loser)
    return beats


def _answer(candidate: Candidate) -> str:
    """The same for the same answer, wherever it stands."""
    return candidate.text if candidate.text is not None else candidate.image or ""


def _count_circles(beats: Mapping[str, set[str]]) -> tuple[int, int]:
    """Each circle is met at each of its three answers, a triple without one at its best answer alone."""
    nobody: set[str] = set()
    circular = ordered = 0
    for first, beaten in beats.items():
        for second in beaten:
            for third in beats.get(second, nobody):
                circular += first in beats.get(third, nobody)
                ordered += third in beaten
    return circular // 3, circular // 3 + ordered
