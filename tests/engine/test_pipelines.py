"""Pipelines of the Stable Diffusion class, drawn with by our own samplers; and nothing read that could run."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline

from engine.contract.drawing_plan import How, Shot
from engine.contract.image_settings import ImageModel
from engine.diffusion.exposure import expose
from engine.diffusion.networks import ImageModelError
from engine.diffusion.noise import generator_of
from engine.diffusion.painters import Painter, PainterError, linear_preview
from engine.diffusion.pipelines import open_painter
from tests import tiny_images

CPU = torch.device("cpu")
HOW = How("m", None, "ddim", 4, 0.0, 3.0, "b a d", None, None)


def shots(*prompts: str) -> list[Shot]:
    return [Shot(f"s{index}", {}, 7, index, None, prompt) for index, prompt in enumerate(prompts)]


def opened(path: Path | str, **settings) -> Painter:
    section = ImageModel.model_validate({"path": str(path), **settings})
    return open_painter(section, str(path), device=CPU, dtype=torch.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tiny_images.stable_diffusion(tmp_path_factory.mktemp("sd"))


@pytest.fixture(scope="module")
def xl_folder(tmp_path_factory) -> Path:
    return tiny_images.stable_diffusion_xl(tmp_path_factory.mktemp("xl"))


@pytest.fixture(scope="module")
def painter(folder) -> Painter:
    return opened(folder)


def test_latents_are_those_of_diffusers_own_pipeline(folder, painter):
    ours = expose(painter, HOW, shots("a c a t", "d o g"), CPU, lambda moment: None).x
    pipe = StableDiffusionPipeline.from_pretrained(folder, use_safetensors=True, local_files_only=True)
    noise = torch.stack([torch.randn(4, 8, 8, generator=generator_of(7, index)) for index in range(2)])
    asked = {"prompt": ["a c a t", "d o g"], "negative_prompt": ["b a d"] * 2, "guidance_scale": 3.0}
    theirs = pipe(**asked, num_inference_steps=4, latents=noise, output_type="latent").images
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_a_pipeline_of_the_xl_kind_gives_what_diffusers_gives(xl_folder):
    painter = opened(xl_folder)
    how = HOW._replace(negative_prompt="", width=24, height=16)
    ours = expose(painter, how, shots("a c a t"), CPU, lambda moment: None).x
    assert ours.shape == (1, 4, 8, 12)
    pipe = StableDiffusionXLPipeline.from_pretrained(xl_folder, use_safetensors=True, local_files_only=True)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    noise = torch.randn(1, 4, 8, 12, generator=generator_of(7, 0))
    asked = {"prompt": "a c a t", "guidance_scale": 3.0, "width": 24, "height": 16}
    theirs = pipe(**asked, num_inference_steps=4, latents=noise, output_type="latent").images
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sampler", ["ddpm", "ode_heun", "dpmpp_2m", "euler_a"])
def test_any_sampler_draws_with_it(painter, sampler):
    exposed = expose(painter, HOW._replace(sampler=sampler), shots("a c a t"), CPU, lambda moment: None)
    assert not exposed.spoilt
    assert painter.decode(exposed.x).shape == (1, 3, tiny_images.SIDE, tiny_images.SIDE)


def test_a_prompt_is_the_same_numbers_whoever_is_drawn_beside_it(painter):
    how = HOW._replace(guidance=1.0)
    together = expose(painter, how, shots("a c a t", "x"), CPU, lambda moment: None).x[0]
    alone = expose(painter, how, shots("a c a t"), CPU, lambda moment: None).x[0]
    assert (together - alone).abs().max() < 1e-6 * alone.abs().max()


def test_what_is_shown_meanwhile_is_exact_for_a_decoder_that_is_a_straight_line():
    line, base = torch.randn(4, 3, generator=generator_of(0, 0)) / 4, torch.tensor([0.1, 0.2, 0.3])

    def decode(x):
        return torch.nn.functional.interpolate((x.movedim(1, -1) @ line + base).movedim(-1, 1), scale_factor=2)

    x = torch.randn(2, 4, 5, 7, generator=generator_of(0, 1))
    shown = linear_preview(decode, 4, 2, CPU)(x)
    torch.testing.assert_close(shown, torch.nn.functional.avg_pool2d(decode(x), 2), rtol=1e-4, atol=1e-4)


def test_a_side_that_the_vae_cannot_make_is_refused(painter):
    with pytest.raises(PainterError, match="15 pixels are no side of this model\nuse a multiple of 2"):
        expose(painter, HOW._replace(width=15), shots("x"), CPU, lambda moment: None)


# ------------------------------------------------------------------------------------------------ what is refused


@pytest.fixture
def copy(folder, tmp_path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_pickles_are_not_read_unless_the_preset_says_yes(copy, part):
    for file in (copy / part).glob("*.safetensors"):
        name = "pytorch_model.bin" if part == "text_encoder" else "diffusion_pytorch_model.bin"
        file.rename(file.with_name(name)).write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    with pytest.raises(ImageModelError, match=r"pickles, which can run any code(.|\n)*model\.pickles to true"):
        opened(copy)


def test_pickles_are_read_where_the_preset_says_yes(copy, painter):
    for file in (copy / "unet").glob("*.safetensors"):
        file.unlink()
        torch.save(painter.network.state_dict(), file.with_name("diffusion_pytorch_model.bin"))
    for mine, theirs in zip(opened(copy, pickles=True).network.parameters(), painter.network.parameters(), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize(
    ("name", "settings", "problem"),
    [
        ("model.safetensors", {}, "it does not say what network(.|\n)*set model.config"),
        ("model.ckpt", {}, "pickles, which can run any code"),
        ("model.safetensors", {"config": "nothing/there"}, "no folder of a Stable Diffusion pipeline"),
    ],
)
def test_weights_in_a_single_file_are_refused_in_words(tmp_path, name, settings, problem):
    (tmp_path / name).write_bytes(b"x" * 64)
    with pytest.raises(ImageModelError, match=problem):
        opened(tmp_path / name, **settings)


def test_a_single_file_that_is_no_weights_is_refused(tmp_path, folder):
    (tmp_path / "model.safetensors").write_bytes(b"x" * 64)
    with pytest.raises(ImageModelError, match="cannot be read"):
        opened(tmp_path / "model.safetensors", config=str(folder))


def test_a_single_file_that_is_missing_is_refused(tmp_path):
    with pytest.raises(ImageModelError, match="is not there"):
        opened(tmp_path / "model.safetensors")


def test_another_kind_of_pipeline_is_named(copy):
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(json.dumps(index | {"_class_name": "KandinskyPipeline"}))
    with pytest.raises(ImageModelError, match="KandinskyPipeline"):
        opened(copy)


def test_code_beside_the_weights_is_not_looked_at(copy, tmp_path):
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "unet" / "evil.py").write_text(
        f"open({str(tmp_path / 'pwned')!r}, 'w')\nclass UNet2DConditionModel: pass\n"
    )
    (copy / "model_index.json").write_text(json.dumps(index | {"unet": ["evil", "UNet2DConditionModel"]}))
    opened(copy)
    assert not (tmp_path / "pwned").exists()


def test_a_folder_that_lacks_a_part_names_it(copy):
    shutil.rmtree(copy / "text_encoder")
    with pytest.raises(ImageModelError, match="its text_encoder cannot be read"):
        opened(copy)
