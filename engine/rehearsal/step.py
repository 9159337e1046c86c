"""One step at the longest batch, for its memory and time: weights, optimiser and random numbers stay as they were."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch
from torch import Tensor

from engine import random_state
from engine.contract import settings
from engine.contract.findings import Measured
from engine.data.chat import Example
from engine.loop import Material, Method
from engine.methods.bench import Bench

#: AdamW keeps two float32 numbers beside each weight it trains.
OPTIMIZER_BYTES = 8
#: Weights of which AdamW's time is measured; it is proportional to their number.
STAND_IN = 4_000_000


class TooLarge(ValueError):  # noqa: N818 - what happened
    """The longest batch does not fit into memory. at_once: rows that were tried; fits: fewer that do, 0 if none do."""

    def __init__(self, at_once: int, fits: int, longest: int) -> None:
        self.at_once, self.fits = at_once, fits
        super().__init__(f"out of memory at the longest batch: {at_once} at once, of up to {longest:,} tokens each")


class Tried(NamedTuple):
    """What a batch took. at_once: rows in its largest part; grad_norm: of the gradient of that part alone."""

    seconds: float
    at_once: int
    grad_norm: float


def rehearse(
    method: Method,
    material: Material,
    bench: Bench,
    trained: Sequence[Tensor],
    training: settings.Training,
    *,
    budget: float | None,
) -> Measured | None:
    """None where a small batch shows that it would take longer than `budget` seconds. Raises TooLarge.

    For one process, before the optimiser's first step: nothing is learned, so it need not be undone.
    """
    order = _longest_first(material.items)
    batch = list(islice(cycle(order), training.batch_size))
    with _untouched(bench):
        seconds_a_token = _warm_up(method, material, bench, order[-1])
        if budget is not None and seconds_a_token * _tokens(material, batch) > budget:
            return None
        return _measure(method, material, bench, trained, training, batch)


@contextmanager
def _untouched(bench: Bench) -> Iterator[None]:
    """Afterwards no gradient is left, and random numbers go on where they stood."""
    before = random_state.own()
    try:
        yield
    finally:
        bench.bare_scorer.zero_grad(set_to_none=True)
        random_state.restore(before)


def _longest_first(items: Sequence[Sequence[Example]]) -> list[int]:
    lengths = [max(len(text.ids) for text in item) for item in items]
    return sorted(range(len(items)), key=lambda place: -lengths[place])


def _tokens(material: Material, places: Sequence[int]) -> int:
    return sum(len(text.ids) + material.sampled for place in places for text in material.items[place])


def _warm_up(method: Method, material: Material, bench: Bench, shortest: int) -> float:
    """Seconds a token of the smallest batch. Twice, as the first pass also sets up what all later ones use."""
    seconds = 0.0
    for _ in range(2):
        started = time.perf_counter()
        for part in material.update([shortest]).micro_batches:
            _learn(method, bench, part)
        seconds = time.perf_counter() - started
    bench.bare_scorer.zero_grad(set_to_none=True)
    return seconds / max(1, _tokens(material, [shortest]))


def _measure(
    method: Method,
    material: Material,
    bench: Bench,
    trained: Sequence[Tensor],
    training: settings.Training,
    batch: list[int],
) -> Measured:
    device = bench.accelerator.device
    count = sum(parameter.numel() for parameter in trained)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    # Room for what the optimiser will keep; on a CPU it stays untouched, and is added below.
    room = torch.empty(OPTIMIZER_BYTES * count, dtype=torch.uint8, device=device)
    tried = _try(method, material, bench, batch, trained)
    if tried is None:
        size = training.micro_batch_size
        at_once = len(batch) if size == "auto" else min(size, len(batch))
        longest = max(len(text.ids) for text in material.items[batch[0]]) + material.sampled
        raise TooLarge(at_once, _fitting(method, material, bench, batch[: at_once // 2], trained), longest)
    peak = peak_memory(device) + (0 if device.type == "cuda" else room.numel())
    seconds = tried.seconds + _optimizer_seconds(trained, count)
    every = range(len(material.items))
    usual = _tokens(material, every) / len(every) * len(batch) / _tokens(material, batch)
    step = seconds * usual / training.processes
    return Measured(
        device=str(device),
        longest_seconds=seconds / training.processes,
        step_seconds=step,
        run_seconds=step * training.steps,
        peak_bytes=peak,
        at_once=tried.at_once,
        grad_norm=tried.grad_norm,
    )


def _try(method: Method, material: Material, bench: Bench, batch: list[int], trained: Sequence[Tensor]) -> Tried | None:
    """Make the batch and learn from its largest part, which stands for the others. None if memory runs out."""
    started = time.perf_counter()
    try:
        parts = material.update(batch).micro_batches
        making = time.perf_counter() - started
        largest = max(parts, key=_size)
        learning = _learn(method, bench, largest)
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            return None
        raise
    gradients = [parameter.grad.float().norm() for parameter in trained if parameter.grad is not None]
    norm = float(torch.stack(gradients).norm()) if gradients else 0.0
    seconds = making + learning * sum(map(_size, parts)) / _size(largest)
    return Tried(seconds, -(-len(batch) // len(parts)), norm)


def _fitting(method: Method, material: Material, bench: Bench, batch: list[int], trained: Sequence[Tensor]) -> int:
    """How many of the longest rows fit into memory at once, by halving; 0 if not even one does."""
    while batch:
        bench.bare_scorer.zero_grad(set_to_none=True)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if _try(method, material, bench, batch, trained) is not None:
            return len(batch)
        batch = batch[: len(batch) // 2]
    return 0


def _learn(method: Method, bench: Bench, part: Any) -> float:
    """Forward and backward; returns the seconds they took."""
    bench.breathe()
    started = time.perf_counter()
    with bench.accelerator.autocast():
        share, _ = method.loss(part)
    share.backward()
    if share.device.type == "cuda":
        torch.cuda.synchronize(share.device)
    return time.perf_counter() - started


def _size(part: Any) -> int:
    """Numbers in all tensors of a micro-batch, whatever the method calls them."""
    if isinstance(part, Tensor):
        return part.numel()
    return sum(map(_size, part)) if isinstance(part, tuple | list) else 0


def _optimizer_seconds(trained: Sequence[Tensor], count: int) -> float:
    """AdamW's share of a step, measured on numbers of its own: the weights must not move."""
    size = min(count, STAND_IN)
    if not size:
        return 0.0
    stand_in = torch.nn.Parameter(torch.zeros(size, device=trained[0].device))
    stand_in.grad = torch.zeros_like(stand_in)
    optimizer = torch.optim.AdamW([stand_in], fused=True)
    optimizer.step()
    started = time.perf_counter()
    optimizer.step()
    if stand_in.device.type == "cuda":
        torch.cuda.synchronize(stand_in.device)
    return (time.perf_counter() - started) * count / size


def peak_memory(device: torch.device) -> int:
    """Bytes in use at most: on a GPU since the last reset, else of this process since it began."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    status = Path("/proc/self/status")
    if status.is_file():
        peak = next((line for line in status.read_text("ascii").splitlines() if line.startswith("VmHWM:")), None)
        if peak is not None:
            return int(peak.split()[1]) * 1024
    return int(psutil.Process().memory_info().rss)


def is_out_of_memory(error: BaseException) -> bool:
    """A GPU and a CPU say it differently."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
