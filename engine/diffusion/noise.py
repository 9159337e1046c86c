"""The noise an image is made of: a function of seed and image, never of who else is in the batch."""

import hashlib
from collections.abc import Sequence

import torch
from torch import Generator, Tensor


def generator_of(seed: int, image: int) -> Generator:
    """The stream that image number `image` draws all its noise from. On the CPU: every device then draws the same."""
    digest = hashlib.sha256(f"{seed}/{image}".encode()).digest()
    return Generator().manual_seed(int.from_bytes(digest[:8], "big", signed=True))


def starting_noise(
    seed: int, images: Sequence[int], shape: Sequence[int], device: torch.device | str = "cpu"
) -> tuple[Tensor, list[Generator]]:
    """x_T (N, *shape), float32, and the streams for what is drawn on the way. images: which ones of the seed's."""
    generators = [generator_of(seed, image) for image in images]
    return noise_like(torch.empty((len(images), *shape), device=device), generators), generators


def noise_like(x: Tensor, generators: Sequence[Generator] | None) -> Tensor:
    """Standard normal noise for images x (N, ...), each drawn from its own stream; from torch's own where None."""
    if generators is None:
        return torch.randn_like(x)
    drawn = [torch.randn(x.shape[1:], generator=each, dtype=x.dtype) for each in generators]
    return torch.stack(drawn).to(x.device)
