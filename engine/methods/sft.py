"""Supervised fine-tuning: raise the probability of answers that were given."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from engine.contract.preset import SftPreset
from engine.data.batching import micro_batches, pad_rows, rows_of_step
from engine.data.chat import Example
from engine.data.left_out import LeftOut, told
from engine.data.rows import UnusableRow
from engine.data.sources import DataError, Row, Table
from engine.data.store import Grouped, StoredExamples
from engine.logprobs import Rows
from engine.loop import Material, Method, Update
from engine.losses import sft_loss
from engine.methods.bench import Bench, is_due
from engine.methods.samples import write_samples
from engine.tally import Mean, Tally, Values

#: Held-out rows measured at most each time, so that a look at them stays short.
EVAL_ROWS = 512


class SftBatch(NamedTuple):
    """normaliser: targets of the whole update, over all its micro-batches and processes."""

    rows: Rows
    normaliser: float


def sft(preset: SftPreset, bench: Bench) -> Method:
    """The batches, the loss and the measures of SFT. Raises DataError if no row can be learned from."""
    examples, left_out = _encode(preset, bench, bench.train, "reading the data")
    sources = bench.train.parts_without(left_out)
    held_out, _ = _encode(preset, bench, _first(bench.held_out, EVAL_ROWS), "reading the held-out data")
    training = preset.training

    def cut(chosen: list[Example]) -> list[SftBatch]:
        mine = bench.share(chosen)
        normaliser = sum(sum(example.is_target) for example in chosen)
        parts = micro_batches(mine, [len(example.ids) for example in mine], training.micro_batch_size)
        return [SftBatch(pad_rows(part, bench.pad_id), float(normaliser)) for part in parts]

    def update(places: Sequence[int]) -> Update:
        parts = cut([examples[place] for place in places])
        return Update(parts, tokens=sum(int(part.rows.is_token.sum()) for part in parts), values={})

    def batches(step: int) -> Iterator[Update]:
        chosen = rows_of_step(
            step,
            batch_size=training.batch_size,
            n_rows=len(examples),
            seed=preset.seed,
            shuffle=preset.data.shuffle,
            parts=sources,
        )
        yield update(chosen)

    def loss(batch: SftBatch) -> tuple[Tensor, Values]:
        scores = bench.scorer(batch.rows.to(bench.accelerator.device))
        count = float(scores.logps.shape[0])
        values: Values = {
            "entropy": Mean(scores.entropy.sum(), count),
            "mean_token_accuracy": Mean(scores.is_top.float().sum(), count),
        }
        return sft_loss(scores.logps, normaliser=batch.normaliser).share, values

    def measure(step: int) -> dict[str, float]:
        values: dict[str, float] = {}
        if held_out and is_due(step, training.eval_every, training.steps):
            values |= _held_out_loss(bench, held_out, training.micro_batch_size)
        if is_due(step, preset.sft.sample_every, training.steps):
            values |= write_samples(preset, bench, step)
        return values

    def material() -> Material:
        return Material(_items(examples), update, held_out=_items(held_out), left_out=left_out)

    bench.policy.model.train()
    return Method(batches, loss, measure, material)


def _items(examples: Sequence[Example]) -> Sequence[tuple[Example]]:
    return Grouped(examples, 1, lambda example: (example,))


def _first(table: Table | None, count: int) -> Table | None:
    return table and table.first(count)


def _encode(preset: SftPreset, bench: Bench, table: Table | None, phase: str) -> tuple[Sequence[Example], LeftOut]:
    """The rows that can be learned from; and why the others cannot. Raises DataError."""
    if table is None:
        return [], {}
    longest = min(preset.data.max_length, bench.policy.context or preset.data.max_length)
    usable = StoredExamples(bench.folder)
    useless: dict[str, list[int]] = {}
    for index, row in enumerate(table.rows):
        if index % 1000 == 0:
            bench.reporter.phase(phase, index / len(table.rows))
            bench.breathe()
        try:
            usable.append(_example(preset, bench, row, longest))
        except UnusableRow as why:
            useless.setdefault(str(why), []).append(index + 1)
    left_out = table.numbered(useless)
    lost = told(left_out, len(table.rows), "rows", table.origins)
    if not usable:
        raise DataError(f"no row can be learned from: {lost}; raise data.max_length, or check the columns")
    if lost:
        bench.reporter.notice("warning", lost, "mend those rows, or raise data.max_length where they are too long")
    return usable, left_out


def _example(preset: SftPreset, bench: Bench, row: Row, longest: int) -> Example:
    """Raises UnusableRow if nothing of the row would be learned."""
    example = bench.encoder.example(row, completion_only=preset.sft.completion_only, max_length=longest)
    if not any(example.is_target):
        fits = f"nothing of the answer fits into {longest} tokens"
        raise UnusableRow(fits if example.is_cut else "no token counts in the loss")
    return example


@torch.no_grad()
def _held_out_loss(bench: Bench, examples: Sequence[Example], size: Any) -> dict[str, float]:
    bench.policy.model.eval()
    tally = Tally()
    mine = examples[bench.accelerator.process_index :: bench.accelerator.num_processes]
    for part in micro_batches(mine, [len(example.ids) for example in mine], size) if mine else []:
        bench.breathe()
        with bench.accelerator.autocast():
            scores = bench.bare_scorer(pad_rows(part, bench.pad_id).to(bench.accelerator.device))
        count = float(scores.logps.shape[0])
        tally.add({"eval_loss": Mean(-scores.logps.sum(), count)})
        tally.add({"eval_mean_token_accuracy": Mean(scores.is_top.float().sum(), count)})
    bench.policy.model.train()
    values = tally.means(bench.accelerator)
    return values | {"eval_perplexity": math.exp(min(values["eval_loss"], 700.0))}
