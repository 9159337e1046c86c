"""Models of images that are trained: from nothing, or further from a folder, a run, what ships or the hub."""

import json
import math
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel, UNet2DModel

from engine.contract import image_settings
from engine.diffusion.networks import ImageModel, ImageModelError, locate, open_folder, open_vae
from engine.diffusion.pipelines import is_asked_in_words, open_text_model
from engine.diffusion.text_encoders import encoder_for
from engine.diffusion.worded import Worded


def open_image_model(section: image_settings.ImageModel, *, device: torch.device, seed: int) -> ImageModel:
    """The model that a preset names; one that is asked in words with its encoder before it. Raises ImageModelError."""
    vae = None if section.vae is None else open_vae(section.vae)
    if section.path == "scratch" and section.scratch is not None:
        return _placed(_from_scratch(section.scratch, vae, seed), device)
    path = locate(section.path)
    if is_asked_in_words(path):
        return _of_words(section, path, device)
    return _placed(open_folder(path, vae), device)


def _of_words(section: image_settings.ImageModel, path: str, device: torch.device) -> ImageModel:
    """A text-to-image model to go on from, its encoder frozen. Raises ImageModelError."""
    model, reader = open_text_model(section, path, device=device, dtype=torch.float32)
    if len(reader.encoders) > 1:
        problem = f"{section.path} has two text encoders, as SDXL; it can be drawn with, and not be trained"
        raise ImageModelError(f"{problem}\nname a model with one, as Stable Diffusion 1 and 2")
    model.worded = Worded(model.unet, reader.tokenizers[0], reader.encoders[0], learns=False)
    return model


def _placed(model: ImageModel, device: torch.device) -> ImageModel:
    model.network.to(device)
    if model.vae is not None:
        model.vae.to(device)
    return model


def _from_scratch(wish: image_settings.Network, vae: AutoencoderKL | None, seed: int) -> ImageModel:
    """Raises ImageModelError if the VAE has latents of another kind, or an encoder cannot be opened."""
    if vae is not None and vae.config.latent_channels != wish.channels:
        found, asked = vae.config.latent_channels, wish.channels
        raise ImageModelError(f"model.scratch.channels: {asked}, but latents of model.vae have {found}; use {found}")
    schedule = _schedule(wish)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if wish.text is None:
            unet = UNet2DModel(
                **_shape(wish), **_blocks(wish, "Attn" if wish.attention else ""), **_asked_by_class(wish)
            )
            return ImageModel(unet, schedule, "class" if wish.classes else "none", wish.classes, vae)
        tokenizer, encoder, width = encoder_for(wish.text)
        unet = UNet2DConditionModel(**_shape(wish), **_blocks(wish, "CrossAttn"), **_asked_in_words(wish, width))
    readers = {"tokenizer": tokenizer, "text_encoder": encoder}
    worded = Worded(unet, tokenizer, encoder, learns=wish.text.path == "scratch")
    return ImageModel(unet, schedule, "text", vae=vae, readers=readers, worded=worded)


def _shape(wish: image_settings.Network) -> dict[str, Any]:
    return {
        "sample_size": wish.size,
        "in_channels": wish.channels,
        "out_channels": wish.channels,
        "layers_per_block": wish.layers,
        "block_out_channels": tuple(wish.width * 2**level for level in range(wish.levels)),
        "norm_num_groups": math.gcd(8, wish.width),
    }


def _blocks(wish: image_settings.Network, deepest: str) -> dict[str, Any]:
    """Plain ones, and at the lowest resolution those of another kind."""
    plain = wish.levels - 1
    return {
        "down_block_types": ("DownBlock2D",) * plain + (f"{deepest}DownBlock2D",),
        "up_block_types": (f"{deepest}UpBlock2D",) + ("UpBlock2D",) * plain,
    }


def _asked_by_class(wish: image_settings.Network) -> dict[str, Any]:
    """One class more than there are: none in particular."""
    return {"add_attention": wish.attention, "num_class_embeds": wish.classes + 1 if wish.classes else None}


def _asked_in_words(wish: image_settings.Network, width: int) -> dict[str, Any]:
    """diffusers calls it the size of a head, and means how many there are."""
    return {"cross_attention_dim": width, "attention_head_dim": math.gcd(8, wish.width)}


def _schedule(wish: image_settings.Network) -> dict[str, Any]:
    """The configuration of its noise schedule, as diffusers writes it."""
    scheduler = DDIMScheduler(
        num_train_timesteps=wish.timesteps,
        beta_schedule=wish.schedule,
        beta_start=wish.beta_start,
        beta_end=wish.beta_end,
        prediction_type=wish.prediction,
        clip_sample=False,
        set_alpha_to_one=True,
        timestep_spacing="trailing",
        # The pipeline for text asks for 1. With timesteps from the end it is not looked at.
        steps_offset=0 if wish.text is None else 1,
    )
    found: dict[str, Any] = json.loads(scheduler.to_json_string())
    return found
