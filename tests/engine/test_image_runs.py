"""Runs of image methods: they go through the same loop, stop and go on bit for bit, and leave what diffusers opens."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DiffusionPipeline, UNet2DModel

from engine.contract.preset import Preset, check
from engine.contract.run_dir import RunDir
from engine.diffusion.networks import ImageModelError, open_folder
from tests.engine import running

TRAINING = {"steps": 6, "batch_size": 8, "threads": 1, "checkpoint_every": 2, "eval_every": 3}
DIGITS = Path(__file__).parents[2] / "assets" / "diffusion" / "digits.npz"
NETWORK = {"size": 8, "width": 8, "classes": 10}


def denoiser(**sections: Any) -> Preset:
    """A tiny run of a denoiser; each section given is laid over the usual one."""
    usual: dict[str, Any] = {
        "model": {"path": "scratch", "scratch": NETWORK, "device": "cpu"},
        "data": {"train": {"path": str(DIGITS), "rows": 64}, "eval_share": 0.25},
        "optimizer": {"learning_rate": 1e-3},
        "training": TRAINING,
    }
    preset, faults = check({"method": "denoiser"} | {k: v | sections.get(k, {}) for k, v in usual.items()})
    assert preset is not None, faults
    return preset


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return running.done(tmp_path_factory.mktemp("denoiser") / "run", denoiser())


def test_a_run_that_was_stopped_goes_on_to_the_very_weights_and_curve(finished: RunDir, tmp_path: Path) -> None:
    run = running.new_run(tmp_path / "run", denoiser())
    ask = '{"id": "1", "time": 0.0, "ask": "stop"}\n'
    stop_at_3 = lambda step: run.commands.write_text(ask) if step == 3 else None  # noqa: E731
    assert running.run_here_watched(run, stop_at_3) == 3
    assert running.run_here(run, commands_from=len(ask)) == 0
    assert running.curve(run) == running.curve(finished)
    running.assert_same_weights(run.final / "unet", finished.final / "unet")


def test_micro_batches_change_memory_and_not_the_curve(finished: RunDir, tmp_path: Path) -> None:
    cut = running.done(tmp_path / "run", denoiser(training={"micro_batch_size": 3}))
    assert running.values_of(cut, "loss") == pytest.approx(running.values_of(finished, "loss"), rel=1e-5)


def test_diffusers_opens_what_a_run_leaves_and_gives_the_same_numbers(finished: RunDir) -> None:
    ours = open_folder(str(finished.path))
    theirs = UNet2DModel.from_pretrained(finished.final, subfolder="unet", use_safetensors=True)
    x, t, digits = torch.randn(2, 1, 8, 8), torch.tensor([3, 900]), torch.tensor([4, 10])
    with torch.no_grad():
        expected = theirs(x, t, class_labels=digits).sample
        assert torch.equal(ours.output(ours.network, x, t, digits), expected)
    assert DDIMScheduler.from_pretrained(finished.final, subfolder="scheduler").config.prediction_type == "epsilon"
    assert type(DiffusionPipeline.from_pretrained(finished.final).unet) is UNet2DModel
    assert (ours.condition, ours.classes, ours.shape) == ("class", 10, (1, 8, 8))


def test_a_model_of_pickles_alone_is_refused(finished: RunDir, tmp_path: Path) -> None:
    open_folder(str(finished.path)).unet.save_pretrained(tmp_path / "unet", safe_serialization=False)
    with pytest.raises(ImageModelError, match="pickles alone, which run code"):
        open_folder(str(tmp_path))
