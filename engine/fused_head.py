"""The LM head and the log-softmax behind it in one: no more than a tile of logits at a time while they are worked on.

Left to autograd, the step from hidden states to log-probabilities keeps three matrices of tokens by vocabulary, each
read from memory several times. Here a tile stays in the processor's cache from projection to probabilities, and what is
kept for backward is the probabilities alone, or nothing: then they are worked out again, at a third more arithmetic.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

#: Logits worked on at once. On a CPU 8 MiB of float32 stay in its cache; a GPU wants larger pieces.
TILE = {"cpu": 2**21, "gpu": 2**24}


class Scored(NamedTuple):
    """All (N,): log-probability of each target, entropy, whether it was the likeliest."""

    logps: Tensor
    entropy: Tensor
    is_top: Tensor


def score_hidden(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    *,
    scale: float,
    keeps_at_most: int,
    entropy_learns: bool = False,
) -> Scored:
    """Scores of targets (N,) under the logits scale · (hidden · weightᵀ + bias), in float32.

    hidden: (N, width). weight: (vocabulary, width). keeps_at_most: probabilities to keep for backward; where there are
    more, none is kept and no tile is larger. logps carries a gradient, and so does entropy if entropy_learns.
    """
    scored = _ScoreHidden.apply(  # type: ignore[no-untyped-call]
        hidden, weight, bias, targets, scale, keeps_at_most, entropy_learns
    )
    return Scored(*scored)


class _ScoreHidden(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        scale: float,
        keeps_at_most: int,
        entropy_learns: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.dtype = arithmetic(hidden)
        ctx.scale = scale
        shape = (len(targets), len(weight))
        ctx.rows_at_once = max(1, min(TILE["cpu" if hidden.device.type == "cpu" else "gpu"], keeps_at_most) // shape[1])
        is_kept = any(ctx.needs_input_grad) and shape[0] * shape[1] <= keeps_at_most
        kept = hidden.new_empty(shape, dtype=torch.float32) if is_kept else None
        log_total, logps, entropy = (hidden.new_empty(shape[0], dtype=torch.float32) for _ in range(3))
        is_top = torch.empty(shape[0], dtype=torch.bool, device=hidden.device)
        with torch.autocast(hidden.device.type, enabled=False):
            cast = _cast(weight, bias, ctx.dtype)
            for part in _parts(shape[0], ctx.rows_at_once):
                logits = _logits(hidden[part].to(ctx.dtype), cast, scale)
                largest = logits.amax(dim=-1, keepdim=True)
                logits -= largest
                target = logits.gather(-1, targets[part].unsqueeze(-1)).squeeze(-1)
                exponents = torch.exp(logits, out=None if kept is None else kept[part])
                total = exponents.sum(dim=-1)
                # H = log Z - E[logit], a product of two vectors a token.
                mean = torch.bmm(exponents.unsqueeze(1), logits.unsqueeze(2)).flatten() / total
                entropy[part] = total.log() - mean
                logps[part] = target - total.log()
                is_top[part] = target >= 0
                log_total[part] = total.log() + largest.squeeze(-1)
                if kept is not None:
                    exponents /= total.unsqueeze(-1)
        ctx.save_for_backward(hidden, weight, bias, targets, log_total, kept, entropy if entropy_learns else None)
        ctx.mark_non_differentiable(*([is_top] if entropy_learns else [entropy, is_top]))
        return logps, entropy, is_top

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, to_entropy: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, targets, log_total, kept, entropy = ctx.saved_tensors
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        to_hidden = torch.empty_like(hidden) if needs_hidden else None
        to_weight = torch.zeros_like(weight, dtype=torch.float32) if needs_weight else None
        to_bias = torch.zeros_like(bias, dtype=torch.float32) if needs_bias else None
        cast = _cast(weight, bias, ctx.dtype)
        for part in _parts(len(targets), ctx.rows_at_once):
            states = hidden[part].to(ctx.dtype)
            if kept is None:
                each = _logits(states, cast, ctx.scale).sub_(log_total[part].unsqueeze(-1)).exp_()
            else:
                each = kept[part]
            # d logp / d logits = one-hot - softmax, in place of the softmax.
            factor = (gradient[part] * ctx.scale).unsqueeze(-1)
            if entropy is None:
                each.mul_(-factor)
            else:
                # d H / d logits = -softmax (log softmax + H); a probability of 0 has no part in it.
                of_entropy = (to_entropy[part] * ctx.scale).unsqueeze(-1)
                surprise = each.log().clamp(min=torch.finfo(each.dtype).min)
                each.mul_(-factor - of_entropy * (surprise + entropy[part].unsqueeze(-1)))
            each = each.scatter_add_(-1, targets[part].unsqueeze(-1), factor).to(ctx.dtype)
            if to_hidden is not None:
                to_hidden[part] = each @ cast[0]
            if to_weight is not None:
                _add_product(to_weight, each, states)
            if to_bias is not None:
                to_bias += each.sum(dim=0)
        return (
            to_hidden,
            None if to_weight is None else to_weight.to(weight.dtype),
            None if to_bias is None else to_bias.to(bias.dtype),
            *[None] * 4,
        )


def arithmetic(hidden: Tensor) -> torch.dtype:
    """The number format of the products: autocast's where it is on."""
    kind = hidden.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype


def _cast(weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    return weight.to(dtype), None if bias is None else bias.to(dtype)


def _parts(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _logits(states: Tensor, head: tuple[Tensor, Tensor | None], scale: float) -> Tensor:
    logits = F.linear(states, *head).float()
    return logits if scale == 1.0 else logits.mul_(scale)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += leftᵀ · right; the sum over tiles is float32 whatever the products are."""
    if left.dtype == total.dtype:
        total.addmm_(left.T, right)
    else:
        total += left.T @ right
