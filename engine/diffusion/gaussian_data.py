"""Images drawn from a Gaussian, for which everything about a sampler is known in closed form. Float64.

With x0 ~ N(mean, U diag(l) U^T), x_t ~ N(sqrt(a) mean, U diag(a l + 1 - a) U^T): the best denoiser is linear, and the
probability-flow ODE has a solution one can write down (Song et al. 2021, arXiv:2011.13456, section D.1, for this case).
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from engine.contract.sampler_names import DRAWING_NOISE
from engine.diffusion.samplers import Moment, moments
from engine.diffusion.schedules import Schedule, alpha_bar
from engine.diffusion.stepping import Predict


class GaussianData(NamedTuple):
    """mean: (D,). axes: (D, D), a column each. variances: (D,) along the axes. Images are (N, 1, 1, D)."""

    mean: Tensor
    axes: Tensor
    variances: Tensor

    @property
    def covariance(self) -> Tensor:
        return self.axes * self.variances @ self.axes.T


class PathLaw(NamedTuple):
    """What a sampler's images are distributed as, given that noise is N(0, I). mean: (D,). covariance: (D, D)."""

    mean: Tensor
    covariance: Tensor


def gaussian_data(seed: int = 0, size: int = 4, least: float = 0.1, most: float = 1.0) -> GaussianData:
    """A Gaussian over `size` pixels with tilted axes; variances from least to most, in equal ratios."""
    generator = torch.Generator().manual_seed(seed)
    tilted = torch.randn(size, size, generator=generator, dtype=torch.float64)
    mean = torch.rand(size, generator=generator, dtype=torch.float64) - 0.5
    spread = torch.linspace(math.log(least), math.log(most), size, dtype=torch.float64).exp()
    return GaussianData(mean, torch.linalg.qr(tilted).Q, spread)


def best_denoiser(data: GaussianData, schedule: Schedule) -> Predict:
    """E[noise | x_t] = sqrt(1 - a) (a S + (1 - a) I)^-1 (x - sqrt(a) mean), as a network would say it."""

    def predict(x: Tensor, timestep: Tensor) -> Tensor:
        a = alpha_bar(schedule, timestep[:1])
        along = data.axes * ((1 - a).sqrt() / (a * data.variances + 1 - a)) @ data.axes.T
        away = x.flatten(1).double() - a.sqrt() * data.mean
        return (away @ along).view(x.shape).to(x.dtype)

    return predict


def flow_map(data: GaussianData, x: Tensor, a_t: float, a_s: float) -> Tensor:
    """Where the probability-flow ODE takes images x (N, 1, 1, D) from a_t to a_s: along each axis, the distance from
    the mean grows as the standard deviation does."""
    stretch = ((a_s * data.variances + 1 - a_s) / (a_t * data.variances + 1 - a_t)).sqrt()
    away = x.flatten(1) - math.sqrt(a_t) * data.mean
    moved = away @ (data.axes * stretch @ data.axes.T)
    return (math.sqrt(a_s) * data.mean + moved).view(x.shape)


def path_law(data: GaussianData, schedule: Schedule, *, sampler: str, steps: int, eta: float = 0.0) -> PathLaw:
    """The exact law of a sampler's images, unless it is diffusers' and draws noise.

    On Gaussian data every step is affine, so images are c + M x_T + sum_k M_k z_k: what each column does is found by
    sending unit vectors through the sampler itself.
    """
    size = len(data.mean)
    draws = _draws(data, schedule, sampler, steps, eta) if eta or sampler in DRAWING_NOISE else 0
    probes = _Probes(size, draws)
    start = torch.zeros(1 + size * (1 + draws), 1, 1, size, dtype=torch.float64)
    start[1 : 1 + size] = torch.eye(size, dtype=torch.float64)[:, None, None]
    predict = best_denoiser(data, schedule)
    ends = _last(moments(predict, schedule, start, sampler=sampler, steps=steps, eta=eta, draw=probes)).x.flatten(1)
    columns = (ends[1:] - ends[0]).T  # (D, D * (1 + draws)): M, M_1, M_2, …
    return PathLaw(ends[0], columns @ columns.T)


class _Probes:
    """At its k-th draw: nothing for all images but those D that ask what noise does there, and those a unit vector."""

    def __init__(self, size: int, draws: int) -> None:
        self._size, self._draws, self._drawn = size, draws, 0

    def __call__(self, x: Tensor) -> Tensor:
        self._drawn += 1
        noise = torch.zeros_like(x)
        place = 1 + self._size * self._drawn
        noise[place : place + self._size] = torch.eye(self._size, dtype=x.dtype)[:, None, None]
        return noise


def _draws(data: GaussianData, schedule: Schedule, sampler: str, steps: int, eta: float) -> int:
    """How often a sampler draws noise on its way."""
    count = 0

    def draw(x: Tensor) -> Tensor:
        nonlocal count
        count += 1
        return torch.zeros_like(x)

    start = torch.zeros(1, 1, 1, len(data.mean), dtype=torch.float64)
    predict = best_denoiser(data, schedule)
    _last(moments(predict, schedule, start, sampler=sampler, steps=steps, eta=eta, draw=draw))
    return count


def _last(steps: Iterable[Moment]) -> Moment:
    *_, last = steps
    return last
