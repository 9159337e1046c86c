"""Contrastive preference optimisation: DPO without a reference, held in place by learning the chosen answers, too."""

from torch import Tensor

from engine.contract.preset import CpoPreset
from engine.logprobs import TokenScores
from engine.loop import Method
from engine.methods.bench import Bench
from engine.methods.pairs import PairBatch, a_token, chosen_nll, learn_from_pairs, pair_values, summed
from engine.reference_free_losses import A_TOKEN, cpo_loss
from engine.tally import Values


def cpo(preset: CpoPreset, bench: Bench) -> Method:
    """The batches, the loss and the measures of CPO (Xu et al. 2024, arXiv:2401.08417, eq. 5) and its kin.

    Raises DataError if no pair can be learned from.
    """
    own = preset.cpo

    def loss(batch: PairBatch, scores: TokenScores) -> tuple[Tensor, Values]:
        logps = (a_token if own.loss in A_TOKEN else summed)(scores.logps, batch)
        result = cpo_loss(
            *logps.chunk(2),
            kind=own.loss,
            beta=own.beta,
            label_smoothing=own.label_smoothing,
            normaliser=batch.pairs,
        )
        values, share = pair_values(result, logps, batch, scores), result.share
        if own.sft_weight:
            nll, values["nll_loss"] = chosen_nll(batch, scores)
            share = share + own.sft_weight * nll
        return share, values

    return learn_from_pairs(preset, bench, loss)
