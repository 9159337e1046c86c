"""What a denoiser draws while it learns: a strip with the same seeds each time, and scores of many at the end."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from engine.contract.image_presets import DenoiserPreset
from engine.diffusion.bench import ImageBench, parts_of
from engine.diffusion.classifier import open_classifier
from engine.diffusion.images import Images
from engine.diffusion.networks import ImageModel, predictor
from engine.diffusion.noise import starting_noise
from engine.diffusion.pictures import keep_picture, sheet
from engine.diffusion.samplers import sample
from engine.diffusion.scores import Law, features_of, law_of, set_scores

#: Images drawn at a time.
AT_ONCE = 64


def classes_asked(model: ImageModel, count: int) -> Tensor | None:
    """Every class in turn, (count,); None where classes are no condition."""
    return torch.arange(count) % model.classes if model.condition == "class" else None


@torch.no_grad()
def draw(model: ImageModel, seed: int, images: Sequence[int], classes: Tensor | None, *, steps: int) -> Tensor:
    """Pixels (N, C, H, W) by DDIM, on the CPU. images: which ones of the seed's; classes: (N,), of each."""
    device = next(model.network.parameters()).device
    found = []
    for places in parts_of(range(len(images)), AT_ONCE):
        noise, _ = starting_noise(seed, [images[place] for place in places], model.shape, device)
        condition = None if classes is None else classes[places].to(device)
        x = sample(predictor(model, condition), model.noise_schedule, noise, sampler="ddim", steps=steps)
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
        if not bench.accelerator.is_main_process or bench.model.condition == "text":
            return {}
        every = own.sample_every or training.checkpoint_every or training.steps
        if step % every == 0 or step == training.steps:
            self._strip(step)
        return self._scores() if own.classifier is not None and step == training.steps else {}

    def _strip(self, step: int) -> None:
        own, bench = self.preset.denoiser, self.bench
        classes = classes_asked(bench.model, own.samples)
        images = draw(bench.model, self.preset.seed, range(own.samples), classes, steps=own.sample_steps)
        columns = min(own.samples, 10)
        keep_picture(sheet(images, columns), run=bench.run, reporter=bench.reporter, step=step, role="samples")

    def _scores(self) -> dict[str, float]:
        """Of so many drawn images, and the distance of as many real ones: no images of ours can be expected closer."""
        own, bench, model = self.preset.denoiser, self.bench, self.bench.model
        bench.reporter.phase(f"drawing {own.scored} images to score them")
        classes = classes_asked(model, own.scored)
        images = draw(model, self.preset.seed, range(own.scored), classes, steps=own.sample_steps)
        found = set_scores(self._classifier, images, self._reference, classes)
        scores = {"frechet": found.frechet, "diversity": found.diversity, "recognised": found.recognised}
        if self.held_out is not None and len(self.held_out) > 1:
            real = self.held_out.at(range(min(len(self.held_out), own.scored)))
            scores["frechet_of_real"] = set_scores(self._classifier, real, self._reference).frechet
        return {name: value for name, value in scores.items() if value == value}

    @cached_property
    def _classifier(self) -> Any:
        return open_classifier(str(self.preset.denoiser.classifier))

    @cached_property
    def _reference(self) -> Law:
        return law_of(features_of(self._classifier, self.train.at(range(len(self.train)))))
