"""Direct preference optimisation: raise chosen answers over rejected ones, measured from where the policy began."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from engine.contract.preset import DpoPreset
from engine.data.batching import micro_batches, pad_rows, rows_of_step
from engine.data.preferences import Encoded, Pair, encode_pairs, told
from engine.data.sources import DataError, Table
from engine.logprobs import Rows, TokenScores
from engine.loop import Material, Method, Update
from engine.losses import sft_loss
from engine.methods.bench import Bench, is_due
from engine.preference_losses import Pairs, preference_loss
from engine.tally import Mean, Tally, Values

#: Held-out pairs measured at most each time, so that a look at them stays short.
EVAL_PAIRS = 512


class DpoBatch(NamedTuple):
    """B pairs. rows: the chosen answers, then the rejected ones, (2B, T). reference: their summed logps, (2B,), nats.

    pairs, chosen_tokens: of the whole update, over all its micro-batches and processes.
    """

    rows: Rows
    reference: Tensor
    pairs: float
    chosen_tokens: float


def dpo(preset: DpoPreset, bench: Bench) -> Method:
    """The batches, the loss and the measures of DPO (Rafailov et al. 2023, arXiv:2305.18290, eq. 7) and its kin.

    Raises DataError if no pair can be learned from.
    """
    pairs, left_out = _encode(preset, bench, bench.train, "reading the data")
    held_out = _encode(preset, bench, bench.held_out, "reading the held-out data").pairs if bench.held_out else []
    training = preset.training
    # Dropout would tell the policy apart from its reference, which are one at the first step.
    bench.policy.model.eval()

    def update(places: Sequence[int]) -> Update:
        whole = [pairs[place] for place in places]
        parts = [_tensors(preset, bench, part, whole) for part in _cut(preset, bench.share(whole))]
        return Update(parts, tokens=sum(int(part.rows.is_token.sum()) for part in parts), values={})

    def batches(step: int) -> Iterator[Update]:
        chosen = rows_of_step(
            step,
            batch_size=training.batch_size,
            n_rows=len(pairs),
            seed=preset.seed,
            shuffle=preset.data.shuffle,
        )
        yield update(chosen)

    def loss(batch: DpoBatch) -> tuple[Tensor, Values]:
        return compare(preset, bench.scorer, batch)

    def measure(step: int) -> dict[str, float]:
        if not held_out or not is_due(step, training.eval_every, training.steps):
            return {}
        return _held_out(preset, bench, held_out)

    def material() -> Material:
        return Material(pairs, update, held_out=held_out, left_out=left_out)

    return Method(batches, loss, measure, material)


def compare(preset: DpoPreset, scorer: nn.Module, batch: DpoBatch) -> tuple[Tensor, Values]:
    """The batch's share of the loss, and what the policy thinks of its pairs, under TRL's names."""
    own = preset.dpo
    scores: TokenScores = scorer(batch.rows)
    chosen, rejected = summed(scores.logps, batch.rows, own.ld_alpha).chunk(2)
    result = preference_loss(
        Pairs(chosen, rejected, *batch.reference.chunk(2), *batch.rows.is_target.sum(dim=1).chunk(2)),
        kind=own.loss,
        beta=own.beta,
        label_smoothing=own.label_smoothing,
        normaliser=batch.pairs,
    )
    share, count = result.share, float(len(chosen))
    better, worse = result.chosen_rewards, result.rejected_rewards
    # Rows are scored in order, so the tokens of the chosen answers come first.
    first = int(batch.rows.is_target[: len(chosen)].sum())
    values: Values = {
        "rewards/chosen": Mean(better.sum(), count),
        "rewards/rejected": Mean(worse.sum(), count),
        "rewards/accuracies": Mean((better > worse).float().sum(), count),
        "rewards/margins": Mean((better - worse).sum(), count),
        "logps/chosen": Mean(chosen.detach().sum(), count),
        "logps/rejected": Mean(rejected.detach().sum(), count),
        "entropy": Mean(scores.entropy.sum(), float(len(scores.entropy))),
        "mean_token_accuracy": Mean(scores.is_top[:first].float().sum(), float(first)),
    }
    if own.sft_weight:
        nll = sft_loss(scores.logps[:first], normaliser=batch.chosen_tokens).share
        share = share + own.sft_weight * nll
        values["nll_loss"] = Mean(-scores.logps[:first].detach().sum(), float(first))
    return share, values


def summed(logps: Tensor, rows: Rows, ld_alpha: float | None) -> Tensor:
    """The log-probability of each answer, (2B,), from those of its tokens, (N,).

    ld_alpha: weight of the tokens beyond the length of the pair's shorter answer: LD-DPO, Liu et al. 2024
    (arXiv:2409.06411), so that length by itself tells nothing.
    """
    # Sums over a row, not index_add, whose order on a GPU is another each time.
    spread = torch.zeros(rows.is_target.shape, dtype=logps.dtype, device=logps.device)
    spread = spread.masked_scatter(rows.is_target, logps)
    if ld_alpha is not None:
        chosen, rejected = rows.is_target.sum(dim=1).chunk(2)
        shared = torch.minimum(chosen, rejected).repeat(2).unsqueeze(1)
        spread = torch.where(rows.is_target.cumsum(dim=1) <= shared, spread, ld_alpha * spread)
    return spread.sum(dim=1)


def _encode(preset: DpoPreset, bench: Bench, table: Table, phase: str) -> Encoded:
    longest = min(preset.data.max_length, bench.policy.context or preset.data.max_length)

    def breathe(index: int) -> None:
        if index % 1000 == 0:
            bench.reporter.phase(phase, index / len(table.rows))
            bench.breathe()

    encoded = encode_pairs(table.rows, bench.encoder, max_length=longest, breathe=breathe)
    lost = told(encoded)
    if not encoded.pairs:
        raise DataError(f"no pair can be learned from: {lost}; mend the data, or raise data.max_length")
    if lost:
        bench.reporter.notice("warning", lost, "mend those rows, or raise data.max_length where they are too long")
    return encoded


def _cut(preset: DpoPreset, pairs: Sequence[Pair]) -> list[list[Pair]]:
    lengths = [2 * max(len(pair.chosen.ids), len(pair.rejected.ids)) for pair in pairs]
    return micro_batches(pairs, lengths, preset.training.micro_batch_size)


def _tensors(preset: DpoPreset, bench: Bench, part: Sequence[Pair], whole: Sequence[Pair]) -> DpoBatch:
    """Some pairs of an update, and what the reference thinks of them."""
    bench.breathe()
    sides = [*(pair.chosen for pair in part), *(pair.rejected for pair in part)]
    rows = pad_rows(sides, bench.pad_id).to(bench.accelerator.device)
    with torch.no_grad(), bench.policy.without_adapter(), bench.accelerator.autocast():
        logps = (bench.reference_scorer or bench.bare_scorer)(rows).logps
    tokens = sum(sum(pair.chosen.is_target) for pair in whole)
    return DpoBatch(rows, summed(logps, rows, preset.dpo.ld_alpha), float(len(whole)), float(tokens))


@torch.no_grad()
def _held_out(preset: DpoPreset, bench: Bench, pairs: list[Pair]) -> dict[str, float]:
    """What is told of a step, on pairs that never train, each name with eval_ before it."""
    whole = pairs[:EVAL_PAIRS]
    mine = whole[bench.accelerator.process_index :: bench.accelerator.num_processes]
    tally = Tally()
    for part in _cut(preset, mine) if mine else []:
        batch = _tensors(preset, bench, part, whole)
        with bench.accelerator.autocast():
            share, values = compare(preset, bench.bare_scorer, batch)
        tally.add({"loss": Mean(share, len(part) / len(whole)), **values})
    return {f"eval_{name}": value for name, value in tally.means(bench.accelerator).items()}
