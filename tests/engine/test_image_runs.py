"""Runs of image methods: they go through the same loop, stop and go on bit for bit, and leave what diffusers opens."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, DiffusionPipeline, UNet2DModel
from PIL import Image

from engine.contract import events
from engine.contract.image_settings import ImageData
from engine.contract.preset import Preset, check
from engine.contract.run_dir import RunDir
from engine.diffusion.classifier import open_classifier
from engine.diffusion.drawing import Wish, draw
from engine.diffusion.images import load_images
from engine.diffusion.networks import ImageModelError, open_folder
from engine.diffusion.scores import recognised
from engine.rehearsal import __main__ as rehearsal
from tests.engine import running

TRAINING = {"steps": 6, "batch_size": 8, "threads": 1, "checkpoint_every": 2, "eval_every": 3}
DIGITS = Path(__file__).parents[2] / "assets" / "diffusion" / "digits.npz"
NETWORKS: dict[str, Any] = {
    "denoiser": {"size": 8, "width": 8, "classes": 10},
    "vae": {"size": 8, "width": 8, "latent_channels": 2},
    "image_classifier": {"size": 8, "width": 8, "features": 8},
}
#: Where each keeps its weights.
WEIGHTS = {"denoiser": "unet", "vae": ".", "image_classifier": "."}


def tiny(method: str, **sections: Any) -> Preset:
    """A tiny run; each section given is laid over the usual one."""
    usual: dict[str, Any] = {
        "model": {"path": "scratch", "scratch": NETWORKS[method], "device": "cpu"},
        "data": {"train": {"path": str(DIGITS), "rows": 64}, "eval_share": 0.25},
        "optimizer": {"learning_rate": 1e-3},
        "training": TRAINING,
    }
    both = {name: usual.get(name, {}) | sections.get(name, {}) for name in usual | sections}
    preset, faults = check({"method": method} | both)
    assert preset is not None, faults
    return preset


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunDir]:
    """One of each method that went through undisturbed."""
    return {name: running.done(tmp_path_factory.mktemp(name) / "run", tiny(name)) for name in NETWORKS}


@pytest.fixture(scope="module")
def finished(runs: dict[str, RunDir]) -> RunDir:
    return runs["denoiser"]


@pytest.mark.parametrize("method", list(NETWORKS))
def test_a_run_that_was_stopped_goes_on_to_the_very_weights_and_curve(
    runs: dict[str, RunDir], tmp_path: Path, method: str
) -> None:
    run, whole = running.new_run(tmp_path / "run", tiny(method)), runs[method]
    ask = '{"id": "1", "time": 0.0, "ask": "stop"}\n'
    stop_at_3 = lambda step: run.commands.write_text(ask) if step == 3 else None  # noqa: E731
    assert running.run_here_watched(run, stop_at_3) == 3
    assert running.run_here(run, commands_from=len(ask)) == 0
    assert running.curve(run) == running.curve(whole)
    running.assert_same_weights(run.final / WEIGHTS[method], whole.final / WEIGHTS[method])


def test_micro_batches_change_memory_and_not_the_curve(finished: RunDir, tmp_path: Path) -> None:
    cut = running.done(tmp_path / "run", tiny("denoiser", training={"micro_batch_size": 3}))
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


def test_a_strip_of_the_same_seeds_is_drawn_at_the_start_and_at_each_checkpoint(finished: RunDir) -> None:
    drawn = running.of_kind(finished, events.Image)
    assert [(image.step, image.role) for image in drawn] == [(step, "samples") for step in (0, 2, 4, 6)]
    assert all((finished.path / image.path).is_file() for image in drawn)


def test_a_vae_opens_with_diffusers_and_scales_its_latents_to_a_spread_of_one(runs: dict[str, RunDir]) -> None:
    run = runs["vae"]
    vae = AutoencoderKL.from_pretrained(run.final, use_safetensors=True)
    digits = load_images(ImageData.model_validate({"train": {"path": str(DIGITS), "rows": 64}}), (1, 8, 8), seed=0)[0]
    with torch.no_grad():
        latents = vae.encode(digits.at(range(64))).latent_dist.mean
    assert float(latents.std()) * vae.config.scaling_factor == pytest.approx(1.0, abs=0.1)
    roles = {image.role for image in running.of_kind(run, events.Image)}
    assert roles == {"latents", "reconstructions", "interpolation"}


def test_a_denoiser_learns_on_the_latents_of_a_vae_and_keeps_it(runs: dict[str, RunDir], tmp_path: Path) -> None:
    model = {"vae": str(runs["vae"].path), "scratch": {"size": 4, "channels": 2, "width": 8, "classes": 10}}
    latent = running.done(tmp_path / "run", tiny("denoiser", model=model))
    ours = open_folder(str(latent.path))
    assert (ours.shape, ours.pixels) == ((2, 4, 4), (1, 8, 8))
    assert draw(ours, 0, range(2), Wish(torch.tensor([1, 2])), steps=2).shape == (2, 1, 8, 8)
    assert type(DiffusionPipeline.from_pretrained(latent.final)).__name__ == "LDMPipeline"


def test_what_is_drawn_is_scored_by_the_classifier_that_is_named(runs: dict[str, RunDir], tmp_path: Path) -> None:
    own = {"classifier": str(runs["image_classifier"].path), "scored": 16, "sample_steps": 2}
    scored = running.done(tmp_path / "run", tiny("denoiser", denoiser=own, training={"steps": 1}))
    values = running.of_kind(scored, events.Evaluation)[-1].values
    assert {"frechet", "diversity", "recognised", "frechet_of_real"} <= values.keys()


def test_what_is_drawn_of_a_seed_does_not_depend_on_who_is_drawn_beside() -> None:
    shipped = open_folder(str(DIGITS.parent / "digits-denoiser"))
    together = draw(shipped, 7, range(3), Wish(torch.tensor([0, 1, 2])), steps=3)
    alone = draw(shipped, 7, [2], Wish(torch.tensor([2])), steps=3)
    torch.testing.assert_close(together[2:], alone, atol=1e-5, rtol=0)


def test_what_ships_draws_digits_that_both_classifiers_recognise() -> None:
    shipped = open_folder(str(DIGITS.parent / "digits-denoiser"))
    classes = torch.arange(60) % 10
    images = draw(shipped, 1, range(60), Wish(classes), steps=10)
    for name in ("digits-classifier", "digits-judge"):
        assert recognised(open_classifier(str(DIGITS.parent / name)), images, classes) > 0.9


def test_a_run_says_what_images_it_has_and_check_tries_a_step(finished: RunDir, tmp_path: Path) -> None:
    (looked,) = running.of_kind(finished, events.Preflight)
    assert looked.report.of_images
    found = [finding.what for finding in looked.report.findings]
    assert found == ["48 images of 8 \N{MULTIPLICATION SIGN} 8, grey, 10 classes; 16 more are held out"]
    run = running.new_run(tmp_path / "run", tiny("denoiser"))
    assert rehearsal.main([str(run.path)]) == 0
    (checked,) = running.of_kind(run, events.Preflight)
    assert checked.report.measured.grad_norm > 0
    assert not run.saved_steps()


def test_check_says_which_images_cannot_be_used(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in ("a", "b"):
        Image.new("L", (8, 8)).save(pictures / f"{name}.png")
    (pictures / "torn.png").write_bytes((pictures / "a.png").read_bytes()[:40])
    preset = tiny("vae", data={"train": {"path": str(pictures)}, "eval_share": 0.0})
    run = running.new_run(tmp_path / "checked", preset)
    assert rehearsal.main([str(run.path)]) == 0
    (checked,) = running.of_kind(run, events.Preflight)
    (warning,) = [finding for finding in checked.report.findings if finding.level == "warning"]
    assert warning.what.startswith("1 image is left out: torn.png is none of PNG")
    assert "mend" in warning.advice


def test_images_of_more_classes_than_the_network_knows_are_refused(tmp_path: Path) -> None:
    wrong = tiny("denoiser", model={"scratch": {**NETWORKS["denoiser"], "classes": 3}})
    run = running.new_run(tmp_path / "run", wrong)
    assert running.run_here(run) == 1
    assert "model.scratch.classes: 3, and the images have 10; use 10" in running.last_word(run).message
