"""Samplers against diffusers on the same noise, and against what is known exactly where data is Gaussian."""

import math
from collections.abc import Iterator
from functools import cache
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from engine.contract.sampler_names import OWN, SAMPLERS
from engine.diffusion.gaussian_data import best_denoiser, flow_map, gaussian_data, path_law
from engine.diffusion.noise import starting_noise
from engine.diffusion.prediction import noised, target_of, to_eps, to_v, to_x0
from engine.diffusion.samplers import Moment, moments, sample
from engine.diffusion.schedules import (
    SCHEDULES,
    Schedule,
    ScheduleError,
    alpha_bar,
    log_alpha_bar,
    schedule_of,
    timestep_of,
    timesteps,
)

DATA = gaussian_data()
NOISE = torch.randn(16, 1, 1, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
PLAIN = {"clip_sample": False, "timestep_spacing": "trailing"}


@cache
def linear() -> Schedule:
    return schedule_of(PLAIN)


def scheduler_of(name: str, **config: Any) -> Any:
    return getattr(diffusers, name)(**config)


def theirs(scheduler: Any, steps: int, draws: Iterator[Tensor], **how: Any) -> Tensor:
    """The loop of diffusers, with the noise of ours. DDPM's takes none in, so its own source is replaced."""
    scheduler.set_timesteps(steps)
    predict, x = best_denoiser(DATA, schedule_of(scheduler.config)), NOISE
    for t in scheduler.timesteps:
        given = {"variance_noise": next(draws)} if how.get("eta") else {}
        x = scheduler.step(predict(x, t.expand(len(x))), t, x, **how, **given).prev_sample
    return x


def stream() -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(2)
    while True:
        yield torch.randn(NOISE.shape, generator=generator, dtype=NOISE.dtype)


def ours(schedule: Schedule, sampler: str, steps: int, eta: float = 0.0) -> Tensor:
    draws = stream()
    predict = best_denoiser(DATA, schedule)
    *_, last = moments(predict, schedule, NOISE, sampler=sampler, steps=steps, eta=eta, draw=lambda x: next(draws))
    return last.x


# ------------------------------------------------------------------------------------------------ diffusers


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize(
    ("steps", "config"),
    [
        (50, {"timestep_spacing": "leading", "clip_sample": True, "clip_sample_range": 0.8}),
        (50, {"timestep_spacing": "leading", "clip_sample": False, "steps_offset": 1, "set_alpha_to_one": False}),
        (20, {"timestep_spacing": "trailing", "clip_sample": False, "beta_schedule": "scaled_linear"}),
        (30, {"timestep_spacing": "linspace", "clip_sample": False}),
        (100, {"timestep_spacing": "leading", "clip_sample": True, "beta_schedule": "squaredcos_cap_v2"}),
    ],
)
def test_ddim_draws_the_images_of_diffusers(steps: int, config: dict[str, Any], eta: float) -> None:
    scheduler = scheduler_of("DDIMScheduler", **config)
    expected = theirs(scheduler, steps, stream(), eta=eta)
    assert (ours(schedule_of(scheduler.config), "ddim", steps, eta) - expected).abs().max() < 1e-5


@pytest.mark.parametrize(("steps", "variance"), [(1000, "fixed_small"), (1000, "fixed_large"), (50, "fixed_small")])
def test_ddpm_draws_the_images_of_diffusers(steps: int, variance: str, monkeypatch: pytest.MonkeyPatch) -> None:
    draws = stream()
    monkeypatch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda shape, **_: next(draws))
    scheduler = scheduler_of("DDPMScheduler", variance_type=variance, clip_sample=False)
    expected = theirs(scheduler, steps, draws)
    assert (ours(schedule_of(scheduler.config), "ddpm", steps) - expected).abs().max() < 1e-4


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("rescaled", [False, True])
def test_every_schedule_has_the_table_of_diffusers(name: str, rescaled: bool) -> None:
    scheduler = scheduler_of("DDPMScheduler", beta_schedule=name, rescale_betas_zero_snr=rescaled)
    found = schedule_of(scheduler.config).alphas_cumprod
    assert torch.allclose(found.float(), scheduler.alphas_cumprod, atol=2e-6)


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("steps", [1, 7, 20, 999, 1000])
def test_fewer_steps_ask_at_the_timesteps_of_diffusers(spacing: str, steps: int) -> None:
    scheduler = scheduler_of("DDIMScheduler", timestep_spacing=spacing)
    scheduler.set_timesteps(steps)
    assert timesteps(schedule_of(scheduler.config), steps).tolist() == scheduler.timesteps.tolist()


# --------------------------------------------------------------------------------------------- Gaussian data


@pytest.mark.parametrize(
    ("sampler", "order", "steps"), [("ode_euler", 1, 80), ("ode_heun", 2, 80), ("ode_rk4", 4, 80), ("ddim", 1, 100)]
)
def test_half_the_step_divides_the_error_by_two_to_the_order(sampler: str, order: int, steps: int) -> None:
    def error(steps: int) -> float:
        last = linear().alphas_cumprod[0].item() if sampler != "ddim" else 1.0
        exact = flow_map(DATA, NOISE, linear().alphas_cumprod[-1].item(), last)
        return (ours(linear(), sampler, steps) - exact).square().mean().sqrt().item()

    assert math.log2(error(steps) / error(2 * steps)) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize(
    ("sampler", "eta"), [("ddim", 0.0), ("ddim", 0.5), ("ddpm", 0.0), ("sde_euler", 0.0), ("ode_heun", 0.0)]
)
def test_samples_have_the_exact_law_of_their_sampler(sampler: str, eta: float) -> None:
    count = 20_000
    law = path_law(DATA, linear(), sampler=sampler, steps=20, eta=eta)
    noise = torch.randn(count, 1, 1, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    torch.manual_seed(4)
    drawn = sample(best_denoiser(DATA, linear()), linear(), noise, sampler=sampler, steps=20, eta=eta).flatten(1)
    variances = law.covariance.diag()
    z_mean = (drawn.mean(0) - law.mean) / (variances / count).sqrt()
    # Var of a sample covariance of Gaussians: (s_ii s_jj + s_ij^2) / n (Anderson 2003, section 3.4).
    spread = ((variances[:, None] * variances + law.covariance.square()) / count).sqrt()
    z_covariance = (drawn.T.cov() - law.covariance) / spread
    assert max(z_mean.abs().max(), z_covariance.abs().max()) < 4


def test_the_law_of_ddpm_is_what_its_paper_says_step_by_step() -> None:
    """One pixel, three steps, by the posterior of q (Ho et al., eq. 7) in scalars: x0 = E[x0 | x_t]."""
    schedule = schedule_of({"trained_betas": [0.3, 0.5, 0.7], **PLAIN})
    data = gaussian_data(size=1, least=0.4, most=0.4)
    mean, variance, m = 0.0, 1.0, data.mean.item()
    a = [1.0, 0.7, 0.35, 0.105]
    for t in (3, 2, 1):
        beta = 1 - a[t] / a[t - 1]
        gain = math.sqrt(a[t]) * 0.4 / (a[t] * 0.4 + 1 - a[t])  # of x0 on x_t
        on_x0 = math.sqrt(a[t - 1]) * beta / (1 - a[t])
        on_x = math.sqrt(1 - beta) * (1 - a[t - 1]) / (1 - a[t])
        slope = on_x0 * gain + on_x
        mean = slope * mean + on_x0 * m * (1 - gain * math.sqrt(a[t]))
        variance = slope**2 * variance + beta * (1 - a[t - 1]) / (1 - a[t])
    law = path_law(data, schedule, sampler="ddpm", steps=3)
    assert law.mean.item() == pytest.approx(mean, abs=1e-12)
    assert law.covariance.item() == pytest.approx(variance, abs=1e-12)


def test_ddim_at_eta_one_has_the_law_of_ddpm() -> None:
    of_ddim = path_law(DATA, linear(), sampler="ddim", steps=25, eta=1.0)
    of_ddpm = path_law(DATA, linear(), sampler="ddpm", steps=25)
    assert torch.allclose(of_ddim.covariance, of_ddpm.covariance, atol=1e-12)
    assert torch.allclose(of_ddim.mean, of_ddpm.mean, atol=1e-12)


@pytest.mark.parametrize(
    "sampler", [name for name in SAMPLERS if name not in ("ddpm", "sde_euler", "dpmpp_sde", "euler_a")]
)
def test_every_sampler_without_chance_comes_to_the_image_that_the_exact_flow_leads_to(sampler: str) -> None:
    exact = flow_map(DATA, NOISE, linear().alphas_cumprod[-1].item(), 1.0)
    x = sample(best_denoiser(DATA, linear()), linear(), NOISE, sampler=sampler, steps=40)
    assert (x - exact).square().mean().sqrt() < 0.06


@pytest.mark.parametrize("sampler", ["ddim", "ode_heun", "dpmpp_2m", "unipc", "euler", "flow_euler"])
def test_a_watcher_sees_every_step_in_the_scale_of_the_schedule(sampler: str) -> None:
    found: list[Moment] = []
    predict = best_denoiser(DATA, linear())
    x = sample(predict, linear(), NOISE, sampler=sampler, steps=40, watch=found.append)
    assert [moment.step for moment in found] == list(range(1, 41))
    assert torch.equal(found[-1].x, x)
    # What the next step predicts of the image, it predicts from this x as it is.
    before, after = found[19], found[20]
    eps = predict(before.x, torch.tensor([after.t]))
    assert torch.allclose(after.x0, to_x0(before.x, eps, alpha_bar(linear(), after.t)), atol=1e-4)


@pytest.mark.parametrize("sampler", ["ddpm", "sde_euler", "dpmpp_sde", "euler_a"])
def test_every_sampler_with_chance_comes_near_the_law_of_the_data(sampler: str) -> None:
    noise = torch.randn(4000, 1, 1, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    torch.manual_seed(6)
    drawn = sample(best_denoiser(DATA, linear()), linear(), noise, sampler=sampler, steps=100).flatten(1)
    assert torch.allclose(drawn.mean(0), DATA.mean, atol=0.06)
    assert (drawn.T.cov() - DATA.covariance).norm() / DATA.covariance.norm() < 0.15


# ------------------------------------------------------------------------------------------------- one by one


@pytest.mark.parametrize("sampler", ["ddpm", "dpmpp_sde", "euler_a"])
def test_the_noise_of_an_image_is_its_own_whoever_is_beside_it(sampler: str) -> None:
    def drawn(images: list[int]) -> Tensor:
        noise, generators = starting_noise(7, images, (1, 1, 4))
        predict = best_denoiser(DATA, linear())
        return sample(predict, linear(), noise, sampler=sampler, steps=5, generators=generators)

    together = drawn([0, 1, 2])
    assert torch.allclose(drawn([2]), together[2:], atol=1e-6)
    assert not torch.allclose(together[0], together[1], atol=1e-2)


@pytest.mark.parametrize("form", ["epsilon", "sample", "v_prediction"])
def test_what_a_network_should_say_means_the_same_noise_image_and_velocity(form: Any) -> None:
    x0, noise = torch.tensor([[0.5], [-1.0]]).double(), torch.tensor([[2.0], [0.3]]).double()
    a = torch.tensor([0.9, 0.36])
    x = noised(x0, noise, a)
    # sqrt(0.36) = 0.6, sqrt(0.64) = 0.8: x = -0.6 + 0.24, v = 0.18 + 0.8.
    assert x[1].item() == pytest.approx(-0.36, abs=1e-7)
    target = target_of(x0, noise, a, form)
    assert torch.allclose(to_eps(x, target, a, form), noise, atol=1e-7)
    assert torch.allclose(to_x0(x, target, a, form), x0, atol=1e-7)
    assert to_v(x, target, a, form)[1].item() == pytest.approx(0.98, abs=1e-7)


@pytest.mark.parametrize("name", SCHEDULES)
def test_between_timesteps_a_schedule_is_smooth_and_its_rate_is_its_derivative(name: str) -> None:
    schedule = schedule_of({"beta_schedule": name})
    places = torch.linspace(0.25, 990.75, 37, dtype=torch.float64)
    ahead, behind = (log_alpha_bar(schedule, places + h)[0] for h in (1e-4, -1e-4))
    assert torch.allclose((ahead - behind) / 2e-4, log_alpha_bar(schedule, places)[1], rtol=1e-5)
    assert torch.allclose(alpha_bar(schedule, torch.arange(1000.0).double()), schedule.alphas_cumprod, rtol=1e-12)
    assert timestep_of(schedule, alpha_bar(schedule, 333.4).item()) == pytest.approx(333.4, abs=1e-6)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"beta_schedule": "karras"}, "beta_schedule"),
        ({"thresholding": True}, "thresholding"),
        ({"prediction_type": "flow_prediction"}, "flow matching"),
        ({"variance_type": "learned"}, "variance_type"),
        ({"trained_betas": [0.1, 1.2]}, "betas"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_by_the_setting(config: dict[str, Any], named: str) -> None:
    with pytest.raises(ScheduleError, match=named):
        schedule_of(config)


@pytest.mark.parametrize(
    ("wish", "named"),
    [
        ({"sampler": "ddmi"}, "sampler: should be one of ddim"),
        ({"sampler": "ddpm", "eta": 0.5}, "eta: belongs to ddim"),
        ({"sampler": "ddim", "eta": 1.5}, "eta: should be from 0 to 1"),
        ({"sampler": "ode_rk4", "steps": 0}, "steps: should be 1 or more"),
        ({"sampler": "ddim", "steps": 1001}, "steps: should be from 1 to 1000"),
    ],
)
def test_a_wish_that_cannot_be_is_refused_by_the_setting(wish: dict[str, Any], named: str) -> None:
    with pytest.raises(ScheduleError, match=named):
        sample(best_denoiser(DATA, linear()), linear(), NOISE, **{"steps": 5, **wish})


def test_our_samplers_are_all_in_the_menu() -> None:
    assert set(OWN) <= set(SAMPLERS)
