"""A classifier of images: it judges what denoisers draw, and its features measure how far that is from real ones."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.contract.image_presets import ImageClassifierPreset
from engine.data.batching import rows_of_step
from engine.diffusion.bench import ImageBench, parts_of
from engine.diffusion.classifier import ClassifierModel
from engine.diffusion.images import ImageDataError, Images, images_for, refuse_strangers
from engine.diffusion.noise import generator_of
from engine.loop import Method, Update
from engine.methods.bench import is_due
from engine.tally import Mean, Values

MEASURED_AT_ONCE = 512


class Labelled(NamedTuple):
    """x: (n, C, H, W) in [-1, 1]. classes: (n,). images: of the whole step, over micro-batches and processes."""

    x: Tensor
    classes: Tensor
    images: float


def image_classifier(preset: ImageClassifierPreset, bench: ImageBench[ClassifierModel]) -> Method:
    """Cross-entropy over classes. Raises ImageDataError if images have no classes, or more than the network knows."""
    model, training, own = bench.model, preset.training, preset.image_classifier
    train, held_out = images_for(bench, preset.data, model.pixels, seed=preset.seed)
    for images in (train, held_out):
        _refuse_unlabelled(images)
        refuse_strangers(images, int(model.network.config.classes))

    def batches(step: int) -> Iterator[Update]:
        rows, size = len(train), training.batch_size
        places = rows_of_step(step, batch_size=size, n_rows=rows, seed=preset.seed, shuffle=preset.data.shuffle)
        x, classes = shifted(train.at(places), own.shift, preset.seed, step), train.classes_at(places)
        mine = parts_of(bench.share(range(size)), training.micro_batch_size)
        yield Update([Labelled(x[part], classes[part], float(size)) for part in mine], tokens=0, values={})

    def loss(batch: Labelled) -> tuple[Tensor, Values]:
        classes = batch.classes.to(bench.device)
        logits = bench.network(batch.x.to(bench.device)).float()
        each = F.cross_entropy(logits, classes, reduction="none", label_smoothing=own.label_smoothing)
        right = (logits.argmax(1) == classes).float().sum()
        return each.sum() / batch.images, {"class_accuracy": Mean(right, float(len(classes)))}

    @torch.no_grad()
    def measure(step: int) -> dict[str, float]:
        if is_due(step, training.checkpoint_every, training.steps) or step == training.steps:
            _set_spread(model, train, bench.device)
        if held_out is None or not is_due(step, training.eval_every, training.steps):
            return {}
        places = range(len(held_out))
        parts = [model.network(held_out.at(part).to(bench.device)).cpu() for part in parts_of(places, MEASURED_AT_ONCE)]
        logits, classes = torch.cat(parts).float(), held_out.labels
        accuracy = float((logits.argmax(1) == classes).float().mean())
        return {"eval_loss": float(F.cross_entropy(logits, classes)), "eval_class_accuracy": accuracy}

    return Method(batches, loss, measure)


def shifted(x: Tensor, most: int, seed: int, step: int) -> Tensor:
    """Each image moved by up to `most` pixels either way; what comes in at an edge is what stood there."""
    if not most:
        return x
    height, width = x.shape[-2:]
    moves = torch.randint(2 * most + 1, (len(x), 2), generator=generator_of(seed, -step)).tolist()
    padded = F.pad(x, (most, most, most, most), mode="replicate")
    return torch.stack(
        [image[:, y : y + height, x0 : x0 + width] for image, (y, x0) in zip(padded, moves, strict=True)]
    )


def _set_spread(model: ClassifierModel, images: Images, device: torch.device) -> None:
    """Saved in the configuration; the unit of distances in the features."""
    parts = [model.network.body(images.at(part).to(device)) for part in parts_of(range(len(images)), MEASURED_AT_ONCE)]
    model.network.register_to_config(feature_spread=float(torch.cat(parts).double().var(0).mean().sqrt()))


def _refuse_unlabelled(images: Images | None) -> None:
    if images is not None and bool((images.labels < 0).any()):
        raise ImageDataError("data: some images have no class; put each class into a folder, or give a table labels")
