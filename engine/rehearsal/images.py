"""The pre-flight of a run of an image method: what its data is, and for `check` one step tried."""

import math
import time

import torch

from engine import random_state
from engine.contract.findings import Finding, Lengths, Measured, Report
from engine.contract.preset import training_of
from engine.image_assembly import ImageParts
from engine.loop import Method, Update
from engine.rehearsal.findings import FLOAT32, RECORDS
from engine.rehearsal.step import is_out_of_memory, peak_memory


def examine(parts: ImageParts, *, budget: float | None) -> Report:
    """What the method found in its data. Without a budget of seconds, as `check` has none, a step is tried, too."""
    measured: Measured | None = None
    found: list[Finding] = []
    if budget is None and isinstance(parts.method, Method):
        parts.bench.reporter.phase("trying a step")
        measured, found = _tried(parts, parts.method)
    return Report(
        rows=0,
        items=0,
        cut=0,
        repeated=0,
        held_out=0,
        also_held_out=0,
        left_out=[],
        tokens=0,
        counted_tokens=0,
        by_token=False,
        lengths=Lengths(median=0, p95=0, longest=0, limit=0, width=1, bars=[]),
        shown=[],
        findings=[*parts.bench.findings, *found],
        measured=measured,
        writes_bytes=_writes(parts),
        of_images=True,
    )


def _writes(parts: ImageParts) -> int:
    """Bytes: the checkpoints that are kept, one more while it is written, and the final model; in each the weights,
    what training goes on from, and two numbers of AdamW a weight."""
    training = training_of(parts.preset)
    size = FLOAT32 * sum(parameter.numel() for parameter in parts.bench.network.parameters())
    return RECORDS + (0 if training is None else (training.keep_checkpoints + 1) * 4 * size + size)


def _tried(parts: ImageParts, method: Method) -> tuple[Measured | None, list[Finding]]:
    before = random_state.own()
    try:
        return _measured(parts, method)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        advice = "set training.micro_batch_size lower; the curve stays the same"
        what = "out of memory in the first step"
        return None, [Finding(level="error", what=what, advice=advice, key="training.micro_batch_size")]
    finally:
        parts.bench.network.zero_grad(set_to_none=True)
        random_state.restore(before)


def _measured(parts: ImageParts, method: Method) -> tuple[Measured, list[Finding]]:
    """One update, without the optimiser's part of it."""
    started = time.perf_counter()
    update: Update = next(iter(method.batches(1)))
    for part in update.micro_batches:
        with parts.bench.accelerator.autocast():
            share, _ = method.loss(part)
        share.backward()
    seconds = time.perf_counter() - started
    gradients = [p.grad.float().norm() for p in parts.bench.network.parameters() if p.grad is not None]
    norm = float(torch.stack(gradients).norm()) if gradients else 0.0
    training = training_of(parts.preset)
    steps, batch = (1, 1) if training is None else (training.steps, training.batch_size)
    measured = Measured(
        device=str(parts.bench.device),
        longest_seconds=seconds,
        step_seconds=seconds,
        run_seconds=seconds * steps,
        peak_bytes=peak_memory(parts.bench.device),
        at_once=-(-batch // max(1, len(update.micro_batches))),
        grad_norm=norm,
    )
    if math.isfinite(norm):
        return measured, []
    what = f"the gradient of the first batch is {norm}"
    return measured, [Finding(level="warning", what=what, advice="try model.dtype float32")]
