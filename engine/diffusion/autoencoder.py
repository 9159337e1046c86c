"""VAEs (`AutoencoderKL` of diffusers) to train: images to latents and back."""

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from engine.contract import image_settings
from engine.diffusion.networks import open_vae, weights_of


class VaeNetwork(nn.Module):
    """Forward is a whole pass, so that gradients of several processes meet in it."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, pixels: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Decoded pixels, and mean and log-variance of the posterior, of which `noise` draws the latents."""
        law = self.vae.encode(pixels).latent_dist
        decoded: Tensor = self.vae.decode(law.mean + law.std * noise).sample
        return decoded, law.mean, law.logvar


@dataclass
class VaeModel:
    """What a run of `vae` trains."""

    network: VaeNetwork

    @property
    def vae(self) -> AutoencoderKL:
        return self.network.vae

    @property
    def pixels(self) -> tuple[int, int, int]:
        """Channels, height and width of the images."""
        size = int(self.vae.config.sample_size)
        return int(self.vae.config.in_channels), size, size

    @property
    def latents(self) -> tuple[int, int, int]:
        """Channels, height and width of the latents."""
        size = self.pixels[1] // 2 ** (len(self.vae.config.block_out_channels) - 1)
        return int(self.vae.config.latent_channels), size, size

    def save(self, folder: Path) -> None:
        self.vae.save_pretrained(str(folder))

    def state(self) -> dict[str, Tensor]:
        return {}

    def restore(self, folder: Path, state: dict[str, Tensor]) -> None:
        self.vae.load_state_dict(weights_of(folder))


def open_vae_to_train(section: image_settings.VaeModel, *, device: torch.device, seed: int) -> VaeModel:
    """The model that a preset names. Raises ImageModelError."""
    if section.path != "scratch" or section.scratch is None:
        vae = open_vae(section.path).train().requires_grad_(requires_grad=True)
    else:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            vae = _from_scratch(section.scratch)
    return VaeModel(VaeNetwork(vae).to(device))


def _from_scratch(wish: image_settings.VaeNetwork) -> AutoencoderKL:
    return AutoencoderKL(
        in_channels=wish.channels,
        out_channels=wish.channels,
        sample_size=wish.size,
        latent_channels=wish.latent_channels,
        block_out_channels=tuple(wish.width * 2**level for level in range(wish.levels)),
        down_block_types=("DownEncoderBlock2D",) * wish.levels,
        up_block_types=("UpDecoderBlock2D",) * wish.levels,
        layers_per_block=wish.layers,
        norm_num_groups=min(8, wish.width),
        mid_block_add_attention=False,
    )
