"""What an answer is worth: a weighted sum of parts, each reported by itself.

Registry of parts: preset kind -> builder. A part is a function of a batch of answers, and says nothing of weights.

An answer on which a part fails is worth nothing that is known, and must not be learned from: a zero would be a verdict.
Its total is NaN, and methods leave it out of its group's mean and spread, and of the loss. Where a part has nothing to
say of an answer (None), the sum of the other parts stands, as in TRL; where none has, there is no reward either.
"""

import math
from collections.abc import Callable, Sequence
from itertools import chain
from typing import NamedTuple

from engine.contract import online_settings
from engine.rewards import rules
from engine.rewards.judged import judged
from engine.rewards.learned import learned
from engine.rewards.mathematics import math_verify
from engine.rewards.own_function import own_function
from engine.rewards.parts import Answered, Failure, Part, RewardError, Score, Surroundings
from engine.tally import Mean, Values

__all__ = ["Answered", "Reward", "RewardError", "RewardSum", "Score", "Surroundings", "told"]

BUILDERS: dict[type, Callable[..., Part]] = {
    online_settings.Verifier: rules.verifier,
    online_settings.ExactMatch: rules.exact_match,
    online_settings.Pattern: rules.pattern,
    online_settings.Length: rules.length,
    online_settings.Overlong: rules.overlong,
    online_settings.MathVerify: math_verify,
    online_settings.LearnedReward: learned,
    online_settings.Judged: judged,
    online_settings.OwnFunction: own_function,
}
#: Parts of which it is always told how often they failed, also where they did not.
RUNS_CODE = (online_settings.MathVerify, online_settings.OwnFunction)
#: Batches in a row without one reward after which a run ends; the first one ends it at once.
BARREN = 3
ADVICE = {
    "time-out": "raise its timeout, or make it quicker; such answers are not learned from",
    "crash": "engine.log has what it said; such answers are not learned from",
    "no number": "return a number for each answer, or None where there is none to give; such are not learned from",
}


class Reward(NamedTuple):
    """total: weighted sum; NaN where there is none. parts: each part's own value by name, NaN where it failed; one that
    has nothing to say of the answer is not there. watched: parts of which it is told how often they failed, also never.
    """

    total: float
    parts: dict[str, float]
    watched: tuple[str, ...] = ()

    @property
    def is_known(self) -> bool:
        return math.isfinite(self.total)


class RewardSum:
    """Scores answers by the parts of a preset."""

    def __init__(self, parts: Sequence[online_settings.Reward], around: Surroundings) -> None:
        self._parts = [(name, part.weight, BUILDERS[type(part)](part, around)) for name, part in _named(parts)]
        self._watched = tuple(name for name, part in _named(parts) if isinstance(part, RUNS_CODE))
        self._notice = around.notice
        self._told: set[tuple[str, str]] = set()
        self._has_worked, self._barren = False, 0

    def score(self, answers: Sequence[Answered]) -> list[Reward]:
        """What each answer is worth, in order.

        Raises RewardError if a row lacks what a part needs; and if no answer of the first batch, or none of several in
        a row, has a reward.
        """
        scores = {name: part(answers) for name, _, part in self._parts}
        rewards = [self._sum({name: scores[name][index] for name in scores}) for index in range(len(answers))]
        failures = self._tell_failures(scores)
        if answers:
            self._judge(rewards, failures)
        return rewards

    def try_out(self, answered: Answered) -> dict[str, Score]:
        """What each part says of an answer that nobody wrote, whatever that is. Raises RewardError as `score` does."""
        return {name: part([answered])[0] for name, _, part in self._parts}

    def _sum(self, mine: dict[str, Score]) -> Reward:
        values = {name: math.nan if isinstance(s, Failure) else s for name, s in mine.items() if s is not None}
        # A part without weight is there to be watched: it can neither give a reward nor cost one.
        weighted = [weight * values[name] for name, weight, _ in self._parts if weight and name in values]
        return Reward(sum(weighted) if weighted else math.nan, values, self._watched)

    def _tell_failures(self, scores: dict[str, Sequence[Score]]) -> list[str]:
        """Each way of failing is told once. Returns what went wrong first of each part."""
        first = []
        for name, mine in scores.items():
            failures = [score for score in mine if isinstance(score, Failure)]
            for failure in failures:
                if (name, failure.kind) not in self._told:
                    self._told.add((name, failure.kind))
                    count = sum(other.kind == failure.kind for other in failures)
                    what = f"the reward {name} failed on {count} of {len(mine)} answers: {failure.why}"
                    self._notice(what, ADVICE.get(failure.kind, "mend it; such answers are not learned from"))
            first += [f"{name}: {failures[0].why}"] if failures else []
        return first

    def _judge(self, rewards: Sequence[Reward], failures: Sequence[str]) -> None:
        """Raises RewardError where nothing could be learned from, and nothing says that this will change."""
        if any(reward.is_known for reward in rewards):
            self._has_worked, self._barren = True, 0
            return
        self._barren += 1
        if self._has_worked and self._barren < BARREN:
            return
        when = f"{self._barren} times in a row" if self._has_worked else "already in the first batch"
        why = "; ".join(failures) or "every part had nothing to say (None) of every answer"
        remedy = "mend the reward; `check` calls it once, then start or resume"
        raise RewardError(f"rewards: none of {len(rewards)} answers has a reward, {when}: {why}\n{remedy}")


def told(rewards: Sequence[Reward], *, correction: int = 1) -> Values:
    """What a step's rewards say in sum, part by part, under TRL's names; shares are of all these answers.

    correction: of the spread, as torch takes it.
    """
    values: Values = {}
    count = len(rewards)
    for name in dict.fromkeys(chain.from_iterable((*reward.parts, *reward.watched) for reward in rewards)):
        given = [reward.parts[name] for reward in rewards if name in reward.parts]
        known = [value for value in given if math.isfinite(value)]
        values[f"rewards/{name}/mean"] = Mean(sum(known), len(known))
        values[f"rewards/{name}/std"] = Mean(_spread(known, correction), float(len(known) > correction))
        if len(known) < len(given) or name in rewards[0].watched:
            values[f"rewards/{name}/failed"] = Mean(len(given) - len(known), count)
        if len(given) < count:
            values[f"rewards/{name}/unscored"] = Mean(count - len(given), count)
    missing = sum(not reward.is_known for reward in rewards)
    if missing or rewards[0].watched:
        values["frac_reward_missing"] = Mean(missing, count)
    return values


def _spread(values: Sequence[float], correction: int) -> float:
    """Standard deviation; of too few values 0."""
    if len(values) <= correction:
        return 0.0
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - correction))


def _named(parts: Sequence[online_settings.Reward]) -> list[tuple[str, online_settings.Reward]]:
    """Each part under its kind, a function under its own name; the second of a name gets a number."""
    names: list[str] = []
    for part in parts:
        name = part.function if isinstance(part, online_settings.OwnFunction) else part.kind
        count = sum(earlier.split("_#")[0] == name for earlier in names)
        names.append(name if count == 0 else f"{name}_#{count + 1}")
    return list(zip((name.replace("_#", "_") for name in names), parts, strict=True))
