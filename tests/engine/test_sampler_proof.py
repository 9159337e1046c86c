"""The proof of samplers: right ones pass, wrong ones are named, and a run leaves it whole or goes on with it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.contract.image_presets import SamplerProofPreset
from engine.contract.preset import Preset, check
from engine.contract.proof import Budget, LawCheck, OrderCheck, ParityCheck, Proof, read_proof, verdict
from engine.diffusion import continuous_samplers, discrete_samplers, proof
from engine.diffusion.gaussian_data import PathLaw, gaussian_data
from engine.diffusion.gaussian_steps import ddim_std
from engine.methods import sampler_proof
from tests.engine import running

NAMED = {"beta_schedule": "linear", "timestep_spacing": "trailing", "clip_sample": False}
SETTING = proof.Setting(gaussian_data(), NAMED, steps=10, samples=4000, seed=0)
BLANK = Proof(schedule="s", timesteps=1000, alphas=(), is_whole=True)


def failed_with(line: proof.Line) -> tuple[str, ...]:
    return verdict(proof.with_line(BLANK, line)).failed


@pytest.mark.parametrize(
    "config",
    [
        NAMED,
        {"beta_schedule": "squaredcos_cap_v2", "clip_sample": True},
        {"beta_schedule": "sigmoid", "timestep_spacing": "linspace"},
        {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "rescale_betas_zero_snr": True},
    ],
    ids=["linear", "cosine, clipped", "sigmoid", "zero terminal SNR"],
)
def test_right_samplers_hold_on_every_schedule(config: dict[str, Any]) -> None:
    setting = SETTING._replace(config=config)
    lines: list[proof.Line] = [proof.ode_order(setting, "ode_heun"), proof.ddim_order(setting)]
    lines.append(proof.law_check(setting, "ddim", 1.0))
    if proof.blank(setting, "").left_out == ():
        lines.append(proof.parity_check(setting, "ddim", 1.0, 10))
    assert [failed_with(line) for line in lines] == [()] * len(lines)


def test_heun_that_steps_like_euler_fails_by_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(continuous_samplers._METHODS, "ode_heun", continuous_samplers._euler_step)
    assert "and should have 2" in failed_with(proof.ode_order(SETTING, "ode_heun"))[0]


def test_a_wrong_sigma_fails_beside_diffusers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discrete_samplers, "ddim_std", lambda *how: 0.99 * ddim_std(*how))
    assert "off diffusers" in failed_with(proof.parity_check(SETTING, "ddim", 1.0, 10))[0]


def test_noise_that_is_a_little_too_loud_fails_by_its_law(monkeypatch: pytest.MonkeyPatch) -> None:
    def loud(stream: torch.Generator, x: Tensor) -> Tensor:
        return 1.1 * torch.randn(x.shape, generator=stream, dtype=x.dtype)

    monkeypatch.setattr(proof, "_draw", loud)
    assert "standard errors off its own law" in failed_with(proof.law_check(SETTING, "ddpm", 0.0))[0]


def test_more_steps_bring_a_sampler_nearer_and_heun_looks_twice() -> None:
    found = proof.budget(SETTING, "heun")
    assert found.looks == (9, 19, 39, 99, 199)
    assert sorted(found.distances, reverse=True) == list(found.distances)


def test_the_distance_between_gaussians_by_hand() -> None:
    # Along each axis |3 - 1| of the deviations, and 2 between means: sqrt(4 * 4 + 4).
    data = gaussian_data(least=1.0, most=1.0)
    shifted = data.mean + torch.tensor([2.0, 0, 0, 0])
    law = PathLaw(shifted, 9 * torch.eye(4, dtype=torch.float64))
    assert proof.distance(law, data) == pytest.approx(20**0.5)


def test_the_verdict_counts_checks_and_never_takes_nan_for_right() -> None:
    nan = float("nan")
    order = OrderCheck(sampler="ddim", expected=1, steps=(1, 2), errors=(nan, nan), order=nan)
    law = LawCheck(sampler="ddim", eta=0.5, steps=5, samples=9, z_means=(nan,), z_covariances=(1.0,))
    same = ParityCheck(sampler="ddpm", eta=0, steps=5, difference=nan, limit=1e-4)
    found = verdict(BLANK.model_copy(update={"orders": (order,), "laws": (law,), "parity": (same,)}))
    assert (found.holds, found.words) == (False, "3 of 3 checks fail on this schedule.")
    assert found.failed[1].startswith("ddim at eta 0.5 draws images inf standard errors")
    assert verdict(BLANK) == (False, "Nothing could be checked on this schedule.", ())


def preset_of(**sections: Any) -> Preset:
    preset, faults = check({"method": "sampler_proof", **sections})
    assert preset is not None, faults
    return preset


def three_checks(setting: proof.Setting) -> list[proof.Check]:
    return [each for each in proof.checks(setting) if each.title in ("law of ddpm", "order of ddim", "steps of unipc")]


def test_a_run_that_was_stopped_goes_on_with_its_proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler_proof, "checks", three_checks)
    run = running.new_run(tmp_path / "run", preset_of(sampler_proof={"samples": 1000, "steps": 5}))
    ask = '{"id": "1", "time": 0.0, "ask": "stop"}\n'
    assert running.run_here_watched(run, lambda step: run.commands.write_text(ask) if step == 1 else None) == 3
    begun = read_proof(run.path)
    assert begun is not None
    assert (len(begun.orders), begun.laws, begun.is_whole) == (1, (), False)
    assert running.run_here(run, commands_from=len(ask)) == 0
    whole = read_proof(run.path)
    assert whole is not None
    assert whole.is_whole
    assert whole.orders == begun.orders
    assert [type(line) for line in (*whole.laws, *whole.budgets)] == [LawCheck, Budget]
    assert "All 2 checks hold" in running.notices(run)


def test_a_model_brings_its_own_schedule_and_one_without_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "scheduler").mkdir(parents=True)
    (folder / "scheduler" / "scheduler_config.json").write_text('{"_class_name": "DDIMScheduler", "beta_end": 0.01}')
    assert sampler_proof._config_in(str(folder))["beta_end"] == 0.01
    preset = preset_of(model={"path": str(folder)})
    assert isinstance(preset, SamplerProofPreset)
    (folder / "scheduler" / "scheduler_config.json").unlink()
    with pytest.raises(ValueError, match="name a folder of diffusers, or leave model empty"):
        sampler_proof._config_in(str(folder))
