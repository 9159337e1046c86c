"""A small network that says which class an image is of; its features also measure how far two sets of images are."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from engine.contract import image_settings
from engine.diffusion.networks import ImageModelError, locate, weights_of


class ImageClassifierNetwork(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Two convolutions a level, each level at half the resolution and twice the width; then features, then classes.

    Saved and opened as any model of diffusers is: config.json and safetensors. feature_spread: root mean variance of
    the features over what was learned from, so that distances have the same unit whichever classifier measures them.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        size: int = 8,
        channels: int = 1,
        width: int = 32,
        levels: int = 2,
        features: int = 64,
        classes: int = 10,
        feature_spread: float = 1.0,
    ) -> None:
        super().__init__()
        widths = [channels, *(width * 2**level for level in range(levels))]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.GroupNorm(min(8, after), after), nn.SiLU()]
            layers += [nn.Conv2d(after, after, 3, padding=1), nn.SiLU(), nn.MaxPool2d(2)]
        side = size // 2**levels
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * side * side, features), nn.SiLU())
        self.head = nn.Linear(features, classes)

    def describe(self, x: Tensor) -> Tensor:
        """Features, (N, F), of images (N, C, H, W) in [-1, 1], in units of their spread."""
        found: Tensor = self.body(x) / self.config.feature_spread
        return found

    def forward(self, x: Tensor) -> Tensor:
        """Logits, (N, classes)."""
        found: Tensor = self.head(self.body(x))
        return found


@dataclass
class ClassifierModel:
    """What a run of `image_classifier` trains."""

    network: ImageClassifierNetwork

    @property
    def pixels(self) -> tuple[int, int, int]:
        """Channels, height and width of the images."""
        config = self.network.config
        return int(config.channels), int(config.size), int(config.size)

    def save(self, folder: Path) -> None:
        self.network.save_pretrained(str(folder))

    def state(self) -> dict[str, Tensor]:
        return {}

    def restore(self, folder: Path, state: dict[str, Tensor]) -> None:
        self.network.load_state_dict(weights_of(folder))


def open_classifier_to_train(
    section: image_settings.ClassifierModel, *, device: torch.device, seed: int
) -> ClassifierModel:
    """The model that a preset names. Raises ImageModelError."""
    if section.path != "scratch" or section.scratch is None:
        return ClassifierModel(open_classifier(section.path).train().requires_grad_(requires_grad=True).to(device))
    wish = section.scratch
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = ImageClassifierNetwork(**wish.model_dump())
    return ClassifierModel(network.to(device))


def open_classifier(path: str) -> ImageClassifierNetwork:
    """A classifier from a folder or run directory, frozen, on the CPU. Raises ImageModelError."""
    here = locate(path)
    try:
        network = ImageClassifierNetwork.from_pretrained(here, use_safetensors=True)
    except (OSError, ValueError, RuntimeError) as error:
        told = " ".join(str(error).split())[:300]
        raise ImageModelError(
            f"{path} cannot be opened as a classifier: {told}\nname a run of image_classifier, or its final/"
        ) from error
    frozen: ImageClassifierNetwork = network.eval().requires_grad_(requires_grad=False)
    return frozen
