"""What drawn images are worth as a set: how far from real ones, how unlike each other, how many are recognised.

All of it is seen through a classifier's features; only numbers of one classifier and of equally many images compare.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from engine.diffusion.classifier import ImageClassifierNetwork

#: Images that a classifier looks at together.
AT_ONCE = 512


class Law(NamedTuple):
    """Mean (F,) and covariance (F, F) of features, float64."""

    mean: Tensor
    covariance: Tensor


class SetScores(NamedTuple):
    """frechet: distance to the reference. diversity: mean distance of pairs of one class. recognised: share whose
    likeliest class is the one that was asked for; NaN where none was."""

    frechet: float
    diversity: float
    recognised: float


@torch.no_grad()
def features_of(classifier: ImageClassifierNetwork, images: Tensor) -> Tensor:
    """(N, F) float64, on the CPU, of images (N, C, H, W) in [-1, 1]."""
    device = next(classifier.parameters()).device
    parts = [classifier.describe(part.to(device)).double().cpu() for part in images.split(AT_ONCE)]
    return torch.cat(parts)


@torch.no_grad()
def class_logits(classifier: ImageClassifierNetwork, images: Tensor) -> Tensor:
    """(N, classes), on the CPU."""
    device = next(classifier.parameters()).device
    return torch.cat([classifier(part.to(device)).float().cpu() for part in images.split(AT_ONCE)])


def law_of(features: Tensor) -> Law:
    """features: (N, F), N > 1."""
    return Law(features.mean(0), torch.cov(features.T))


def frechet_distance(one: Law, other: Law) -> float:
    """Heusel et al. 2017 (arXiv:1706.08500), eq. 6: |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)).

    The trace of the root is the sum of the singular values of C1^(1/2) C2^(1/2), which are never complex.
    """
    root = torch.linalg.svdvals(_root(one.covariance) @ _root(other.covariance)).sum()
    spread = one.covariance.trace() + other.covariance.trace() - 2 * root
    return float((one.mean - other.mean).square().sum() + spread)


def _root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = vectors * values.clamp(min=0).sqrt() @ vectors.T
    return root


def diversity(features: Tensor, classes: Tensor | None = None) -> float:
    """Mean distance between the features, (N, F), of two images, where there are classes, (N,), of the same one.

    NaN where no two images share a class.
    """
    groups = [features] if classes is None else [features[classes == label] for label in classes.unique()]
    distances = torch.cat([torch.pdist(group) for group in groups])
    return float(distances.mean()) if len(distances) else float("nan")


def recognised(classifier: ImageClassifierNetwork, images: Tensor, classes: Tensor) -> float:
    """Share of images whose likeliest class is the one asked for, (N,)."""
    return float((class_logits(classifier, images).argmax(1) == classes.cpu()).double().mean())


def set_scores(
    classifier: ImageClassifierNetwork, images: Tensor, reference: Law, classes: Tensor | None = None
) -> SetScores:
    """All of them at once; images (N, C, H, W) in [-1, 1]."""
    found = features_of(classifier, images)
    share = float("nan") if classes is None else recognised(classifier, images, classes)
    return SetScores(frechet_distance(law_of(found), reference), diversity(found, classes), share)
