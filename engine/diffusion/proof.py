"""Whether samplers are what they claim to be, on Gaussian data, where all of it is known (`method: sampler_proof`).

That samples match the data is a blunt test: those of a right sampler in few steps do not. What is sharp: its own exact
law, the order of its error, and diffusers' images from the same noise. Each check is a function that gives one line.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from engine.contract.proof import Budget, LawCheck, OrderCheck, ParityCheck, Proof
from engine.contract.sampler_names import DRAWING_NOISE, OWN, SAMPLERS
from engine.diffusion.continuous_samplers import LEAST_SIGNAL, integrated
from engine.diffusion.gaussian_data import GaussianData, PathLaw, best_denoiser, flow_map, path_law
from engine.diffusion.samplers import moments, sample
from engine.diffusion.schedules import LEAST_ALPHA_BAR, Schedule, alpha_bar, betas_of, schedule_of, timestep_of

#: What the error should do when steps are halved, and the numbers of steps at which it is looked at.
ODE_ORDERS = {"ode_euler": (1, (80, 160, 320)), "ode_heun": (2, (20, 40, 80)), "ode_rk4": (4, (10, 20, 40))}
#: DDIM's, as timesteps a step: its steps are whole timesteps long.
DDIM_JUMPS = (10, 5, 2)
#: Orders of the ODE's are measured where alpha-bar is between these: a bend of the table at its ends would hide them.
INNER = (0.005, 0.98)
BUDGETS = (5, 10, 20, 50, 100)
#: Largest differences to diffusers, whose tables are float32: DDPM's adds up over all timesteps.
DDIM_LIMIT, DDPM_LIMIT = 1e-5, 1e-4
PATHS = 64

Line = OrderCheck | LawCheck | ParityCheck | Budget


class Check(NamedTuple):
    """title: what is looked at. find: looks."""

    title: str
    find: Callable[[], Line]


class Setting(NamedTuple):
    """What all checks share. config: a scheduler's, in diffusers' words. steps, samples: of the laws."""

    data: GaussianData
    config: Mapping[str, Any]
    steps: int
    samples: int
    seed: int

    @property
    def schedule(self) -> Schedule:
        """Without clipping: a step that clips is not affine, and has no order. Parity keeps it."""
        return schedule_of(self.config)._replace(clip=None)


def checks(setting: Setting) -> list[Check]:
    """All there is to look at, in order."""
    orders = [Check(f"order of {name}", partial(ode_order, setting, name)) for name in ODE_ORDERS]
    orders.append(Check("order of ddim", partial(ddim_order, setting)))
    kinds = [("ddim", 0.0), ("ddim", 0.5), ("ddim", 1.0), *((name, 0.0) for name in OWN if name != "ddim")]
    laws = [Check(f"law of {name}", partial(law_check, setting, name, eta)) for name, eta in kinds]
    budgets = [Check(f"steps of {name}", partial(budget, setting, name)) for name in SAMPLERS]
    return [*orders, *laws, *_parities(setting), *budgets]


def blank(setting: Setting, words: str) -> Proof:
    """The proof before anything is looked at. words: the schedule's name."""
    table = setting.schedule.alphas_cumprod
    thinned = table[torch.linspace(0, len(table) - 1, 101).round().long()]
    reason = "the images of diffusers: at its end this schedule has less signal than float32 tables tell from none"
    left_out = () if _has_signal(setting.schedule) else (reason,)
    return Proof(schedule=words, timesteps=len(table), alphas=tuple(thinned.tolist()), left_out=left_out)


def with_line(proof: Proof, line: Line) -> Proof:
    """The proof with one more line."""
    match line:
        case OrderCheck():
            return proof.model_copy(update={"orders": (*proof.orders, line)})
        case LawCheck():
            return proof.model_copy(update={"laws": (*proof.laws, line)})
        case ParityCheck():
            return proof.model_copy(update={"parity": (*proof.parity, line)})
        case Budget():
            return proof.model_copy(update={"budgets": (*proof.budgets, line)})


# ---------------------------------------------------------------------------------------------------- orders


def ode_order(setting: Setting, sampler: str) -> OrderCheck:
    """Errors of an ODE's solution against the exact flow, by number of steps."""
    data, schedule, noise = setting.data, setting.schedule, _noise(setting, PATHS)
    expected, counts = ODE_ORDERS[sampler]
    ends = (timestep_of(schedule, INNER[0]), timestep_of(schedule, INNER[1]))
    exact = flow_map(data, noise, *(alpha_bar(schedule, end).item() for end in ends))
    predict = best_denoiser(data, schedule)

    def solved(steps: int) -> Tensor:
        *_, last = integrated(sampler, predict, schedule, noise, steps, ends)
        return last.x

    return _order(sampler, expected, counts, [_rms(solved(steps) - exact) for steps in counts])


def ddim_order(setting: Setting) -> OrderCheck:
    """Errors of DDIM at eta 0, on the schedule without its noisiest end, cut to where steps are equally long."""
    table = setting.schedule.alphas_cumprod
    kept = max(int((table >= LEAST_SIGNAL).sum()) // DDIM_JUMPS[0], 1) * DDIM_JUMPS[0]
    table = table[:kept]
    schedule = setting.schedule._replace(
        alphas_cumprod=table, spacing="trailing", steps_offset=0, final_alpha_bar=table[0].item()
    )
    noise, counts = _noise(setting, PATHS), tuple(len(table) // jump for jump in DDIM_JUMPS)
    predict = best_denoiser(setting.data, schedule)
    exact = flow_map(setting.data, noise, table[-1].item(), table[0].item())
    found = [sample(predict, schedule, noise, sampler="ddim", steps=steps) for steps in counts]
    return _order("ddim", 1, counts, [_rms(x - exact) for x in found])


def _order(sampler: str, expected: int, counts: tuple[int, ...], errors: list[float]) -> OrderCheck:
    slope = math.log(errors[-2] / errors[-1]) / math.log(counts[-1] / counts[-2])
    return OrderCheck(sampler=sampler, expected=expected, steps=counts, errors=tuple(errors), order=slope)


# ------------------------------------------------------------------------------------------------------ laws


def law_check(setting: Setting, sampler: str, eta: float) -> LawCheck:
    """Samples against the sampler's own exact law. Covariances of a sample of n Gaussians have the variance
    (s_ii s_jj + s_ij^2) / n (Anderson 2003, An Introduction to Multivariate Statistical Analysis, section 3.4)."""
    steps, count = setting.steps, setting.samples
    law = path_law(setting.data, setting.schedule, sampler=sampler, steps=steps, eta=eta)
    drawn = _drawn(setting, sampler, steps, eta)
    variances = law.covariance.diag()
    z_means = (drawn.mean(0) - law.mean) / (variances / count).sqrt()
    spread = ((variances[:, None] * variances + law.covariance.square()) / count).sqrt()
    above = torch.triu_indices(len(variances), len(variances))
    z_covariances = ((drawn.T.cov() - law.covariance) / spread)[above[0], above[1]]
    return LawCheck(
        sampler=sampler, eta=eta, steps=steps, samples=count,
        z_means=tuple(z_means.tolist()), z_covariances=tuple(z_covariances.tolist()),
    )  # fmt: skip


def _drawn(setting: Setting, sampler: str, steps: int, eta: float = 0.0) -> Tensor:
    """(samples, D) from a sampler. All of them draw from one stream: there are too many for one each."""
    stream = _stream(setting, 1)
    predict, noise = best_denoiser(setting.data, setting.schedule), _noise(setting, setting.samples)
    taken = moments(
        predict, setting.schedule, noise, sampler=sampler, steps=steps, eta=eta,
        generators=None if sampler in OWN else [stream], draw=partial(_draw, stream),
    )  # fmt: skip
    *_, last = taken
    return last.x.flatten(1)


# ---------------------------------------------------------------------------------------------------- parity


def _parities(setting: Setting) -> list[Check]:
    if not _has_signal(setting.schedule):
        return []
    most = len(setting.schedule.alphas_cumprod)
    asked = [("ddim", 0.0, setting.steps), ("ddim", 1.0, setting.steps), ("ddim", 0.0, most), ("ddpm", 0.0, most)]
    return [
        Check(f"{sampler} beside diffusers", partial(parity_check, setting, sampler, eta, steps))
        for sampler, eta, steps in asked
    ]


def parity_check(setting: Setting, sampler: str, eta: float, steps: int) -> ParityCheck:
    """Our images and those of diffusers' own loop, from the same noise, and from the same noise on the way."""
    schedule, noise = schedule_of(setting.config), _noise(setting, PATHS)
    predict = best_denoiser(setting.data, schedule)
    draw = partial(_draw, _stream(setting, 2))
    *_, ours = moments(predict, schedule, noise, sampler=sampler, steps=steps, eta=eta, draw=draw)
    theirs = diffusers_loop(setting.config, predict, noise, sampler, steps, eta, _stream(setting, 2))
    difference = (ours.x - theirs).abs().max().item()
    limit = DDIM_LIMIT if sampler == "ddim" else DDPM_LIMIT
    return ParityCheck(sampler=sampler, eta=eta, steps=steps, difference=difference, limit=limit)


def diffusers_loop(
    config: Mapping[str, Any], predict: Any, x: Tensor, sampler: str, steps: int, eta: float, stream: torch.Generator
) -> Tensor:
    """What diffusers makes of noise x, by DDIM or DDPM."""
    import diffusers  # seconds, and only these checks need it

    name = "DDIMScheduler" if sampler == "ddim" else "DDPMScheduler"
    schedule = schedule_of(config)
    # Written out, as a config without a word of clipping means another thing to each class.
    said: dict[str, Any] = {"prediction_type": "epsilon", "clip_sample": schedule.clip is not None}
    if config.get("beta_schedule") == "sigmoid":  # which only their DDPM knows by name
        said["trained_betas"] = betas_of(schedule).numpy()
    scheduler = getattr(diffusers, name).from_config({**config, **said})
    scheduler.set_timesteps(steps)
    how = {"eta": eta} if sampler == "ddim" else {}
    for t in scheduler.timesteps:
        x = scheduler.step(predict(x, t.expand(len(x))), t, x, generator=stream, **how).prev_sample
    return x


# --------------------------------------------------------------------------------------------------- budgets


def budget(setting: Setting, sampler: str) -> Budget:
    """How far a sampler's law is from the data's, by number of steps: exact, but for diffusers' that draw noise."""
    is_sampled = sampler in DRAWING_NOISE and sampler not in OWN
    counts = tuple(count for count in BUDGETS if count <= len(setting.schedule.alphas_cumprod))
    laws = [_sampled_law(setting, sampler, steps) if is_sampled else _exact_law(setting, sampler, steps)
            for steps in counts]  # fmt: skip
    return Budget(
        sampler=sampler, steps=counts, looks=tuple(looks(sampler, steps) for steps in counts),
        distances=tuple(distance(law, setting.data) for law in laws), is_sampled=is_sampled,
    )  # fmt: skip


def looks(sampler: str, steps: int) -> int:
    """How often a sampler asks the network."""
    match sampler:
        case "ode_heun":
            return 2 * steps
        case "ode_rk4":
            return 4 * steps
        case "heun" | "heun_karras":
            return 2 * steps - 1  # its last step is Euler's
        case _:
            return steps


def _exact_law(setting: Setting, sampler: str, steps: int) -> PathLaw:
    return path_law(setting.data, setting.schedule, sampler=sampler, steps=steps)


def _sampled_law(setting: Setting, sampler: str, steps: int) -> PathLaw:
    drawn = _drawn(setting, sampler, steps)
    return PathLaw(drawn.mean(0), drawn.T.cov())


def distance(law: PathLaw, data: GaussianData) -> float:
    """Wasserstein-2 between Gaussians, Dowson & Landau 1982: the square root of what Fréchet distances are of."""
    root = data.axes * data.variances.sqrt() @ data.axes.T
    both = torch.linalg.eigvalsh(root @ law.covariance @ root).clamp(min=0).sqrt().sum()
    traces = law.covariance.trace() + data.variances.sum()
    return float(((law.mean - data.mean).square().sum() + traces - 2 * both).clamp(min=0).sqrt())


# ----------------------------------------------------------------------------------------------------- noise


def _noise(setting: Setting, count: int) -> Tensor:
    """(count, 1, 1, D) of starting noise, float64; the first ones are the same whatever the count."""
    stream, shape = _stream(setting, 0), (count, 1, 1, len(setting.data.mean))
    return torch.randn(shape, generator=stream, dtype=torch.float64)


def _stream(setting: Setting, purpose: int) -> torch.Generator:
    return torch.Generator().manual_seed(setting.seed * 3 + purpose)


def _draw(stream: torch.Generator, x: Tensor) -> Tensor:
    return torch.randn(x.shape, generator=stream, dtype=x.dtype)


def _rms(error: Tensor) -> float:
    return error.square().mean().sqrt().item()


def _has_signal(schedule: Schedule) -> bool:
    """Whether the noisiest timestep has any, as predictions of noise need."""
    return schedule.alphas_cumprod[-1].item() > LEAST_ALPHA_BAR
