"""Which model do people prefer: win rates with intervals, how many more judgements it takes, and a board of many."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.state import figures
from workbench.state.agreement import Z95, Share, wilson

Floats = NDArray[np.float64]

RESAMPLES = 2000
#: Below so many prompts a resample of them says little.
FEW_PROMPTS = 10
#: Standard normal quantile of a chance of 80% to see a difference that is there.
Z_POWER = 0.8416212335729143
#: Wins added to both sides of each pair that met, so that a model that never lost has a place on the board.
PRIOR = 0.1
ROUNDS = 100
#: In log-odds: a first step from far away would otherwise jump over the top.
LONGEST_STEP = 2.0
CLOSE_ENOUGH = 1e-9


class Vote(NamedTuple):
    """One judgement of two models' answers. score: 1 the second is better, 0 the first, 0.5 a tie.

    prompt: judgements of one prompt are not independent, so they are resampled together. longer: by how many characters
    the second answer is longer than the first. is_drawn: of two pictures; each pair began as a noise of its own.
    """

    prompt: str
    first: str
    second: str
    score: float
    longer: int = 0
    is_drawn: bool = False


class Place(NamedTuple):
    """A model on the board. strength: log-odds against the average model. low, high: its 95% interval, infinite where
    there are too few prompts to tell."""

    model: str
    strength: float
    low: float
    high: float
    votes: int


def win_rate(prompts: Sequence[str], scores: Sequence[float], *, seed: int = 0) -> Share:
    """Mean score with a 95% percentile bootstrap interval over prompts, Efron 1979.

    prompts, scores: (n,), one entry a judgement; a tie counts half. 0 to 1 for no judgement. Of few prompts, or where
    all say the same, resamples hardly vary and would promise too much: there it is Wilson's interval over prompts.
    """
    if not prompts:
        return Share(0, 0, 0.0, 1.0)
    if len(set(prompts)) < FEW_PROMPTS:
        return wilson_rate(prompts, scores)
    _, places = np.unique(np.asarray(prompts), return_inverse=True)
    sums = np.bincount(places, weights=np.asarray(scores, dtype=np.float64))
    # Prompts of one sum and count are alike to a resample: to draw how many of each kind is the same, and quick.
    kinds, sizes = np.unique(np.stack([sums, np.bincount(places)]), axis=1, return_counts=True)
    if len(sizes) == 1:
        return wilson_rate(prompts, scores)
    drawn = np.random.default_rng(seed).multinomial(sums.size, sizes / sums.size, RESAMPLES)
    low, high = np.quantile(drawn @ kinds[0] / (drawn @ kinds[1]), [0.025, 0.975])
    return Share(float(sums.sum()), len(prompts), float(low), float(high))


def wilson_rate(groups: Sequence[str], scores: Sequence[float]) -> Share:
    """Mean score with Wilson's interval over groups: right where a group is one judgement, as of pictures from a noise
    of their own, and on the safe side where it is more. 0 to 1 for no judgement."""
    if not groups:
        return Share(0, 0, 0.0, 1.0)
    total, count = float(sum(scores)), len(set(groups))
    alone = wilson(total / len(groups) * count, count)
    return Share(total, len(groups), alone.low, alone.high)


def votes_needed(rate: float) -> int:
    """Judgements with which a true rate is told from one half, in 4 of 5 trials, at 95%: two-sided, one sample.

    The usual normal approximation, Fleiss, Levin & Paik 2003, eq. 2.18 without its continuity correction.
    """
    distance = abs(rate - 0.5)
    if distance < 1e-6:
        return 10**9
    return math.ceil(((Z95 * 0.5 + Z_POWER * math.sqrt(rate * (1 - rate))) / distance) ** 2)


def sentence(models: tuple[str, str], rate: Share) -> str:
    """A win rate as one would say it, of the model that is preferred, and what would settle it.

    rate: how often the second of both is preferred.
    """
    first, second = models
    if not rate.total:
        return f"Nobody has compared {first} with {second} yet."
    is_first = rate.value < 0.5
    name, other, ahead = (first, second, _mirrored(rate)) if is_first else (second, first, rate)
    of = f"of {figures.count(ahead.total)}"
    interval = f"95% interval {_whole(ahead.low)}\N{EN DASH}{_whole(ahead.high)}%"
    if ahead.value == 0.5:
        return f"{first} and {second} are preferred alike, each in 50% {of}, {interval}: {_missing(ahead)}."
    verdict = "settled" if ahead.excludes(0.5) else _missing(ahead)
    return f"{name} is preferred over {other} in {figures.share(ahead.value)} {of}, {interval}: {verdict}."


def _mirrored(rate: Share) -> Share:
    """The same for the other one of two."""
    return Share(rate.total - rate.hits, rate.total, 1 - rate.high, 1 - rate.low)


def _missing(rate: Share) -> str:
    """What it takes to settle it."""
    missing = votes_needed(rate.value) - rate.total
    if missing > 100_000:
        return "not settled, and so close that more judgements would hardly settle it"
    if missing <= 0:
        return "not settled; it takes more prompts"
    return f"not settled; about {figures.count(_rounded_up(missing))} more would be needed"


def bradley_terry(wins: Sequence[Sequence[float]] | Floats, *, prior: float = 0.0) -> Floats:
    """Strengths (…, k) as log-odds with mean 0: the likelihood of Bradley & Terry 1952, climbed by Newton's method.

    wins: (…, k, k), how often the row beat the column; a tie is half a win for both. prior: wins added to both sides
    of each pair that met. Without a prior a model that never lost, or never won, has no finite strength.
    """
    counts = np.asarray(wins, dtype=np.float64)
    counts = counts + prior * (counts + np.swapaxes(counts, -1, -2) > 0)
    met = counts + np.swapaxes(counts, -1, -2)
    models = counts.shape[-1]
    strength = np.zeros(counts.shape[:-1])
    for _ in range(ROUNDS):
        chance = 1 / (1 + np.exp(strength[..., np.newaxis, :] - strength[..., np.newaxis]))
        slope = (counts - met * chance).sum(axis=-1)
        bend = met * chance * (1 - chance)
        # Adding the same to all changes nothing, which would leave the system without one answer: 1 / k holds the mean.
        curve = np.eye(models) * (bend.sum(axis=-1)[..., np.newaxis] + 1e-9) - bend + 1 / models
        step = np.linalg.solve(curve, slope[..., np.newaxis])[..., 0]
        step = np.clip(step, -LONGEST_STEP, LONGEST_STEP)
        strength = strength + step
        if np.abs(step).max() < CLOSE_ENOUGH:
            break
    return np.asarray(strength - strength.mean(axis=-1, keepdims=True), dtype=np.float64)


def board(votes: Sequence[Vote], *, seed: int = 0, resamples: int = 200) -> list[Place]:
    """All models, strongest first, with intervals from a bootstrap over prompts."""
    models = sorted({name for vote in votes for name in (vote.first, vote.second)})
    if len(models) < 2:
        return []
    at = {name: index for index, name in enumerate(models)}
    _, prompts = np.unique(np.asarray([vote.prompt for vote in votes]), return_inverse=True)
    first, second = (np.asarray([at[name] for name in side]) for side in _sides(votes))
    scores = np.asarray([vote.score for vote in votes], dtype=np.float64)

    def wins(weights: Floats) -> Floats:
        """weights: (r, votes). Returns (r, k, k)."""
        size = len(models)
        cells = np.concatenate([second * size + first, first * size + second])
        amounts = np.concatenate([scores, 1 - scores])
        rows = [np.bincount(cells, np.tile(weight, 2) * amounts, size * size) for weight in weights]
        return np.asarray(rows, dtype=np.float64).reshape(-1, size, size)

    (found,) = bradley_terry(wins(np.ones((1, len(votes)))), prior=PRIOR)
    weights = resamples_of(int(prompts.max()) + 1, seed, resamples)[:, prompts]
    spread = np.quantile(bradley_terry(wins(weights), prior=PRIOR), [0.025, 0.975], axis=0)
    if prompts.max() + 1 < FEW_PROMPTS:
        spread = np.stack([np.full(len(models), -np.inf), np.full(len(models), np.inf)])
    counts = np.bincount(np.concatenate([first, second]), minlength=len(models))
    places = [
        Place(name, float(found[i]), float(spread[0, i]), float(spread[1, i]), int(counts[i]))
        for i, name in enumerate(models)
    ]
    return sorted(places, key=lambda place: place.strength, reverse=True)


def _sides(votes: Sequence[Vote]) -> tuple[list[str], list[str]]:
    return [vote.first for vote in votes], [vote.second for vote in votes]


def resamples_of(size: int, seed: int, resamples: int) -> Floats:
    """How often each of `size` prompts was drawn in each resample, (resamples, size)."""
    generator = np.random.default_rng(seed)
    drawn = generator.integers(0, size, (resamples, size), dtype=np.int32)
    rows = np.arange(resamples, dtype=np.int64)[:, np.newaxis] * size
    counted = np.bincount((drawn + rows).ravel(), minlength=resamples * size)
    return counted.reshape(resamples, size).astype(np.float64)


def _whole(share: float) -> str:
    return f"{100 * share:.0f}"


def _rounded_up(count: int) -> int:
    """To the first digit, as an estimate has no more: 16 is 20, 163 is 200."""
    unit = int(10 ** math.floor(math.log10(count)))
    return -(-count // unit) * unit
