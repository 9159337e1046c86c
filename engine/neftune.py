"""Noise on the embeddings while training: NEFTune, Jain et al. 2023 (arXiv:2310.05914)."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn


def embedding_noise(lengths: Sequence[int], seeds: Sequence[int], *, alpha: float, width: int) -> Tensor:
    """Uniform noise for the tokens of rows, (N, width), rows in order; each row's is a function of its seed alone.

    Its size is alpha / √(L · width), L the row's own length. Where we depart from the implementations: theirs counts
    the padding in L, so that a row's noise depends on its neighbours.
    """
    rows = []
    for length, seed in zip(lengths, seeds, strict=True):
        generator = torch.Generator().manual_seed(seed)
        size = alpha / math.sqrt(length * width)
        rows.append((torch.rand(length, width, generator=generator) * 2 - 1) * size)
    return torch.cat(rows)


@contextlib.contextmanager
def added_to_embeddings(model: nn.Module, noise: Tensor | None) -> Iterator[None]:
    """Within it, `noise`, of the shape of what the embedding gives, is added to that; None adds nothing."""
    if noise is None:
        yield
        return

    def add(module: nn.Module, given: Any, embedded: Tensor) -> Tensor:
        return embedded + noise.to(embedded.dtype)

    hook = model.get_input_embeddings().register_forward_hook(add)  # type: ignore[operator]
    try:
        yield
    finally:
        hook.remove()
