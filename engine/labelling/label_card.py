"""The README of an exported set: how people were asked, how much they said, and what a reader should know of it."""

from collections import Counter
from collections.abc import Sequence
from statistics import median

from engine.contract.labels import Item, Judgement, LabelSet
from engine.contract.labels_standing import Ledger, pairs


def card(
    settings: LabelSet,
    items: Sequence[Item],
    ledger: Ledger,
    *,
    files: dict[str, str],
    format: str,
    guideline: str,
    sha256: str,
) -> str:
    """Markdown with the front matter that `datasets.load_dataset` reads. files: split -> file."""
    lines = ["---", "configs:", "- config_name: default", "  data_files:"]
    for split, file in files.items():
        lines += [f"  - split: {split}", f"    path: {file}"]
    lines += ["tags:", "- preference", "- rlhf", "---", "", f"# {settings.name}", ""]
    lines += [f"People were asked: *{settings.question}* Written by Plumbline as `{format}`.", ""]
    lines += ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in statistics(items, ledger)), ""]
    lines += [f"SHA-256 of the set's items and judgements: `{sha256}`", ""]
    if guideline.strip():
        lines += ["## What the labellers were told", "", *(f"> {line}".rstrip() for line in guideline.splitlines()), ""]
    return "\n".join(lines)


def statistics(items: Sequence[Item], ledger: Ledger) -> list[tuple[str, str]]:
    """What is known of the set, in words for its card."""
    said = ledger.standing()
    standing = [one for one in said if not one.is_vote]
    outcomes = Counter("tie" if one.is_tie else one.outcome for one in standing)
    known = {item.id: item for item in items}
    times = [one.active_seconds for one in standing if one.active_seconds is not None]
    found = [
        ("items", f"{len(items)}, of which {len({one.item for one in standing})} judged"),
        ("judgements that stand", f"{len(standing)} by {len({one.labeller for one in standing})} labellers"),
        ("preferred, tied, both bad, skipped", _counts(outcomes, ("ranked", "tie", "both_bad", "skipped"))),
        ("flagged for review", str(sum(one.flagged for one in standing))),
        ("adjudicated", str(len(ledger.adjudications()))),
        ("same answer to a repeated item", _share([_agrees(ledger, again) for again in ledger.repeats()])),
        ("labellers of one item agree", _share(_between(standing))),
        ("left preferred", _share([one.ranking[0] == one.shown[:1] for one in standing if _is_decided(one)])),
        ("longer preferred", _share([longer for one in standing for longer in _longer(known.get(one.item), one)])),
    ]
    if len(said) > len(standing):
        models = {one.labeller for one in said if one.is_vote}
        found.append(
            ("votes of models, which count for nothing above", f"{len(said) - len(standing)} of {len(models)}")
        )
    return [*found, *([("median time", f"{median(times):.1f} s without idling")] if times else [])]


def _counts(outcomes: Counter[str], names: tuple[str, ...]) -> str:
    return ", ".join(str(outcomes[name]) for name in names)


def _share(hits: Sequence[bool]) -> str:
    return f"{sum(hits)} of {len(hits)} ({sum(hits) / len(hits):.0%})" if hits else "nothing to tell by"


def _is_decided(judgement: Judgement) -> bool:
    """Whether one of two that were shown side by side was preferred."""
    return len(judgement.ranking) == 2 and len(judgement.shown) == 2


def _agrees(ledger: Ledger, again: Judgement) -> bool:
    first = ledger.of(again.item, again.labeller)
    return first is not None and _said(first) == _said(again)


def _between(standing: Sequence[Judgement]) -> list[bool]:
    """For each two labellers of one item, whether they said the same."""
    of_item: dict[str, list[Judgement]] = {}
    for judgement in standing:
        of_item.setdefault(judgement.item, []).append(judgement)
    return [
        _said(one) == _said(other)
        for together in of_item.values()
        for place, one in enumerate(together)
        for other in together[place + 1 :]
    ]


def _said(judgement: Judgement) -> object:
    """What was said, whatever the order within a tie and whatever the strength."""
    return judgement.outcome, [sorted(group) for group in judgement.ranking]


def _longer(item: Item | None, judgement: Judgement) -> list[bool]:
    """For each pair that was told apart and differs in length, whether the longer was preferred."""
    if item is None:
        return []
    sizes = [len(candidate.text or "") for candidate in item.candidates]
    return [sizes[better] > sizes[worse] for better, worse in pairs(judgement) if sizes[better] != sizes[worse]]
