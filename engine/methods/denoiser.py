"""Denoising diffusion: a network learns to tell noise from image at every level of noise."""

from collections.abc import Iterator

import torch
from torch import Tensor

from engine.contract.image_presets import DenoiserPreset
from engine.data.batching import rows_of_step
from engine.diffusion.averaging import Average
from engine.diffusion.bench import ImageBench, parts_of
from engine.diffusion.captions import look_at_captions
from engine.diffusion.drawing import Drawing
from engine.diffusion.images import Images, images_for, refuse_strangers
from engine.diffusion.losses import min_snr_weight, quarter_of, squared_error
from engine.diffusion.networks import ImageModel
from engine.diffusion.noising import Noised, Noising
from engine.loop import Method, Update
from engine.methods.bench import is_due
from engine.tally import Mean, Values

#: Stream of random numbers that no step has.
HELD_OUT = 2**40
#: Held-out images whose loss is measured at a time.
MEASURED_AT_ONCE = 256


def denoiser(preset: DenoiserPreset, bench: ImageBench[ImageModel]) -> Method:
    """Ho et al. 2020 (arXiv:2006.11239), L_simple, eq. 14. Raises ImageDataError if there is nothing to learn from."""
    model, training, own = bench.model, preset.training, preset.denoiser
    is_worded = model.condition == "text"
    train, held_out = images_for(bench, preset.data, model.pixels, seed=preset.seed, with_captions=is_worded)
    look_at_captions(bench, train)
    for images in (train, held_out):
        refuse_strangers(images, model.classes or None)
    if own.average:
        model.average = Average(model.trained, decay=own.average)
    noising, schedule = Noising(model, preset.seed), model.noise_schedule
    drawing = Drawing(preset, bench, train, held_out)

    def batches(step: int) -> Iterator[Update]:
        rows, size = len(train), training.batch_size
        places = rows_of_step(step, batch_size=size, n_rows=rows, seed=preset.seed, shuffle=preset.data.shuffle)
        whole = noising.batch(train, places, stream=step, dropout=own.condition_dropout)
        mine = parts_of(bench.share(range(size)), training.micro_batch_size)
        yield Update([whole.only(part) for part in mine], tokens=0, values={})

    def errors(batch: Noised) -> Tensor:
        """Of each image, (n,)."""
        output = model.output(bench.network, batch.x, batch.t, batch.condition)
        return squared_error(output, batch.target(schedule.prediction))

    def loss(batch: Noised) -> tuple[Tensor, Values]:
        batch = batch.to(bench.device)
        error = errors(batch)
        weighed = error
        if own.min_snr_gamma is not None:
            weight = min_snr_weight(batch.alpha_bar, gamma=own.min_snr_gamma, prediction=schedule.prediction)
            weighed = error * weight.to(error)
        quarters = by_noise(error.detach(), batch.t, len(schedule.alphas_cumprod))
        return weighed.sum() / batch.images, dict(quarters)

    def measure(step: int) -> dict[str, float]:
        model.follow(step)
        with torch.no_grad(), model.averaged():
            found = drawing.after(step)
            if held_out is not None and is_due(step, training.eval_every, training.steps):
                found |= held_out_errors(held_out)
        return found

    def held_out_errors(images: Images) -> dict[str, float]:
        """Over all of them, always with the same noise, as one number and by how much noise there is."""
        whole = noising.batch(images, range(len(images)), stream=HELD_OUT, dropout=0.0)
        parts = [whole.only(part).to(bench.device) for part in parts_of(range(len(images)), MEASURED_AT_ONCE)]
        error = torch.cat([errors(part) for part in parts])
        quarters = by_noise(error, whole.t.to(error.device), len(schedule.alphas_cumprod))
        means = {f"eval_{name}": float(value.total) / float(value.weight) for name, value in quarters.items()}
        return {"eval_loss": float(error.mean()), **means}

    return Method(batches, loss, measure, memory=model.memory, recall=model.recall)


def by_noise(error: Tensor, t: Tensor, timesteps: int) -> dict[str, Mean]:
    """The errors, (n,), in quarters of the schedule: loss/noise_1 has the least noise. Those without images are out."""
    quarter = quarter_of(t, timesteps)
    found = {f"loss/noise_{place + 1}": error[quarter == place] for place in range(4)}
    return {name: Mean(each.sum(), float(len(each))) for name, each in found.items() if len(each)}
