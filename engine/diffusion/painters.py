"""What draws: a denoiser with its schedule, asked for classes, for text or for nothing. One face for all of them."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from engine.diffusion.guidance import guided
from engine.diffusion.networks import ImageModel, predictor
from engine.diffusion.png_files import in_colour
from engine.diffusion.stepping import Predict

#: Values of each tensor that a fingerprint looks at: training changes them all.
FINGERPRINTED = 1024


class Asked(NamedTuple):
    """What pictures are asked for, one entry each; None where nothing in particular. guidance: see guidance.py."""

    labels: Sequence[int | None]
    prompts: Sequence[str | None]
    negative_prompt: str = ""
    guidance: float = 1.0


class Painter(Protocol):
    """Draws pictures. classes: how many it knows, 0 if none; config: of the noise schedule, as diffusers writes it."""

    @property
    def network(self) -> nn.Module: ...
    @property
    def config(self) -> Mapping[str, Any]: ...
    @property
    def classes(self) -> int: ...
    @property
    def reads_text(self) -> bool: ...
    @property
    def is_latent(self) -> bool: ...

    def shape(self, width: int | None, height: int | None) -> tuple[int, int, int]:
        """Channels, height and width of the noise that pictures of this size begin as; None: as it was trained for."""

    def predict(self, asked: Asked) -> Predict:
        """The denoiser with all that is asked for bound in."""

    def decode(self, x: Tensor) -> Tensor:
        """Pixels in [-1, 1] of what the sampler gave."""

    def look(self, x: Tensor) -> Tensor:
        """RGB in [-1, 1], (N, 3, h, w), to be shown while it is drawn: cheap, and about right."""


class PainterError(ValueError):
    """What a model of images cannot be asked for. First line: what; second: what to do."""


@dataclass(frozen=True)
class SmallPainter:
    """A network of this project or of the same kind: on pixels or latents, with classes or without."""

    model: ImageModel
    preview: Callable[[Tensor], Tensor] | None = None

    @property
    def network(self) -> nn.Module:
        return self.model.network

    @property
    def config(self) -> Mapping[str, Any]:
        return self.model.schedule

    @property
    def classes(self) -> int:
        return self.model.classes

    @property
    def reads_text(self) -> bool:
        return False

    @property
    def is_latent(self) -> bool:
        return self.model.vae is not None

    def shape(self, width: int | None, height: int | None) -> tuple[int, int, int]:
        channels, usual_height, usual_width = self.model.shape
        scale = scale_of(self.model.vae)
        return channels, latent_side(height, usual_height, scale), latent_side(width, usual_width, scale)

    def predict(self, asked: Asked) -> Predict:
        if not self.classes:
            return predictor(self.model, None)
        device = next(self.network.parameters()).device
        labels = torch.tensor([self.classes if label is None else label for label in asked.labels], device=device)
        nothing = torch.full_like(labels, self.classes)
        return guided(predictor(self.model, labels), predictor(self.model, nothing), asked.guidance)

    def decode(self, x: Tensor) -> Tensor:
        return self.model.decode(x)

    def look(self, x: Tensor) -> Tensor:
        return in_colour(x) if self.preview is None else self.preview(x)


def scale_of(vae: Any) -> int:
    """Pixels of a side for each latent of it."""
    return 1 if vae is None else 2 ** (len(vae.config.block_out_channels) - 1)


def latent_side(pixels: int | None, usual: int, scale: int) -> int:
    """Raises PainterError for a side that the VAE cannot make."""
    if pixels is None:
        return usual
    if pixels % scale:
        raise PainterError(f"{pixels} pixels are no side of this model\nuse a multiple of {scale}")
    return pixels // scale


def fingerprint(network: nn.Module) -> str:
    """Of the weights: the same for the same model wherever it lies, another after any training of all of them."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        flat = tensor.detach().flatten()
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(flat[:: max(1, len(flat) // FINGERPRINTED)].float().cpu().numpy().tobytes())
    return digest.hexdigest()[:32]


@torch.no_grad()
def linear_preview(
    decode: Callable[[Tensor], Tensor], channels: int, scale: int, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """A cheap look at latents: the straight line from their channels to colours that fits the decoder best.

    Fitted by least squares on what it makes of smooth noise, once; decoding each step would cost more than drawing.
    """
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(8, channels, 4, 4, generator=generator)
    latents = nn.functional.interpolate(coarse, scale_factor=4, mode="bilinear")
    colours = nn.functional.avg_pool2d(in_colour(decode(latents.to(device))).float(), scale).cpu()
    ones = torch.ones(8 * 16 * 16, 1)
    inputs = torch.cat([latents.movedim(1, -1).reshape(-1, channels), ones], dim=1)
    line = torch.linalg.lstsq(inputs, colours.movedim(1, -1).reshape(-1, 3)).solution.to(device)

    def look(x: Tensor) -> Tensor:
        shown: Tensor = x.float().movedim(1, -1) @ line[:-1] + line[-1]
        return shown.movedim(-1, 1)

    return look
