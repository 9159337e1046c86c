"""Simple preference optimisation: raise chosen answers over rejected ones by a margin, each measured a token.

No reference: what an answer is worth is its own log-probability, free of its length.
"""

from torch import Tensor

from engine.contract.preset import SimpoPreset
from engine.logprobs import TokenScores
from engine.loop import Method
from engine.methods.bench import Bench
from engine.methods.pairs import PairBatch, a_token, chosen_nll, learn_from_pairs, pair_values
from engine.reference_free_losses import simpo_loss
from engine.tally import Values


def simpo(preset: SimpoPreset, bench: Bench) -> Method:
    """The batches, the loss and the measures of SimPO (Meng et al. 2024, arXiv:2405.14734, eq. 6).

    With `sft_weight` above 0 it is CPO-SimPO. Raises DataError if no pair can be learned from.
    """
    own = preset.simpo

    def loss(batch: PairBatch, scores: TokenScores) -> tuple[Tensor, Values]:
        logps = a_token(scores.logps, batch)
        result = simpo_loss(
            *logps.chunk(2),
            beta=own.beta,
            gamma=own.gamma,
            label_smoothing=own.label_smoothing,
            normaliser=batch.pairs,
        )
        values, share = pair_values(result, logps, batch, scores), result.share
        if own.sft_weight:
            nll, values["nll_loss"] = chosen_nll(batch, scores)
            share = share + own.sft_weight * nll
        return share, values

    return learn_from_pairs(preset, bench, loss)
