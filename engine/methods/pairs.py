"""What methods that learn from pairs of answers have in common: reading, cutting up and measuring them."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from engine.contract.preset import CpoPreset, DpoPreset, OrpoPreset, SimpoPreset
from engine.data.batching import micro_batches, pad_rows, rows_of_step
from engine.data.chat import Example
from engine.data.preferences import Encoded, Pair, encode_pairs, told
from engine.data.sources import DataError, Table
from engine.logprobs import Rows, TokenScorer, TokenScores
from engine.loop import Material, Method, Update
from engine.losses import sft_loss
from engine.methods.bench import Bench, is_due
from engine.methods.samples import write_samples
from engine.modes import without_dropout
from engine.packing import Line, line_up
from engine.preference_losses import PreferenceLoss
from engine.tally import Mean, Tally, Values

#: Held-out pairs measured at most each time, so that a look at them stays short.
EVAL_PAIRS = 512

PairPreset = DpoPreset | OrpoPreset | SimpoPreset | CpoPreset


class PairBatch(NamedTuple):
    """B pairs. rows: the chosen answers, then the rejected ones, (2B, T).

    line: the same with each prompt once, where the model reads that. reference: what it thinks of each answer, (2B,),
    nats, or None. is_answer: (2B, T), the targets that are of an answer; others are of a prompt that is learned, too.
    margins: (B,), the rows' own `margin`, 0 where a row has none.
    pairs, chosen_targets: of the whole update, over all its micro-batches and processes.
    """

    rows: Rows
    is_answer: Tensor
    line: Line | None
    reference: Tensor | None
    margins: Tensor
    pairs: float
    chosen_targets: float


#: What the reference thinks of some pairs, by their indices, as laid out in rows: (2B,), nats.
Reference = Callable[[Sequence[int], Rows, Line | None], Tensor]
#: A batch's share of the loss and what it tells, from the scores of its rows.
Compare = Callable[[PairBatch, TokenScores], tuple[Tensor, Values]]


@dataclass(frozen=True)
class PairSet:
    """Encoded pairs, what the reference thinks of them if anything, and how they become batches.

    margins: of each pair, NaN where its row has none. with_prompts: the prompts before the chosen answers are targets,
    too.
    """

    preset: PairPreset
    bench: Bench
    pairs: Sequence[Pair]
    margins: Sequence[float]
    in_lines: bool
    with_prompts: bool = False
    reference: Reference | None = None

    def cut(self, indices: Sequence[int]) -> list[list[int]]:
        """Some pairs in parts that fit into memory."""
        lengths = [2 * max(len(side.ids) for side in self.pairs[index]) for index in indices]
        return micro_batches(indices, lengths, self.preset.training.micro_batch_size) if indices else []

    def laid_out(self, part: Sequence[int]) -> tuple[Rows, Line | None]:
        """Some pairs as rows, the chosen answers first, and as a line."""
        self.bench.breathe()
        pairs = [self.pairs[index] for index in part]
        sides = [*(self._chosen(pair) for pair in pairs), *(pair.rejected for pair in pairs)]
        rows = pad_rows(sides, self.bench.pad_id)
        line = line_up(rows.is_token, [pair.shared for pair in pairs]) if self.in_lines else None
        device = self.bench.accelerator.device
        return rows.to(device), line and line.to(device)

    def batch(self, part: Sequence[int], whole: Sequence[int]) -> PairBatch:
        """Some pairs of an update as tensors, and what the reference thinks of them."""
        rows, line = self.laid_out(part)
        logps = None if self.reference is None else self.reference(part, rows, line)
        is_answer = rows.is_target
        if self.with_prompts:
            begins = [pair.chosen.is_target.index(True) for pair in (self.pairs[index] for index in part)]
            starts = torch.tensor(begins + [0] * len(part), device=is_answer.device).unsqueeze(1)
            is_answer = is_answer & (torch.arange(is_answer.shape[1], device=is_answer.device) >= starts)
        targets = sum(sum(self._chosen(self.pairs[index]).is_target) for index in whole)
        margins = torch.tensor([self.margins[index] for index in part], device=is_answer.device).nan_to_num()
        return PairBatch(rows, is_answer, line, logps, margins, float(len(whole)), float(targets))

    def _chosen(self, pair: Pair) -> Example:
        is_target = [False, *[True] * (len(pair.chosen.ids) - 1)]
        return pair.chosen._replace(is_target=is_target) if self.with_prompts else pair.chosen


def learn_from_pairs(
    preset: PairPreset,
    bench: Bench,
    compare: Compare,
    *,
    reference: Callable[[PairSet], Reference] | None = None,
    with_prompts: bool = False,
) -> Method:
    """The batches, the loss and the measures of a method that compares two answers to a prompt.

    reference: for pairs, what a reference thinks of them. with_prompts: see PairSet. Raises DataError if no pair can be
    learned from.
    """
    in_lines = all_read_lines(bench)

    def pair_set(encoded: Encoded) -> PairSet:
        found = PairSet(preset, bench, encoded.pairs, encoded.margins, in_lines, with_prompts)
        return found if reference is None else replace(found, reference=reference(found))

    encoded = _encode(preset, bench, bench.train, "reading the data")
    pairs, left_out, train = encoded.pairs, encoded.left_out, pair_set(encoded)
    held_out = None
    if bench.held_out is not None:
        held_out = pair_set(_encode(preset, bench, bench.held_out, "reading the held-out data"))
    training = preset.training
    # Dropout would tell the policy apart from its reference, which are one at the first step.
    without_dropout(bench.policy.model)

    def update(whole: Sequence[int]) -> Update:
        parts = [train.batch(part, whole) for part in train.cut(bench.share(whole))]
        return Update(parts, tokens=sum(int(part.rows.is_token.sum()) for part in parts), values={})

    def batches(step: int) -> Iterator[Update]:
        yield update(
            rows_of_step(
                step,
                batch_size=training.batch_size,
                n_rows=len(pairs),
                seed=preset.seed,
                shuffle=preset.data.shuffle,
                parts=bench.train.parts_without(left_out),
            )
        )

    def loss(batch: PairBatch) -> tuple[Tensor, Values]:
        return compare(batch, bench.scorer(batch.rows, line=batch.line))

    def measure(step: int) -> dict[str, float]:
        values: dict[str, float] = {}
        if held_out is not None and is_due(step, training.eval_every, training.steps):
            values |= _measured(held_out, compare)
        if is_due(step, getattr(preset, preset.method).sample_every, training.steps):
            values |= write_samples(preset, bench, step)
        return values

    def material() -> Material:
        return Material(pairs, update, held_out=held_out.pairs if held_out else [], left_out=left_out)

    return Method(batches, loss, measure, material)


def pair_values(result: PreferenceLoss, logps: Tensor, batch: PairBatch, scores: TokenScores) -> Values:
    """What a policy thinks of B pairs, under TRL's names. logps: (2B,), the chosen answers first."""
    better, worse = result.chosen_rewards, result.rejected_rewards
    chosen, rejected = logps.detach().chunk(2)
    is_answer = batch.is_answer[batch.rows.is_target]  # of the scored tokens, rows in order
    is_top = scores.is_top[is_answer][: int(batch.is_answer.chunk(2)[0].sum())].float()
    count = float(len(better))
    return {
        "rewards/chosen": Mean(better.sum(), count),
        "rewards/rejected": Mean(worse.sum(), count),
        "rewards/accuracies": Mean((better > worse).float().sum(), count),
        "rewards/margins": Mean((better - worse).sum(), count),
        "logps/chosen": Mean(chosen.sum(), count),
        "logps/rejected": Mean(rejected.sum(), count),
        "entropy": Mean(scores.entropy[is_answer].sum(), float(is_answer.sum())),
        "mean_token_accuracy": Mean(is_top.sum(), float(len(is_top))),
    }


def chosen_nll(batch: PairBatch, scores: TokenScores) -> tuple[Tensor, Mean]:
    """The SFT loss of the chosen answers: its share, token mean over the step, and what to tell of it."""
    # Rows are scored in order, so the tokens of the chosen answers come first.
    first = int(batch.rows.is_target.chunk(2)[0].sum())
    share = sft_loss(scores.logps[:first], normaliser=batch.chosen_targets).share
    return share, Mean(-scores.logps[:first].detach().sum(), float(first))


def summed(logps: Tensor, batch: PairBatch) -> Tensor:
    """The log-probability of each answer, (2B,), from those of its tokens, (N,)."""
    return torch.where(batch.is_answer, by_row(logps, batch.rows.is_target), 0.0).sum(dim=1)


def a_token(logps: Tensor, batch: PairBatch) -> Tensor:
    """As `summed`, divided by the answer's tokens."""
    return summed(logps, batch) / batch.is_answer.sum(dim=1)


def by_row(logps: Tensor, is_target: Tensor) -> Tensor:
    """One entry per scored token, (N,), where each stands in the rows, (B, T); 0 elsewhere.

    For sums over a row: not index_add, whose order on a GPU is another each time.
    """
    empty = torch.zeros(is_target.shape, dtype=logps.dtype, device=logps.device)
    return empty.masked_scatter(is_target, logps)


def all_read_lines(bench: Bench) -> bool:
    """Whether policy and reference may be given rows in a line; see packing.py."""
    scorers = [scorer for scorer in (bench.bare_scorer, bench.reference_scorer) if scorer is not None]
    return all(isinstance(scorer, TokenScorer) and scorer.reads_lines() for scorer in scorers)


def _encode(preset: PairPreset, bench: Bench, table: Table, phase: str) -> Encoded:
    longest = min(preset.data.max_length, bench.policy.context or preset.data.max_length)

    def breathe(index: int) -> None:
        if index % 1000 == 0:
            bench.reporter.phase(phase, index / len(table.rows))
            bench.breathe()

    encoded = encode_pairs(table.rows, bench.encoder, max_length=longest, breathe=breathe, folder=bench.folder)
    encoded = encoded._replace(left_out=table.numbered(encoded.left_out))
    lost = told(encoded, table.origins)
    if not encoded.pairs:
        raise DataError(f"no pair can be learned from: {lost}; mend the data, or raise data.max_length")
    if isinstance(preset, DpoPreset) and preset.dpo.margin and all(map(math.isnan, encoded.margins)):
        raise DataError("no row has a `margin`, which dpo.margin asks for; add that column, or set dpo.margin to 0")
    if lost:
        bench.reporter.notice("warning", lost, "mend those rows, or raise data.max_length where they are too long")
    return encoded


@torch.no_grad()
def _measured(held_out: PairSet, compare: Compare) -> dict[str, float]:
    """What is told of a step, on pairs that never train, each name with eval_ before it."""
    bench = held_out.bench
    whole = range(len(held_out.pairs))[:EVAL_PAIRS]
    mine = whole[bench.accelerator.process_index :: bench.accelerator.num_processes]
    tally = Tally()
    for part in held_out.cut(mine):
        batch = held_out.batch(part, whole)
        with bench.accelerator.autocast():
            share, values = compare(batch, bench.bare_scorer(batch.rows, line=batch.line))
        tally.add({"loss": Mean(share, len(part) / len(whole)), **values})
    return {f"eval_{name}": value for name, value in tally.means(bench.accelerator).items()}
