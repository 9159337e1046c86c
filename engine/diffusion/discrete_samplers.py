"""DDPM and DDIM: samplers that stay on the timesteps the network was trained at. Each reads like its paper.

They yield a Moment a step and compute gradients only where the caller does.
"""

from collections.abc import Iterator

from torch import Tensor

from engine.diffusion.gaussian_steps import ddim_mean, ddim_std
from engine.diffusion.prediction import to_x0
from engine.diffusion.schedules import Schedule, ddim_strides, ddpm_strides
from engine.diffusion.stepping import Draw, Moment, Predict, asked


def ddim(predict: Predict, schedule: Schedule, x: Tensor, steps: int, eta: float, draw: Draw) -> Iterator[Moment]:
    """DDIM, Song et al. 2021 (arXiv:2010.02502). eta 0: no chance; eta 1: DDPM with its small variance."""
    for step, (t, a_t, a_s) in enumerate(ddim_strides(schedule, steps), 1):
        eps = predict(x, asked(t, x))
        x0 = _clipped(to_x0(x, eps, a_t), schedule)  # eq. 9; eps is left as it is, as in diffusers
        std = float(ddim_std(a_t, a_s, eta))  # eq. 16
        x = ddim_mean(x0, eps, a_s, std)  # eq. 12
        if std > 0:
            x = x + std * draw(x)
        yield Moment(step, steps, t, x, x0)


def ddpm(predict: Predict, schedule: Schedule, x: Tensor, steps: int, eta: float, draw: Draw) -> Iterator[Moment]:
    """DDPM, Ho et al. 2020 (arXiv:2006.11239), algorithm 2, with fewer steps as Nichol & Dhariwal 2021 (2102.09672)
    have it: a step from a_t to a_s has beta = 1 - a_t / a_s. The last step draws nothing. eta is not used."""
    for step, (t, a_t, a_s) in enumerate(ddpm_strides(schedule, steps), 1):
        x0 = _clipped(to_x0(x, predict(x, asked(t, x)), a_t), schedule)  # eq. 15
        beta = 1 - a_t / a_s
        x = (a_s**0.5 * beta / (1 - a_t)) * x0 + ((1 - beta) ** 0.5 * (1 - a_s) / (1 - a_t)) * x  # eq. 7
        variance = beta if schedule.variance == "fixed_large" else beta * (1 - a_s) / (1 - a_t)  # section 3.2
        if step < steps:
            x = x + variance**0.5 * draw(x)
        yield Moment(step, steps, t, x, x0)


def _clipped(x0: Tensor, schedule: Schedule) -> Tensor:
    return x0 if schedule.clip is None else x0.clamp(-schedule.clip, schedule.clip)
