"""Samplers in continuous time: the probability-flow ODE and the reverse SDE, Song et al. 2021 (arXiv:2011.13456).

Time is the timestep as a real number, and falls from the noisiest that is used to 0, the first the network was trained
at, in equal steps. What noise is left there stays, as it does in diffusers with set_alpha_to_one: false. Nothing is
clipped. With score = -eps / sigma, sigma = sqrt(1 - a) and beta dt = -d log a, the ODE (eq. 13, with eq. 11) is
dx/dt = (d log a / dt) / 2 * (x - eps / sigma). They yield a Moment a step.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

from torch import Tensor

from engine.diffusion.prediction import to_x0
from engine.diffusion.schedules import Schedule, log_alpha_bar, timestep_of
from engine.diffusion.stepping import Draw, Moment, Predict, asked

#: Where these samplers begin on schedules that go on to less signal. There d log a / dt grows without bound, and with
#: it every error of the network; Ho et al.'s linear schedule ends at 4.04e-5 itself.
LEAST_SIGNAL = 4e-5


class Flow(NamedTuple):
    """The ODE at one place: slope is dx/dt, x0 the image as predicted there."""

    slope: Tensor
    x0: Tensor


#: Where the ODE is looked at: (x, timestep) -> Flow.
Look = Callable[[Tensor, float], Flow]


def span(schedule: Schedule) -> tuple[float, float]:
    """The timesteps these samplers begin and end at."""
    return timestep_of(schedule, LEAST_SIGNAL), 0.0


def ode_euler(predict: Predict, schedule: Schedule, x: Tensor, steps: int, eta: float, draw: Draw) -> Iterator[Moment]:
    """Euler's method: order 1. eta and draw are not used, as by none of the ODE's."""
    return integrated("ode_euler", predict, schedule, x, steps, span(schedule))


def ode_heun(predict: Predict, schedule: Schedule, x: Tensor, steps: int, eta: float, draw: Draw) -> Iterator[Moment]:
    """Heun's method, as in Karras et al. 2022 (arXiv:2206.00364), algorithm 1, but in t: order 2."""
    return integrated("ode_heun", predict, schedule, x, steps, span(schedule))


def ode_rk4(predict: Predict, schedule: Schedule, x: Tensor, steps: int, eta: float, draw: Draw) -> Iterator[Moment]:
    """The classical Runge-Kutta method: order 4."""
    return integrated("ode_rk4", predict, schedule, x, steps, span(schedule))


def sde_euler(predict: Predict, schedule: Schedule, x: Tensor, steps: int, eta: float, draw: Draw) -> Iterator[Moment]:
    """Euler-Maruyama on the reverse SDE, eq. 6: dx = [f - g^2 score] dt + g dw. The last step draws nothing."""
    for step, (t, s) in enumerate(_intervals(span(schedule), steps), 1):
        a, rate = _signal_at(schedule, t)
        eps = predict(x, asked(t, x))
        x0 = to_x0(x, eps, a)
        drift = (rate / 2) * x - (rate / (1 - a) ** 0.5) * eps  # f = rate x / 2, g^2 = -rate
        x = x + (s - t) * drift
        if step < steps:
            x = x + ((s - t) * rate) ** 0.5 * draw(x)
        yield Moment(step, steps, t, x, x0)


def integrated(
    sampler: str, predict: Predict, schedule: Schedule, x: Tensor, steps: int, ends: tuple[float, float]
) -> Iterator[Moment]:
    """The ODE's solution between two timesteps, by the method of the sampler."""
    method = _METHODS[sampler]

    def look(x: Tensor, t: float) -> Flow:
        a, rate = _signal_at(schedule, t)
        eps = predict(x, asked(t, x))
        return Flow((rate / 2) * (x - eps / (1 - a) ** 0.5), to_x0(x, eps, a))

    for step, (t, s) in enumerate(_intervals(ends, steps), 1):
        x, x0 = method(look, x, t, s)
        yield Moment(step, steps, t, x, x0)


def _euler_step(look: Look, x: Tensor, t: float, s: float) -> tuple[Tensor, Tensor]:
    slope, x0 = look(x, t)
    return x + (s - t) * slope, x0


def _heun_step(look: Look, x: Tensor, t: float, s: float) -> tuple[Tensor, Tensor]:
    first, x0 = look(x, t)
    second = look(x + (s - t) * first, s).slope
    return x + (s - t) / 2 * (first + second), x0


def _rk4_step(look: Look, x: Tensor, t: float, s: float) -> tuple[Tensor, Tensor]:
    h, middle = s - t, (s + t) / 2
    first, x0 = look(x, t)
    second = look(x + h / 2 * first, middle).slope
    third = look(x + h / 2 * second, middle).slope
    fourth = look(x + h * third, s).slope
    return x + h / 6 * (first + 2 * second + 2 * third + fourth), x0


_METHODS = {"ode_euler": _euler_step, "ode_heun": _heun_step, "ode_rk4": _rk4_step}


def _intervals(ends: tuple[float, float], steps: int) -> Iterator[tuple[float, float]]:
    begin, end = ends
    return itertools.pairwise(begin + (end - begin) * k / steps for k in range(steps + 1))


def _signal_at(schedule: Schedule, t: float) -> tuple[float, float]:
    """a, and d log a / dt."""
    log_a, rate = log_alpha_bar(schedule, t)
    return log_a.exp().item(), rate.item()
