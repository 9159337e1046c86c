"""Losses that learn from pairs of answers, one better than the other: the DPO family. Pure, so a test can call each.

Notation: c and r are the log-ratios policy / reference of the chosen and the rejected answer, d = c - r; β scales a
log-ratio to a reward. Every loss gives one value a pair, (B,), and `preference_loss` makes a share of them: a sum over
its pairs, divided by the pairs of the whole step. Shares of micro-batches and processes add up, but for `aot` and
`aot_unpaired`, which compare pairs with each other: they need the whole batch at once.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

#: Where discopop crosses over from one loss to the other; what its paper recommends.
DISCOPOP_TAU = 0.05


class Pairs(NamedTuple):
    """Summed log-probabilities of B chosen and rejected answers, nats, and how many tokens each sums. All (B,).

    offset: by how much the chosen answer's reward should lead, for `sigmoid` alone.
    """

    chosen: Tensor
    rejected: Tensor
    reference_chosen: Tensor
    reference_rejected: Tensor
    chosen_tokens: Tensor
    rejected_tokens: Tensor
    offset: Tensor | float = 0.0

    @property
    def chosen_ratio(self) -> Tensor:
        """c = log policy / reference of the chosen answers, (B,)."""
        return self.chosen - self.reference_chosen

    @property
    def rejected_ratio(self) -> Tensor:
        """r = log policy / reference of the rejected answers, (B,)."""
        return self.rejected - self.reference_rejected

    @property
    def margin(self) -> Tensor:
        """d = c - r, (B,)."""
        return self.chosen_ratio - self.rejected_ratio

    @property
    def margin_per_token(self) -> Tensor:
        """c / tokens - r / tokens, (B,)."""
        return self.chosen_ratio / self.chosen_tokens - self.rejected_ratio / self.rejected_tokens


class PreferenceLoss(NamedTuple):
    """share: scalar to minimise, adds up over micro-batches. The others (B,), without gradient."""

    share: Tensor
    per_pair: Tensor
    chosen_rewards: Tensor
    rejected_rewards: Tensor


def preference_loss(
    pairs: Pairs, *, kinds: Mapping[str, float], beta: float, label_smoothing: float, normaliser: float
) -> PreferenceLoss:
    """The losses of these kinds, summed by weight, and the implicit rewards β c and β r (Rafailov et al., section 4).

    kinds: kind -> weight; of several it is MPO, Wang et al. 2024 (arXiv:2411.10442), eq. 1. normaliser: pairs of the
    whole step, over all processes. label_smoothing: only for the kinds in SMOOTHED.
    """
    parts = [weight * _of_kind(kind, pairs, beta, label_smoothing) for kind, weight in kinds.items()]
    per_pair = torch.stack(parts).sum(dim=0)
    with torch.no_grad():
        chosen_rewards, rejected_rewards = beta * pairs.chosen_ratio, beta * pairs.rejected_ratio
    return PreferenceLoss(per_pair.sum() / normaliser, per_pair.detach(), chosen_rewards, rejected_rewards)


def _of_kind(kind: str, pairs: Pairs, beta: float, label_smoothing: float) -> Tensor:
    return SMOOTHED[kind](pairs, beta, label_smoothing) if kind in SMOOTHED else LOSSES[kind](pairs, beta)


# ----------------------------------------------------------------------------------- the pair as a whole, by its margin


def sigmoid(pairs: Pairs, beta: float, label_smoothing: float) -> Tensor:
    """-logsigmoid(β d): DPO, Rafailov et al. 2023 (arXiv:2305.18290), eq. 7.

    With label_smoothing ε it is cDPO (Mitchell 2023, "A note on DPO with noisy preferences"), as in OpenRLHF: a pair is
    taken to be the wrong way round with probability ε. TRL's sigmoid leaves ε out of account.

    With an offset Δ it is -logsigmoid(β d - Δ): ODPO, Amini et al. 2024 (arXiv:2402.10571). There Δ is the log of a
    difference in score, times a weight; here the weight is `dpo.margin`, and the data says what it weighs.
    """
    return _smoothed(beta * pairs.margin - pairs.offset, label_smoothing)


def hinge(pairs: Pairs, beta: float) -> Tensor:
    """max(0, 1 - β d): hinge-norm of RSO, Liu et al. 2024 (arXiv:2309.06657), after SLiC-HF (arXiv:2305.10425)."""
    return torch.relu(1 - beta * pairs.margin)


def ipo(pairs: Pairs, beta: float) -> Tensor:
    """(d - 1 / (2 β))², Azar et al. 2023 (arXiv:2310.12036), eq. 17, with log-ratios a token; β is the paper's τ.

    The mean over tokens is TRL's, which asked the authors: their results come from it, though the paper has sums.
    """
    return (pairs.margin_per_token - 1 / (2 * beta)) ** 2


def ipo_sum(pairs: Pairs, beta: float) -> Tensor:
    """(d - 1 / (2 β))², Azar et al. 2023 (arXiv:2310.12036), eq. 17 as printed, with sums, as OpenRLHF's IPO."""
    return (pairs.margin - 1 / (2 * beta)) ** 2


def sigmoid_norm(pairs: Pairs, beta: float) -> Tensor:
    """-logsigmoid(β d), log-ratios a token: length-normalised DPO, Lambert et al. 2024 (Tülu 3, arXiv:2411.15124)."""
    return -logsigmoid(beta * pairs.margin_per_token)


def robust(pairs: Pairs, beta: float, label_smoothing: float) -> Tensor:
    """Unbiased under labels flipped with probability ε: Chowdhury et al. 2024 (arXiv:2403.00409).

    (-(1 - ε) logsigmoid(β d) + ε logsigmoid(-β d)) / (1 - 2 ε).
    """
    logits, flipped = beta * pairs.margin, label_smoothing
    return (-(1 - flipped) * logsigmoid(logits) + flipped * logsigmoid(-logits)) / (1 - 2 * flipped)


def exo_pair(pairs: Pairs, beta: float, label_smoothing: float) -> Tensor:
    """KL from (sigmoid(β d), sigmoid(-β d)) to (1 - ε, ε): EXO, Ji et al. 2024 (arXiv:2402.00856), eq. 16 for K = 2.

    label_smoothing is ε and above 0: with 0 the divergence is infinite.
    """
    logits = beta * pairs.margin
    right, wrong = torch.log1p(-logits.new_tensor(label_smoothing)), logits.new_tensor(label_smoothing).log()
    chosen = torch.sigmoid(logits) * (logsigmoid(logits) - right)
    return chosen + torch.sigmoid(-logits) * (logsigmoid(-logits) - wrong)


def discopop(pairs: Pairs, beta: float) -> Tensor:
    """Logistic and exponential loss, blended by sigmoid(β d / τ): DiscoPOP, Lu et al. 2024 (arXiv:2406.08414), eq. 5.

    Not convex: for β d from -0.12 to 0.07 it rises with the margin, and the policy begins there.
    """
    logits = beta * pairs.margin
    blend = torch.sigmoid(logits / DISCOPOP_TAU)
    return -logsigmoid(logits) * (1 - blend) + torch.exp(-logits) * blend


# --------------------------------------------------------------------------------------------- each answer by itself


def nca_pair(pairs: Pairs, beta: float) -> Tensor:
    """-logsigmoid(β c) - ½ (logsigmoid(-β c) + logsigmoid(-β r)): NCA, K = 2, Chen et al. 2024 (arXiv:2402.05369)."""
    chosen, rejected = beta * pairs.chosen_ratio, beta * pairs.rejected_ratio
    return -logsigmoid(chosen) - 0.5 * logsigmoid(-chosen) - 0.5 * logsigmoid(-rejected)


def bco_pair(pairs: Pairs, beta: float) -> Tensor:
    """-logsigmoid(β c) - logsigmoid(-β r): a classifier of good and bad, Jung et al. 2024 (arXiv:2404.04656).

    Of pairs; the paper's shift of the rewards by their mean is left out, as in TRL.
    """
    return -logsigmoid(beta * pairs.chosen_ratio) - logsigmoid(-beta * pairs.rejected_ratio)


def sppo_hard(pairs: Pairs, beta: float) -> Tensor:
    """(c - 1 / (2 β))² + (r + 1 / (2 β))²: SPPO, Wu et al. 2024 (arXiv:2405.00675), eq. 4.7.

    With a chance of winning of 1 and 0 where the paper asks a preference model.
    """
    return (pairs.chosen_ratio - 0.5 / beta) ** 2 + (pairs.rejected_ratio + 0.5 / beta) ** 2


def apo_zero(pairs: Pairs, beta: float) -> Tensor:
    """1 - sigmoid(β c) + sigmoid(β r): APO-zero, D'Oosterlinck et al. 2024 (arXiv:2408.06266), eq. 7.

    For chosen answers better than what the model writes: they rise, the rejected fall.
    """
    return 1 - torch.sigmoid(beta * pairs.chosen_ratio) + torch.sigmoid(beta * pairs.rejected_ratio)


def apo_down(pairs: Pairs, beta: float) -> Tensor:
    """sigmoid(β c) + 1 - sigmoid(β d): APO-down, D'Oosterlinck et al. 2024 (arXiv:2408.06266), eq. 8.

    For chosen answers worse than what the model writes: both fall, the rejected more.
    """
    return torch.sigmoid(beta * pairs.chosen_ratio) + 1 - torch.sigmoid(beta * pairs.margin)


# ------------------------------------------------------------------------------------------------ the batch as a whole


def aot(pairs: Pairs, beta: float, label_smoothing: float) -> Tensor:
    """-logsigmoid(β (sorted policy margins - sorted reference margins)): paired AOT, Melnyk et al. 2024.

    arXiv:2406.05882. Sorted within the batch, so the entries of the result belong to no pair. Smoothed as `sigmoid`.
    """
    policy, reference = pairs.chosen - pairs.rejected, pairs.reference_chosen - pairs.reference_rejected
    return _smoothed(beta * (policy.sort().values - reference.sort().values), label_smoothing)


def aot_unpaired(pairs: Pairs, beta: float, label_smoothing: float) -> Tensor:
    """-logsigmoid(β (sorted c - sorted r)): AOT, Melnyk et al. 2024 (arXiv:2406.05882), unpaired. See `aot`."""
    delta = pairs.chosen_ratio.sort().values - pairs.rejected_ratio.sort().values
    return _smoothed(beta * delta, label_smoothing)


def _smoothed(logits: Tensor, label_smoothing: float) -> Tensor:
    """-(1 - ε) logsigmoid(x) - ε logsigmoid(-x)."""
    return -(1 - label_smoothing) * logsigmoid(logits) - label_smoothing * logsigmoid(-logits)


#: Kind -> loss of pairs and β.
LOSSES: dict[str, Callable[[Pairs, float], Tensor]] = {
    "hinge": hinge,
    "ipo": ipo,
    "ipo_sum": ipo_sum,
    "nca_pair": nca_pair,
    "bco_pair": bco_pair,
    "sppo_hard": sppo_hard,
    "apo_zero": apo_zero,
    "apo_down": apo_down,
    "discopop": discopop,
    "sigmoid_norm": sigmoid_norm,
}

#: Kind -> loss of pairs, β and label_smoothing.
SMOOTHED: dict[str, Callable[[Pairs, float, float], Tensor]] = {
    "sigmoid": sigmoid,
    "robust": robust,
    "exo_pair": exo_pair,
    "aot": aot,
    "aot_unpaired": aot_unpaired,
}
