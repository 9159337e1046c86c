"""What a VAE does to images, to look at: reconstructions, ways between two images, and where latents lie."""

import torch
from torch import Tensor

from engine.diffusion.autoencoder import VaeModel
from engine.diffusion.bench import ImageBench
from engine.diffusion.images import Images
from engine.diffusion.pictures import keep_picture, scatter, sheet

#: Latents in the scatter, and images in a row.
SCATTERED, SHOWN = 512, 8


@torch.no_grad()
def show_latents(step: int, model: VaeModel, images: Images, bench: ImageBench[VaeModel]) -> None:
    """Write reconstructions-<step>.png, interpolation-<step>.png and latents-<step>.png into the run's images/."""
    if not bench.accelerator.is_main_process:
        return
    count = min(len(images), SHOWN)
    pixels = images.at(range(count)).to(bench.device)
    chosen = list(range(min(len(images), SCATTERED)))
    latents = encoded(model, images.at(chosen).to(bench.device)).flatten(1).cpu()
    found = {
        "latents": scatter(principal(latents), images.classes_at(chosen)),
        "reconstructions": sheet(torch.cat([pixels, decoded(model, encoded(model, pixels))]), count),
        "interpolation": sheet(interpolated(model, pixels[:1], pixels[-1:], SHOWN), SHOWN),
    }
    for role, picture in found.items():
        keep_picture(picture, run=bench.run, reporter=bench.reporter, step=step, role=role)


def encoded(model: VaeModel, pixels: Tensor) -> Tensor:
    """The mean of each image's posterior, (N, c, h, w)."""
    found: Tensor = model.vae.encode(pixels).latent_dist.mean
    return found


def decoded(model: VaeModel, latents: Tensor) -> Tensor:
    """Images of latents."""
    found: Tensor = model.vae.decode(latents).sample
    return found


def interpolated(model: VaeModel, first: Tensor, last: Tensor, count: int) -> Tensor:
    """`count` images on the straight way between the latents of two, (1, C, H, W) each, both ends included."""
    one, other = encoded(model, first), encoded(model, last)
    share = torch.linspace(0, 1, count, device=one.device).view(-1, 1, 1, 1)
    return decoded(model, one + share * (other - one))


def principal(points: Tensor) -> Tensor:
    """(N, D) in the plane in which they spread most, (N, 2): the first two principal components, zeros where D is 1.

    The sign of each is such that its largest entry is positive, so that it does not jump between checkpoints.
    """
    centred = points.double() - points.double().mean(0)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    plane = directions[:2]
    plane = plane * plane.gather(1, plane.abs().argmax(1, keepdim=True)).sign()
    found = centred @ plane.T
    return torch.nn.functional.pad(found, (0, 2 - found.shape[1]))
