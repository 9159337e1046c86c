"""Where a run is heading: held-out reward against compute, as a saturating curve, and how far that can be relied on.

Khatri et al. 2025 (ScaleRL, arXiv:2510.13786), eq. 1: R(C) = R0 + (A - R0) / (1 + (Cmid / C)^B). The asymptote A of a
curve that is not past its middle can be almost anything, and a plain fit does not say so: it is profiled here, and told
only where the data bounds it. Departures: R0 is fitted too, with its measurement as one more point, as a mistake in it
would make A look surer than it is; and errors are Gaussian, so that R0 follows from the rest without a search.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Bounds of B, which has been between 1 and 3 in what is published.
B_RANGE = (0.2, 6.0)
#: How far beyond the measured compute the middle is looked for, as a factor, on either side.
MIDDLE_BEYOND = (3.0, 30.0)
GRID = (61, 31, 61)  # of A, B, log Cmid
#: Looks at ever finer grids; before the last, whatever fits a few times as badly as the best stays in sight, since the
#: valley of good curves is narrow and slants across the first cells.
ZOOMS = 5
IN_SIGHT = 4.0
#: Four parameters, and something to tell whether they fit.
LEAST_POINTS = 6
#: An asymptote is told if its interval is at most this share of the whole rise.
WIDEST = 0.5
#: And if the compute is at least this many times the middle's.
PAST_MIDDLE = 2.0
#: By how much, in squared standard errors, a curve has to fit better than a constant, which has three parameters less:
#: 99.9% of chi squared, as one looks at many runs.
RISES = 16.27
NO_RISE = "the reward does not rise clearly beyond its noise"
#: 97.5% quantiles of Student's t for 1 to 30 degrees of freedom.
T975 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


class Curve(NamedTuple):
    """What was measured. compute: (N,), any unit, above 0 and rising. reward: (N,). error: (N,) standard errors; None
    if unknown, which the scatter around the curve then tells. start: the reward before training and its standard error.
    """

    compute: Floats
    reward: Floats
    error: Floats | None = None
    start: tuple[float, float] | None = None


class Range(NamedTuple):
    """The best value, and the 95% profile-likelihood interval."""

    value: float
    low: float
    high: float


class Band(NamedTuple):
    """Between which rewards every curve runs that the data allows, (points,), at each compute."""

    compute: Floats
    best: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Fit:
    """asymptote, exponent, middle: A, B and Cmid. start: the best R0. scatter: of the points around the curve, in units
    of their errors, or of the reward where those are unknown. rises: whether the reward does so at all. doubts: why the
    asymptote cannot be told yet; empty if it can.
    """

    asymptote: Range
    exponent: Range
    middle: Range
    start: float
    scatter: float
    band: Band
    rises: bool
    doubts: list[str]

    @property
    def is_identified(self) -> bool:
        return not self.doubts


class ScalingError(ValueError):
    """Points that no curve can be fitted to, in words for a person."""


def fit(curve: Curve, *, ceiling: float | None = None, forecast: Floats | None = None) -> Fit:
    """The curve with the highest likelihood, and all that are likely enough. Raises ScalingError.

    ceiling: the largest reward there can be; without one the asymptote is looked for up to five times the range of the
    rewards above them. forecast: where the band is told; without it from the first measurement to four times the last.
    """
    _check(curve, ceiling)
    axes = _first_axes(curve, ceiling)
    limits = [(float(axis[0]), float(axis[-1])) for axis in axes]
    degrees = len(curve.reward) + (curve.start is not None) - 4
    for zoom in range(1, ZOOMS + 1):
        misfit, starts = _misfit(curve, axes)
        least = float(misfit.min())
        scale = _scale(curve, least, degrees)
        allowed = least + threshold(degrees, is_known=curve.error is not None) * scale
        in_sight = max(allowed, IN_SIGHT * least) if zoom < ZOOMS else allowed
        found = [_range(_profile(misfit, axis), axes[axis], in_sight) for axis in range(3)]
        if zoom < ZOOMS:
            axes = [_around(found[i], axes[i], limits[i]) for i in range(3)]
    best = np.unravel_index(int(misfit.argmin()), misfit.shape)
    asymptote, exponent, middle = found
    middle = Range(*np.exp(middle))
    start = float(starts[best])
    rises = _gain(curve, least) / scale > RISES
    doubts = _doubts(curve, asymptote, middle, start, limits[0][1]) if rises else [NO_RISE]
    at = np.geomspace(curve.compute[0], 4 * curve.compute[-1], 60) if forecast is None else forecast
    band = _band(at, axes, misfit <= allowed, starts, best)
    return Fit(asymptote, exponent, middle, start, float(np.sqrt(least / degrees)), band, rises, doubts)


def reward_at(compute: Floats, *, start: float, asymptote: float, exponent: float, middle: float) -> Floats:
    """The curve, eq. 1."""
    return start + (asymptote - start) / (1 + (middle / compute) ** exponent)


def threshold(degrees: int, *, is_known: bool) -> float:
    """How much worse than the best a curve of the 95% interval may fit: 3.84 where errors are known, else Student's."""
    if is_known:
        return 3.8415
    return (T975[degrees - 1] if degrees <= len(T975) else 1.96 + 2.4 / degrees) ** 2


def _check(curve: Curve, ceiling: float | None) -> None:
    count = len(curve.reward)
    if count < LEAST_POINTS:
        raise ScalingError(
            f"there are {count} measurements of held-out reward, and a curve takes at least {LEAST_POINTS}; "
            "set training.eval_every lower, or let it run on"
        )
    if not np.isfinite(curve.reward).all():
        raise ScalingError("a held-out reward is no number; leave out what came after it")
    if (curve.compute <= 0).any() or (np.diff(curve.compute) <= 0).any():
        raise ScalingError("compute should rise from measurement to measurement, from above 0")
    if ceiling is not None and float(curve.reward.max()) > ceiling:
        raise ScalingError(f"a reward of {curve.reward.max():g} is above the ceiling of {ceiling:g}; raise it")


def _first_axes(curve: Curve, ceiling: float | None) -> list[Floats]:
    """Every asymptote, exponent and logarithm of a middle that is looked at."""
    lowest, highest = float(curve.reward.min()), float(curve.reward.max())
    reach = 5 * max(highest - lowest, 1e-9)
    before, beyond = MIDDLE_BEYOND
    return [
        np.linspace(lowest, highest + reach if ceiling is None else ceiling, GRID[0]),
        np.geomspace(*B_RANGE, GRID[1]),
        np.linspace(np.log(curve.compute[0] / before), np.log(curve.compute[-1] * beyond), GRID[2]),
    ]


def _misfit(curve: Curve, axes: list[Floats]) -> tuple[Floats, Floats]:
    """Chi squared of each curve, (A, B, Cmid), with the best start for it, which comes second.

    The reward is R0 (1 - s) + A s for a rise s that depends on B and Cmid alone, so R0 follows from a line's equation.
    """
    asymptote, exponent, middle = axes
    risen = _risen(curve.compute, exponent[:, None, None], middle[None, :, None])  # (B, Cmid, N)
    weight = np.ones_like(curve.reward) if curve.error is None else curve.error**-2.0
    left = 1 - risen
    known, known_weight = (0.0, 0.0) if curve.start is None else (curve.start[0], _start_weight(curve))
    # Sums over points, each (B, Cmid); `a` is the asymptote's axis, (A, 1, 1).
    a = asymptote[:, None, None]
    squares = (weight * curve.reward**2).sum() - 2 * a * (risen @ (weight * curve.reward)) + a**2 * (risen**2 @ weight)
    mixed = left @ (weight * curve.reward) - a * ((left * risen) @ weight)
    steepness = left**2 @ weight
    # A curve that falls, or starts far below all that was seen, is none of these.
    lowest = 2 * float(curve.reward.min()) - float(curve.reward.max())
    starts = np.clip((mixed + known_weight * known) / np.maximum(steepness + known_weight, 1e-12), lowest, a)
    misfit = squares - 2 * starts * mixed + starts**2 * steepness + known_weight * (starts - known) ** 2
    return np.maximum(misfit, 0.0), starts


def _start_weight(curve: Curve) -> float:
    """Of the measurement before training. Where errors are unknown, it counts as one point more."""
    assert curve.start is not None  # noqa: S101 - asked for only where there is one
    return 1.0 if curve.error is None else curve.start[1] ** -2.0


def _risen(compute: Floats, exponent: Floats, middle: Floats) -> Floats:
    """Which share of the rise is done: 1 / (1 + (Cmid / C)^B). middle: its logarithm."""
    return np.asarray(1 / (1 + np.exp(np.clip(exponent * (middle - np.log(compute)), -700, 700))))


def _scale(curve: Curve, least: float, degrees: int) -> float:
    """By what misfits are divided: the variance around the curve, or where errors are known, how much larger than those
    it is, if it is."""
    found = least / degrees
    return max(found, 1e-18) if curve.error is None else max(found, 1.0)


def _profile(misfit: Floats, axis: int) -> Floats:
    """The best misfit for each value of one parameter."""
    return np.asarray(misfit.min(axis=tuple(i for i in range(3) if i != axis)))


def _range(profile: Floats, values: Floats, allowed: float) -> Range:
    """Where the profile is low enough; the ends lie between the last value that is and the next."""
    inside = np.flatnonzero(profile <= allowed)
    first, last = int(inside[0]), int(inside[-1])
    low = values[0] if first == 0 else np.interp(allowed, profile[[first, first - 1]], values[[first, first - 1]])
    high = (
        values[-1]
        if last == len(values) - 1
        else np.interp(allowed, profile[[last, last + 1]], values[[last, last + 1]])
    )
    return Range(float(values[profile.argmin()]), float(low), float(high))


def _around(found: Range, values: Floats, limits: tuple[float, float]) -> Floats:
    """A finer axis that holds the interval and a bit more."""
    margin = max(0.5 * (found.high - found.low), float(np.diff(values).max()))
    low, high = max(limits[0], found.low - margin), min(limits[1], found.high + margin)
    return np.linspace(low, high, len(values))


def _gain(curve: Curve, least: float) -> float:
    """How much better the best curve fits than a reward that stays the same."""
    weight = np.ones_like(curve.reward) if curve.error is None else curve.error**-2.0
    reward = curve.reward
    if curve.start is not None:
        reward, weight = np.append(reward, curve.start[0]), np.append(weight, _start_weight(curve))
    mean = (weight * reward).sum() / weight.sum()
    return float((weight * (reward - mean) ** 2).sum()) - least


def _doubts(curve: Curve, asymptote: Range, middle: Range, start: float, limit: float) -> list[str]:
    """Why the asymptote cannot be told yet. limit: the largest that was looked at."""
    doubts = []
    if curve.compute[-1] < PAST_MIDDLE * middle.value:
        reached = curve.compute[-1] / middle.value
        doubts.append(
            f"the run has come {reached:.1f} times as far as the curve's middle, and it takes {PAST_MIDDLE:g}"
        )
    rise = asymptote.value - start
    if asymptote.high - asymptote.low > WIDEST * rise:
        end = (
            "no upper end that the data gives" if asymptote.high >= limit else f"{asymptote.high:.3g} as its upper end"
        )
        doubts.append(
            f"the asymptote's interval has {end} and {asymptote.low:.3g} as its lower: more than half the rise"
        )
    return doubts


def _band(
    compute: Floats, axes: list[Floats], is_allowed: NDArray[np.bool_], starts: Floats, best: tuple[np.intp, ...]
) -> Band:
    places = np.argwhere(is_allowed)
    # Some thousands of curves have the same envelope as all, and the best one comes first.
    places = np.vstack([np.array(best)[None], places[:: max(1, len(places) // 5000)]])
    asymptote, exponent, middle = (axis[places[:, i]][:, None] for i, axis in enumerate(axes))
    start = starts[tuple(places.T)][:, None]
    rewards = start + (asymptote - start) * _risen(compute, exponent, middle)  # (curves, points)
    return Band(compute, rewards[0], rewards.min(axis=0), rewards.max(axis=0))


# ------------------------------------------------------------------------------------------------------- looking back


class BackTest(NamedTuple):
    """How a fit to the first half of the measurements foretold the second: by how much it was off on average, and what
    share lay in its band, where a measurement may miss it by its own error."""

    mean_error: float
    inside: float


def back_test(curve: Curve, *, ceiling: float | None = None) -> BackTest | None:
    """None if half of the measurements are too few for a curve."""
    half = len(curve.reward) // 2
    if half < LEAST_POINTS:
        return None
    error = None if curve.error is None else curve.error[:half]
    first = Curve(curve.compute[:half], curve.reward[:half], error, curve.start)
    early = fit(first, ceiling=ceiling, forecast=curve.compute[half:])
    later = curve.reward[half:]
    noise = 1.96 * (early.scatter if curve.error is None else curve.error[half:])
    is_inside = (later >= early.band.low - noise) & (later <= early.band.high + noise)
    return BackTest(float(np.abs(early.band.best - later).mean()), float(is_inside.mean()))
