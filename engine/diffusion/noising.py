"""The forward process: images mixed with noise, and what a denoiser is asked about them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from engine.diffusion.images import Images
from engine.diffusion.networks import ImageModel
from engine.diffusion.noise import generator_of
from engine.diffusion.prediction import noised, target_of
from engine.diffusion.schedules import Prediction


class Noised(NamedTuple):
    """clean: (n, C, H, W), pixels or latents. noise: as clean. x: both mixed, as of t: (n,), whose share of the image
    is alpha_bar: (n,). condition: (n,) classes, (n, T) tokens of captions, or None.

    images: of the whole step, over micro-batches and processes.
    """

    clean: Tensor
    noise: Tensor
    x: Tensor
    t: Tensor
    alpha_bar: Tensor
    condition: Tensor | None
    images: float

    def only(self, places: Sequence[int]) -> "Noised":
        """Those at these places, still as a part of the same step."""
        chosen = list(places)
        condition = None if self.condition is None else self.condition[chosen]
        clean, noise, x = self.clean[chosen], self.noise[chosen], self.x[chosen]
        return Noised(clean, noise, x, self.t[chosen], self.alpha_bar[chosen], condition, self.images)

    def target(self, prediction: Prediction) -> Tensor:
        """What the network should say, (n, C, H, W)."""
        return target_of(self.clean, self.noise, self.alpha_bar, prediction)

    def to(self, device: torch.device) -> "Noised":
        clean, noise, x = self.clean.to(device), self.noise.to(device), self.x.to(device)
        condition = None if self.condition is None else self.condition.to(device)
        return Noised(clean, noise, x, self.t.to(device), self.alpha_bar.to(device), condition, self.images)


@dataclass(frozen=True)
class Noising:
    """Noise for a model, by its own schedule. seed: of the run."""

    model: ImageModel
    seed: int

    @torch.no_grad()
    def batch(self, images: Images, places: Sequence[int], *, stream: int, dropout: float) -> Noised:
        """The images at these places with noise of any level, and what they are of but for a share of `dropout`.

        What is drawn belongs to the seed, the stream (a step's number, from 1) and the place in it, never to how a step
        is cut.
        """
        model, count = self.model, len(places)
        # Streams from 0 on belong to images that are drawn.
        generator, table = generator_of(self.seed, -stream), model.noise_schedule.alphas_cumprod
        noise = torch.randn((count, *model.shape), generator=generator)
        t = torch.randint(len(table), (count,), generator=generator)
        is_dropped = torch.rand(count, generator=generator) < dropout
        latent_noise = None if model.vae is None else torch.randn((count, *model.shape), generator=generator)
        clean = model.encode(images.at(places), latent_noise)
        alpha_bar = table[t]
        x = noised(clean, noise, alpha_bar)
        return Noised(clean, noise, x, t, alpha_bar, self._condition(images, places, is_dropped), float(count))

    def _condition(self, images: Images, places: Sequence[int], is_dropped: Tensor) -> Tensor | None:
        """What the network is told of the images; of those that are dropped, (n,), nothing in particular."""
        model = self.model
        if model.worded is not None:
            told = zip(places, is_dropped.tolist(), strict=True)
            return model.worded.ids(["" if dropped else images.captions[place] for place, dropped in told])
        if model.condition != "class":
            return None
        classes = images.classes_at(places)
        return torch.where(is_dropped | (classes < 0), model.classes, classes)
