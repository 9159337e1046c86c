"""Held-out reward against compute, from what a run wrote."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.contract import events, jsonl
from engine.contract.run_dir import RunDir
from engine.evaluation.scaling import Curve, ScalingError

#: Values of a step that are sums already; others add up.
SUMS = ("num_tokens",)


@dataclass(frozen=True)
class Spent:
    """Compute so far and a measure, after a step."""

    step: int
    compute: float
    reward: float
    error: float | None


def curve_of_run(run: RunDir, *, metric: str, compute: str, early: float, start: float | None = None) -> Curve:
    """The measurements of `metric` after the first `early` share of the compute. Raises ScalingError.

    start: the metric before training, where it is known; else that of step 0, if the run measured it.
    """
    points = spent(run, metric=metric, compute=compute)
    if not points:
        remedy = "set data.eval and training.eval_every"
        raise ScalingError(f"{run.path.name} has no measurements of {metric}; {remedy}, or name another with --metric")
    if all(point.compute <= 0 < point.step for point in points if point.step):
        raise ScalingError(f"{run.path.name} does not tell {compute} of its steps; count compute in another unit")
    before = [point for point in points if point.compute <= 0]
    kept = [point for point in points if point.compute > early * points[-1].compute]
    error = _errors(kept)
    # A number that was given for the start is taken for as exact as the average measurement.
    doubt = 1.0 if error is None else float(error.mean())
    known = None if start is None else (start, doubt)
    if known is None and before:
        known = (before[-1].reward, before[-1].error or doubt)
    return Curve(
        compute=np.array([point.compute for point in kept], dtype=np.float64),
        reward=np.array([point.reward for point in kept], dtype=np.float64),
        error=error,
        start=known,
    )


def _errors(points: list[Spent]) -> NDArray[np.float64] | None:
    """The standard errors, (N,); None unless all are known. Where every prompt earned the same, as before anything is
    learned, theirs is 0, which no measurement's is: it gets the median of the others."""
    errors = [point.error for point in points if point.error is not None]
    positive = [error for error in errors if error > 0]
    if len(errors) < len(points) or not positive:
        return None
    return np.array([error or np.median(positive) for error in errors], dtype=np.float64)


def spent(run: RunDir, *, metric: str, compute: str) -> list[Spent]:
    """Every measurement that counts, with the compute until then: what a later life took back does not."""
    points: list[Spent] = []
    so_far: dict[int, float] = {0: 0.0}
    last = 0
    for event in map(events.read_event, jsonl.follow(run.events)):
        match event:
            case events.Resumed(from_step=step):
                points = [point for point in points if point.step <= step]
                last = step
            case events.Step(step=step, values=values) if compute in values:
                before = 0.0 if compute in SUMS else so_far.get(last, 0.0)
                so_far[step], last = before + values[compute], step
            case events.Evaluation(step=step, values=values) if metric in values:
                error = values.get(f"{metric}_se")
                points.append(Spent(step, so_far.get(step, 0.0), values[metric], error))
            case _:
                pass
    return points
