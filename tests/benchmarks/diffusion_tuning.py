"""What a step of each method that tunes images takes, and Diffusion-DPO's beside a plain loop: printed only.

    python -m tests.benchmarks.diffusion_tuning [--steps N] [--rounds N]

Each method takes the steps of the preset that ships, in a process of its own, without measuring drift. Diffusion-DPO
and the plain loop, which is written here as examples of diffusers are, take turns in one process: the same network,
pairs, batch and optimiser. Times are of the thread alone, on one thread, so that a busy machine changes them little;
the best of the rounds counts. Memory is the highest while training less that before.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DModel
from torch import Tensor

from engine.contract.tuning_presets import DiffusionDpoPreset, TuningPreset
from engine.diffusion.image_pairs import PicturePairs
from engine.diffusion.judging import reward_of
from engine.diffusion.networks import locate
from engine.methods.diffusion_dpo import pairs_of
from engine.starting.launch import prepare
from tests.benchmarks.diffusion import Budget, ours, parts_of, timed

ROOT = Path(__file__).parents[2]
PRESETS = {
    "diffusion_dpo": "diffusion_dpo_digits",
    "diffusion_grpo": "diffusion_grpo_digits",
    "diffusion_nft": "diffusion_nft_digits",
    "draft": "draft_digits",
}
PLAIN = "plain loop"
#: What costs time beside the steps is left out, and pairs are few, as they are drawn before the first.
BARE = (
    "drift.every=0",
    "training.checkpoint_every=0",
    "training.threads=1",
    "model.device=cpu",
    "training.steps=100000",
)
OF_DPO = ("judged.pairs=64", "judged.held_out=0", "training.eval_every=0", "training.early_stopping=null")


class Measured(NamedTuple):
    """A step's seconds of the thread, and MiB that training took."""

    seconds: float
    memory: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4, help="of a turn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", metavar="METHOD")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.child:
        print(json.dumps(alone(options.child, options.steps, options.rounds)))
        return
    print("| step of | seconds | memory of training, MiB |\n|---|---|---|")
    for name in (*PRESETS, PLAIN):
        found = apart(name, options)
        print(f"| {name} | {found.seconds:.2f} | {found.memory:.0f} |", flush=True)
    mine, other = in_turns(options.steps, options.rounds)
    print(f"\nin turns, a step of 32 pairs: ours {mine * 1e3:.0f} ms, plain loop {other * 1e3:.0f} ms")
    print(f"ratio {other / mine:.2f} (above 1: ours is faster)")


def apart(name: str, options: argparse.Namespace) -> Measured:
    """One contestant in a process of its own."""
    given = ["--steps", str(options.steps), "--rounds", str(options.rounds), "--child", name]
    command = [sys.executable, "-m", "tests.benchmarks.diffusion_tuning", *given]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return Measured(*json.loads(done.stdout.splitlines()[-1]))


def alone(name: str, steps: int, rounds: int) -> Measured:
    """The best of some turns; the first step is left out."""
    with tempfile.TemporaryDirectory() as folder:
        turn = contestant(name, Path(folder))
        before = psutil.Process().memory_info().rss
        turn(1)
        seconds = min(timed(lambda: turn(steps)) / steps for _ in range(rounds))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Measured(seconds, (peak - before) / 2**20)


def in_turns(steps: int, rounds: int) -> tuple[float, float]:
    """Seconds of a step of ours and of the plain loop; medians."""
    own, theirs = list[float](), list[float]()
    with tempfile.TemporaryDirectory() as folder:
        both = [contestant(name, Path(folder) / name) for name in ("diffusion_dpo", PLAIN)]
        for turn in both:
            turn(1)
        for _ in range(2 * rounds):
            for turn, times in zip(both, (own, theirs), strict=True):
                times.append(timed(lambda turn=turn: turn(steps)) / steps)  # type: ignore[misc]
    return statistics.median(own), statistics.median(theirs)


def contestant(name: str, folder: Path) -> Callable[[int], object]:
    """Takes so many more steps, each time it is called."""
    folder.mkdir(exist_ok=True)
    preset = preset_of("diffusion_dpo" if name == PLAIN else name)
    parts = parts_of(preset, folder)
    if name == PLAIN:
        assert isinstance(preset, DiffusionDpoPreset)
        return plain_loop(preset, parts.bench)
    taken = 0

    def turn(steps: int) -> None:
        nonlocal taken
        ours(parts, preset, steps, taken, Budget(1e9))
        taken += steps

    return turn


def preset_of(method: str) -> TuningPreset:
    overrides = [*BARE, *(OF_DPO if method == "diffusion_dpo" else ())]
    file = ROOT / "presets" / f"{PRESETS[method]}.yaml"
    preset = prepare(file, overrides, workspace=Path(tempfile.gettempdir())).preset
    assert isinstance(preset, TuningPreset)
    return preset


# --------------------------------------------------------------------------------------------------- the plain loop


def plain_loop(preset: DiffusionDpoPreset, bench: Any) -> Callable[[int], None]:
    """Diffusion-DPO as examples of diffusers write it: both pictures of a pair in one batch, the same noise twice."""
    assert preset.judged is not None
    pairs, _ = pairs_of(preset, bench, reward_of(preset.judged.rewards, bench))
    model, reference = network_of(preset), network_of(preset).requires_grad_(requires_grad=False)
    scheduler = DDPMScheduler(num_train_timesteps=1000)
    optimizer = torch.optim.AdamW(model.parameters(), lr=preset.optimizer.learning_rate, weight_decay=0.0)

    def turn(steps: int) -> None:
        for _ in range(steps):
            loss = plain_loss(model, reference, scheduler, batch_of(pairs, preset.training.batch_size), preset)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), preset.optimizer.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
            loss.item()

    return turn


def network_of(preset: TuningPreset) -> Any:
    return UNet2DModel.from_pretrained(locate(preset.model.path), subfolder="unet", use_safetensors=True)


def batch_of(pairs: PicturePairs, size: int) -> tuple[Tensor, Tensor]:
    """Pictures (2B, C, H, W), the chosen first, and their classes (2B,)."""
    rows = torch.randint(len(pairs), (size,)).tolist()
    chosen, rejected = pairs.at(rows)
    labels = torch.tensor([pairs.prompts[row] for row in rows])
    return torch.cat([chosen, rejected]), labels.repeat(2)


def plain_loss(
    model: Any, reference: Any, scheduler: Any, batch: tuple[Tensor, Tensor], preset: DiffusionDpoPreset
) -> Tensor:
    pixels, labels = batch
    noise = torch.randn_like(pixels[: len(pixels) // 2]).repeat(2, 1, 1, 1)
    t = torch.randint(1000, (len(pixels) // 2,)).repeat(2)
    noisy = scheduler.add_noise(pixels, noise, t)
    errors = F.mse_loss(model(noisy, t, class_labels=labels).sample, noise, reduction="none").mean(dim=(1, 2, 3))
    with torch.no_grad():
        said = reference(noisy, t, class_labels=labels).sample
        known = F.mse_loss(said, noise, reduction="none").mean(dim=(1, 2, 3))
    won, lost = errors.chunk(2)
    known_won, known_lost = known.chunk(2)
    inside = -0.5 * preset.diffusion_dpo.beta * ((won - lost) - (known_won - known_lost))
    return -F.logsigmoid(inside).mean()


if __name__ == "__main__":
    main()
