"""From noise to images, by any sampler's name: ours, or one of diffusers'.

`sample` is what most want; `moments` gives the steps one by one, with gradients where the caller computes them.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Generator, Tensor

from engine.contract.sampler_names import SAMPLERS
from engine.diffusion.continuous_samplers import ode_euler, ode_heun, ode_rk4, sde_euler
from engine.diffusion.discrete_samplers import ddim, ddpm
from engine.diffusion.library_samplers import library_moments
from engine.diffusion.noise import noise_like
from engine.diffusion.schedules import Schedule, ScheduleError
from engine.diffusion.stepping import Draw, Moment, Predict

__all__ = ["Draw", "Moment", "Predict", "moments", "sample"]

#: Those of OWN, by name.
_OWN = {
    "ddim": ddim,
    "ddpm": ddpm,
    "ode_euler": ode_euler,
    "ode_heun": ode_heun,
    "ode_rk4": ode_rk4,
    "sde_euler": sde_euler,
}


def sample(
    predict: Predict,
    schedule: Schedule,
    noise: Tensor,
    *,
    sampler: str,
    steps: int,
    eta: float = 0.0,
    generators: Sequence[Generator] | None = None,
    watch: Callable[[Moment], None] | None = None,
) -> Tensor:
    """Images (N, ...) of starting noise (N, ...), without gradients.

    generators: one for each image (`noise.starting_noise`), which the noise on the way is drawn from; torch's own where
    None. watch: told after each step. eta: DDIM's. Raises ScheduleError for what cannot be.
    """
    with torch.no_grad():
        for moment in moments(predict, schedule, noise, sampler=sampler, steps=steps, eta=eta, generators=generators):
            if watch is not None:
                watch(moment)
    return moment.x


def moments(
    predict: Predict,
    schedule: Schedule,
    noise: Tensor,
    *,
    sampler: str,
    steps: int,
    eta: float = 0.0,
    generators: Sequence[Generator] | None = None,
    draw: Draw | None = None,
) -> Iterator[Moment]:
    """The steps of `sample`, one by one. draw: gives the noise on the way in place of the generators; ours only."""
    _refuse(sampler, steps, eta)
    if sampler not in _OWN:
        return library_moments(predict, schedule, noise, sampler=sampler, steps=steps, generators=generators)
    return _OWN[sampler](predict, schedule, noise, steps, eta, draw or (lambda x: noise_like(x, generators)))


def _refuse(sampler: str, steps: int, eta: float) -> None:
    if sampler not in SAMPLERS:
        raise ScheduleError(f"sampler: should be one of {', '.join(SAMPLERS)} (got {sampler!r})")
    if steps < 1:
        raise ScheduleError(f"steps: should be 1 or more (got {steps})")
    if not 0 <= eta <= 1:
        raise ScheduleError(f"eta: should be from 0 to 1 (got {eta:g})")
    if eta and sampler != "ddim":
        raise ScheduleError(f"eta: belongs to ddim, and {sampler} has no use for it (got {eta:g}); set it to 0")
