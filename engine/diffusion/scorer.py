"""A reward model of pictures: one number for a picture, so that of two the one that people preferred has the larger.

A line on what a network sees: a small one of its own, which learns too, or a classifier's features, left as they are.
A folder has `config.json` and `model.safetensors`; nothing else is needed to have the scores that were trained.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from engine.contract import scorer_settings
from engine.contract.run_dir import read_json
from engine.diffusion.classifier import ImageClassifierNetwork, open_classifier
from engine.diffusion.networks import ImageModelError, locate

CONFIG, WEIGHTS = "config.json", "model.safetensors"
KIND = "image_reward_model"
#: What a config says of the scores, beside how the network was built.
MEASURED: tuple[str, ...] = ("reward_mean", "reward_std")
#: What a classifier's config says of how it was built.
OF_CLASSIFIERS = ("size", "channels", "width", "levels", "features", "classes")


class Convolutions(nn.Module):
    """(N, C, H, W) -> (N, 4 * width): three convolutions, and mean and largest of what each of the last sees."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1), nn.SiLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.SiLU(),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1), nn.SiLU(),
        )  # fmt: skip

    def describe(self, images: Tensor) -> Tensor:
        """What it sees of images in [-1, 1]."""
        seen: Tensor = self.layers(images).flatten(2)
        return torch.cat([seen.mean(2), seen.amax(2)], dim=1)


class ScorerNet(nn.Module):
    """Scores (N,) of pictures (N, C, H, W) in [-1, 1]. Zero at first: who has seen nothing prefers nothing."""

    def __init__(self, eyes: Convolutions | ImageClassifierNetwork, features: int) -> None:
        super().__init__()
        self.eyes = eyes
        self.head = nn.Linear(features, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.head(self.eyes.describe(images))
        return scores.squeeze(1)


@dataclass
class Scorer:
    """A network, and what it was built of: `eyes` and their sizes. measured: mean and spread of its scores, by which to
    scale them."""

    network: ScorerNet
    built_of: dict[str, Any]
    measured: dict[str, float] = field(default_factory=dict)

    @property
    def pixels(self) -> tuple[int, int, int]:
        """Channels, height and width of the pictures it scores."""
        return int(self.built_of["channels"]), int(self.built_of["size"]), int(self.built_of["size"])

    def score(self, images: Tensor) -> Tensor:
        """(N,) of pictures (N, C, H, W) in [-1, 1]. Raises ImageModelError for pictures of another size."""
        if tuple(images.shape[1:]) != self.pixels:
            told = f"pictures of {tuple(images.shape[1:])}, and the reward model scores {self.pixels}"
            raise ImageModelError(f"{told}\ntrain one on judgements of such pictures")
        scores: Tensor = self.network(images)
        return scores

    def save(self, folder: Path) -> None:
        """Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.network.state_dict().items()}
        save_file(tensors, folder / WEIGHTS, {"format": "pt"})
        config = {"kind": KIND, "built_of": self.built_of, **self.measured}
        (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", "utf-8")

    def state(self) -> dict[str, Tensor]:
        """Nothing beside what `save` writes."""
        return {}

    def restore(self, folder: Path, state: dict[str, Tensor]) -> None:
        self.network.load_state_dict(load_file(folder / WEIGHTS))


def build_scorer(section: scorer_settings.ScorerModel, *, device: torch.device, seed: int) -> Scorer:
    """What a preset names: new, a line on a classifier, or an earlier reward model. Raises ImageModelError."""
    if section.path != "scratch":
        if read_json(Path(locate(section.path)) / CONFIG).get("kind") == KIND:
            return open_scorer(section.path, device)
        classifier = open_classifier(section.path)
        built_of = {"eyes": "classifier", **{name: int(classifier.config[name]) for name in OF_CLASSIFIERS}}
        network = _built(built_of)
        network.eyes.load_state_dict(classifier.state_dict())
        return Scorer(network.to(device), built_of)
    built_of = {"eyes": "convolutions", **section.scratch.model_dump()}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = _built(built_of)
    return Scorer(network.to(device), built_of)


def open_scorer(path: str, device: torch.device | str = "cpu") -> Scorer:
    """A reward model of pictures from its folder, or the newest of a run directory. Raises ImageModelError."""
    folder = Path(locate(path))
    config = read_json(folder / CONFIG)
    if config.get("kind") != KIND:
        raise ImageModelError(f"{path} is no reward model of pictures\nname a run of {KIND}, or its final/")
    try:
        network = _built(config["built_of"])
        network.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        told = " ".join(str(error).split())[:300]
        raise ImageModelError(f"{path} cannot be opened as a reward model of pictures: {told}\nuse another") from error
    measured = {name: float(config[name]) for name in MEASURED if name in config}
    return Scorer(network.to(device), config["built_of"], measured)


def _built(of: dict[str, Any]) -> ScorerNet:
    """The network that a config describes; a classifier in it does not learn."""
    if of["eyes"] == "convolutions":
        return ScorerNet(Convolutions(int(of["channels"]), int(of["width"])), 4 * int(of["width"]))
    classifier = ImageClassifierNetwork(**{name: int(of[name]) for name in OF_CLASSIFIERS})
    classifier.requires_grad_(requires_grad=False)
    return ScorerNet(classifier, int(of["features"]))
