"""Direct preference optimisation: raise chosen answers over rejected ones, measured from where the policy began."""

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.contract.preset import DpoPreset
from engine.data.preferences import Pair
from engine.logprobs import Rows, TokenScores
from engine.loop import Method
from engine.losses import sft_loss
from engine.methods.bench import Bench
from engine.methods.pairs import PairBatch, Reference, by_row, learn_from_pairs, pair_values
from engine.packing import Line
from engine.preference_losses import Pairs, preference_loss
from engine.tally import Mean, Values


def dpo(preset: DpoPreset, bench: Bench) -> Method:
    """The batches, the loss and the measures of DPO (Rafailov et al. 2023, arXiv:2305.18290, eq. 7) and its kin.

    Raises DataError if no pair can be learned from.
    """

    def loss(batch: PairBatch, scores: TokenScores) -> tuple[Tensor, Values]:
        return compare(preset, batch, scores)

    def reference(pairs: list[Pair]) -> Reference:
        return _live(preset, bench)

    return learn_from_pairs(preset, bench, loss, reference)


def compare(preset: DpoPreset, batch: PairBatch, scores: TokenScores) -> tuple[Tensor, Values]:
    """The batch's share of the loss, and what the policy thinks of its pairs, under TRL's names."""
    own, is_target = preset.dpo, batch.rows.is_target
    assert batch.reference is not None  # noqa: S101 - DPO never goes without
    logps = summed(scores.logps, is_target, own.ld_alpha)
    result = preference_loss(
        Pairs(*logps.chunk(2), *batch.reference.chunk(2), *is_target.sum(dim=1).chunk(2)),
        kind=own.loss,
        beta=own.beta,
        label_smoothing=own.label_smoothing,
        normaliser=batch.pairs,
    )
    # Rows are scored in order, so the tokens of the chosen answers come first.
    first = int(is_target.chunk(2)[0].sum())
    values = pair_values(torch.cat([result.chosen_rewards, result.rejected_rewards]), logps, scores, first)
    share = result.share
    if own.sft_weight:
        share = share + own.sft_weight * sft_loss(scores.logps[:first], normaliser=batch.chosen_tokens).share
        values["nll_loss"] = Mean(-scores.logps[:first].detach().sum(), float(first))
    return share, values


def summed(logps: Tensor, is_target: Tensor, ld_alpha: float | None) -> Tensor:
    """The log-probability of each answer, (2B,), from those of its tokens, (N,).

    ld_alpha: weight of the tokens beyond the length of the pair's shorter answer: LD-DPO, Liu et al. 2024
    (arXiv:2409.06411), so that length by itself tells nothing.
    """
    spread = by_row(logps, is_target)
    if ld_alpha is not None:
        chosen, rejected = is_target.sum(dim=1).chunk(2)
        shared = torch.minimum(chosen, rejected).repeat(2).unsqueeze(1)
        spread = torch.where(is_target.cumsum(dim=1) <= shared, spread, ld_alpha * spread)
    return spread.sum(dim=1)


def _live(preset: DpoPreset, bench: Bench) -> Reference:
    """The frozen copy, or the policy with its adapter switched off, asked as each batch is made."""

    def reference(part: Sequence[int], rows: Rows, line: Line | None) -> Tensor:
        with torch.no_grad(), bench.policy.without_adapter(), bench.accelerator.autocast():
            logps = (bench.reference_scorer or bench.bare_scorer)(rows, line=line).logps
        return summed(logps, rows.is_target, preset.dpo.ld_alpha)

    return reference
