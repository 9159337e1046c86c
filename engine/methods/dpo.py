"""Direct preference optimisation: raise chosen answers over rejected ones, measured from where the policy began."""

import torch
from torch import Tensor

from engine.contract.preset import DpoPreset
from engine.logprobs import TokenScores
from engine.loop import Method
from engine.methods.bench import Bench
from engine.methods.pairs import PairBatch, by_row, chosen_nll, learn_from_pairs, pair_values
from engine.methods.reference import kept, live
from engine.preference_losses import Pairs, preference_loss
from engine.tally import Values


def dpo(preset: DpoPreset, bench: Bench) -> Method:
    """The batches, the loss and the measures of DPO (Rafailov et al. 2023, arXiv:2305.18290, eq. 7) and its kin.

    Raises DataError if no pair can be learned from.
    """

    def loss(batch: PairBatch, scores: TokenScores) -> tuple[Tensor, Values]:
        return compare(preset, batch, scores)

    def total(logps: Tensor, is_target: Tensor) -> Tensor:
        return summed(logps, is_target, preset.dpo.ld_alpha)

    if preset.dpo.reference == "live":
        return learn_from_pairs(preset, bench, loss, reference=lambda pairs: live(bench, total))
    about = str(preset.dpo.ld_alpha)
    method = learn_from_pairs(preset, bench, loss, reference=lambda pairs: kept(pairs, total, about=about))
    if bench.policy.reference is not None:
        bench.policy.reference.to("meta")  # all it had to say is kept; this lets go of its weights
    return method


def compare(preset: DpoPreset, batch: PairBatch, scores: TokenScores) -> tuple[Tensor, Values]:
    """The batch's share of the loss, and what the policy thinks of its pairs, under TRL's names."""
    own, is_target = preset.dpo, batch.rows.is_target
    assert batch.reference is not None  # noqa: S101 - DPO never goes without
    logps = summed(scores.logps, is_target, own.ld_alpha)
    result = preference_loss(
        Pairs(*logps.chunk(2), *batch.reference.chunk(2), *is_target.sum(dim=1).chunk(2))._replace(
            offset=own.margin * batch.margins
        ),
        kinds=own.kinds,
        beta=own.beta,
        label_smoothing=own.label_smoothing,
        normaliser=batch.pairs,
    )
    values, share = pair_values(result, logps, batch, scores), result.share
    if own.sft_weight:
        nll, values["nll_loss"] = chosen_nll(batch, scores)
        share = share + own.sft_weight * nll
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
