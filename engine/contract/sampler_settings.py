"""Sections of the presets that prove samplers and that show diffusion in two dimensions."""

from typing import Literal

from pydantic import BaseModel

from engine.contract.settings import STRICT, setting

#: Schedules by diffusers' names, as a preset names them.
ScheduleName = Literal["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"]


class SamplerProof(BaseModel, **STRICT):
    schedule: ScheduleName = setting(
        "linear", "how noise grows; a model, where one is named, brings its own", main=True
    )
    timesteps: int = setting(1000, "steps of noise in the table", ge=100, le=10_000)
    beta_start: float = setting(1e-4, "noise of the first step; the cosine has its own", gt=0, lt=1)
    beta_end: float = setting(0.02, "noise of the last step; the cosine has its own", gt=0, lt=1)
    zero_terminal_snr: bool = setting(
        False, "let the last step have no signal, or all but none (arXiv:2305.08891, algorithm 1)"
    )
    spacing: Literal["leading", "trailing", "linspace"] = setting(
        "trailing", "which timesteps stand for fewer steps (arXiv:2305.08891, table 2)", main=True
    )
    steps: int = setting(50, "steps of the samplers whose law is checked", main=True, ge=2, le=1000)
    samples: int = setting(20_000, "samples that a law is checked with", ge=1000, le=1_000_000)


class ToyNetwork(BaseModel, **STRICT):
    path: Literal["scratch"] = setting("scratch", "the network is always made new")
    width: int = setting(128, "units of each hidden layer", ge=8, le=4096)
    layers: int = setting(3, "hidden layers", ge=1, le=16)
    dtype: Literal["float32"] = setting("float32", "number format of the arithmetic")
    device: str = setting("cpu", "auto, cpu, cuda, cuda:1 or mps", pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$")


class ToyDiffusion(BaseModel, **STRICT):
    data: Literal["moons", "mixture", "spiral"] = setting(
        "moons", "points in the plane: two moons, eight Gaussians in a ring, or a spiral", main=True
    )
    schedule: ScheduleName = setting("linear", "how noise grows")
    sampler: Literal["ode_euler", "ode_heun", "ode_rk4", "sde_euler"] = setting(
        "ode_heun", "what moves the particles that are shown", main=True
    )
    steps: int = setting(40, "steps of the sampler", ge=2, le=1000)
    particles: int = setting(500, "points that are moved from noise and shown", ge=10, le=5000)
