"""What an image is worth: a weighted sum of parts, each reported by itself.

Registry of parts: preset kind -> builder. A part is a function of a batch of images, and says nothing of weights. Most
can be followed backwards to the pixels (`DIFFERENTIABLE`), as DRaFT needs.
"""

import io
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from engine.contract import tuning_settings
from engine.contract.online_settings import OwnFunction
from engine.diffusion.pictures import as_bytes
from engine.diffusion.scorer import open_scorer
from engine.helpers.helper import Helper, HelperError


class ImageRewardError(ValueError):
    """A reward that cannot be computed for these images, in words for a person."""


class Drawn(NamedTuple):
    """images: (N, C, H, W) in [-1, 1]. prompts: what was asked for, a class, a caption, or None; one an image."""

    images: Tensor
    prompts: Sequence[int | str | None]


#: One part of the reward: a value an image, (N,).
Part = Callable[[Drawn], Tensor]
#: What opens a classifier: path -> log-probabilities of its classes, (N, classes), of images.
OpenClassifier = Callable[[str], Callable[[Tensor], Tensor]]


class Scored(NamedTuple):
    """total: (N,), weighted sum. parts: each part's own values by name, (N,) each, without gradient."""

    total: Tensor
    parts: dict[str, Tensor]


class ImageRewardSum:
    """Scores images by the parts of a preset. open_classifier: for parts that ask one."""

    def __init__(self, parts: Sequence[tuning_settings.ImageReward], open_classifier: OpenClassifier) -> None:
        self._parts = [(name, part.weight, BUILDERS[type(part)](part, open_classifier)) for name, part in _named(parts)]

    def score(self, drawn: Drawn) -> Scored:
        """What each image is worth, with gradient where there is one. Raises ImageRewardError."""
        values = {name: part(drawn).float() for name, _, part in self._parts}
        total = torch.stack([weight * values[name] for name, weight, _ in self._parts]).sum(dim=0)
        return Scored(total, {name: value.detach() for name, value in values.items()})


def ink(part: tuning_settings.Ink, open_classifier: OpenClassifier) -> Part:
    """Mean brightness, 0 to 1: how much of a white pen on black paper."""
    return lambda drawn: ((drawn.images + 1) / 2).flatten(1).mean(dim=1)


def compressibility(part: tuning_settings.Compressibility, open_classifier: OpenClassifier) -> Part:
    """Minus the size as JPEG, kB, as in DDPO, Black et al. 2023 (arXiv:2305.13301), sec. 5.1."""

    def scored(drawn: Drawn) -> Tensor:
        sizes = [_jpeg_size(image, part.quality) for image in as_bytes(drawn.images).numpy()]
        return -torch.tensor(sizes, device=drawn.images.device) / 1000

    return scored


def class_probability(part: tuning_settings.ClassProbability, open_classifier: OpenClassifier) -> Part:
    """Log-probability of the wanted class, nats."""
    classify = open_classifier(part.path)

    def scored(drawn: Drawn) -> Tensor:
        logps = classify(drawn.images)
        wanted = torch.tensor([_wanted(part, prompt, logps.shape[1]) for prompt in drawn.prompts], device=logps.device)
        return logps.gather(1, wanted.unsqueeze(1)).squeeze(1)

    return scored


def symmetry(part: tuning_settings.Symmetry, open_classifier: OpenClassifier) -> Part:
    """Minus the mean difference of an image and its mirror image, -1 to 0."""
    flipped = -1 if part.axis == "left_right" else -2
    return lambda drawn: -(drawn.images - drawn.images.flip(flipped)).abs().flatten(1).mean(dim=1) / 2


def smoothness(part: tuning_settings.Smoothness, open_classifier: OpenClassifier) -> Part:
    """Minus the total variation: the mean difference of neighbours, below and to the right, -2 to 0."""

    def scored(drawn: Drawn) -> Tensor:
        right = drawn.images.diff(dim=-1).abs().flatten(1).mean(dim=1)
        below = drawn.images.diff(dim=-2).abs().flatten(1).mean(dim=1)
        return -(right + below) / 2

    return scored


def own_function(part: OwnFunction, open_classifier: OpenClassifier) -> Part:
    """What somebody's function says: `reward(prompts, images) -> list`, images as an array of bytes (N, H, W, C).

    It runs in a process of its own, after an explicit yes, see engine/helpers. None and what is no number count as
    unknown: such an image is not learned from. Raises ImageRewardError where nothing at all came of it.
    """
    if not part.allow_code:
        raise ImageRewardError(
            f"rewards: {part.path} is code that nobody has allowed; set allow_code to true to run it"
        )
    try:
        helper = Helper(Path(part.path), part.function, timeout=part.timeout)
    except OSError as error:
        raise ImageRewardError(f"rewards: {part.path} cannot be read: {error.strerror}") from error
    if part.sha256 not in (None, helper.sha256):
        raise ImageRewardError(
            f"rewards: {part.path} is not the file that was allowed (its sha256 is {helper.sha256}); read what has"
            " changed, then set sha256 to that"
        )

    def scored(drawn: Drawn) -> Tensor:
        images = as_bytes(drawn.images).numpy()
        try:
            values = helper.ask(len(images), {"prompts": list(drawn.prompts), "images": images})
        except HelperError as error:
            raise ImageRewardError(f"rewards: {error}\nmend the function, or raise its timeout, then Resume") from error
        numbers = [value if isinstance(value, float | int) else math.nan for value in values]
        return torch.tensor(numbers, device=drawn.images.device)

    return scored


def judged(part: tuning_settings.Judged, open_classifier: OpenClassifier) -> Part:
    """The score of a reward model that learned from somebody's judgements, in its own spread."""
    scorer = open_scorer(part.path)
    network = scorer.network.requires_grad_(requires_grad=False)
    mean, spread = scorer.measured.get("reward_mean", 0.0), scorer.measured.get("reward_std", 1.0)

    def scored(drawn: Drawn) -> Tensor:
        network.to(drawn.images.device)
        return (scorer.score(drawn.images) - mean) / max(spread, 1e-6)

    return scored


BUILDERS: dict[type, Callable[[Any, OpenClassifier], Part]] = {
    tuning_settings.Ink: ink,
    tuning_settings.Compressibility: compressibility,
    tuning_settings.ClassProbability: class_probability,
    tuning_settings.Symmetry: symmetry,
    tuning_settings.Smoothness: smoothness,
    tuning_settings.Judged: judged,
    OwnFunction: own_function,
}


def _named(parts: Sequence[tuning_settings.ImageReward]) -> Iterator[tuple[str, tuning_settings.ImageReward]]:
    """Each part under its kind; the second of a kind gets a number."""
    seen: Counter[str] = Counter()
    for part in parts:
        seen[part.kind] += 1
        yield part.kind if seen[part.kind] == 1 else f"{part.kind}_{seen[part.kind]}", part


def _wanted(part: tuning_settings.ClassProbability, prompt: int | str | None, classes: int) -> int:
    """The class asked for. Raises ImageRewardError where there is none, or the classifier does not know it."""
    label = prompt if part.label is None else part.label
    if not isinstance(label, int):
        raise ImageRewardError(
            f"rewards: the classifier is to judge an image of {label!r}, which names no class; give the part a `label`"
        )
    if label >= classes:
        raise ImageRewardError(
            f"rewards: class {label} is wanted, and {part.path} knows 0 to {classes - 1}; give a `label`"
        )
    return label


def _jpeg_size(pixels: np.ndarray, quality: int) -> int:
    """Bytes that an image, (H, W, C) bytes, takes as JPEG."""
    written = io.BytesIO()
    plain = np.squeeze(pixels, axis=2) if pixels.shape[2] == 1 else pixels
    Image.fromarray(plain).save(written, format="JPEG", quality=quality)
    return written.tell()
