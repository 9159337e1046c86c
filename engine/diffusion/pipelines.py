"""Opens what draws: networks of this project, and text-to-image models of the Stable Diffusion class, part by part.

Parts are taken by name from a fixed list, so no code that lies beside the weights is ever looked at, and weights are
read from safetensors alone unless the preset says otherwise. For a folder or a file nothing is fetched.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, DiffusionPipeline, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModelWithProjection

from engine.contract.image_settings import ImageModel as ImageModelSettings
from engine.contract.run_dir import RunDir, is_run_dir
from engine.diffusion.networks import TEXT_PIPELINE, ImageModel, ImageModelError, locate, open_folder, open_vae
from engine.diffusion.painters import Painter, SmallPainter, linear_preview, scale_of
from engine.diffusion.png_files import in_colour
from engine.diffusion.text_encoders import loaders_of
from engine.diffusion.text_painter import Reader, TextPainter

#: Pipelines of diffusers that can be drawn with. True: those with SDXL's second text encoder.
TEXT_TO_IMAGE = {TEXT_PIPELINE: False, "StableDiffusionXLPipeline": True}
SINGLE_FILES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
PICKLES = (".ckpt", ".pt", ".pth", ".bin")


def path_of(model: str, checkpoint: int | None) -> str:
    """Where the weights of a model lie, or of one of its run's checkpoints. Raises ImageModelError."""
    if checkpoint is None:
        return locate(model)
    run = RunDir(Path(model))
    if not is_run_dir(run.path) or checkpoint not in run.saved_steps():
        known = ", ".join(map(str, run.saved_steps())) if is_run_dir(run.path) else "it is no run directory"
        raise ImageModelError(f"{model} has no checkpoint of step {checkpoint}\nit has: {known or 'none'}")
    return str(run.checkpoint(checkpoint))


def open_painter(section: ImageModelSettings, path: str, *, device: torch.device, dtype: torch.dtype) -> Painter:
    """What draws with the model at `path`. section: how the preset would have it read. Raises ImageModelError."""
    if is_asked_in_words(path):
        model, reader = open_text_model(section, path, device=device, dtype=dtype)
        return TextPainter(model, reader, _preview_of(model, device))
    name = pipeline_name(path)
    model = open_folder(path, None if section.vae is None else open_vae(section.vae))
    if model.condition == "text":
        known = " and ".join(TEXT_TO_IMAGE)
        raise ImageModelError(f"{path} reads text as a {name or 'network'} does\n{known} are what can be drawn with")
    model.unet.to(device).eval()
    if model.vae is None:
        return SmallPainter(model)
    model.vae.to(device)
    return SmallPainter(model, _preview_of(model, device))


def is_asked_in_words(path: str) -> bool:
    """Whether there is a text-to-image model that can be opened: a pipeline, or one file with the weights of one."""
    return Path(path).is_file() or path.endswith(SINGLE_FILES) or pipeline_name(path) in TEXT_TO_IMAGE


def open_text_model(
    section: ImageModelSettings, path: str, *, device: torch.device, dtype: torch.dtype
) -> tuple[ImageModel, Reader]:
    """A text-to-image model in memory, and what reads its prompts. Raises ImageModelError.

    The VAE stays in float32: SDXL's makes no numbers in float16.
    """
    if Path(path).is_file() or path.endswith(SINGLE_FILES):
        model, reader = _from_single_file(section, Path(path))
    else:
        model, reader = _from_folder(section, path, has_two=TEXT_TO_IMAGE[pipeline_name(path)])
    if section.vae is not None:
        model.vae = open_vae(section.vae)
    model.unet.to(device, dtype).eval()
    for encoder in reader.encoders:
        encoder.to(device, dtype).eval().requires_grad_(requires_grad=False)
    if model.vae is not None:
        model.vae.to(device, torch.float32).eval().requires_grad_(requires_grad=False)
    return model, reader


def pipeline_name(path: str) -> str:
    """The class of the pipeline that a folder says it is; empty where it says none."""
    return str(_index(path).get("_class_name", ""))


def _index(path: str) -> dict[str, Any]:
    """What a folder says its parts are; empty where it says nothing."""
    try:
        index = Path(path, "model_index.json")
        config = json.loads(index.read_text("utf-8")) if index.is_file() else {}
        if not Path(path).exists():
            config = DiffusionPipeline.load_config(path)
    except (OSError, ValueError, RecursionError):
        return {}
    return dict(config) if isinstance(config, dict) else {}


def _from_folder(section: ImageModelSettings, path: str, *, has_two: bool) -> tuple[ImageModel, Reader]:
    """The parts of a pipeline in a folder or on the hub. Raises ImageModelError."""

    def part(load: Callable[..., Any], folder: str) -> Any:
        try:
            return load(path, subfolder=folder, **_safe(section))
        except (OSError, ValueError, RuntimeError) as error:
            raise ImageModelError(_why_not(path, folder, error)) from error

    try:
        loaders = loaders_of(path, "text_encoder")
    except (OSError, ValueError) as error:
        raise ImageModelError(_why_not(path, "text_encoder", error)) from error
    try:
        schedule = dict(DDIMScheduler.load_config(path, subfolder="scheduler"))
        tokenizers = [loaders.tokenizer(path, subfolder=f"tokenizer{end}") for end in _ends(has_two)]
    except (OSError, ValueError) as error:
        raise ImageModelError(_why_not(path, "scheduler or tokenizer", error)) from error
    kinds = (loaders.encoder, CLIPTextModelWithProjection.from_pretrained)
    encoders = [part(kind, f"text_encoder{end}") for kind, end in zip(kinds, _ends(has_two), strict=False)]
    read_by = {f"tokenizer{end}": each for end, each in zip(_ends(has_two), tokenizers, strict=True)}
    read_by |= {f"text_encoder{end}": each for end, each in zip(_ends(has_two), encoders, strict=True)}
    unet, vae = part(UNet2DConditionModel.from_pretrained, "unet"), None
    if not _is_of_pixels(path):
        vae = part(AutoencoderKL.from_pretrained, "vae")
    model = ImageModel(unet, schedule, "text", vae=vae, readers=read_by)
    return model, Reader(tokenizers, encoders, zeros_if_empty=has_two)


def _from_single_file(section: ImageModelSettings, path: Path) -> tuple[ImageModel, Reader]:
    """One file with all weights, as most sites hand them out; what they are the weights of, a folder has to say."""
    if not path.is_file():
        raise ImageModelError(f"{path} is not there\ncheck the path; nothing is fetched for a single file")
    if path.suffix in PICKLES and not section.pickles:
        raise ImageModelError(_of_pickles(str(path)))
    if section.config is None:
        problem = f"{path.name} is weights alone: it does not say what network, tokenizer and schedule they belong to"
        remedy = "set model.config to a folder of a model of the same kind, as diffusers saves one; nothing is fetched"
        raise ImageModelError(f"{problem}\n{remedy}")
    if pipeline_name(section.config) != "StableDiffusionPipeline":
        problem = f"model.config: {section.config} is no folder of a Stable Diffusion pipeline"
        raise ImageModelError(f"{problem}\nname one with a model_index.json, as diffusers saves it")
    try:
        pipe = StableDiffusionPipeline.from_single_file(
            str(path), config=section.config, local_files_only=True, safety_checker=None
        )
    except Exception as error:  # diffusers raises whatever its conversion stumbles over
        raise ImageModelError(_why_not(str(path), "weights", error)) from error
    read_by = {"tokenizer": pipe.tokenizer, "text_encoder": pipe.text_encoder}
    model = ImageModel(pipe.unet, dict(pipe.scheduler.config), "text", vae=pipe.vae, readers=read_by)
    return model, Reader([pipe.tokenizer], [pipe.text_encoder])


def _is_of_pixels(path: str) -> bool:
    """Whether a pipeline says that it has no VAE, as one of ours whose network works on pixels."""
    return _index(path).get("vae") == [None, None]


def _preview_of(model: ImageModel, device: torch.device) -> Callable[[Tensor], Tensor]:
    if model.vae is None:
        return in_colour
    return linear_preview(model.decode, model.shape[0], scale_of(model.vae), device)


def _ends(has_two: bool) -> tuple[str, ...]:
    return ("", "_2") if has_two else ("",)


def _safe(section: ImageModelSettings) -> dict[str, Any]:
    """How weights may be read: safetensors, and pickles only on an explicit yes."""
    return {"use_safetensors": None if section.pickles else True}


def _of_pickles(path: str) -> str:
    problem = f"{path} has its weights as pickles, which can run any code of whoever made them"
    return f"{problem}\nget them as safetensors; or, only if you trust where they are from, set model.pickles to true"


def _why_not(path: str, part: str, error: Exception) -> str:
    folder = Path(path, part)
    if folder.is_dir() and any(folder.glob("*.bin")) and not any(folder.glob("*.safetensors")):
        return _of_pickles(str(folder))
    told = " ".join(str(error).split())[:300]
    return f"{path}: its {part} cannot be read: {told}\nname a whole folder, as diffusers saves one"
