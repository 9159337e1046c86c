"""What a denoiser draws while it learns: a strip with the same seeds each time, and scores of many at the end."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from engine.contract.image_presets import DenoiserPreset
from engine.diffusion.bench import ImageBench, parts_of
from engine.diffusion.captions import subjects
from engine.diffusion.classifier import open_classifier
from engine.diffusion.guidance import guided
from engine.diffusion.images import Images
from engine.diffusion.networks import ImageModel, predictor
from engine.diffusion.noise import starting_noise
from engine.diffusion.pictures import keep_picture, sheet
from engine.diffusion.samplers import sample
from engine.diffusion.scores import Law, features_of, law_of, set_scores

#: Images drawn at a time.
AT_ONCE = 64


class Wish(NamedTuple):
    """What images are asked for. condition: (N,) classes, (N, T) tokens, or None. nothing: as it, for guidance.

    classes: (N,), which ones a classifier should see in them; None where nobody knows.
    """

    condition: Tensor | None
    nothing: Tensor | None = None
    classes: Tensor | None = None

    def only(self, places: Sequence[int], device: torch.device) -> "Wish":
        """Those at these places, to be drawn."""
        return Wish(*(None if each is None else each[list(places)].to(device) for each in self))


def wish_for(model: ImageModel, images: Images, count: int, prompts: Sequence[str] = ()) -> Wish:
    """Every class or caption of the images in turn, or every prompt, where the model is asked in words."""
    if model.condition == "class":
        classes = torch.arange(count) % model.classes
        return Wish(classes, torch.full_like(classes, model.classes), classes)
    if model.worded is None:
        return Wish(None)
    asked = subjects(images, count)
    if prompts:
        asked = [(prompts[place % len(prompts)], -1) for place in range(count)]
    captions, labels = zip(*asked, strict=True)
    known = torch.tensor(labels) if min(labels) >= 0 else None
    return Wish(model.worded.ids(captions), model.worded.ids([""] * count), known)


@torch.no_grad()
def draw(
    model: ImageModel, seed: int, images: Sequence[int], wish: Wish, *, steps: int, guidance: float = 1.0
) -> Tensor:
    """Pixels (N, C, H, W) by DDIM, on the CPU. images: which ones of the seed's; wish: what each of them is asked."""
    device = next(model.network.parameters()).device
    found = []
    for places in parts_of(range(len(images)), AT_ONCE):
        noise, _ = starting_noise(seed, [images[place] for place in places], model.shape, device)
        asked = wish.only(places, device)
        predict = predictor(model, asked.condition)
        if asked.condition is not None:
            predict = guided(predict, predictor(model, asked.nothing), guidance)
        x = sample(predict, model.noise_schedule, noise, sampler="ddim", steps=steps)
        found.append(model.decode(x).float().cpu())
    return torch.cat(found)


@dataclass(frozen=True)
class Drawing:
    """For a run of a denoiser. train: what the distance of drawn images is measured to."""

    preset: DenoiserPreset
    bench: ImageBench[ImageModel]
    train: Images
    held_out: Images | None

    def after(self, step: int) -> dict[str, float]:
        """Draw what is due after `step`; the scores, if any. For the first process alone."""
        own, training, bench = self.preset.denoiser, self.preset.training, self.bench
        if not bench.accelerator.is_main_process:
            return {}
        every = own.sample_every or training.checkpoint_every or training.steps
        if step % every == 0 or step == training.steps:
            self._strip(step)
        return self._scores() if own.classifier is not None and step == training.steps else {}

    def _strip(self, step: int) -> None:
        own, bench = self.preset.denoiser, self.bench
        images = self._drawn(wish_for(bench.model, self.train, own.samples, own.prompts), own.samples)
        columns = min(own.samples, 10)
        keep_picture(sheet(images, columns), run=bench.run, reporter=bench.reporter, step=step, role="samples")

    def _scores(self) -> dict[str, float]:
        """Of so many drawn images, and the distance of as many real ones: no images of ours can be expected closer."""
        own, bench, model = self.preset.denoiser, self.bench, self.bench.model
        bench.reporter.phase(f"drawing {own.scored} images to score them")
        wish = wish_for(model, self.train, own.scored)
        found = set_scores(self._classifier, self._drawn(wish, own.scored), self._reference, wish.classes)
        scores = {"frechet": found.frechet, "diversity": found.diversity, "recognised": found.recognised}
        if self.held_out is not None and len(self.held_out) > 1:
            real = self.held_out.at(range(min(len(self.held_out), own.scored)))
            scores["frechet_of_real"] = set_scores(self._classifier, real, self._reference).frechet
        return {name: value for name, value in scores.items() if value == value}

    def _drawn(self, wish: Wish, count: int) -> Tensor:
        own = self.preset.denoiser
        steps, guidance = own.sample_steps, own.sample_guidance
        return draw(self.bench.model, self.preset.seed, range(count), wish, steps=steps, guidance=guidance)

    @cached_property
    def _classifier(self) -> Any:
        return open_classifier(str(self.preset.denoiser.classifier))

    @cached_property
    def _reference(self) -> Law:
        return law_of(features_of(self._classifier, self.train.at(range(len(self.train)))))
