"""How fast a denoiser learns beside a plain loop of diffusers, and how well the shipped preset does for how long.

    python -m tests.benchmarks.diffusion [STEPS]              ratio of a step's time to the plain loop's
    python -m tests.benchmarks.diffusion --learn SECONDS      from nothing, on so much time of one core: loss, Fréchet

Times are of the thread alone (`time.thread_time`), on one thread, so that a busy machine changes them little; both
loops take turns, so that what changes hits both.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, UNet2DModel
from diffusers.training_utils import EMAModel

from engine import image_assembly
from engine.assembly import accelerator_of
from engine.contract.image_presets import DenoiserPreset, ImagePreset
from engine.contract.preset import preset_text
from engine.contract.run_dir import create_at
from engine.contract.tuning_presets import TuningPreset
from engine.diffusion.images import load_images
from engine.loop import Progress, Wish, train
from engine.reporting import Reporter
from engine.starting.launch import prepare

ROOT = Path(__file__).parents[2]
PRESET = ROOT / "presets" / "denoiser_digits.yaml"
#: Each loop's turn, in steps.
TURN = 10


class Budget:
    """A run's Control that stops it once the thread has used so many seconds, or after so many steps."""

    def __init__(self, seconds: float) -> None:
        self._until = time.thread_time() + seconds

    def breathe(self) -> None: ...

    def after_step(self, step: int) -> Wish:
        return Wish(stop=time.thread_time() > self._until)


def digits_preset(*overrides: str) -> DenoiserPreset:
    preset = prepare(PRESET, list(overrides), workspace=Path(tempfile.gettempdir())).preset
    assert isinstance(preset, DenoiserPreset)
    return preset


def parts_of(preset: ImagePreset, folder: Path) -> Any:
    run = create_at(folder / "run", preset_text(preset))
    assert run is not None
    return image_assembly.assemble(run, preset, accelerator_of(preset), Reporter(run), Budget(1e9))


def ours(parts: Any, preset: DenoiserPreset | TuningPreset, steps: int, first: int, control: Any) -> Progress:
    """`steps` steps of the engine's loop, with all that it reports; without checkpoints."""
    progress = Progress(first)
    train(
        parts.method,
        scorer=parts.scorer,
        optimizer=parts.optimizer,
        accelerator=parts.bench.accelerator,
        settings=preset.optimizer,
        steps=first + steps,
        progress=progress,
        reporter=parts.bench.reporter,
        control=control,
        save=lambda progress: None,
        checkpoint_every=0,
    )
    return progress


def plain_loop(preset: DenoiserPreset, config: dict[str, Any]) -> Callable[[int], None]:
    """The training loop of diffusers' documentation: same network, data, optimiser and average."""
    images = load_images(preset.data, (1, 8, 8), seed=0)[0]
    unet = UNet2DModel.from_config(config)
    scheduler = DDIMScheduler(num_train_timesteps=1000)
    optimizer = torch.optim.AdamW(unet.parameters(), lr=preset.optimizer.learning_rate)
    average = EMAModel(unet.parameters(), decay=preset.denoiser.average)

    def steps(count: int) -> None:
        for _ in range(count):
            places = torch.randint(len(images), (preset.training.batch_size,)).tolist()
            clean, labels = images.at(places), images.classes_at(places)
            noise = torch.randn_like(clean)
            t = torch.randint(1000, (len(clean),))
            labels = torch.where(torch.rand(len(clean)) < preset.denoiser.condition_dropout, 10, labels)
            output = unet(scheduler.add_noise(clean, noise, t), t, class_labels=labels).sample
            F.mse_loss(output, noise).backward()
            torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            average.step(unet.parameters())

    return steps


def timed(work: Callable[[], object]) -> float:
    started = time.thread_time()
    work()
    return time.thread_time() - started


def compare(steps: int) -> None:
    """Turns of both loops; the ratio is of medians."""
    preset = digits_preset(f"training.steps={10 * steps}", "training.eval_every=0", "training.checkpoint_every=0")
    with tempfile.TemporaryDirectory() as folder:
        parts = parts_of(preset, Path(folder))
        plain = plain_loop(preset, dict(parts.bench.model.unet.config))
        plain(2)
        own, theirs = [], []
        for first in range(0, steps, TURN):
            own.append(timed(lambda first=first: ours(parts, preset, TURN, first, Budget(1e9))) / TURN)  # type: ignore[misc]
            theirs.append(timed(lambda: plain(TURN)) / TURN)
    mine, other = statistics.median(own), statistics.median(theirs)
    print(f"a step of 64 digits: ours {mine * 1e3:.1f} ms, plain diffusers loop {other * 1e3:.1f} ms of one thread")
    print(f"ratio {other / mine:.2f} (above 1: ours is faster)")


def learn(seconds: float) -> None:
    """The shipped preset, its learning rate falling over as many steps as the time is enough for."""
    with tempfile.TemporaryDirectory() as folder:
        probe = digits_preset("training.steps=100000", "training.eval_every=0", "training.checkpoint_every=0")
        parts = parts_of(probe, Path(folder))
        pace = timed(lambda: ours(parts, probe, TURN, 0, Budget(1e9))) / TURN
        steps = round(seconds / pace)
        preset = digits_preset(f"training.steps={steps}", f"training.eval_every={steps}", "training.checkpoint_every=0")
        (Path(folder) / "whole").mkdir()
        parts = parts_of(preset, Path(folder) / "whole")
        used = timed(lambda: ours(parts, preset, steps, 0, Budget(1e9)))
        found = parts.method.measure(steps)
    shown = {name: round(value, 4) for name, value in found.items() if name in SHOWN}
    print(f"{steps} steps in {used:.0f} s of one thread: {shown}")


SHOWN = ("eval_loss", "frechet", "frechet_of_real", "recognised", "diversity")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("steps", type=int, nargs="?", default=100)
    parser.add_argument("--learn", type=float, metavar="SECONDS")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.learn:
        learn(options.learn)
    else:
        compare(options.steps)


if __name__ == "__main__":
    main()
