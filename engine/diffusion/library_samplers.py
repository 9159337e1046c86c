"""The samplers of diffusers, by name, on any denoiser and any schedule, told step by step like ours.

Each scheduler is built on our table of betas and asked for noise, so that one `Predict` serves all. The predicted image
is worked out from what the network saw, also for the schedulers whose step does not return it.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Generator, Tensor

from engine.diffusion.prediction import to_x0
from engine.diffusion.schedules import Schedule, betas_of, timestep_of
from engine.diffusion.stepping import Moment, Predict, asked


class _Recipe(NamedTuple):
    """scheduler: the class in diffusers. options: beside the betas. scales: whether its x is image + sigma * noise."""

    scheduler: str
    options: dict[str, Any]
    scales: bool = False


_RECIPES = {
    "dpmpp_2m": _Recipe("DPMSolverMultistepScheduler", {}),
    "dpmpp_2m_karras": _Recipe("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "dpmpp_sde": _Recipe("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "unipc": _Recipe("UniPCMultistepScheduler", {}),
    "euler": _Recipe("EulerDiscreteScheduler", {}, scales=True),
    "euler_karras": _Recipe("EulerDiscreteScheduler", {"use_karras_sigmas": True}, scales=True),
    "euler_a": _Recipe("EulerAncestralDiscreteScheduler", {}, scales=True),
    "heun": _Recipe("HeunDiscreteScheduler", {}, scales=True),
    "heun_karras": _Recipe("HeunDiscreteScheduler", {"use_karras_sigmas": True}, scales=True),
}
#: The step of these takes noise; the others' do not know the word.
_TAKE_GENERATORS = ("dpmpp_sde", "euler_a")


def library_moments(
    predict: Predict,
    schedule: Schedule,
    x: Tensor,
    *,
    sampler: str,
    steps: int,
    generators: Sequence[Generator] | None,
) -> Iterator[Moment]:
    """The steps of a sampler of diffusers from starting noise x (N, ...)."""
    if sampler == "flow_euler":
        return _flow_moments(predict, schedule, x, steps)
    recipe = _RECIPES[sampler]
    drawing = {"generator": list(generators)} if generators is not None and sampler in _TAKE_GENERATORS else {}
    return _moments(predict, scheduler_of(recipe.scheduler, schedule, recipe.options), recipe, x, steps, drawing)


def scheduler_of(name: str, schedule: Schedule, options: dict[str, Any]) -> Any:
    """The scheduler of diffusers on our table of betas, asked for noise."""
    betas = betas_of(schedule)
    spaced = {"timestep_spacing": schedule.spacing, "steps_offset": schedule.steps_offset}
    count = len(betas)
    return _new(name, num_train_timesteps=count, trained_betas=betas.numpy(), **spaced, **options)


def _new(name: str, **options: Any) -> Any:
    import diffusers  # seconds, and only who asks for these samplers needs it

    return getattr(diffusers, name)(**options)


def _moments(
    predict: Predict, scheduler: Any, recipe: _Recipe, x: Tensor, steps: int, drawing: dict[str, Any]
) -> Iterator[Moment]:
    scheduler.set_timesteps(steps, device=x.device)
    scheduler.set_begin_index(0)  # else it is looked for by timestep, and Karras' levels may share one
    x = x * scheduler.init_noise_sigma if recipe.scales else x
    done = 0
    for index, t in enumerate(scheduler.timesteps):
        seen = scheduler.scale_model_input(x, t) if recipe.scales else x
        eps = predict(seen, asked(t.item(), x))
        x0 = to_x0(seen, eps, _alpha_bar(scheduler.sigmas[scheduler.step_index or 0]))
        x = scheduler.step(eps, t, x, return_dict=False, **drawing)[0]
        # A step of Heun is two calls, and only after the second is x where a step leads.
        if getattr(scheduler, "state_in_first_order", True) or index + 1 == len(scheduler.timesteps):
            done += 1
            left = _alpha_bar(scheduler.sigmas[index + 1])
            yield Moment(done, steps, float(t), x * left**0.5 if recipe.scales else x, x0)


def _alpha_bar(sigma: Tensor) -> float:
    """a of the level at which image + sigma * noise stands: its scale to a variance of 1 is sqrt(a)."""
    return 1 / (1 + float(sigma) ** 2)


def _flow_moments(predict: Predict, schedule: Schedule, x: Tensor, steps: int) -> Iterator[Moment]:
    """Flow matching, Lipman et al. 2023 (arXiv:2210.02747): z = (1 - s) image + s noise, moved by noise - image.

    A denoiser knows z too: divided by sqrt((1 - s)^2 + s^2) it is x at the timestep with the same share of noise.
    """
    scheduler = _new("FlowMatchEulerDiscreteScheduler", num_train_timesteps=len(schedule.alphas_cumprod))
    ends = [_flow_time(schedule.alphas_cumprod[place].item()) for place in (-1, 0)]
    scheduler.set_timesteps(sigmas=np.linspace(ends[0], ends[1], steps).tolist(), device=x.device)
    z = x * _size(ends[0])
    for step, t in enumerate(scheduler.timesteps, 1):
        s, s_next = (scheduler.sigmas[place].item() for place in (step - 1, step))
        a = (1 - s) ** 2 / _size(s) ** 2
        timestep = timestep_of(schedule, a)
        eps = predict(z / _size(s), asked(timestep, x))
        x0 = (z - s * eps) / (1 - s)
        z = scheduler.step(eps - x0, t, z, return_dict=False)[0]
        yield Moment(step, steps, timestep, z / _size(s_next), x0)


def _flow_time(a: float) -> float:
    """The s at which z has the same share of noise as x at alpha-bar a."""
    return 1 / (1 + math.sqrt(a / (1 - a)))


def _size(s: float) -> float:
    return math.hypot(1 - s, s)
