"""Denoisers that learn to be asked in words: from images with captions to pipelines that any tool opens."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from engine import __main__ as command_line
from engine.checkpoint import training_tensors
from engine.contract import events
from engine.contract import image_settings as settings
from engine.contract.drawing_plan import How, Shot
from engine.contract.preset import Preset, check
from engine.contract.run_dir import RunDir
from engine.data.byte_tokenizer import byte_tokenizer
from engine.diffusion.drawing import draw, wish_for
from engine.diffusion.exposure import asked_of, expose
from engine.diffusion.images import Images, load_images
from engine.diffusion.networks import ImageModelError
from engine.diffusion.noise import generator_of
from engine.diffusion.noising import Noising
from engine.diffusion.opening import open_image_model
from engine.diffusion.painters import Painter, PainterError
from engine.diffusion.pipelines import open_painter
from engine.diffusion.text_encoders import byte_tokenizer as clip_bytes
from tests import tiny_images
from tests.engine import running

CPU = torch.device("cpu")
DIGITS = Path(__file__).parents[2] / "assets" / "diffusion" / "digits.npz"
TEXT = {"length": 12, "width": 8, "layers": 1, "heads": 2}
NETWORK: dict[str, Any] = {"size": 8, "width": 8, "levels": 2, "text": TEXT}
NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
SOURCE = {"path": str(DIGITS), "rows": 40, "caption": "a {class}", "class_names": NAMES}
STOP = '{"id": "1", "time": 0.0, "ask": "stop"}\n'
HOW = How("m", None, "ddim", 3, 0.0, 3.0, "", None, None)


def tiny(**sections: Any) -> Preset:
    """A run of four steps; each section given is laid over the usual one."""
    usual: dict[str, Any] = {
        "model": {"path": "scratch", "scratch": NETWORK, "device": "cpu"},
        "data": {"train": SOURCE, "eval_share": 0.25},
        "optimizer": {"learning_rate": 1e-2, "schedule": "constant"},
        "training": {"steps": 4, "batch_size": 8, "threads": 1, "checkpoint_every": 2, "eval_every": 2},
        "denoiser": {"sample_steps": 2, "sample_guidance": 2.0},
    }
    both = {name: usual.get(name, {}) | sections.get(name, {}) for name in usual | sections}
    preset, faults = check({"method": "denoiser"} | both)
    assert preset is not None, faults
    return preset


def once(**sections: Any) -> Preset:
    """A run of one step that keeps and measures nothing on the way."""
    training = {"steps": 1, "checkpoint_every": 0, "eval_every": 0}
    return tiny(training=training, **sections)


def painter(folder: Path) -> Painter:
    return open_painter(settings.ImageModel(path=str(folder)), str(folder), device=CPU, dtype=torch.float32)


def shot(prompt: str | None) -> Shot:
    return Shot("s", {}, 7, 0, None, prompt)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """One that went through undisturbed."""
    return running.done(tmp_path_factory.mktemp("words") / "run", tiny())


@pytest.fixture(scope="module")
def images() -> Images:
    data = settings.ImageData.model_validate({"train": SOURCE})
    return load_images(data, (1, 8, 8), seed=0, with_captions=True)[0]


def test_a_run_that_was_stopped_goes_on_to_the_very_weights_and_curve(run: RunDir, tmp_path: Path) -> None:
    again = running.new_run(tmp_path / "run", tiny())
    stop_at_3 = lambda step: again.commands.write_text(STOP) if step == 3 else None  # noqa: E731
    assert running.run_here_watched(again, stop_at_3) == running.STOPPED
    assert running.run_here(again, commands_from=len(STOP)) == running.FINISHED
    assert running.curve(again) == running.curve(run)
    for part in ("unet", "text_encoder"):
        running.assert_same_weights(again.final / part, run.final / part)


def test_an_encoder_from_nothing_learns_along_and_what_is_saved_is_its_average(run: RunDir) -> None:
    section = settings.ImageModel.model_validate({"path": "scratch", "scratch": NETWORK})
    began = open_image_model(section, device=CPU, seed=0).readers["text_encoder"].state_dict()
    saved, kept = running.weights(run.final / "text_encoder"), training_tensors(run.checkpoint(4))
    assert any(not torch.equal(began[name], saved[name]) for name in saved)
    assert any(not torch.equal(kept[f"weight.encoder.{name}"], saved[name]) for name in saved)


def test_diffusers_opens_what_a_run_leaves_and_draws_what_we_draw(run: RunDir) -> None:
    pipe = StableDiffusionPipeline.from_pretrained(run.final, vae=None, use_safetensors=True, local_files_only=True)
    noise = torch.randn(1, 1, 8, 8, generator=generator_of(7, 0))
    asked = {"prompt": "A seven", "guidance_scale": 3.0, "num_inference_steps": 3, "output_type": "latent"}
    theirs = pipe(**asked, latents=noise).images
    ours = expose(painter(run.final), HOW, [shot("A seven")], CPU, lambda moment: None).x
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    other = expose(painter(run.final), HOW, [shot("a one")], CPU, lambda moment: None).x
    assert (ours - other).abs().max() > 1e-3
    assert "vae=None" in (run.final / "README.md").read_text("utf-8")


def test_strips_are_of_the_captions_there_are_in_the_order_of_their_classes(run: RunDir, images: Images) -> None:
    model = open_image_model(settings.ImageModel(path=str(run.path)), device=CPU, seed=0)
    assert model.worded is not None
    wish = wish_for(model, images, 12)
    assert wish.classes is not None
    assert wish.classes.tolist() == [*range(10), 0, 1]
    assert wish.condition is not None
    assert torch.equal(wish.condition[:10], model.worded.ids([f"a {name}" for name in NAMES]))
    strip = draw(model, 7, [0], wish_for(model, images, 1, ["a seven"]), steps=3, guidance=3.0)
    alone = expose(painter(run.final), HOW, [shot("a seven")], CPU, lambda moment: None).x
    torch.testing.assert_close(strip, alone, rtol=1e-4, atol=1e-4)


def test_a_share_of_the_captions_is_dropped_for_the_empty_one(images: Images) -> None:
    section = settings.ImageModel.model_validate({"path": "scratch", "scratch": NETWORK})
    model = open_image_model(section, device=CPU, seed=0)
    assert model.worded is not None
    nothing = model.worded.ids([""])
    told = {}
    for dropout in (0.0, 0.3, 1.0):
        batch = Noising(model, 0).batch(images, range(40), stream=1, dropout=dropout)
        assert batch.condition is not None
        told[dropout] = (batch.condition == nothing).all(dim=1).double().mean().item()
    assert told[0.0] == 0
    assert told[1.0] == 1
    assert 0.1 < told[0.3] < 0.5


def test_micro_batches_change_memory_and_not_the_curve(run: RunDir, tmp_path: Path) -> None:
    cut = running.done(tmp_path / "run", tiny(training={"micro_batch_size": 3, "checkpoint_every": 0, "eval_every": 0}))
    assert running.values_of(cut, "loss") == pytest.approx(running.values_of(run, "loss"), rel=1e-4)


def test_what_was_learned_can_be_tuned(run: RunDir, tmp_path: Path) -> None:
    preset, faults = check(
        {
            "method": "diffusion_nft",
            "model": {"path": str(run.path), "device": "cpu"},
            "rollout": {"prompts": ["a one", "a two"], "images_per_prompt": 2, "steps": 3},
            "rewards": [{"kind": "ink"}],
            "training": {"steps": 1, "batch_size": 2, "threads": 1, "checkpoint_every": 0},
            "drift": {"every": 0},
        }
    )
    assert preset is not None, faults
    tuned = running.done(tmp_path / "run", preset)
    running.assert_same_weights(tuned.final / "text_encoder", run.final / "text_encoder")
    before, after = running.weights(run.final / "unet"), running.weights(tuned.final / "unet")
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_a_pipeline_of_stable_diffusions_kind_learns_from_captions_and_its_encoder_stays(tmp_path: Path) -> None:
    folder = tiny_images.stable_diffusion(tmp_path / "sd")
    run = running.done(
        tmp_path / "run", once(model={"path": str(folder), "scratch": None}, data={"train": colours(tmp_path)})
    )
    for part in ("vae", "text_encoder"):
        running.assert_same_weights(run.final / part, folder / part)
    before, after = running.weights(folder / "unet"), running.weights(run.final / "unet")
    assert any(not torch.equal(before[name], after[name]) for name in before)


def colours(tmp_path: Path) -> str:
    """A folder of pictures, each with a text file that says what it is of."""
    from PIL import Image

    folder = tmp_path / "colours"
    folder.mkdir()
    for number, name in enumerate(("red", "green", "blue", "grey")):
        Image.new("RGB", (16, 16), name).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"all {name}\n")
    return str(folder)


def bert(folder: Path) -> Path:
    """A tiny encoder that is not CLIP's: it looks both ways, so padding has to be hidden from it."""
    torch.manual_seed(0)
    tokenizer: PreTrainedTokenizerFast = byte_tokenizer()
    tokenizer.save_pretrained(folder)
    BertModel(
        BertConfig(
            vocab_size=len(tokenizer), hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
            max_position_embeddings=32, pad_token_id=tokenizer.pad_token_id,
        ),
        add_pooling_layer=False,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def test_an_encoder_of_another_kind_stays_as_it_came_and_its_padding_is_hidden(tmp_path: Path) -> None:
    folder = bert(tmp_path / "bert")
    network = {**NETWORK, "text": {"path": str(folder), "length": 16}}
    run = running.done(tmp_path / "run", once(model={"path": "scratch", "scratch": network}))
    kept, came = running.weights(run.final / "text_encoder"), running.weights(folder)
    assert all(torch.equal(kept[name], tensor) for name, tensor in came.items())
    pipe = StableDiffusionPipeline.from_pretrained(run.final, vae=None, use_safetensors=True, local_files_only=True)
    theirs, _ = pipe.encode_prompt("a one", CPU, 1, False)
    assert theirs.shape == (1, 16, 8)
    model = open_image_model(settings.ImageModel(path=str(run.path)), device=CPU, seed=0)
    assert model.worded is not None
    x, t = torch.randn(1, 1, 8, 8, generator=generator_of(0, 0)), torch.tensor([500])
    with torch.no_grad():
        said = model.output(model.network, x, t, model.worded.ids(["a one"]))
        torch.testing.assert_close(said, pipe.unet(x, t, encoder_hidden_states=theirs).sample, rtol=1e-4, atol=1e-5)
        whole = BertModel.from_pretrained(folder, add_pooling_layer=False)(
            model.worded.tokenizer("a one", return_tensors="pt").input_ids
        )
    read = whole.last_hidden_state.shape[1]
    torch.testing.assert_close(theirs[:, :read], whole.last_hidden_state, rtol=1e-4, atol=1e-5)


def test_the_tokenizer_of_bytes_reads_anything_and_takes_no_file() -> None:
    tokenizer = clip_bytes(12)
    assert tokenizer.decode(tokenizer("a Zéro").input_ids, skip_special_tokens=True) == "a zéro"
    assert tokenizer.unk_token_id not in tokenizer("\N{SNOWMAN}!").input_ids[1:-1]


# -------------------------------------------------------------------------------------------------- what is refused


def test_a_model_that_reads_text_is_not_drawn_with_unasked(run: RunDir) -> None:
    with pytest.raises(PainterError, match=r"prompts: is empty, and this model is asked in words\nwrite what to draw"):
        asked_of(painter(run.final), HOW, [shot(None)])
    assert asked_of(painter(run.final), HOW, [shot("")]).prompts == [""]


def test_a_drawing_without_prompts_is_told_before_it_starts(
    run: RunDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.yaml").write_text(f"method: diffusion_sample\nmodel: {{path: '{run.path}'}}\n")
    assert command_line.main(["check", str(tmp_path / "p.yaml"), "--quick", "--workspace", str(tmp_path)]) == 2
    assert "diffusion_sample.prompts: is empty, and the model is asked in words" in capsys.readouterr().err


def test_images_without_captions_are_refused_where_captions_teach(tmp_path: Path) -> None:
    run = running.new_run(tmp_path / "run", once(data={"train": {"path": str(DIGITS), "rows": 40}}))
    assert running.run_here(run) == running.FAILED
    told = running.last_word(run).message
    assert "no image has a caption, and the model is asked in words" in told
    assert "write data.train.caption, as 'a photo of a {class}'" in told


def test_captions_that_are_missing_or_cut_are_told(tmp_path: Path) -> None:
    folder = Path(colours(tmp_path))
    (folder / "0.txt").unlink()
    (folder / "1.txt").write_text("green as far as anybody can see")
    wanted = {
        "model": {"path": "scratch", "scratch": {**NETWORK, "channels": 3}},
        "data": {"train": str(folder), "eval_share": 0},
    }
    run = running.done(tmp_path / "run", once(**wanted))
    (looked,) = running.of_kind(run, events.Preflight)
    told = [finding.what for finding in looked.report.findings]
    assert "3 captions, 3 different ones" in told
    assert "images without a caption, which teach what is drawn unasked: 1 of 4" in told
    assert "captions of more than 12 tokens, whose rest is not read: 1" in told


@pytest.mark.parametrize("folder", ["empty", "nobody/such-encoder"])
def test_an_encoder_that_cannot_be_opened_is_named(
    tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "empty").mkdir()
    path = str(tmp_path / folder) if folder == "empty" else folder
    section = settings.ImageModel.model_validate({"path": "scratch", "scratch": {**NETWORK, "text": {"path": path}}})
    told = r"model\.scratch\.text\.path: .* cannot be opened as a text encoder: (.|\n)*CLIP, T5, BERT or their kin"
    with pytest.raises(ImageModelError, match=told):
        open_image_model(section, device=CPU, seed=0)


@pytest.mark.parametrize(
    ("network", "dotted", "problem"),
    [
        ({"classes": 10}, "model.scratch.classes", "stands beside text"),
        ({"text": {**TEXT, "heads": 3}}, "model.scratch.text.heads", "must divide the width"),
    ],
)
def test_what_a_network_of_words_cannot_be_is_told(network: dict[str, Any], dotted: str, problem: str) -> None:
    model = {"path": "scratch", "scratch": NETWORK | network}
    _, faults = check({"method": "denoiser", "model": model, "data": {"train": SOURCE}})
    assert [(fault.dotted, fault.problem) for fault in faults] == [(dotted, problem)]
