"""A variational autoencoder: images to latents that look like noise as a whole, and back."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from engine.contract.image_presets import VaePreset
from engine.data.batching import rows_of_step
from engine.diffusion.autoencoder import VaeModel
from engine.diffusion.bench import ImageBench, parts_of
from engine.diffusion.images import Images, images_for
from engine.diffusion.latent_views import show_latents
from engine.diffusion.losses import VaeLoss, vae_loss
from engine.diffusion.noise import generator_of
from engine.loop import Method, Update
from engine.methods.bench import is_due
from engine.tally import Mean, Values

MEASURED_AT_ONCE = 256


class Pixels(NamedTuple):
    """x: (n, C, H, W) in [-1, 1]. noise: of the latents' shape. images: of the whole step, over micro-batches and
    processes."""

    x: Tensor
    noise: Tensor
    images: float


def vae(preset: VaePreset, bench: ImageBench[VaeModel]) -> Method:
    """Kingma & Welling 2014 (arXiv:1312.6114), eq. 10. Raises ImageDataError if there is nothing to learn from."""
    model, training, own = bench.model, preset.training, preset.vae
    train, held_out = images_for(bench, preset.data, model.pixels, seed=preset.seed)

    def batches(step: int) -> Iterator[Update]:
        rows, size = len(train), training.batch_size
        places = rows_of_step(step, batch_size=size, n_rows=rows, seed=preset.seed, shuffle=preset.data.shuffle)
        noise = torch.randn((size, *model.latents), generator=generator_of(preset.seed, -step))
        mine = parts_of(bench.share(range(size)), training.micro_batch_size)
        yield Update([_batch(train, places, noise, part) for part in mine], tokens=0, values={})

    def passed(batch: Pixels) -> VaeLoss:
        x = batch.x.to(bench.device)
        decoded, mean, log_variance = bench.network(x, batch.noise.to(bench.device))
        return vae_loss(x, decoded.float(), mean.float(), log_variance.float(), kl_weight=own.kl_weight)

    def loss(batch: Pixels) -> tuple[Tensor, Values]:
        found, count = passed(batch), float(len(batch.x))
        told: Values = {
            "reconstruction_error": Mean(found.error.detach().sum(), count),
            "latent_kl": Mean(found.kl.detach().sum(), count),
        }
        return found.loss.sum() / batch.images, told

    @torch.no_grad()
    def measure(step: int) -> dict[str, float]:
        if is_due(step, training.checkpoint_every or training.steps, training.steps):
            _set_scale(model, train)
            show_latents(step, model, held_out or train, bench)
        if held_out is None or not is_due(step, training.eval_every, training.steps):
            return {}
        places = range(len(held_out))
        noise = torch.zeros(len(held_out), *model.latents)  # the mean: what the latent of an image is taken to be
        found = [passed(_batch(held_out, places, noise, part)) for part in parts_of(places, MEASURED_AT_ONCE)]
        return {
            "eval_loss": float(torch.cat([each.loss for each in found]).mean()),
            "eval_reconstruction_error": float(torch.cat([each.error for each in found]).mean()),
            "eval_latent_kl": float(torch.cat([each.kl for each in found]).mean()),
        }

    return Method(batches, loss, measure)


def _batch(images: Images, places: Sequence[int], noise: Tensor, part: Sequence[int]) -> Pixels:
    chosen = list(part)
    return Pixels(images.at([places[place] for place in chosen]), noise[chosen], float(len(places)))


def _set_scale(model: VaeModel, images: Images) -> None:
    """What latents are multiplied with to have a spread of about 1, as a denoiser wants them: Rombach et al. 2022
    (arXiv:2112.10752), appendix G. Saved in the configuration as `scaling_factor`."""
    count = min(len(images), 1024)
    pixels = images.at(range(count)).to(next(model.network.parameters()).device)
    spread = model.vae.encode(pixels).latent_dist.mean.std()
    model.vae.register_to_config(scaling_factor=float(1 / spread))
