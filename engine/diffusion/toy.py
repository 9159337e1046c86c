"""Diffusion in the plane, in continuous time: data one can see, a small network, the field it moves points by."""

import itertools
import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Generator, Tensor, nn

from engine.contract.sampler_settings import ToyNetwork
from engine.diffusion.prediction import over
from engine.diffusion.schedules import Schedule, alpha_bar, log_alpha_bar
from engine.diffusion.stepping import Predict

WEIGHTS, CONFIG = "model.safetensors", "config.json"


def points_of(data: str, count: int, generator: Generator) -> Tensor:
    """(count, 2): points of moons, mixture or spiral, about as wide as standard normal noise in each direction."""
    u, branch = torch.rand(count, generator=generator), torch.randint(8, (count,), generator=generator)
    blur = torch.randn(count, 2, generator=generator)
    match data:
        case "moons":
            angle, is_upper = math.pi * u, (branch % 2 == 0)
            x = torch.where(is_upper, angle.cos(), 1 - angle.cos()) - 0.5
            y = torch.where(is_upper, angle.sin(), 0.5 - angle.sin()) - 0.25
            return 1.2 * torch.stack([x, y], 1) + 0.08 * blur
        case "mixture":
            angle = branch * (math.pi / 4)
            return 1.4 * torch.stack([angle.cos(), angle.sin()], 1) + 0.12 * blur
        case _:
            angle = 3 * math.pi * u.sqrt()  # evenly along the arm
            return (0.17 * angle[:, None]) * torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * blur


class ToyDenoiser(nn.Module):
    """Noise in points of the plane, from the points and the logarithm of signal to noise at their time."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        sizes = [2 + 4 * self.RIPPLES + 2 * self.WAVES, *[width] * layers]
        hidden = [part for a, b in itertools.pairwise(sizes) for part in (nn.Linear(a, b), nn.SiLU())]
        self.body = nn.Sequential(*hidden, nn.Linear(width, 2))

    #: Sines and cosines that tell the network its time; and the place, without which it draws thin shapes slowly
    #: (Tancik et al. 2020, arXiv:2006.10739).
    WAVES, RIPPLES = 8, 3

    def forward(self, x: Tensor, log_snr: Tensor) -> Tensor:
        """x: (N, 2). log_snr: (N,). Returns (N, 2)."""
        waves = log_snr[:, None] * 2.0 ** torch.arange(-4, self.WAVES - 4, device=x.device)
        ripples = (x[:, :, None] * 2.0 ** torch.arange(1, self.RIPPLES + 1, device=x.device)).flatten(1)
        known = [x, ripples.sin(), ripples.cos(), waves.sin(), waves.cos()]
        predicted: Tensor = self.body(torch.cat(known, 1))
        return predicted


@dataclass(frozen=True)
class ToyModel:
    """What a toy run trains."""

    network: nn.Module
    section: ToyNetwork

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.network.state_dict(), str(folder / WEIGHTS))
        (folder / CONFIG).write_text(json.dumps({"width": self.section.width, "layers": self.section.layers}), "utf-8")

    def state(self) -> dict[str, Tensor]:
        return {}

    def restore(self, folder: Path, state: dict[str, Tensor]) -> None:
        self.network.load_state_dict(load_file(str(folder / WEIGHTS)))


def open_toy(section: ToyNetwork, *, device: torch.device, seed: int) -> ToyModel:
    """A new network; its weights belong to the seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = ToyDenoiser(section.width, section.layers)
    return ToyModel(network.to(device), section)


def log_snr(a: Tensor, like: Tensor) -> Tensor:
    """log(a / (1 - a)), in the dtype and on the device of `like`."""
    return (a.log() - (1 - a).log()).to(like)


def predictor(network: nn.Module, schedule: Schedule) -> Predict:
    """The network as samplers see it."""

    def predict(x: Tensor, timestep: Tensor) -> Tensor:
        noise: Tensor = network(x, log_snr(alpha_bar(schedule, timestep), x))
        return noise

    return predict


def field_of(predict: Predict, schedule: Schedule, points: Tensor, timestep: float) -> Tensor:
    """(N, 2): where the probability-flow ODE moves points (N, 2), per whole of time towards the data (2011.13456)."""
    a = alpha_bar(schedule, float(timestep))
    rate = log_alpha_bar(schedule, timestep)[1] * len(schedule.alphas_cumprod)
    asked = torch.full((len(points),), timestep, device=points.device)
    away = points - predict(points, asked) / over((1 - a).sqrt(), points)
    return -over(rate / 2, points) * away


def grid_of(extent: float, side: int) -> Tensor:
    """(side * side, 2): points over the plane from -extent to extent, row by row from below."""
    along = torch.linspace(-extent, extent, side)
    y, x = torch.meshgrid(along, along, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], 1)


def energy_distance(drawn: Tensor, data: Tensor) -> float:
    """How far two clouds (N, 2), (M, 2) are apart: 2 E|X - Y| - E|X - X'| - E|Y - Y'|, Székely & Rizzo 2013; 0 where
    they are of one law, but for chance."""
    across = torch.cdist(drawn, data).mean()
    return float(2 * across - _mean_within(drawn) - _mean_within(data))


def _mean_within(points: Tensor) -> Tensor:
    """Over pairs of different points."""
    return torch.cdist(points, points).sum() / (len(points) * (len(points) - 1))
