"""Supervised fine-tuning: raise the probability of answers that were given."""

import math
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor

from engine.contract.preset import SftPreset
from engine.contract.settings import Packing
from engine.data.batching import best_fit, micro_batches, mix, pad_rows, rows_of_step
from engine.data.chat import Example
from engine.data.left_out import LeftOut, told
from engine.data.rows import UnusableRow
from engine.data.sources import DataError, Row, Table
from engine.data.store import StoredExamples, one_by_one
from engine.logprobs import Rows, TokenScorer
from engine.loop import Material, Method, Update
from engine.losses import dft_loss, sft_loss
from engine.methods.bench import Bench, is_due
from engine.methods.samples import write_samples
from engine.modes import eval_mode
from engine.neftune import embedding_noise
from engine.packing import Line, line_up
from engine.tally import Mean, Tally, Values

#: Held-out rows measured at most each time, so that a look at them stays short.
EVAL_ROWS = 512

#: A row, and its place in the step.
Placed = tuple[int, Example]


class SftBatch(NamedTuple):
    """normaliser: targets of the whole update, over all its micro-batches and processes.

    line: the rows without padding, where packing asks for it and the model reads that. noise: added to the embeddings
    of its tokens, (tokens, width), or None.
    """

    rows: Rows
    normaliser: float
    line: Line | None = None
    noise: Tensor | None = None

    def to(self, device: torch.device) -> "SftBatch":
        line, noise = self.line and self.line.to(device), None if self.noise is None else self.noise.to(device)
        return SftBatch(self.rows.to(device), self.normaliser, line, noise)


def sft(preset: SftPreset, bench: Bench) -> Method:
    """The batches, the loss and the measures of SFT. Raises DataError if no row can be learned from."""
    examples, left_out = _encode(preset, bench, bench.train, "reading the data")
    sources = bench.train.parts_without(left_out)
    held_out, _ = _encode(preset, bench, _first(bench.held_out, EVAL_ROWS), "reading the held-out data")
    training = preset.training
    cost = {"nll": sft_loss, "dft": dft_loss}[preset.sft.loss]
    packing = _packing(preset, bench)

    def update(places: Sequence[int], step: int = 0) -> Update:
        chosen = [examples[place] for place in places]
        normaliser = float(sum(sum(example.is_target) for example in chosen))
        mine = bench.share(list(enumerate(chosen)))
        parts = [_batch(preset, bench, part, normaliser, step, packing) for part in _cut(preset, mine, packing)]
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
        yield update(chosen, step)

    def loss(batch: SftBatch) -> tuple[Tensor, Values]:
        batch = batch.to(bench.accelerator.device)
        scores = bench.scorer(batch.rows, line=batch.line, noise=batch.noise)
        count = float(scores.logps.shape[0])
        values: Values = {
            "entropy": Mean(scores.entropy.sum(), count),
            "mean_token_accuracy": Mean(scores.is_top.float().sum(), count),
        }
        return cost(scores.logps, normaliser=batch.normaliser).share, values

    def measure(step: int) -> dict[str, float]:
        values: dict[str, float] = {}
        if held_out and is_due(step, training.eval_every, training.steps):
            values |= _held_out_loss(preset, bench, held_out, packing)
        if is_due(step, preset.sft.sample_every, training.steps):
            values |= write_samples(preset, bench, step)
        return values

    def material() -> Material:
        return Material(one_by_one(examples), update, held_out=one_by_one(held_out), left_out=left_out)

    bench.policy.model.train()
    return Method(batches, loss, measure, material)


def _packing(preset: SftPreset, bench: Bench) -> Packing:
    """How rows share memory: as the preset says, unless the model reads a line as something else than its rows."""
    wished = preset.sft.packing
    scorer = bench.bare_scorer
    if wished == "none" or (isinstance(scorer, TokenScorer) and scorer.reads_lines()):
        return wished
    what = f"sft.packing: {wished} does not fit this architecture's attention; rows are padded instead"
    bench.reporter.notice("info", what, "nothing: the numbers are the same, steps take longer where lengths differ")
    return "none"


def _cut(preset: SftPreset, rows: list[Placed], packing: Packing) -> list[list[Placed]]:
    """Rows in parts that fit into memory. As shares add up, their order makes no other step."""
    size = preset.training.micro_batch_size
    if packing == "packed":
        longest = max(preset.data.max_length, *(len(example.ids) for _, example in rows))
        blocks = best_fit(rows, [len(example.ids) for _, example in rows], longest)
        return [list(chain(*part)) for part in micro_batches(blocks, [longest] * len(blocks), size)]
    rows = sorted(rows, key=lambda placed: len(placed[1].ids))  # those of like length together: less padding
    return micro_batches(rows, [len(example.ids) for _, example in rows], size)


def _batch(
    preset: SftPreset, bench: Bench, part: Sequence[Placed], normaliser: float, step: int, packing: Packing
) -> SftBatch:
    rows = pad_rows([example for _, example in part], bench.pad_id)
    line = None if packing == "none" else line_up(rows.is_token, [])
    return SftBatch(rows, normaliser, line, _noise(preset, bench, part, step))


def _noise(preset: SftPreset, bench: Bench, part: Sequence[Placed], step: int) -> Tensor | None:
    """Noise of NEFTune for rows of a step: the same however they are batched or shared by processes."""
    if not preset.sft.neftune_alpha or step == 0:
        return None
    width = bench.policy.model.get_input_embeddings().weight.shape[1]  # type: ignore[operator]
    lengths = [len(example.ids) for _, example in part]
    seeds = [mix(preset.seed, step, place) for place, _ in part]
    return embedding_noise(lengths, seeds, alpha=preset.sft.neftune_alpha, width=width)


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
def _held_out_loss(preset: SftPreset, bench: Bench, examples: Sequence[Example], packing: Packing) -> dict[str, float]:
    tally = Tally()
    mine = list(enumerate(examples))[bench.accelerator.process_index :: bench.accelerator.num_processes]
    for part in _cut(preset, mine, packing) if mine else []:
        bench.breathe()
        batch = _batch(preset, bench, part, 1.0, 0, packing).to(bench.accelerator.device)
        with eval_mode(bench.policy.model), bench.accelerator.autocast():
            scores = bench.bare_scorer(batch.rows, line=batch.line)
        count = float(scores.logps.shape[0])
        tally.add({"eval_loss": Mean(-scores.logps.sum(), count)})
        tally.add({"eval_mean_token_accuracy": Mean(scores.is_top.float().sum(), count)})
    values = tally.means(bench.accelerator)
    return values | {"eval_perplexity": math.exp(min(values["eval_loss"], 700.0))}
