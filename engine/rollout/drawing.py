"""One token for each row: the law it is drawn from, and how probable it was.

A token is drawn by inverting the law with one uniform number of the row's own stream, so it depends on nothing but that
number and the logits; `multinomial` would give each row what its neighbours left of one generator.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from engine.contract.online_settings import Rollout as RolloutSettings

#: top_p looks at so many of the likeliest tokens first, and sorts the whole vocabulary only where they are not enough.
LIKELIEST = 256
#: In a vocabulary of more than a few blocks, the block that a token is in is found first.
BLOCK = 128
FEW_BLOCKS = 16


class Drawn(NamedTuple):
    """All (rows,). logps: of tokens under the whole softmax at `temperature`; drawn_logps: under the law that drew."""

    tokens: Tensor
    logps: Tensor
    drawn_logps: Tensor


def draw(logits: Tensor, noise: Tensor, how: RolloutSettings) -> Drawn:
    """A token for each row of logits, (rows, vocabulary), by `noise`, (rows,) in [0, 1)."""
    logits = _at_temperature(logits, how)
    least = smallest_kept(logits, how)
    law = logits if least is None else logits.masked_fill(logits < least, -torch.inf)
    weights = torch.sub(law, law.amax(dim=-1, keepdim=True)).exp_()
    tokens, total = invert(weights, noise)
    drawn = (weights.gather(-1, tokens) / total).log_().squeeze(-1)
    tokens = tokens.squeeze(-1)
    return Drawn(tokens, drawn if least is None else _logps(logits, tokens), drawn)


def take_likeliest(logits: Tensor, how: RolloutSettings) -> Drawn:
    """The likeliest token of each row; of equals, the first."""
    logits = _at_temperature(logits, how)
    tokens = logits.argmax(dim=-1)
    logps = _logps(logits, tokens)
    return Drawn(tokens, logps, logps)


def smallest_kept(logits: Tensor, how: RolloutSettings) -> Tensor | None:
    """The smallest logit that may be drawn, (rows, 1); None where nothing is cut. Equal logits share their fate.

    top_k comes first; top_p (Holtzman et al. 2020, arXiv:1904.09751) keeps the fewest tokens that make up its share of
    what is left; min_p (Nguyen et al. 2025, arXiv:2407.01082) asks for a share of the likeliest token's probability.
    """
    found = []
    if how.top_k and how.top_k < logits.shape[-1]:
        found.append(logits.topk(how.top_k, dim=-1).values[:, -1:])
    if how.top_p < 1:
        found.append(_nucleus(logits, how))
    if how.min_p > 0:
        found.append(logits.amax(dim=-1, keepdim=True) + math.log(how.min_p))
    return torch.cat(found, dim=-1).amax(dim=-1, keepdim=True) if found else None


def _nucleus(logits: Tensor, how: RolloutSettings) -> Tensor:
    """The smallest logit among the fewest tokens that make up top_p, (rows, 1)."""
    vocabulary = logits.shape[-1]
    count = min(how.top_k or LIKELIEST, vocabulary)
    ordered = logits.topk(count, dim=-1).values
    total = torch.logsumexp(ordered if how.top_k else logits, dim=-1, keepdim=True)
    if not how.top_k and count < vocabulary and bool((_share(ordered, total) < how.top_p).any()):
        ordered = logits.sort(dim=-1, descending=True).values
    shares = torch.exp(ordered - total)
    is_kept = shares.cumsum(dim=-1) - shares < how.top_p
    return ordered.gather(-1, is_kept.sum(dim=-1, keepdim=True).clamp(min=1) - 1)


def _share(logits: Tensor, total: Tensor) -> Tensor:
    return torch.exp(logits - total).sum(dim=-1)


def invert(weights: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Where the sums of weights, (rows, n), pass noise, (rows,) in [0, 1), of their total: (rows, 1), and that total.

    Never a place of weight 0. With one level of blocks, most weights are added up once and looked at no more.
    """
    rows, count = weights.shape
    if count <= FEW_BLOCKS * BLOCK:
        sums = weights.cumsum(dim=-1)
        return _passed(sums, noise[:, None] * sums[:, -1:]), sums[:, -1:]
    if count % BLOCK:
        weights = torch.nn.functional.pad(weights, (0, BLOCK - count % BLOCK))
    blocks = weights.view(rows, -1, BLOCK)
    sums = blocks.sum(dim=-1).cumsum(dim=-1)
    target = noise[:, None] * sums[:, -1:]
    block = _passed(sums, target)
    before = torch.nn.functional.pad(sums, (1, 0)).gather(-1, block)
    within = blocks[torch.arange(rows, device=weights.device), block.squeeze(-1)].cumsum(dim=-1)
    return block * BLOCK + _passed(within, target - before), sums[:, -1:]


def _passed(sums: Tensor, target: Tensor) -> Tensor:
    """The first place whose sum is above target, (rows, 1). Rounding may lift target to the last sum, which none is."""
    highest = torch.nextafter(sums[:, -1:], sums.new_zeros(()))
    return torch.searchsorted(sums, torch.minimum(target, highest), right=True)


def _at_temperature(logits: Tensor, how: RolloutSettings) -> Tensor:
    return logits.float() if how.temperature == 1 else logits.float() / how.temperature


def _logps(logits: Tensor, tokens: Tensor) -> Tensor:
    """Log-probability of tokens, (rows,), under softmax(logits), (rows, vocabulary)."""
    return logits.gather(-1, tokens[:, None]).squeeze(-1) - torch.logsumexp(logits, dim=-1)
