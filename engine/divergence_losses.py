"""How far a student's next-token distributions are from a teacher's: pure, from the logits of both.

Everything is exact over the vocabulary, at each position by itself; nothing is estimated from the tokens that stand
there. P is the teacher, Q the student.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Divergence(NamedTuple):
    """All (N,), nats. loss carries a gradient. kl: KL(Q || P); forward_kl: KL(P || Q). agrees: 1 where both find the
    same token likeliest."""

    loss: Tensor
    kl: Tensor
    forward_kl: Tensor
    entropy: Tensor
    teacher_entropy: Tensor
    agrees: Tensor


def divergence(student: Tensor, teacher: Tensor, *, beta: float, temperature: float) -> Divergence:
    """Generalised Jensen-Shannon divergence, Agarwal et al. 2023 (arXiv:2306.13649), eq. 1, at each position.

    student, teacher: (N, vocabulary) logits, divided by the temperature first; of columns that only one of them has, as
    padded vocabularies do, both go without. beta: with M = beta P + (1 - beta) Q it is beta KL(P || M) +
    (1 - beta) KL(Q || M), and at its ends what that tends to once divided by beta or by 1 - beta: at 0 KL(P || Q), at 1
    KL(Q || P), as TRL has it.
    """
    width = min(student.shape[-1], teacher.shape[-1])
    log_q = torch.log_softmax(student[:, :width].float() / temperature, dim=-1)
    log_p = torch.log_softmax(teacher[:, :width].float() / temperature, dim=-1)
    with torch.no_grad():
        q, p = log_q.exp(), log_p.exp()
        told = (_kl(log_q, log_p), _kl(log_p, log_q), -(q * log_q).sum(dim=-1), -(p * log_p).sum(dim=-1))
        agrees = (q.argmax(dim=-1) == p.argmax(dim=-1)).float()
    return Divergence(_loss(log_q, log_p, beta), *told, agrees)


def _loss(log_q: Tensor, log_p: Tensor, beta: float) -> Tensor:
    if beta == 0:
        return _kl(log_p, log_q)
    if beta == 1:
        return _kl(log_q, log_p)
    mixed = torch.logaddexp(log_p + math.log(beta), log_q + math.log1p(-beta))
    return beta * _kl(log_p, mixed) + (1 - beta) * _kl(log_q, mixed)


def _kl(log_a: Tensor, log_b: Tensor) -> Tensor:
    """KL(a || b) of rows of log-probabilities, (N,)."""
    return (log_a.exp() * (log_a - log_b)).sum(dim=-1)
