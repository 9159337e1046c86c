"""DDIM in 20 steps beside diffusers' own loop: `python -m tests.benchmarks.samplers`. Printed, never asserted.

The same network (the digits that ship), the same noise, one thread, in turns; processor time of the best of many
rounds, so that whoever else is at work here does not count. Goals of the house: at least as fast as diffusers (ratio
1.0), one image in 60 ms, sixteen in 200 ms.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from diffusers import DDIMScheduler
from torch import Tensor

from engine.diffusion.networks import ImageModel, open_folder, predictor
from engine.diffusion.noise import starting_noise
from engine.diffusion.samplers import sample
from engine.diffusion.schedules import schedule_of

DIGITS = Path(__file__).parents[2] / "assets" / "diffusion" / "digits-denoiser"
STEPS, ROUNDS = 20, 30
GOALS = {1: 60, 16: 200}  # images -> ms


def ours(model: ImageModel, noise: Tensor, labels: Tensor) -> Tensor:
    return sample(predictor(model, labels), schedule_of(model.schedule), noise, sampler="ddim", steps=STEPS)


@torch.no_grad()
def theirs(model: ImageModel, noise: Tensor, labels: Tensor) -> Tensor:
    """As the pipelines of diffusers do it."""
    scheduler = DDIMScheduler.from_config(model.schedule)
    scheduler.set_timesteps(STEPS)
    x = noise
    for t in scheduler.timesteps:
        x = scheduler.step(model.unet(x, t, class_labels=labels).sample, t, x).prev_sample
    return x


def milliseconds(call: Callable[[], object]) -> float:
    started = time.process_time()
    call()
    return 1000 * (time.process_time() - started)


def main() -> None:
    torch.set_num_threads(1)
    model = open_folder(str(DIGITS))
    model.unet.eval()
    parameters = sum(weight.numel() for weight in model.unet.parameters())
    print(f"DDIM, {STEPS} steps, {parameters / 1e6:.2f} M parameters")
    print(f"{'images':>8} {'ours':>12} {'diffusers':>12} {'ratio':>8} {'goal':>10} {'largest difference':>20}")
    for images, goal in GOALS.items():
        noise, _ = starting_noise(0, range(images), model.shape)
        labels = torch.arange(images) % 10
        apart = (ours(model, noise, labels) - theirs(model, noise, labels)).abs().max().item()
        pairs = [
            (milliseconds(lambda: ours(model, noise, labels)), milliseconds(lambda: theirs(model, noise, labels)))  # noqa: B023
            for _ in range(ROUNDS)
        ]
        mine, others = (min(side) for side in zip(*pairs, strict=True))
        print(f"{images:8} {mine:9.1f} ms {others:9.1f} ms {others / mine:8.2f} {goal:7} ms {apart:20.1e}")


if __name__ == "__main__":
    main()
