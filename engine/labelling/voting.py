"""A model votes on pairs as one more labeller; judging.py asks it.

A preference counts only where both orders agree, and is a tie where they do not.
"""

import time
from collections.abc import Iterator, Sequence

from engine.contract.labels import MODEL, Item, Judgement
from engine.judging import Judge, Odds
from engine.labelling.items import identity


def votes(judge: Judge, items: Sequence[Item], name: str, guideline: str = "") -> Iterator[tuple[Judgement, Odds]]:
    """One judgement for each item of two texts, from the labeller `model:<name>`. Others are passed over.

    guideline: hash of the constitution that was in force.
    """
    for item in items:
        texts = [candidate.text for candidate in item.candidates if candidate.text is not None]
        if len(texts) != 2 or len(item.candidates) != 2:
            continue
        odds = judge.odds(item.prompt, *texts)
        yield as_judgement(item, odds, name, guideline), odds


def as_judgement(item: Item, odds: Odds, name: str, guideline: str = "") -> Judgement:
    """Which of the two was preferred in both orders; a tie where the orders disagree. The odds stand in the note."""
    better = 0 if odds.mean > 0 else 1
    told = f"log-odds of the first: {odds.as_first:+.3f} standing first, {odds.as_second:+.3f} standing second"
    return Judgement(
        id=identity(item.id, name),
        item=item.id,
        labeller=MODEL + name,
        ranking=((better,), (1 - better,)) if odds.agree else ((0, 1),),
        time=time.time(),
        note=f"{told}; confidence {odds.confidence:.2f}" if odds.agree else f"{told}; the orders disagree",
        guideline=guideline,
        picked_by="vote",
    )
