"""What the numbers of a labelling set mean, in sentences that a person can act on."""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from engine.contract.image_settings import ASSETS
from engine.contract.labels import MODEL
from workbench.state import comparison, figures
from workbench.state.agreement import Share, wilson
from workbench.state.label_quality import Agreement, Comparison, Quality, Voter

#: Below this many cases a share says next to nothing, and the page says so instead.
FEW = 10
#: What careful labellers reach: Ouyang et al. 2022 (arXiv:2203.02155), section 3.4; Stiennon et al. 2020 (2009.01325).
USUAL = "InstructGPT's labellers agreed with each other in 73%, Stiennon's with the authors in 77%."
#: What a run's directory begins with, before its name.
STAMP = re.compile(r"^\d{8}-\d{6}-")


class Row(NamedTuple):
    """One measure of the page. against: the share that chance would give; None where there is none."""

    title: str
    share: Share
    meaning: str
    against: float | None = None
    is_warning: bool = False


def headline(found: Quality) -> str:
    """The page in a sentence."""
    if not found.judgements:
        return "Nothing is judged yet."
    people = len(found.labellers)
    is_models = found.labellers[0].startswith(MODEL)
    kind = ("model", "models") if is_models else ("person", "people")
    who = f"by one {kind[0]}" if people == 1 else f"by {people} {kind[1]}"
    said = "1 judgement" if found.judgements == 1 else f"{figures.count(found.judgements)} judgements"
    pace = found.median_seconds
    quick = f", {figures.number(pace, 2)} s each" if math.isfinite(pace) else ""
    return f"{said} {who}{quick}."


def rows(found: Quality, what: str = "answer") -> list[Row]:
    """Every measure that there is something to say of. what: is judged, an answer or a picture."""
    wanted = [
        Row("Agrees with itself", found.consistency, _consistent(found.consistency)),
        _leaning(f"Left {what} wins", found.position, f"the left {what}", "where it stands decides"),
        _leaning("Longer answer wins", found.length, "the longer answer", "right, perhaps, or a habit: read a few"),
        Row("Gold items", found.gold, "as the author of the set would have judged them"),
        Row("Ties", found.ties, "of those that were ranked"),
        Row("Both bad", found.both_bad, "only KTO learns from them"),
        Row("Skipped", found.skipped, "nothing learns from them"),
    ]
    rare = {"Both bad", "Skipped"}
    found_rows = [row for row in wanted if (row.share.hits if row.title in rare else row.share.total)]
    people = [_agreeing(found.agreement, found.disagreements)] if found.agreement is not None else []
    circles = [_circular(wilson(found.circles, found.triples))] if found.triples else []
    return [*found_rows, *circles, *people, *map(_voting, found.voters)]


def drift(found: Quality) -> str:
    """Whether the person grew faster or slower."""
    if not math.isfinite(found.drift):
        return ""
    if found.drift < 0.5:
        return f"The last third took {figures.share(found.drift)} of the time of the first: practice, or haste?"
    if found.drift > 1.5:
        return f"The last third took {figures.number(found.drift, 2)} times as long as the first: time for a break?"
    if 0.95 < found.drift < 1.05:
        return "The last third took as long as the first: steady."
    word = "quicker with practice" if found.drift < 0.8 else "slower" if found.drift > 1.2 else "steady"
    return f"The last third took {figures.share(found.drift)} of the time of the first: {word}."


def short_names(models: Sequence[str]) -> dict[str, str]:
    """What to call each model: as many last parts of its path as tell it from the others, a run by its name alone where
    that is enough."""
    plain = {model: STAMP.sub("", model.rstrip("/").rsplit("/", 1)[-1].removeprefix(ASSETS)) for model in models}
    if len(set(plain.values())) == len(plain):
        return plain
    parts = {model: model.split("/") for model in models}
    for kept in range(1, max(map(len, parts.values()), default=0) + 1):
        short = {model: "/".join(words[-kept:]) for model, words in parts.items()}
        if len(set(short.values())) == len(short):
            return short
    return {model: model for model in models}


def preferred(found: Comparison) -> str:
    """Which model is better, and what it would take to know."""
    where = "At equal length, " if found.is_at_equal_length else ""
    short = short_names(found.models)
    if found.rate is not None:
        return where + comparison.sentence((short[found.models[0]], short[found.models[1]]), found.rate)
    first, second = found.board[0], found.board[1]
    gap = "stands clear of" if first.low > second.high else "is not clear of"
    return f"{where}{short[first.model]} leads and {gap} {short[second.model]}."


def how_compared(found: Quality) -> str:
    """What the comparison rests on, where that is not every judgement as it is."""
    if found.comparison is None:
        return ""
    said = []
    if found.comparison.is_at_equal_length:
        said.append("What longer answers win by their length is taken off by a regression (Dubois et al. 2024).")
    if found.chosen:
        items = "1 judgement" if found.chosen == 1 else f"{figures.count(found.chosen)} judgements"
        said.append(f"Left out: {items} of items that scores chose, as they are no sample of all.")
    return " ".join(said)


def to_settle(found: Quality) -> str:
    """What a button says that leads to the disagreements; "" if there is none."""
    if not found.disagreements:
        return ""
    return "Settle 1 disagreement" if found.disagreements == 1 else f"Settle {found.disagreements} disagreements"


def _consistent(share: Share) -> str:
    if share.total < FEW:
        return f"too few to tell: {_of(share)} pairs that came again with sides swapped"
    return f"{_of(share)} pairs got the same answer when they came again with sides swapped"


def _leaning(title: str, share: Share, what: str, why: str) -> Row:
    if share.total < FEW:
        return Row(title, share, "too few to tell", 0.5)
    if not share.excludes(0.5):
        return Row(title, share, f"no sign that {what} is favoured", 0.5)
    more = "more" if share.value > 0.5 else "less"
    return Row(title, share, f"{what} wins {more} often than chance allows: {why}", 0.5, is_warning=True)


def _circular(share: Share) -> Row:
    triples = f"{_of(share)} triples of answers to one prompt, compared two by two: A over B, B over C, C over A"
    return Row("Preferred in a circle", share, triples)


def _agreeing(found: Agreement, disagreements: int) -> Row:
    beyond = [f"ordinal alpha {figures.fixed(found.alpha)}" if math.isfinite(found.alpha) else ""]
    if math.isfinite(found.kappa):
        beyond.append(f"kappa of {' and '.join(found.people)} {figures.fixed(found.kappa)}")
    told = ", ".join(part for part in beyond if part)
    of = "1 item" if found.items == 1 else f"{figures.count(found.items)} items"
    said = [f"on {of}" + (f"; {told}" if told else "")]
    if disagreements:
        said.append("the opposite on 1 of them" if disagreements == 1 else f"the opposite on {disagreements} of them")
    return Row("Agree with each other", found.raw, f"{'; '.join(said)}. {USUAL}")


def _voting(found: Voter) -> Row:
    title = f"{found.name.removeprefix(MODEL).split('/')[-1]} agrees with people"
    ties = f"it called {figures.share(found.ties.value)} of its {figures.count(found.ties.total)} votes a tie"
    if found.alike.total < FEW:
        return Row(title, found.alike, f"too few pairs that both told apart; {ties}", 0.5)
    kappa = f"; kappa {figures.fixed(found.kappa)}, ties included" if math.isfinite(found.kappa) else ""
    return Row(title, found.alike, f"on pairs that both told apart{kappa}; {ties}", 0.5)


def _of(share: Share) -> str:
    return f"{figures.count(round(share.hits))} of {figures.count(share.total)}"
