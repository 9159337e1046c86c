"""What an answer is worth: a weighted sum of parts, each reported by itself.

Registry of parts: preset kind -> builder. A part is a function of a batch of answers, and says nothing of weights.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from engine.contract import online_settings
from engine.rewards import rules
from engine.rewards.learned import learned
from engine.rewards.parts import Answered, Part, RewardError, Surroundings

__all__ = ["Answered", "Reward", "RewardError", "RewardSum", "Surroundings"]

BUILDERS: dict[type, Callable[..., Part]] = {
    online_settings.Verifier: rules.verifier,
    online_settings.ExactMatch: rules.exact_match,
    online_settings.Pattern: rules.pattern,
    online_settings.Length: rules.length,
    online_settings.Overlong: rules.overlong,
    online_settings.LearnedReward: learned,
}


class Reward(NamedTuple):
    """total: weighted sum. parts: each part's own value by name."""

    total: float
    parts: dict[str, float]


class RewardSum:
    """Scores answers by the parts of a preset."""

    def __init__(self, parts: Sequence[online_settings.Reward], around: Surroundings) -> None:
        self._parts = [(name, part.weight, BUILDERS[type(part)](part, around)) for name, part in _named(parts)]

    def score(self, answers: Sequence[Answered]) -> list[Reward]:
        """What each answer is worth, in order. Raises RewardError if a row lacks what a part needs."""
        values = {name: part(answers) for name, _, part in self._parts}
        each = [{name: values[name][index] for name in values} for index in range(len(answers))]
        return [Reward(sum(weight * mine[name] for name, weight, _ in self._parts), mine) for mine in each]


def _named(parts: Sequence[online_settings.Reward]) -> list[tuple[str, online_settings.Reward]]:
    """Each part under its kind; the second of a kind gets a number."""
    names: list[str] = []
    for part in parts:
        count = sum(name.split("_#")[0] == part.kind for name in names)
        names.append(part.kind if count == 0 else f"{part.kind}_#{count + 1}")
    return list(zip((name.replace("_#", "_") for name in names), parts, strict=True))
