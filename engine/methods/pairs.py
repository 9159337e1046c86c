"""What methods that learn from pairs of answers have in common: reading, cutting up and measuring them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from engine.contract.preset import DpoPreset
from engine.data.batching import micro_batches, pad_rows, rows_of_step
from engine.data.preferences import Encoded, Pair, encode_pairs, told
from engine.data.sources import DataError, Table
from engine.logprobs import Rows, TokenScores
from engine.loop import Material, Method, Update
from engine.methods.bench import Bench, is_due
from engine.packing import Line, line_up
from engine.tally import Mean, Tally, Values

#: Held-out pairs measured at most each time, so that a look at them stays short.
EVAL_PAIRS = 512

PairPreset = DpoPreset


class PairBatch(NamedTuple):
    """B pairs. rows: the chosen answers, then the rejected ones, (2B, T).

    line: the same with each prompt once, where the model reads that. reference: what it thinks of each answer, (2B,),
    nats, or None. pairs, chosen_tokens: of the whole update, over all its micro-batches and processes.
    """

    rows: Rows
    line: Line | None
    reference: Tensor | None
    pairs: float
    chosen_tokens: float


#: What the reference thinks of some pairs, by their indices, as laid out in rows: (2B,), nats.
Reference = Callable[[Sequence[int], Rows, Line | None], Tensor]
#: A batch's share of the loss and what it tells, from the scores of its rows.
Compare = Callable[[PairBatch, TokenScores], tuple[Tensor, Values]]


@dataclass(frozen=True)
class PairSet:
    """Encoded pairs, what the reference thinks of them if anything, and how they become batches."""

    preset: PairPreset
    bench: Bench
    pairs: list[Pair]
    in_lines: bool
    reference: Reference | None = None

    def cut(self, indices: Sequence[int]) -> list[list[int]]:
        """Some pairs in parts that fit into memory."""
        lengths = [2 * max(len(side.ids) for side in self.pairs[index]) for index in indices]
        return micro_batches(indices, lengths, self.preset.training.micro_batch_size) if indices else []

    def laid_out(self, part: Sequence[int]) -> tuple[Rows, Line | None]:
        """Some pairs as rows, the chosen answers first, and as a line."""
        self.bench.breathe()
        pairs = [self.pairs[index] for index in part]
        sides = [*(pair.chosen for pair in pairs), *(pair.rejected for pair in pairs)]
        rows = pad_rows(sides, self.bench.pad_id)
        line = line_up(rows.is_token, [pair.shared for pair in pairs]) if self.in_lines else None
        device = self.bench.accelerator.device
        return rows.to(device), line and line.to(device)

    def batch(self, part: Sequence[int], whole: Sequence[int]) -> PairBatch:
        """Some pairs of an update as tensors, and what the reference thinks of them."""
        rows, line = self.laid_out(part)
        logps = None if self.reference is None else self.reference(part, rows, line)
        tokens = sum(sum(self.pairs[index].chosen.is_target) for index in whole)
        return PairBatch(rows, line, logps, float(len(whole)), float(tokens))


def learn_from_pairs(
    preset: PairPreset, bench: Bench, compare: Compare, reference: Callable[[PairSet], Reference] | None = None
) -> Method:
    """The batches, the loss and the measures of a method that compares two answers to a prompt.

    reference: for pairs, what a reference thinks of them. Raises DataError if no pair can be learned from.
    """
    in_lines = _all_read_lines(bench)

    def pair_set(pairs: list[Pair]) -> PairSet:
        found = PairSet(preset, bench, pairs, in_lines)
        return found if reference is None else replace(found, reference=reference(found))

    pairs, left_out = _encode(preset, bench, bench.train, "reading the data")
    train = pair_set(pairs)
    held_out = None
    if bench.held_out is not None:
        held_out = pair_set(_encode(preset, bench, bench.held_out, "reading the held-out data").pairs)
    training = preset.training
    # Dropout would tell the policy apart from its reference, which are one at the first step.
    bench.policy.model.eval()

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
        if held_out is None or not is_due(step, training.eval_every, training.steps):
            return {}
        return _measured(held_out, compare)

    def material() -> Material:
        return Material(pairs, update, held_out=held_out.pairs if held_out else [], left_out=left_out)

    return Method(batches, loss, measure, material)


def pair_values(rewards: Tensor, logps: Tensor, scores: TokenScores, chosen_targets: int) -> Values:
    """What a policy thinks of B pairs, under TRL's names.

    rewards, logps: (2B,), the chosen answers first. chosen_targets: how many of the scored tokens are theirs.
    """
    better, worse = rewards.detach().chunk(2)
    chosen, rejected = logps.detach().chunk(2)
    count = float(len(better))
    return {
        "rewards/chosen": Mean(better.sum(), count),
        "rewards/rejected": Mean(worse.sum(), count),
        "rewards/accuracies": Mean((better > worse).float().sum(), count),
        "rewards/margins": Mean((better - worse).sum(), count),
        "logps/chosen": Mean(chosen.sum(), count),
        "logps/rejected": Mean(rejected.sum(), count),
        "entropy": Mean(scores.entropy.sum(), float(len(scores.entropy))),
        "mean_token_accuracy": Mean(scores.is_top[:chosen_targets].float().sum(), float(chosen_targets)),
    }


def by_row(logps: Tensor, is_target: Tensor) -> Tensor:
    """One entry per scored token, (N,), where each stands in the rows, (B, T); 0 elsewhere.

    For sums over a row: not index_add, whose order on a GPU is another each time.
    """
    empty = torch.zeros(is_target.shape, dtype=logps.dtype, device=logps.device)
    return empty.masked_scatter(is_target, logps)


def _all_read_lines(bench: Bench) -> bool:
    return all(scorer.reads_lines() for scorer in (bench.bare_scorer, bench.reference_scorer) if scorer is not None)


def _encode(preset: PairPreset, bench: Bench, table: Table, phase: str) -> Encoded:
    longest = min(preset.data.max_length, bench.policy.context or preset.data.max_length)

    def breathe(index: int) -> None:
        if index % 1000 == 0:
            bench.reporter.phase(phase, index / len(table.rows))
            bench.breathe()

    encoded = encode_pairs(table.rows, bench.encoder, max_length=longest, breathe=breathe)
    encoded = encoded._replace(left_out=table.numbered(encoded.left_out))
    lost = told(encoded, table.origins)
    if not encoded.pairs:
        raise DataError(f"no pair can be learned from: {lost}; mend the data, or raise data.max_length")
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
