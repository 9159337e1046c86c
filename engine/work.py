"""A run that learns nothing: it draws, measures or proves something, a step at a time."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from engine.contract import events
from engine.loop import Control
from engine.reporting import Reporter


@dataclass(frozen=True)
class Work:
    """step(number) does one of the `steps`, from 1, and returns what is to be plotted.

    done: steps that an earlier life of the run finished, as the files it left tell; they are not done again.
    """

    steps: int
    step: Callable[[int], dict[str, float]]
    done: int = 0


def perform(work: Work, reporter: Reporter, control: Control) -> bool:
    """Do the steps that are left. Returns False if asked to stop; raises StopNow."""
    for number in range(work.done + 1, work.steps + 1):
        started = time.perf_counter()
        values = work.step(number)
        values = {**values, "step_time": time.perf_counter() - started}
        reporter.event(events.Step(step=number, time=time.time(), values=values))
        if control.after_step(number).stop and number < work.steps:
            return False
    return True
