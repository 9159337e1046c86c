"""Which model would people prefer if all answers were as long: longer ones win by their length alone, too."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from workbench.state.agreement import Share
from workbench.state.comparison import FEW_PROMPTS, PRIOR, Place, Vote, resamples_of

Floats = NDArray[np.float64]

RESAMPLES = 200
#: On the weight of length, squared: holds it where each longer answer won, and moves no weight that the data can tell.
RIDGE = 0.1
ROUNDS = 50
LONGEST_STEP = 2.0
CLOSE_ENOUGH = 1e-8


def board_at_equal_length(votes: Sequence[Vote], *, seed: int = 0, resamples: int = RESAMPLES) -> list[Place]:
    """All models, strongest first, as log-odds at equal length, with intervals from a bootstrap over prompts.

    Dubois, Galambosi, Liang & Hashimoto 2024 (Length-Controlled AlpacaEval, arXiv:2404.04475), eq. 1 and 2, in small:

        logit P(second wins) = strength[second] - strength[first] + weight * tanh(longer / std(longer))

    with `longer` in characters, second less first, and a tie as half a win. Their term for how hard a prompt is asks
    for thousands of prompts and is left out. Without any difference in length it is the board of Bradley & Terry.
    """
    models = sorted({name for vote in votes for name in (vote.first, vote.second)})
    if len(models) < 2:
        return []
    design, scores, weights = _design(votes, models)
    _, prompts = np.unique(np.asarray([vote.prompt for vote in votes]), return_inverse=True)
    found = _strengths(design, scores, weights)
    spread = np.tile([[-np.inf], [np.inf]], len(models))
    if (count := int(prompts.max()) + 1) >= FEW_PROMPTS:
        drawn = resamples_of(count, seed, resamples)[:, prompts]
        prior = weights[len(votes) :]
        tries = [_strengths(design, scores, np.concatenate([times, prior]), found) for times in drawn]
        spread = np.quantile(np.stack(tries)[:, :-1], [0.025, 0.975], axis=0)
    counts = [sum(name in (vote.first, vote.second) for vote in votes) for name in models]
    places = [
        Place(name, float(found[at]), float(spread[0, at]), float(spread[1, at]), counts[at])
        for at, name in enumerate(models)
    ]
    return sorted(places, key=lambda place: place.strength, reverse=True)


def rate_at_equal_length(votes: Sequence[Vote], *, seed: int = 0) -> Share:
    """How often the second of two models would be preferred, with a 95% interval; the models stand in each vote alike.

    The strengths of two models mirror each other, so twice one of them is the log-odds between both.
    """
    if not votes:
        return Share(0, 0, 0.0, 1.0)
    second = next(place for place in board_at_equal_length(votes, seed=seed) if place.model == votes[0].second)
    value, low, high = (float(1 / (1 + np.exp(-2 * odds))) for odds in (second.strength, second.low, second.high))
    return Share(value * len(votes), len(votes), low, high)


def _design(votes: Sequence[Vote], models: Sequence[str]) -> tuple[Floats, Floats, Floats]:
    """(n, models + 1) of what each vote sets against each other, and its score and weight, (n,).

    The last rows are no votes: a little win for both sides of each two models that met, as on the board.
    """
    at = {name: index for index, name in enumerate(models)}
    longer = np.asarray([vote.longer for vote in votes], dtype=np.float64)
    spread = longer.std()
    met = sorted({(vote.first, vote.second) for vote in votes})
    sides = [(vote.first, vote.second) for vote in votes] + [pair for pair in met for _ in range(2)]
    design = np.zeros((len(sides), len(models) + 1))
    for row, (first, second) in enumerate(sides):
        design[row, at[first]], design[row, at[second]] = -1, 1
    if spread:
        design[: len(votes), -1] = np.tanh(longer / spread)
    scores = np.asarray([vote.score for vote in votes] + [1.0, 0.0] * len(met), dtype=np.float64)
    weights = np.concatenate([np.ones(len(votes)), np.full(2 * len(met), PRIOR)])
    return design, scores, weights


def _strengths(design: Floats, scores: Floats, weights: Floats, start: Floats | None = None) -> Floats:
    """Strengths with mean 0 and, last, the weight of length: a logistic regression, climbed by Newton's method."""
    size = design.shape[1]
    found = np.zeros(size) if start is None else start.copy()
    # As in `bradley_terry`: adding the same to all strengths changes nothing, and 1 / k holds their mean.
    held = np.full((size, size), 1 / (size - 1))
    held[-1, :] = held[:, -1] = 0
    held[-1, -1] = RIDGE
    for _ in range(ROUNDS):
        chance = 1 / (1 + np.exp(-design @ found))
        slope = design.T @ (weights * (scores - chance)) - held @ found
        curve = design.T @ (design * (weights * chance * (1 - chance))[:, np.newaxis]) + held + 1e-9 * np.eye(size)
        step = np.clip(np.linalg.solve(curve, slope), -LONGEST_STEP, LONGEST_STEP)
        found = found + step
        if np.abs(step).max() < CLOSE_ENOUGH:
            break
    return np.asarray(found, dtype=np.float64)
