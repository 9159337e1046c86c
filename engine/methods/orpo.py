"""Odds-ratio preference optimisation: learn the chosen answers as in SFT, and raise their odds over the rejected ones'.

No reference: one model in memory, one reading of each answer.
"""

from torch import Tensor

from engine.contract.preset import OrpoPreset
from engine.logprobs import TokenScores
from engine.loop import Method
from engine.methods.bench import Bench
from engine.methods.pairs import PairBatch, a_token, chosen_nll, learn_from_pairs, pair_values
from engine.reference_free_losses import log_odds_ratio, orpo_loss
from engine.tally import Mean, Values


def orpo(preset: OrpoPreset, bench: Bench) -> Method:
    """The batches, the loss and the measures of ORPO (Hong et al. 2024, arXiv:2403.07691, eq. 6).

    The SFT part is a token mean over the whole step. Raises DataError if no pair can be learned from.
    """

    def loss(batch: PairBatch, scores: TokenScores) -> tuple[Tensor, Values]:
        logps = a_token(scores.logps, batch)
        chosen, rejected = logps.chunk(2)
        result = orpo_loss(chosen, rejected, beta=preset.orpo.beta, normaliser=batch.pairs)
        values = pair_values(result, logps, batch, scores)
        nll, values["nll_loss"] = chosen_nll(batch, scores)
        values["log_odds_ratio"] = Mean(-result.per_pair.sum() / preset.orpo.beta, float(len(chosen)))
        values["log_odds_chosen"] = Mean(log_odds_ratio(chosen, rejected).detach().sum(), float(len(chosen)))
        return nll + result.share, values

    return learn_from_pairs(preset, bench, loss, with_prompts=preset.orpo.prompt_loss)
