"""Means of a step, over its micro-batches and over the processes that share it."""

from typing import NamedTuple

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

Number = Tensor | float


class Mean(NamedTuple):
    """A sum and the number of what it sums; these add up, means do not."""

    total: Number
    weight: Number


class Peak(NamedTuple):
    """The largest of several values."""

    value: Number


class Least(NamedTuple):
    """The smallest of several values."""

    value: Number


Values = dict[str, Mean | Peak | Least]


class Tally:
    """Collects values where they are made and brings them together once, so a GPU is waited for once a step."""

    def __init__(self) -> None:
        self._totals: dict[str, list[Number]] = {}
        self._counts: dict[str, list[Number]] = {}
        self._peaks: dict[str, list[Number]] = {}
        self._leasts: dict[str, list[Number]] = {}

    def add(self, values: Values) -> None:
        for name, value in values.items():
            if isinstance(value, Peak):
                self._peaks.setdefault(name, []).append(value.value)
            elif isinstance(value, Least):
                self._leasts.setdefault(name, []).append(value.value)
            else:
                self._totals.setdefault(name, []).append(value.total)
                self._counts.setdefault(name, []).append(value.weight)

    def means(self, accelerator: Accelerator) -> dict[str, float]:
        """Every name's mean, peak or least over all processes; a name that counts nothing anywhere is left out."""
        mine = Part(
            _sums(self._totals),
            _sums(self._counts),
            {name: max(_floats(v)) for name, v in self._peaks.items()},
            {name: min(_floats(v)) for name, v in self._leasts.items()},
        )
        whole = _merge(gather_object([mine]) if accelerator.num_processes > 1 else [mine])
        means = {name: total / whole.counts[name] for name, total in whole.totals.items() if whole.counts[name]}
        return means | whole.peaks | whole.leasts


class Part(NamedTuple):
    """What one process has collected, by name."""

    totals: dict[str, float]
    counts: dict[str, float]
    peaks: dict[str, float]
    leasts: dict[str, float]


def _merge(parts: list[Part]) -> Part:
    whole = Part({}, {}, {}, {})
    for part in parts:
        for name, total in part.totals.items():
            whole.totals[name] = whole.totals.get(name, 0.0) + total
            whole.counts[name] = whole.counts.get(name, 0.0) + part.counts[name]
        for name, peak in part.peaks.items():
            whole.peaks[name] = max(peak, whole.peaks.get(name, peak))
        for name, least in part.leasts.items():
            whole.leasts[name] = min(least, whole.leasts.get(name, least))
    return whole


def _sums(values: dict[str, list[Number]]) -> dict[str, float]:
    return {name: sum(_floats(numbers)) for name, numbers in values.items()}


def _floats(numbers: list[Number]) -> list[float]:
    tensors = [number for number in numbers if isinstance(number, Tensor)]
    if len(tensors) < len(numbers):
        return [float(number) for number in numbers]
    stacked: list[float] = torch.stack([tensor.detach().double() for tensor in tensors]).tolist()
    return stacked
