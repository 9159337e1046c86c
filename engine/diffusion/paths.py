"""How images were drawn, step by step, and what a policy thinks of each step: the actions that GRPO learns from.

A path of `steps` steps of DDIM has one action less: the last step goes to the image itself and draws nothing, so it has
no density (the best known code clamps its time, and gets NaN from schedules that end at 0). Nothing is clipped on the
way, whatever the schedule says: a clipped mean has no gradient where it matters.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from engine.diffusion.gaussian_steps import Law, ddim_law, log_prob
from engine.diffusion.noise import noise_like
from engine.diffusion.prediction import over, to_x0
from engine.diffusion.schedules import Schedule, Stride, ddim_strides
from engine.diffusion.stepping import Predict, asked


class Paths(NamedTuple):
    """Of N images with K actions each. states: (K + 1, N, ...), what each action began from, and where the last one
    led. logps: (K, N), of what was drawn, nats. images: (N, ...), as the last step gave them."""

    states: Tensor
    logps: Tensor
    images: Tensor


class Actions(NamedTuple):
    """N steps from x to x_next, (N, ...), of any images at any times.

    timestep: (N,), what the network is asked at. a_t, a_s: (N,) float64, alpha-bar before and after. place: (N,), which
    step of its path it was, from 0. image: (N,), which image it led to. old_logps: (N,), when it was drawn.
    """

    x: Tensor
    x_next: Tensor
    timestep: Tensor
    a_t: Tensor
    a_s: Tensor
    place: Tensor
    image: Tensor
    old_logps: Tensor

    def at(self, places: Tensor) -> "Actions":
        """Some of them, in this order."""
        return Actions(*(each[places] for each in self))


@torch.no_grad()
def draw_paths(
    predict: Predict, schedule: Schedule, noise: Tensor, generators: Sequence[Generator], *, steps: int, eta: float
) -> Paths:
    """Images (N, ...) of starting noise (N, ...), with all their steps."""
    *strides, last = ddim_strides(schedule, steps)
    x, states, logps = noise, [noise], []
    for stride in strides:
        law = ddim_law(x, predict(x, asked(stride.timestep, x)), stride.a_t, stride.a_s, eta)
        x = law.mean + over(law.std, x) * noise_like(x, generators)
        states.append(x)
        logps.append(log_prob(law, x))
    image = to_x0(x, predict(x, asked(last.timestep, x)), last.a_t)
    return Paths(torch.stack(states), torch.stack(logps), image)


class Sloped(NamedTuple):
    """images: (N, ...), with gradient. predictions: x, timesteps and predicted noise of the steps that have one."""

    images: Tensor
    predictions: list[tuple[Tensor, Tensor, Tensor]]


def draw_with_slope(
    predict: Predict,
    schedule: Schedule,
    noise: Tensor,
    generators: Sequence[Generator],
    *,
    steps: int,
    eta: float,
    last_steps: int,
) -> Sloped:
    """Images (N, ...) of starting noise (N, ...), whose gradient leads back through the last steps, and no further."""
    x, predictions = noise, []
    for left, stride in zip(reversed(range(steps)), ddim_strides(schedule, steps), strict=True):
        began, t = x.detach(), asked(stride.timestep, x)
        with torch.set_grad_enabled(left < last_steps):
            eps = predict(x, t)
            law = ddim_law(x, eps, stride.a_t, stride.a_s, eta)
            x = law.mean + over(law.std, x) * noise_like(x, generators) if left else to_x0(x, eps, stride.a_t)
        if left < last_steps:
            predictions.append((began, t, eps))
    return Sloped(x, predictions)


def joined(several: Sequence[Paths]) -> Paths:
    """Paths that were drawn in turns, as if at once."""
    states, logps, images = zip(*several, strict=True)
    return Paths(torch.cat(states, dim=1), torch.cat(logps, dim=1), torch.cat(images))


def actions_of(paths: Paths, schedule: Schedule, steps: int) -> Actions:
    """All actions of all images, the first steps first."""
    strides: list[Stride] = ddim_strides(schedule, steps)[:-1]
    count, device = paths.images.shape[0], paths.images.device
    place = torch.arange(len(strides), device=device).repeat_interleave(count)

    def spread(values: Sequence[float], dtype: torch.dtype) -> Tensor:
        return torch.tensor(values, dtype=dtype, device=device)[place]

    return Actions(
        x=paths.states[:-1].flatten(0, 1),
        x_next=paths.states[1:].flatten(0, 1),
        timestep=spread([stride.timestep for stride in strides], torch.int64),
        a_t=spread([stride.a_t for stride in strides], torch.float64),
        a_s=spread([stride.a_s for stride in strides], torch.float64),
        place=place,
        image=torch.arange(count, device=device).repeat(len(strides)),
        old_logps=paths.logps.flatten(),
    )


def law_of(predict: Predict, actions: Actions, eta: float) -> Law:
    """What a policy would have drawn these steps from, with gradient."""
    return ddim_law(actions.x, predict(actions.x, actions.timestep), actions.a_t, actions.a_s, eta)
