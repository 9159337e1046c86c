"""Two models on the same prompts: what one of k answers, or the best of k, is worth, side by side, and whether asking
the second more often makes up for the first.

A model that learned from reward often answers better at once and worse in many tries: Yue et al. 2025
(arXiv:2504.13837). Differences are taken within prompts, so that what makes a prompt hard for both cancels out.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from engine.evaluation import best_of
from engine.evaluation.figures import mean_known
from engine.evaluation.intervals import bootstrap_of_means
from engine.evaluation.pass_at_k import by_prompt, mean_pass_at_k


class Difference(NamedTuple):
    """What k answers of the first and of the second model are worth: pass@k, or the reward of the best. low, high: 95%
    interval of the first's less the second's."""

    k: int
    first: float
    second: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """Which is better beyond doubt: 1 the first, -1 the second, 0 neither."""
        return int(self.low > 0) - int(self.high < 0)


def differences(first: Sequence[int], second: Sequence[int], *, answers: int, ks: Sequence[int]) -> list[Difference]:
    """first, second: right answers to each prompt, of `answers` by each model."""
    mine, theirs = (by_prompt(right, answers=answers, ks=ks) for right in (first, second))
    return _between(mine, theirs, ks)


def asked_to_match(first: Sequence[int], second: Sequence[int], *, answers: int) -> int | None:
    """How often the second has to be asked until it is right as often as the first at one answer; None if `answers`
    times do not suffice."""
    wanted = mean_pass_at_k(first, answers=answers, k=1)
    return _reached(by_prompt(second, answers=answers, ks=range(1, answers + 1)), wanted)


def differences_of_best(
    first: Sequence[Sequence[float]], second: Sequence[Sequence[float]], *, ks: Sequence[int]
) -> list[Difference]:
    """first, second: rewards of the answers to each prompt, [prompts][answers], NaN where one has none."""
    return _between(*_both_known(first, second, ks), ks)


def asked_to_earn(first: Sequence[Sequence[float]], second: Sequence[Sequence[float]]) -> int | None:
    """How often the second has to be asked until its best answer earns what one of the first does; None if all of its
    answers do not suffice."""
    mine, theirs = _both_known(first, second, range(1, len(second[0]) + 1))
    return _reached(theirs, float(mine[:, 0].mean()))


def _both_known(
    first: Sequence[Sequence[float]], second: Sequence[Sequence[float]], ks: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """The reward of the best of k, each (prompts, ks), of the prompts to which both have an answer with a reward."""
    mine, theirs = (best_of.by_prompt(rewards, ks, rewards) for rewards in (first, second))
    known = ~(mine + theirs).isnan().any(dim=1)
    return mine[known], theirs[known]


def _between(mine: Tensor, theirs: Tensor, ks: Sequence[int]) -> list[Difference]:
    """mine, theirs: (prompts, ks)."""
    # Rewards with one mean may differ in the last bits of their sums, which would count as beyond doubt.
    intervals = bootstrap_of_means((mine - theirs).round(decimals=12))
    means = zip(ks, mine.mean(dim=0).tolist(), theirs.mean(dim=0).tolist(), intervals, strict=True)
    return [Difference(k, a, b, *interval) for k, a, b, interval in means]


def _reached(curves: Tensor, wanted: float) -> int | None:
    """At how many answers the mean of the curves, (prompts, answers), is as high as wanted."""
    reached = torch.nonzero(curves.mean(dim=0) >= wanted - 1e-12)
    return int(reached[0]) + 1 if len(reached) else None


class RewardDifference(NamedTuple):
    """The first's mean reward less the second's over the same prompts, its standard error, and a 95% interval."""

    difference: float
    standard_error: float
    low: float
    high: float


def of_rewards(first: Sequence[Sequence[float]], second: Sequence[Sequence[float]]) -> RewardDifference:
    """first, second: rewards of the answers to each prompt, [prompts][answers], NaN where one has none."""
    mine, theirs = (torch.tensor([mean_known(e) for e in each], dtype=torch.float64) for each in (first, second))
    less = mine - theirs
    less = less[~less.isnan()]
    [interval] = bootstrap_of_means(less[:, None])
    error = float(less.std() / math.sqrt(len(less))) if len(less) > 1 else math.nan
    return RewardDifference(float(less.mean()), error, *interval)


def verdict_of_reward(found: RewardDifference, *, names: tuple[str, str], prompts: int) -> str:
    """In one sentence, whose answers earn more."""
    a, b = names
    size = (
        f"{found.difference:+.3g}, standard error {found.standard_error:.2g}, 95% {found.low:+.2g} to {found.high:+.2g}"
    )
    if found.low <= 0 <= found.high:
        return f"{prompts} prompts do not tell whether the answers of {a} or of {b} earn more reward ({size})."
    return f"Answers of {a} earn {'more' if found.low > 0 else 'less'} reward than those of {b} ({size})."


#: By who is ahead at one answer and at the most: 1 the first model, -1 the second, 0 nobody knows.
VERDICTS = {
    (1, 1): "{a} beats asking {b} more often: it is ahead {at_one} and still {at_most}; {worth}",
    (1, 0): "{a} is ahead {at_one}, but asking {b} more often does as well, as far as {prompts} prompts tell {at_most};"
    " {worth}",
    (1, -1): "{a} is ahead {at_one}, but asking {b} more often beats it, from {since} answers on: {at_most}; {worth}",
    (0, 1): "{prompts} prompts do not tell {a} from {b} {at_one}; both asked more often, {a} is ahead from {since}"
    " answers on: {at_most}",
    (0, 0): "{prompts} prompts do not tell {a} from {b}, neither {at_one} nor {at_most}; measure on more of them",
    (0, -1): "{prompts} prompts do not tell {a} from {b} {at_one}; both asked more often, {b} is ahead from {since}"
    " answers on: {at_most}",
    (-1, 1): "{a} is behind {at_one}, but both asked more often it is ahead from {since} answers on: {at_most}",
    (-1, 0): "{a} is behind {at_one}; both asked more often it does as well, as far as {prompts} prompts tell"
    " {at_most}",
    (-1, -1): "{a} does not beat {b}: it is behind {at_one} and {at_most}",
}
OF_ONE_ANSWER = {
    1: "{a} is right more often than {b} {at_one}",
    0: "{prompts} prompts do not tell {a} from {b} {at_one}; measure on more of them",
    -1: "{a} is right less often than {b} {at_one}",
}


def verdict_of_best(found: Sequence[Difference], match: int | None, *, names: tuple[str, str], prompts: int) -> str:
    """As `verdict`, of the reward of the best answer: whether picking the second's best makes up for the first."""
    return f"Of the best answer by reward: {verdict(found, match, names=names, prompts=prompts)}"


def verdict(found: Sequence[Difference], match: int | None, *, names: tuple[str, str], prompts: int) -> str:
    """In one sentence, whether the first model beats asking the second more often.

    found: at 1 answer first, at the most last. match: see `asked_to_match`.
    """
    one, most = found[0], found[-1]
    form = OF_ONE_ANSWER[one.sign] if most.k == 1 else VERDICTS[one.sign, most.sign]
    a, b = names
    said = form.format(
        a=a,
        b=b,
        prompts=prompts,
        at_one=f"at one answer ({_of(one)})",
        at_most=f"at {most.k} ({_of(most)})",
        since=_since(found),
        worth=f"one answer of {a} is worth {match or f'more than {most.k}'} of {b}",
    )
    return f"{said}."


def _of(point: Difference) -> str:
    return f"{point.first:.3g} to {point.second:.3g}, difference {point.low:+.2g} to {point.high:+.2g}"


def _since(found: Sequence[Difference]) -> int:
    """From which k on it stays as it is at the most answers."""
    others = [i for i, point in enumerate(found) if point.sign != found[-1].sign]
    return found[others[-1] + 1].k if others else found[0].k
