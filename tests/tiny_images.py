"""Models of images so small that a test builds them on the spot: random, but whole and in diffusers' own folders."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel, UNet2DModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

#: Height and width of what the tiny pipeline draws; its latents are half of that.
SIDE = 16
LETTERS = "abcdefghijklmnopqrstuvwxyz"
XL_ENDS = {"": "", "_2": "WithProjection"}


def denoiser(folder: Path, *, classes: int = 3, seed: int = 0) -> Path:
    """A random network that draws grey pictures of 8 x 8, of some classes; 60 kB."""
    torch.manual_seed(seed)
    UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(8, 16),
        norm_num_groups=4, down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
        num_class_embeds=classes + 1 if classes else None,
    ).save_pretrained(folder / "unet")  # fmt: skip
    DDIMScheduler(clip_sample=False).save_pretrained(folder / "scheduler")
    return folder


def stable_diffusion(folder: Path, *, seed: int = 0) -> Path:
    """A random pipeline of the Stable Diffusion class, 60 kB of weights, as diffusers saves one."""
    torch.manual_seed(seed)
    CLIPTextModel(_reading(clip_tokenizer(folder / "tokenizer"))).save_pretrained(folder / "text_encoder")
    _conditioned(16).save_pretrained(folder / "unet")
    _save_others(folder)
    parts = {"text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"]}
    nobody = {name: [None, None] for name in ("safety_checker", "feature_extractor", "image_encoder")}
    _save_index(folder, "StableDiffusionPipeline", {"requires_safety_checker": False, **parts, **nobody})
    return folder


def stable_diffusion_xl(folder: Path, *, seed: int = 0) -> Path:
    """The same with both text encoders of SDXL, and what its U-Net is told beside the text."""
    torch.manual_seed(seed)
    for end, kind in (("", CLIPTextModel), ("_2", CLIPTextModelWithProjection)):
        config = _reading(clip_tokenizer(folder / f"tokenizer{end}"))
        kind(config).save_pretrained(folder / f"text_encoder{end}")
    told = {"addition_embed_type": "text_time", "addition_time_embed_dim": 4}
    unet = _conditioned(32, **told, projection_class_embeddings_input_dim=16 + 6 * 4)
    unet.save_pretrained(folder / "unet")
    _save_others(folder)
    parts = {f"text_encoder{end}": ["transformers", f"CLIPTextModel{more}"] for end, more in XL_ENDS.items()}
    parts |= {f"tokenizer{end}": ["transformers", "CLIPTokenizer"] for end in XL_ENDS}
    nobody = {name: [None, None] for name in ("feature_extractor", "image_encoder")}
    _save_index(folder, "StableDiffusionXLPipeline", {"force_zeros_for_empty_prompt": True, **parts, **nobody})
    return folder


def _reading(tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=16, projection_dim=16, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip


def _conditioned(width: int, **told: Any) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=SIDE // 2, in_channels=4, out_channels=4, layers_per_block=1, norm_num_groups=4,
        block_out_channels=(8, 16), cross_attention_dim=width, attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        **told,
    )  # fmt: skip


def _save_others(folder: Path) -> None:
    """The VAE, and the schedule that Stable Diffusion was trained with."""
    AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=4, block_out_channels=(8, 8), norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, sample_size=SIDE,
    ).save_pretrained(folder / "vae")  # fmt: skip
    DDIMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False, steps_offset=1,
        set_alpha_to_one=False,
    ).save_pretrained(folder / "scheduler")  # fmt: skip


def _save_index(folder: Path, name: str, parts: dict[str, Any]) -> None:
    shared = {"vae": "AutoencoderKL", "unet": "UNet2DConditionModel", "scheduler": "DDIMScheduler"}
    index = {"_class_name": name, **{part: ["diffusers", kind] for part, kind in shared.items()}, **parts}
    (folder / "model_index.json").write_text(json.dumps(index))


def clip_tokenizer(folder: Path) -> CLIPTokenizer:
    """CLIP's tokenizer with letters for words."""
    folder.mkdir(parents=True)
    words = ["<|startoftext|>", "<|endoftext|>", *LETTERS, *(f"{letter}</w>" for letter in LETTERS)]
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16)
    tokenizer.save_pretrained(folder)
    return tokenizer
