"""Denoising diffusion: a network learns to tell noise from image at every level of noise."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.contract.findings import Finding
from engine.contract.image_presets import DenoiserPreset
from engine.data.batching import rows_of_step
from engine.diffusion.averaging import Average
from engine.diffusion.bench import ImageBench, parts_of
from engine.diffusion.images import Images, load_images
from engine.diffusion.networks import ImageModel
from engine.diffusion.noising import Noised, Noising
from engine.loop import Method, Update
from engine.methods.bench import is_due
from engine.tally import Values

#: Stream of random numbers that no step has.
HELD_OUT = 2**40
#: Held-out images whose loss is measured at a time.
MEASURED_AT_ONCE = 256


def denoiser(preset: DenoiserPreset, bench: ImageBench[ImageModel]) -> Method:
    """Ho et al. 2020 (arXiv:2006.11239), L_simple, eq. 14. Raises ImageDataError if there is nothing to learn from."""
    model, training = bench.model, preset.training
    train, held_out = load_images(preset.data, model.pixels, seed=preset.seed, breathe=bench.breathe)
    bench.findings.append(Finding(level="info", what=f"{len(train)} images of {model.pixels}"))
    if preset.denoiser.average:
        model.average = Average(model.network, decay=preset.denoiser.average)
    noising = Noising(model, preset.seed)

    def batches(step: int) -> Iterator[Update]:
        rows, size = len(train), training.batch_size
        places = rows_of_step(step, batch_size=size, n_rows=rows, seed=preset.seed, shuffle=preset.data.shuffle)
        whole = noising.batch(train, places, stream=step, dropout=preset.denoiser.class_dropout)
        mine = parts_of(bench.share(range(size)), training.micro_batch_size)
        yield Update([whole.only(part) for part in mine], tokens=0, values={})

    def loss(batch: Noised) -> tuple[Tensor, Values]:
        batch = batch.to(bench.device)
        output = model.output(bench.network, batch.x, batch.t, batch.condition)
        target = batch.target(model.noise_schedule.prediction)
        error = F.mse_loss(output.float(), target, reduction="none").flatten(1).mean(1)
        return error.sum() / batch.images, {}

    def measure(step: int) -> dict[str, float]:
        model.follow()
        if held_out is None or not is_due(step, training.eval_every, training.steps):
            return {}
        return {"eval_loss": held_out_loss(held_out)}

    @torch.no_grad()
    def held_out_loss(images: Images) -> float:
        """Over all of them, always with the same noise, by the weights that are to be used."""
        whole = noising.batch(images, range(len(images)), stream=HELD_OUT, dropout=0.0)
        with model.averaged():
            shares = [loss(whole.only(part))[0] for part in parts_of(range(len(images)), MEASURED_AT_ONCE)]
        return float(torch.stack(shares).sum())

    return Method(batches, loss, measure, memory=model.memory, recall=model.recall)
