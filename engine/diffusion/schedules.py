"""How much of an image is left after t steps of noise: x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) noise, a_t = alpha-bar.

A schedule is a table over the timesteps 0 … T - 1 that the network was trained at. Timestep -1 is the image itself.
Between timesteps log a is a cubic through the table, so that the same network serves continuous time (t in the units of
the table, real). Tables are worked out in float64: diffusers' are float32, which is where pictures differ from theirs
by a few millionths.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

Prediction = Literal["epsilon", "sample", "v_prediction"]
Spacing = Literal["leading", "trailing", "linspace"]

#: What a schedule with no signal at all in its last step gets there instead, as in diffusers: with none, a prediction
#: of the noise says nothing about the image.
LEAST_ALPHA_BAR = 2.0**-24


class ScheduleError(ValueError):
    """A schedule that cannot be, or that these samplers do not know. Says which setting, and what to do."""


class Schedule(NamedTuple):
    """alphas_cumprod: (T,) float64, falling. prediction: what the network gives. spacing, steps_offset: which timesteps
    stand for fewer steps. clip: the predicted image is held within ± this, or None. final_alpha_bar: where DDIM's last
    step goes, 1 or the first of the table. variance: DDPM's, from below (fixed_small) or above (fixed_large)."""

    alphas_cumprod: Tensor
    prediction: Prediction = "epsilon"
    spacing: Spacing = "leading"
    steps_offset: int = 0
    clip: float | None = None
    final_alpha_bar: float = 1.0
    variance: Literal["fixed_small", "fixed_large"] = "fixed_small"


class Stride(NamedTuple):
    """One step of a discrete sampler: the network is asked at `timestep`; the noise goes from a_t to a_s."""

    timestep: int
    a_t: float
    a_s: float


def schedule_of(config: Mapping[str, Any]) -> Schedule:
    """The schedule that a scheduler's config in diffusers means (scheduler_config.json). Raises ScheduleError."""
    _refuse_unknown(config)
    table = torch.cumprod(1 - _betas(config), 0)
    if config.get("rescale_betas_zero_snr"):
        table = _without_signal_at_the_end(table)
    keeps_one = config.get("set_alpha_to_one", True)
    return Schedule(
        alphas_cumprod=table,
        prediction=_one_of(config, "prediction_type", ("epsilon", "sample", "v_prediction"), "epsilon"),
        spacing=_one_of(config, "timestep_spacing", ("leading", "trailing", "linspace"), "leading"),
        steps_offset=int(config.get("steps_offset", 0)),
        clip=float(config.get("clip_sample_range", 1.0)) if config.get("clip_sample", _clips(config)) else None,
        final_alpha_bar=1.0 if keeps_one else table[0].item(),
        variance=_one_of(config, "variance_type", ("fixed_small", "fixed_large"), "fixed_small"),
    )


def timesteps(schedule: Schedule, steps: int, spacing: Spacing | None = None) -> Tensor:
    """(steps,) int64, falling: the timesteps a sampler asks the network at; Lin et al. 2024 (2305.08891), table 2.

    spacing: the schedule's own unless given. Raises ScheduleError if there are not that many.
    """
    count = len(schedule.alphas_cumprod)
    if not 1 <= steps <= count:
        raise ScheduleError(f"steps: should be from 1 to {count}, as the network knows no more timesteps (got {steps})")
    match spacing or schedule.spacing:
        case "linspace":
            chosen = torch.linspace(0, count - 1, steps, dtype=torch.float64).round().long().flip(0)
        case "leading":
            chosen = torch.arange(steps).flip(0) * (count // steps) + schedule.steps_offset
        case _:
            chosen = (count - torch.arange(steps, dtype=torch.float64) * (count / steps)).round().long() - 1
    if chosen[0] >= count:
        problem = f"with {steps} steps and steps_offset {schedule.steps_offset} the first timestep is {chosen[0]}"
        raise ScheduleError(f"{problem}, and the network knows 0 to {count - 1}; use fewer steps or trailing spacing")
    return chosen


def ddim_strides(schedule: Schedule, steps: int) -> list[Stride]:
    """DDIM's steps. Each goes T // steps timesteps down, whatever the spacing, as diffusers does and so everybody's
    pictures do; with `linspace` that is a little more than what the network is asked at next."""
    table, jump = schedule.alphas_cumprod.tolist(), len(schedule.alphas_cumprod) // steps
    return [
        Stride(t, table[t], table[t - jump] if t >= jump else schedule.final_alpha_bar)
        for t in timesteps(schedule, steps).tolist()
    ]


def ddpm_strides(schedule: Schedule, steps: int) -> list[Stride]:
    """DDPM's steps, each to where the network is asked next, the last to the image itself."""
    table, asked = schedule.alphas_cumprod.tolist(), timesteps(schedule, steps).tolist()
    ends = [*(table[t] for t in asked[1:]), 1.0]
    return [Stride(t, table[t], a_s) for t, a_s in zip(asked, ends, strict=True)]


def betas_of(schedule: Schedule) -> Tensor:
    """(T,) float64, on the CPU: the share of the signal's variance that each timestep takes."""
    table = schedule.alphas_cumprod.cpu()
    return 1 - table / torch.cat([torch.ones(1, dtype=torch.float64), table[:-1]])


def alpha_bar(schedule: Schedule, timestep: Tensor | float) -> Tensor:
    """a at timesteps in the network's own units, any shape, -1 to T - 1. Float64. Integers read the table.

    Real numbers may stand between timesteps: a time t in [0, 1] is the timestep t * T - 1.
    """
    where = timestep if isinstance(timestep, Tensor) else torch.tensor(timestep, dtype=_dtype_of(timestep))
    if not where.is_floating_point():
        table = schedule.alphas_cumprod.to(where.device)
        return torch.where(where < 0, 1.0, table[where.clamp(min=0)])
    return log_alpha_bar(schedule, where)[0].exp()


def log_alpha_bar(schedule: Schedule, timestep: Tensor | float) -> tuple[Tensor, Tensor]:
    """log a at real timesteps, and how fast it changes per timestep: minus the beta(t) dt of Song et al. 2021.

    A cubic between neighbours that has their slopes: smooth, and its rate is exactly its derivative, which is what an
    integrator sees the order of.
    """
    where = torch.as_tensor(timestep, dtype=torch.float64)
    low = where.floor().long().clamp(-1, len(schedule.alphas_cumprod) - 2)
    knot, before, after = _log_at(schedule, low), _slope_at(schedule, low), _slope_at(schedule, low + 1)
    s, rise = where - low, _log_at(schedule, low + 1) - knot
    bend, twist = 3 * rise - 2 * before - after, before + after - 2 * rise
    return knot + s * (before + s * (bend + s * twist)), before + s * (2 * bend + 3 * s * twist)


def timestep_of(schedule: Schedule, a: float) -> float:
    """The real timestep, 0 to T - 1, at which alpha-bar is `a`; the nearer end where there is none."""
    table = schedule.alphas_cumprod
    low = int((table > a).sum().item()) - 1  # the last timestep that has more
    if low < 0 or low + 1 == len(table):
        return float(max(low, 0))
    ends = table[low : low + 2].log()
    share = ((math.log(a) - ends[0]) / (ends[1] - ends[0])).item()
    for _ in range(4):  # Newton's method, from what is right to a thousandth already
        log_a, rate = log_alpha_bar(schedule, low + share)
        share -= ((log_a - math.log(a)) / rate).item()
    return low + share


def _dtype_of(timestep: float) -> torch.dtype:
    return torch.int64 if isinstance(timestep, int) else torch.float64


def _log_at(schedule: Schedule, timestep: Tensor) -> Tensor:
    return alpha_bar(schedule, timestep).log()


def _slope_at(schedule: Schedule, timestep: Tensor) -> Tensor:
    """How fast log a changes at timesteps of the table: of the fourth order, by the two neighbours on either side.

    At the ends of the table, that of the parabola through the three nearest."""
    last = len(schedule.alphas_cumprod) - 1
    middle = timestep.clamp(0, last - 1)
    below, here, above = (_log_at(schedule, middle + shift) for shift in (-1, 0, 1))
    parabola = (above - below) / 2 + (timestep - middle) * (above - 2 * here + below)
    far = _log_at(schedule, (middle + 2).clamp(max=last)) - _log_at(schedule, (middle - 2).clamp(min=-1))
    is_inner = (timestep >= 1) & (timestep <= last - 2)
    return torch.where(is_inner, (8 * (above - below) - far) / 12, parabola)


def _betas(config: Mapping[str, Any]) -> Tensor:
    """(T,) float64: the share of the signal's variance that each step takes."""
    given = config.get("trained_betas")
    if given is not None:
        betas = torch.as_tensor(given, dtype=torch.float64)
    else:
        name = config.get("beta_schedule", "linear")
        if name not in SCHEDULES:
            raise ScheduleError(f"beta_schedule: should be one of {', '.join(SCHEDULES)} (got {name!r})")
        count, start, end = (config.get(key, usual) for key, usual in _USUAL.items())
        betas = SCHEDULES[name](int(count), float(start), float(end))
    if betas.dim() != 1 or len(betas) < 2 or not bool(((betas > 0) & (betas < 1)).all()):
        raise ScheduleError("betas: should be two or more numbers above 0 and below 1; see scheduler_config.json")
    return betas


_USUAL = {"num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02}


def _linear(count: int, start: float, end: float) -> Tensor:
    """Ho et al. 2020 (2006.11239), section 4."""
    return torch.linspace(start, end, count, dtype=torch.float64)


def _scaled_linear(count: int, start: float, end: float) -> Tensor:
    """Linear in the square root: latent diffusion, Rombach et al. 2022 (2112.10752)."""
    return torch.linspace(start**0.5, end**0.5, count, dtype=torch.float64) ** 2


def _cosine(count: int, start: float, end: float) -> Tensor:
    """Nichol & Dhariwal 2021 (2102.09672), eq. 17, and the cap of 0.999 below it. start and end are not used."""
    t = torch.arange(count + 1, dtype=torch.float64) / count
    a = torch.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
    return (1 - a[1:] / a[:-1]).clamp(max=0.999)


def _sigmoid(count: int, start: float, end: float) -> Tensor:
    """GeoDiff's, Xu et al. 2022 (2203.02923)."""
    return torch.linspace(-6, 6, count, dtype=torch.float64).sigmoid() * (end - start) + start


#: By the names of diffusers' configs.
SCHEDULES: dict[str, Callable[[int, float, float], Tensor]] = {
    "linear": _linear,
    "scaled_linear": _scaled_linear,
    "squaredcos_cap_v2": _cosine,
    "sigmoid": _sigmoid,
}


def _without_signal_at_the_end(table: Tensor) -> Tensor:
    """Lin et al. 2024 (2305.08891), algorithm 1: shifted and scaled in sqrt(a), so that the last is 0, or all but."""
    root = table.sqrt()
    return ((root - root[-1]) * root[0] / (root[0] - root[-1])).square().clamp(min=LEAST_ALPHA_BAR)


def _refuse_unknown(config: Mapping[str, Any]) -> None:
    if config.get("thresholding"):
        raise ScheduleError("thresholding: dynamic thresholding is not known here; set it to false in the scheduler")
    if "flow" in str(config.get("prediction_type", "")) or "FlowMatch" in str(config.get("_class_name", "")):
        problem = "a model of flow matching has no table of betas, and these samplers need one"
        raise ScheduleError(f"_class_name: {problem}; sample it with its own pipeline")


def _clips(config: Mapping[str, Any]) -> bool:
    """Whether the predicted image is clipped where the config does not say: DDPM's and DDIM's are, no other's."""
    return str(config.get("_class_name", "")) in ("DDPMScheduler", "DDIMScheduler")


def _one_of(config: Mapping[str, Any], key: str, known: tuple[str, ...], usual: str) -> Any:
    value = config.get(key, usual)
    if value not in known:
        raise ScheduleError(f"{key}: should be one of {', '.join(known)} (got {value!r})")
    return value
