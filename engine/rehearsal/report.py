"""All of the pre-flight of one run put together, and what keeps it from starting."""

import math
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from engine.assembly import Parts
from engine.contract.findings import Finding, Measured, Report
from engine.loop import Material
from engine.rehearsal.code import of_code
from engine.rehearsal.findings import FLOAT32, RECORDS
from engine.rehearsal.looking import Reading, look
from engine.rehearsal.step import TooLarge, rehearse
from engine.rollout.memory import MEBIBYTE, row_bytes, rows_at_once


def examine(parts: Parts, *, budget: float | None) -> Report:
    """Look at the data and try one step.

    budget: seconds that the step may take; None for as long as it needs. Changes no state of the run.
    """
    parts.bench.reporter.phase("looking at the data")
    material = parts.method.material()
    report = look(material, _reading(parts))
    measured, found = (None, []) if report.errors else _tried(parts, material, budget)
    asked = of_code(parts) if budget is None and not report.errors else ()
    findings = [*report.findings, *_of_sampling(parts), *found, *asked]
    return report.model_copy(update={"findings": findings, "measured": measured, "writes_bytes": _writes(parts)})


def _reading(parts: Parts) -> Reading:
    preset, bench = parts.preset, parts.bench
    policy = bench.policy
    longest = preset.data.max_length
    return Reading(
        table=bench.train,
        optimizer=preset.optimizer,
        steps=preset.training.steps,
        limit=min(longest, policy.context or longest),
        tokenizer=policy.tokenizer,
        end_ids=policy.end_ids,
        embeddings=int(policy.model.get_input_embeddings().weight.size(0)),  # type: ignore[operator]
        trained=sum(parameter.numel() for parameter in _trained(parts)),
        has_turns=any("messages" in row or isinstance(row.get("prompt"), list) for row in bench.train.rows[:100]),
    )


def _trained(parts: Parts) -> list[Tensor]:
    return [parameter for parameter in parts.bench.policy.model.parameters() if parameter.requires_grad]


def _tried(parts: Parts, material: Material, budget: float | None) -> tuple[Measured | None, list[Finding]]:
    """The rehearsed step. It is left out with several processes, which would have to agree, and where answers are
    sampled first and there is a budget: a rollout is the most of such a step."""
    if parts.bench.accelerator.num_processes > 1 or (budget is not None and material.sampled):
        return None, []
    parts.bench.reporter.phase("trying the longest batch")
    try:
        measured = rehearse(parts.method, material, parts.bench, _trained(parts), parts.preset.training, budget=budget)
    except TooLarge as error:
        return None, [_too_large(error)]
    return measured, [] if measured is None else list(_of_gradient(measured, material))


def _too_large(error: TooLarge) -> Finding:
    advice = "train an adapter, lower data.max_length, or use a smaller model: not even one row fits"
    if error.fits:
        advice = f"set training.micro_batch_size to {error.fits}, which fits; the curve stays the same"
    return Finding(level="error", what=str(error), advice=advice, key="training.micro_batch_size")


def _of_gradient(measured: Measured, material: Material) -> Iterator[Finding]:
    if not math.isfinite(measured.grad_norm):
        what = f"the gradient of the longest batch is {measured.grad_norm}"
        yield Finding(level="warning", what=what, advice="try model.dtype float32, or look for a damaged model")
    elif measured.grad_norm == 0 and material.sampled:
        what = "no sampled answer was better than another, so this batch teaches nothing"
        yield Finding(level="warning", what=what, advice="begin with a model that is right at times, or easier prompts")
    elif measured.grad_norm == 0:
        what = "the gradient of the longest batch is 0, so nothing would be learned"
        yield Finding(level="error", what=what, advice="look at what counts in the loss, and at the loss's settings")


def _of_sampling(parts: Parts) -> Iterator[Finding]:
    """How many answers are written at once, and the memory that this takes at most."""
    preset: Any = parts.preset
    how = getattr(preset, "rollout", None)
    if how is None:
        return
    prompt = max(
        1, min(preset.data.max_length, parts.bench.policy.context or preset.data.max_length) - how.max_new_tokens
    )
    mine = -(-preset.training.batch_size // parts.bench.accelerator.num_processes) * how.completions_per_prompt
    at_once = min(mine, rows_at_once(parts.bench.policy.model, how, prompt))
    each = row_bytes(parts.bench.policy.model, prompt + how.max_new_tokens)
    what = f"{mine} answers a step, {at_once} at once: at most {at_once * each / MEBIBYTE:,.0f} MiB for sampling"
    if each > how.memory * MEBIBYTE:
        advice = "one answer alone takes more than rollout.memory; lower data.max_length, or allow more"
        yield Finding(level="warning", what=what, advice=advice, key="rollout.memory")
    else:
        yield Finding(level="info", what=what, key="rollout.memory")


def _writes(parts: Parts) -> int:
    """Bytes: the checkpoints that are kept, one more while it is written, and the final model."""
    policy, training = parts.bench.policy, parts.preset.training
    trained = sum(parameter.numel() for parameter in _trained(parts))
    saved = trained if policy.has_adapter else sum(parameter.numel() for parameter in policy.model.parameters())
    return RECORDS + (training.keep_checkpoints + 1) * FLOAT32 * (saved + 2 * trained) + FLOAT32 * saved
