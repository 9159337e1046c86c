"""Encoders of captions: a small one from nothing, or one of transformers from a folder or the hub."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import pre_tokenizers
from torch import nn
from transformers import (
    AutoModelForTextEncoding,
    AutoTokenizer,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    PretrainedConfig,
)

from engine.contract import image_settings
from engine.diffusion.networks import ImageModelError, locate

START, END, PAD = "<|startoftext|>", "<|endoftext|>", "<|pad|>"


class TextEncoder(NamedTuple):
    """width: of the states that it gives for each token."""

    tokenizer: Any
    encoder: nn.Module
    width: int


def encoder_for(wish: image_settings.TextEncoder) -> TextEncoder:
    """The encoder that a preset names, or a new one with random weights. Raises ImageModelError."""
    return _from_scratch(wish) if wish.path == "scratch" else _opened(wish)


class Loaders(NamedTuple):
    """`from_pretrained` of the classes that an encoder and its tokenizer have."""

    tokenizer: Callable[..., Any]
    encoder: Callable[..., Any]
    is_clip: bool


def loaders_of(path: str, folder: str) -> Loaders:
    """By the configuration in a folder of `path`: CLIP's, or whatever transformers keeps for encoding text.

    Code that lies beside the weights is never run. Raises OSError.
    """
    config, _ = PretrainedConfig.get_config_dict(path, subfolder=folder)
    if str(config.get("model_type", "clip")).startswith("clip"):
        return Loaders(CLIPTokenizer.from_pretrained, CLIPTextModel.from_pretrained, is_clip=True)
    kinds = (AutoTokenizer, AutoModelForTextEncoding)
    tokenizer, encoder = (partial(kind.from_pretrained, trust_remote_code=False) for kind in kinds)
    return Loaders(tokenizer, encoder, is_clip=False)


def byte_tokenizer(length: int) -> CLIPTokenizer:
    """CLIP's tokenizer with a token for each byte and none for several: it reads any text, and needs no file.

    As CLIP it makes letters small, and of spaces knows only that a word ends.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [START, END, PAD, *alphabet, *(f"{symbol}</w>" for symbol in alphabet)]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocabulary, [], pad_token=PAD, model_max_length=length)


def _from_scratch(wish: image_settings.TextEncoder) -> TextEncoder:
    tokenizer = byte_tokenizer(wish.length)
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=wish.width,
        intermediate_size=4 * wish.width,
        num_hidden_layers=wish.layers,
        num_attention_heads=wish.heads,
        max_position_embeddings=wish.length,
        projection_dim=wish.width,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return TextEncoder(tokenizer, CLIPTextModel(config), wish.width)


def _opened(wish: image_settings.TextEncoder) -> TextEncoder:
    """Raises ImageModelError."""
    here = locate(wish.path)
    is_pipeline = Path(here, "text_encoder").is_dir()
    encoder_in, tokenizer_in = ("text_encoder", "tokenizer") if is_pipeline else ("", "")
    try:
        loaders = loaders_of(here, encoder_in)
        tokenizer = loaders.tokenizer(here, subfolder=tokenizer_in)
        encoder = loaders.encoder(here, subfolder=encoder_in, use_safetensors=True)
        width = int(encoder.config.hidden_size)
    except Exception as error:  # transformers raises whatever a strange folder makes it stumble over
        told = " ".join(str(error).split())[:300]
        remedy = "name a folder or hub id of CLIP, T5, BERT or their kin with its tokenizer, or scratch"
        problem = f"model.scratch.text.path: {wish.path} cannot be opened as a text encoder: {told}"
        raise ImageModelError(f"{problem}\n{remedy}") from error
    known = getattr(encoder.config, "max_position_embeddings", None) or wish.length
    tokenizer.model_max_length = min(wish.length, known, tokenizer.model_max_length)
    if not loaders.is_clip:
        encoder.config.use_attention_mask = True
    return TextEncoder(tokenizer, encoder.eval(), width)
