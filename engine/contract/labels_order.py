"""What chooses the items to judge: the lot, or what reward models make of the answers, with a share by lot always.

    labels/<set>/order.json    {"by": "spread", "models": [...], "time": ..., "scores": {item: [[...], ...]}}

`scores` holds, for each item, a list for each model with the score of each candidate. Nothing of it is ever shown
while somebody judges. Each judgement says what chose its item, so that those the lot drew can be counted alone.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Literal

from pydantic import BaseModel, Field, ValidationError

from engine.contract.labels import LINE, Judgement, LabelDir
from engine.contract.run_dir import write_json

By = Literal["disagreement", "spread"]
#: What `picked_by` says of an item that its score chose. Of all other items a lot decided.
CHOSEN = ("disagreement", "spread")

ABOUT = {
    "disagreement": "where the reward models, together, are least sure which answer is better",
    "spread": "where the scores of the answers lie furthest apart",
}


class Order(BaseModel, **LINE):
    """order.json. scores: by item, (models, candidates)."""

    by: By
    models: tuple[str, ...] = Field(min_length=1)
    time: float
    scores: dict[str, tuple[tuple[float, ...], ...]]

    def weights(self) -> dict[str, float]:
        """By item: the largest is judged first. An item with a score that is no number is left to the lot."""
        weigh = disagreement if self.by == "disagreement" else spread
        found = {item: weigh(scores) for item, scores in self.scores.items()}
        return {item: weight for item, weight in found.items() if math.isfinite(weight)}


def disagreement(scores: Sequence[Sequence[float]]) -> float:
    """How unsure the models are together, from 0 to 1/4: the variance of “the first is better”, over all pairs.

    scores: (models, candidates). A model's chance that one beats the other is Bradley & Terry's, the logistic function
    of their scores' difference; the models' mean chance p has the variance p (1 - p), which by the law of total
    variance is how unsure each of them is plus how far they are apart.
    """
    variances = []
    for one, other in combinations(range(len(scores[0])), 2):
        chance = sum(_logistic(of_model[one] - of_model[other]) for of_model in scores) / len(scores)
        variances.append(chance * (1 - chance))
    return sum(variances) / len(variances)


def spread(scores: Sequence[Sequence[float]]) -> float:
    """How far apart the best and the worst candidate are, as a mean over the models, in units of their scores."""
    return sum(max(of_model) - min(of_model) for of_model in scores) / len(scores)


def is_chosen(judgement: Judgement) -> bool:
    """Whether a score chose the item, so that it is no sample of all items."""
    return judgement.picked_by in CHOSEN


def read_order(label_dir: LabelDir) -> Order | None:
    """None where the lot decides. Raises ValueError, OSError if there is a file that cannot be read."""
    try:
        return Order.model_validate_json(label_dir.order.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        problem = error.errors()[0]["msg"]
        raise ValueError(
            f"{label_dir.order}: {problem}; run `order` again, or remove it to let a lot decide"
        ) from error


def write_order(label_dir: LabelDir, order: Order) -> None:
    """Whole or not at all, in place of what was there. Raises OSError."""
    write_json(label_dir.order, order.model_dump(mode="json"))


def queue(lot: Sequence[str], weights: Mapping[str, float]) -> list[str]:
    """Items that have a weight, the largest first; equal ones as the lot has them."""
    return sorted((item for item in lot if item in weights), key=lambda item: -weights[item])


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value >= 0 else 1 - 1 / (1 + math.exp(value))
