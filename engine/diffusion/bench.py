"""What every method of images works with, laid out once by `image_assembly.py`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from engine.contract.findings import Finding
from engine.contract.run_dir import RunDir
from engine.data.batching import share_of
from engine.reporting import Reporter

Item = TypeVar("Item")


class Trained(Protocol):
    """What a run trains, and how it is kept."""

    @property
    def network(self) -> nn.Module:
        """What the optimiser changes."""

    def save(self, folder: Path) -> None:
        """Write what libraries open, with the weights that are to be used: the averaged ones, if it keeps an average.

        Raises OSError.
        """

    def state(self) -> dict[str, Tensor]:
        """What training goes on from, by name, where `save` writes something else; empty where it does not."""

    def restore(self, folder: Path, state: dict[str, Tensor]) -> None:
        """Go back to what `save` wrote and `state` gave."""


Model = TypeVar("Model", bound=Trained | None)


@dataclass(frozen=True)
class ImageBench(Generic[Model]):
    """model: what is trained, None for methods that begin with none; network: of it, as accelerate wrapped it.

    breathe: to be called within long work; it keeps the run's heartbeat and raises StopNow. run: the run's own folder.
    findings: what a method has to say of its data; `check` and the run show it.
    """

    model: Model
    network: nn.Module
    accelerator: Accelerator
    reporter: Reporter
    breathe: Callable[[], None]
    run: RunDir
    findings: list[Finding] = field(default_factory=list)

    @property
    def device(self) -> torch.device:
        device: torch.device = self.accelerator.device
        return device

    def warn(self, what: str, advice: str) -> None:
        """Of the data: a run tells it at once, and `check` in its report."""
        self.reporter.notice("warning", what, advice)
        self.findings.append(Finding(level="warning", what=what, advice=advice))

    def share(self, items: Sequence[Item]) -> list[Item]:
        """This process's part of a batch."""
        accelerator = self.accelerator
        return share_of(items, rank=accelerator.process_index, processes=accelerator.num_processes)


def parts_of(items: Sequence[Item], size: int | Any) -> list[list[Item]]:
    """The items in micro-batches of `size`, or all at once where it is auto."""
    step = size if isinstance(size, int) else max(1, len(items))
    return [list(items[start : start + step]) for start in range(0, len(items), step)]
