"""Proving samplers: nothing is learned; each step is one check on Gaussian data, and a line of RUN_DIR/proof.json."""

from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler

from engine.contract.image_presets import SamplerProofPreset
from engine.contract.proof import Budget, LawCheck, OrderCheck, ParityCheck, Proof, read_proof, verdict, write_proof
from engine.contract.sampler_settings import SamplerProof
from engine.diffusion.bench import ImageBench
from engine.diffusion.gaussian_data import gaussian_data
from engine.diffusion.networks import locate
from engine.diffusion.proof import Line, Setting, blank, checks, with_line
from engine.diffusion.schedules import ScheduleError
from engine.work import Work

NAMES = {"squaredcos_cap_v2": "cosine", "scaled_linear": "scaled linear"}


def sampler_proof(preset: SamplerProofPreset, bench: ImageBench[None]) -> Work:
    """Raises ScheduleError for a schedule that cannot be."""
    torch.set_num_threads(1)  # matrices of 4 x 4: a second thread costs more than it does
    own = preset.sampler_proof
    config = _config_of(own) if preset.model is None else _config_in(preset.model.path)
    setting = Setting(gaussian_data(preset.seed), config, own.steps, own.samples, preset.seed)
    todo = checks(setting)
    words = _words_of(own) if preset.model is None else f"the schedule of {Path(preset.model.path).name}"
    begun = read_proof(bench.run.path)
    proof = blank(setting, words) if begun is None or begun.is_whole else begun

    def step(number: int) -> dict[str, float]:
        nonlocal proof
        check = todo[number - 1]
        bench.reporter.phase(check.title, (number - 1) / len(todo))
        line = check.find()
        proof = with_line(proof, line).model_copy(update={"is_whole": number == len(todo)})
        write_proof(bench.run.path, proof)
        found = verdict(proof)
        if proof.is_whole:
            bench.reporter.notice("info" if found.holds else "warning", found.words, " ".join(found.failed))
        return {**_values_of(line), "proof/failed": float(len(found.failed))}

    return Work(len(todo), step, _lines_in(proof))


def _values_of(line: Line) -> dict[str, float]:
    """What a line adds to the curves; nothing for distances, which the proof itself shows."""
    match line:
        case OrderCheck():
            return {"proof/order_error": abs(line.order - line.expected)}
        case LawCheck():
            return {"proof/worst_z": line.worst}
        case ParityCheck():
            return {"proof/difference": line.difference}
        case Budget():
            return {}


def _lines_in(proof: Proof) -> int:
    return len(proof.orders) + len(proof.laws) + len(proof.parity) + len(proof.budgets)


def _config_of(own: SamplerProof) -> dict[str, Any]:
    """A scheduler's config in diffusers' words."""
    return {
        "beta_schedule": own.schedule,
        "num_train_timesteps": own.timesteps,
        "beta_start": own.beta_start,
        "beta_end": own.beta_end,
        "rescale_betas_zero_snr": own.zero_terminal_snr,
        "timestep_spacing": own.spacing,
        "clip_sample": False,
    }


def _words_of(own: SamplerProof) -> str:
    named = NAMES.get(own.schedule, own.schedule)
    bounds = "" if own.schedule == "squaredcos_cap_v2" else f", {own.beta_start:g} to {own.beta_end:g}"
    ending = ", without signal at its end" if own.zero_terminal_snr else ""
    return f"the {named} schedule{bounds}{ending}, {own.spacing} spacing"


def _config_in(path: str) -> dict[str, Any]:
    """The config of the scheduler in a model's folder. Raises ScheduleError."""
    try:
        return dict(DDIMScheduler.load_config(locate(path), subfolder="scheduler"))
    except (OSError, ValueError) as error:
        problem = f"model.path: {path} has no scheduler/scheduler_config.json that can be read"
        raise ScheduleError(f"{problem}; name a folder of diffusers, or leave model empty") from error
