"""Text-to-image models tune through the same code as small ones: captions in, whole pipelines of diffusers out."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DModel
from PIL import Image

from engine import __main__ as command_line
from engine.contract import events
from engine.contract import image_settings as settings
from engine.contract.drawing_plan import How, Shot
from engine.contract.preset import Preset, check
from engine.contract.run_dir import RunDir
from engine.diffusion import text_painter
from engine.diffusion.drift import small_copies
from engine.diffusion.exposure import expose
from engine.diffusion.networks import ImageModel, ImageModelError
from engine.diffusion.noise import generator_of
from engine.diffusion.pipelines import open_painter
from engine.diffusion.tuned import TunedModel, open_to_tune
from tests import tiny_images
from tests.engine import running

CPU = torch.device("cpu")
CAPTIONS = ["a c a t", "d o g"]
GUIDANCE = 3.0
STOP = '{"id": "1", "time": 0.0, "ask": "stop"}\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny pipeline, random."""
    return tiny_images.stable_diffusion(tmp_path_factory.mktemp("sd"))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Judged pairs of pictures with their prompts, one without."""
    here = tmp_path_factory.mktemp("pairs")
    rows = []
    for number in range(6):
        for side, grey in (("chosen", 250 - 9 * number), ("rejected", 9 * number)):
            Image.new("RGB", (tiny_images.SIDE,) * 2, (grey, 99, 255 - grey)).save(here / f"{side}{number}.png")
        prompt = {"prompt": CAPTIONS[number % 2]} if number else {}
        rows.append({**prompt, "chosen": f"chosen{number}.png", "rejected": f"rejected{number}.png"})
    file = here / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return file


@pytest.fixture(scope="module")
def policy(folder: Path) -> TunedModel:
    return open_to_tune(settings.ImageModel(path=str(folder)), device=CPU, seed=0)


def tuning(method: str, folder: Path, **sections: Any) -> Preset:
    """A run of two steps."""
    usual: dict[str, Any] = {
        "method": method,
        "model": {"path": str(folder), "device": "cpu"},
        "optimizer": {"learning_rate": 1e-3, "schedule": "constant"},
        "training": {"steps": 2, "batch_size": 2, "threads": 1, "checkpoint_every": 1, "eval_every": 0},
        "drift": {"every": 2, "images": 8, "steps": 2},
    }
    preset, faults = check(usual | sections)
    assert preset is not None, faults
    return preset


def drawn_tuning(method: str, folder: Path, *, guidance: float = GUIDANCE, **sections: Any) -> Preset:
    """The same, of a method that learns from what it draws."""
    rollout = {"prompts": CAPTIONS, "images_per_prompt": 2, "steps": 3, "guidance": guidance}
    return tuning(method, folder, rollout=rollout, rewards=[{"kind": "ink"}], **sections)


def by_rewards(folder: Path) -> Preset:
    return drawn_tuning("diffusion_grpo", folder, diffusion_grpo={"updates": 1})


def by_pairs(folder: Path, pairs: Path) -> Preset:
    adapter = {"path": str(folder), "device": "cpu", "adapter": {"rank": 2, "alpha": 2}}
    return tuning("diffusion_dpo", folder, model=adapter, data={"train": str(pairs)}, diffusion_dpo={"beta": 100.0})


@pytest.fixture(scope="module")
def tuned(folder: Path, pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunDir]:
    """Runs that went through undisturbed, of an adapter and of all weights."""
    here = tmp_path_factory.mktemp("runs")
    presets = {
        "diffusion_dpo": by_pairs(folder, pairs),
        "diffusion_grpo": by_rewards(folder),
    }
    return {method: running.done(here / method, preset) for method, preset in presets.items()}


METHODS = ["diffusion_dpo", "diffusion_grpo"]


@pytest.mark.parametrize("method", METHODS)
def test_two_steps_move_the_network_and_nothing_else(method: str, folder: Path, tuned: dict[str, RunDir]) -> None:
    run = tuned[method]
    assert running.steps_of(run) == [1, 2]
    assert all(torch.tensor(running.values_of(run, name)).isfinite().all() for name in ("loss", "grad_norm"))
    before, after = running.weights(folder / "unet"), running.weights(run.final / "unet")
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    for part in ("vae", "text_encoder"):
        running.assert_same_weights(run.final / part, folder / part)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_saved_is_a_pipeline_with_which_diffusers_draws_what_we_draw(
    method: str, folder: Path, tuned: dict[str, RunDir]
) -> None:
    run = tuned[method]
    pipe = StableDiffusionPipeline.from_pretrained(run.final, use_safetensors=True, local_files_only=True)
    noise = torch.randn(1, 4, 8, 8, generator=generator_of(7, 0))
    asked = {"prompt": CAPTIONS[0], "guidance_scale": GUIDANCE, "num_inference_steps": 3, "output_type": "latent"}
    theirs = pipe(**asked, latents=noise).images
    how = How("m", None, "ddim", 3, 0.0, GUIDANCE, "", None, None)
    shot = Shot("s", {}, 7, 0, None, CAPTIONS[0])
    ours, began = (
        expose(
            open_painter(settings.ImageModel(path=str(path)), str(path), device=CPU, dtype=torch.float32),
            how,
            [shot],
            CPU,
            lambda moment: None,
        ).x
        for path in (run.final, folder)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert (ours - began).abs().max() > 1e-3
    assert "StableDiffusionPipeline.from_pretrained" in (run.final / "README.md").read_text("utf-8")
    again = open_to_tune(
        settings.ImageModel(path=str(run.path)), device=CPU, seed=0
    )  # what was tuned can be tuned further
    torch.testing.assert_close(again.condition([CAPTIONS[0]]), pipe.encode_prompt(CAPTIONS[0], CPU, 1, False)[0])


@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_was_stopped_goes_on_to_the_very_weights_and_curve(
    method: str, folder: Path, pairs: Path, tuned: dict[str, RunDir], tmp_path: Path
) -> None:
    whole = tuned[method]
    preset = by_pairs(folder, pairs) if method == "diffusion_dpo" else by_rewards(folder)
    run = running.new_run(tmp_path / "run", preset)
    stop_at_1 = lambda step: run.commands.write_text(STOP) if step == 1 else None  # noqa: E731
    assert running.run_here_watched(run, stop_at_1) == running.STOPPED
    assert running.run_here(run, commands_from=len(STOP)) == running.FINISHED
    assert running.curve(run) == running.curve(whole)
    running.assert_same_weights(run.final / "unet", whole.final / "unet")


@pytest.mark.parametrize("method", ["diffusion_nft", "draft"])
def test_the_other_methods_take_a_step_too(method: str, folder: Path, tmp_path: Path) -> None:
    once = {"training": {"steps": 1, "batch_size": 2, "threads": 1, "checkpoint_every": 0}, "drift": {"every": 0}}
    run = running.done(tmp_path / "run", drawn_tuning(method, folder, guidance=1.0, **once))
    before, after = running.weights(folder / "unet"), running.weights(run.final / "unet")
    assert any(not torch.equal(before[name], after[name]) for name in before)
    (looked,) = running.of_kind(run, events.Preflight)
    assert [finding.key for finding in looked.report.findings] == ["rollout.guidance"]


def test_captions_are_encoded_once_and_guidance_pulls_away_from_the_empty_one(
    folder: Path, policy: TunedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, asked = text_painter.Reader.read, []

    def counted(self: text_painter.Reader, prompt: str, **more: Any) -> text_painter.Text:
        asked.append(prompt)
        return read(self, prompt, **more)

    monkeypatch.setattr(text_painter.Reader, "read", counted)
    x, t = torch.randn(2, 4, 8, 8, generator=generator_of(0, 0)), torch.tensor([500, 20])
    for _ in range(2):
        guided = policy.predict(policy.network, CAPTIONS, GUIDANCE)(x, t)
    assert asked == [*CAPTIONS, ""]
    pipe = StableDiffusionPipeline.from_pretrained(folder, use_safetensors=True, local_files_only=True)
    wanted, unwanted = pipe.encode_prompt(CAPTIONS, CPU, 1, True)
    with torch.no_grad():
        said = [pipe.unet(x, t, encoder_hidden_states=states).sample for states in (wanted, unwanted)]
    torch.testing.assert_close(guided.detach(), said[1] + GUIDANCE * (said[0] - said[1]), rtol=1e-4, atol=1e-5)


def test_what_a_model_of_words_cannot_be_asked_is_told(policy: TunedModel) -> None:
    with pytest.raises(ImageModelError, match="write what to draw as rollout"):
        policy.every_prompt  # noqa: B018 - it is asked for
    with pytest.raises(ImageModelError, match="3 is a class, and the model is asked in words; write a caption"):
        policy.condition([3])


def test_pairs_without_a_prompt_are_told(tuned: dict[str, RunDir]) -> None:
    assert "1 of 6 pairs have no prompt, and the model is asked in words" in running.notices(tuned["diffusion_dpo"])


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"rollout": {}}, "rollout.prompts: is empty, and the model is asked in words (got null)"),
        ({"rollout": {"prompts": ["a", 3]}}, "rollout.prompts.1: is a class, and the model is asked in words (got 3)"),
        ({"rollout": {"prompts": [None], "guidance": 5}}, "rollout.guidance: pulls to the prompt"),
    ],
)
def test_what_a_preset_lacks_for_a_model_of_words_is_told_before_it_starts(
    sections: dict[str, Any], told: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    preset = {"method": "diffusion_nft", "model": {"path": str(folder)}, "rewards": [{"kind": "ink"}], **sections}
    (tmp_path / "p.yaml").write_text(json.dumps(preset))
    assert command_line.main(["check", str(tmp_path / "p.yaml"), "--quick", "--workspace", str(tmp_path)]) == 2
    assert told in capsys.readouterr().err


def test_pairs_that_rewards_judge_are_of_the_captions_that_were_given(folder: Path, tmp_path: Path) -> None:
    judged = {"prompts": CAPTIONS, "rewards": [{"kind": "ink"}], "pairs": 3, "held_out": 0, "steps": 2}
    once = {"steps": 1, "batch_size": 3, "threads": 1, "checkpoint_every": 0}
    preset = tuning("diffusion_dpo", folder, judged=judged, training=once, drift={"every": 0})
    run = running.done(tmp_path / "run", preset)
    assert running.steps_of(run) == [1]
    assert "have no prompt" not in running.notices(run)


def test_large_images_are_few_at_once_and_compared_by_small_copies(policy: TunedModel) -> None:
    large = UNet2DModel(
        sample_size=512, in_channels=3, out_channels=3, layers_per_block=1, block_out_channels=(8,), norm_num_groups=4,
        down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",),
    )  # fmt: skip
    of_512 = replace(policy, model=ImageModel(large, policy.model.schedule, "none"))
    assert (of_512.at_once(64), policy.at_once(64)) == (5, 64)
    few, many = torch.rand(2, 1, 8, 8), torch.rand(2, 3, 16, 32)
    assert torch.equal(small_copies(few), few.flatten(1).double())
    assert small_copies(many).shape == (2, 3 * 8 * 8)
    assert small_copies(many)[1, 0].item() == pytest.approx(many[1, 0, :2, :4].mean().item())


def test_another_vae_takes_the_place_of_the_pipelines_own(folder: Path, tmp_path: Path) -> None:
    own = AutoencoderKL.from_pretrained(folder, subfolder="vae")
    own.register_to_config(scaling_factor=0.5)
    own.save_pretrained(tmp_path / "vae")
    wish = settings.ImageModel(path=str(folder), vae=str(tmp_path / "vae"))
    vae = open_to_tune(wish, device=CPU, seed=0).model.vae
    assert vae is not None
    assert vae.config.scaling_factor == 0.5
    assert not any(p.requires_grad for p in vae.parameters())


def test_a_model_with_two_text_encoders_is_not_tuned(tmp_path: Path) -> None:
    folder = tiny_images.stable_diffusion_xl(tmp_path / "xl")
    with pytest.raises(ImageModelError, match=r"two text encoders(.|\n)*of the kind StableDiffusionPipeline"):
        open_to_tune(settings.ImageModel(path=str(folder)), device=CPU, seed=0)
