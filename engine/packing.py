"""Batches without padding, in which the answers to one prompt share it: every token is computed once.

All layers but attention work token by token, so they are given the tokens of a batch in one line, (1, N). Attention
spreads the line's queries, keys and values over ordinary right-padded rows, a shared prompt over all rows it begins,
works causally within each row, and takes every token's result back into the line once. What a token sees is what it
sees in a row of its own, so this is exact; a model is given lines only after it has read a few rows alike both ways.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from engine.modes import eval_mode

#: The attention implementation of a model that reads lines as well as rows.
IMPLEMENTATION = "plumbline_lines"


class Line(NamedTuple):
    """How right-padded rows, (B, T), and the line of their N tokens belong together.

    places: (B, T), where each token of the rows stands in the line; 0 for padding. first: (N,), where each token of the
    line stands first in the rows, flattened to B T. again: where tokens of the line stand for the second time in the
    rows, for the third time, and so on, each (S,); again_in_line: where these stand in the line, likewise.
    """

    places: Tensor
    first: Tensor
    again: tuple[Tensor, ...]
    again_in_line: tuple[Tensor, ...]

    def to(self, device: torch.device) -> "Line":
        again, again_in_line = (
            tuple(tensor.to(device, non_blocking=True) for tensor in tensors)
            for tensors in (self.again, self.again_in_line)
        )
        places, first = (tensor.to(device, non_blocking=True) for tensor in (self.places, self.first))
        return Line(places, first, again, again_in_line)


def line_up(is_token: Tensor, shared: Sequence[int]) -> Line:
    """The line of rows of which two begin alike: the first `shared[i]` tokens of row i, of the second half of the rows,
    are those of row i of the first half.

    is_token: (B, T), False for padding. shared may be empty: then every token stands once.
    """
    first = range(len(is_token) - len(shared))
    return line_up_groups(is_token, [*(0 for _ in first), *shared], [*first, *range(len(shared))])


def line_up_groups(is_token: Tensor, shared: Sequence[int], leaders: Sequence[int]) -> Line:
    """The line of rows of which several begin alike: the first `shared[i]` tokens of row i are those of row leaders[i].

    is_token: (B, T), False for padding. A row that shares nothing, as a leader must, has shared[i] = 0.
    """
    device = is_token.device
    is_shared = is_token & (
        torch.arange(is_token.shape[1], device=device) < torch.tensor(shared, device=device).unsqueeze(1)
    )
    is_first = is_token & ~is_shared
    places = (is_first.flatten().cumsum(0) - 1).view(is_first.shape).masked_fill(~is_token, 0)
    places = torch.where(is_shared, places[torch.tensor(leaders, device=device)], places)
    # A place in the line is written once in each turn, so that adding them up has one order.
    turns = torch.tensor(_turns(shared, leaders), device=device).unsqueeze(1)
    again = [is_shared & (turns == turn) for turn in range(1, int(turns.max()) + 1)]
    return Line(
        places,
        first=is_first.flatten().nonzero().squeeze(1),
        again=tuple(mask.flatten().nonzero().squeeze(1) for mask in again),
        again_in_line=tuple(places[mask] for mask in again),
    )


def _turns(shared: Sequence[int], leaders: Sequence[int]) -> list[int]:
    """For each row the how manieth it is to share its leader's beginning; 0 where it shares nothing."""
    seen: dict[int, int] = {}
    turns = []
    for count, leader in zip(shared, leaders, strict=True):
        seen[leader] = seen.get(leader, 0) + bool(count)
        turns.append(seen[leader] if count else 0)
    return turns


def line_inputs(line: Line, input_ids: Tensor, is_token: Tensor) -> dict[str, Any]:
    """What a backbone is called with to read rows as a line; it gives hidden states (1, N, width)."""
    positions = (is_token.long().cumsum(dim=1) - 1).flatten()
    return {
        "input_ids": input_ids.flatten()[line.first].unsqueeze(0),
        "position_ids": positions[line.first].unsqueeze(0),
        # Of four dimensions, so that no model builds one of its own, N by N; attention in rows has no use for it.
        "attention_mask": torch.ones(1, 1, 1, 1, dtype=torch.bool, device=input_ids.device),
        "use_cache": False,
        "line": line,
    }


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    line: Line | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """PyTorch's attention; of a line, in the rows it stands for. query, key, value: (1, heads, N, size)."""
    if line is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    if options.get("sliding_window") is not None:
        raise NotImplementedError("attention in a sliding window")
    query, key, value = (_spread(states[0].transpose(0, 1), line).transpose(1, 2) for states in (query, key, value))
    options["is_causal"] = True  # padding stands to the right, so nothing but causality hides it
    seen, _ = sdpa_attention_forward(module, query, key, value, None, **options)  # (B, T, heads, size)
    return _collect(seen, line).unsqueeze(0), None


AttentionInterface.register(IMPLEMENTATION, _attend)
AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)


def _spread(states: Tensor, line: Line) -> Tensor:
    rows: Tensor = _Spread.apply(states, line)  # type: ignore[no-untyped-call]
    return rows


def _collect(states: Tensor, line: Line) -> Tensor:
    taken: Tensor = _Collect.apply(states, line)  # type: ignore[no-untyped-call]
    return taken


class _Spread(torch.autograd.Function):
    """From a line, (N, …), to rows, (B, T, …). Padding repeats the first token, and gives no gradient back.

    By hand, because autograd would add gradients where places repeat in another order on a GPU each time.
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, line: Line) -> Tensor:
        ctx.line = line
        return states.index_select(0, line.places.flatten()).view(*line.places.shape, *states.shape[1:])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        line, flat = ctx.line, gradient.reshape(-1, *gradient.shape[2:])
        once = flat.index_select(0, line.first)
        for rows, places in zip(line.again, line.again_in_line, strict=True):
            once.index_copy_(0, places, once.index_select(0, places) + flat.index_select(0, rows))
        return once, None


class _Collect(torch.autograd.Function):
    """From rows, (B, T, …), to their line, (N, …), each token from where it stands first."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, line: Line) -> Tensor:
        ctx.line, ctx.shape = line, states.shape
        return states.reshape(-1, *states.shape[2:]).index_select(0, line.first)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        rows = gradient.new_zeros(ctx.shape).view(-1, *gradient.shape[1:])
        return rows.index_copy_(0, ctx.line.first, gradient).view(ctx.shape), None


@torch.no_grad()
def reads_lines(backbone: nn.Module) -> bool:
    """Whether a backbone gives the same hidden states for a line as for rows; if so, it is made ready to.

    Tried with rows of which some begin alike. Attention that is not PyTorch's, looks through a window, or goes
    past the interface, and layers that carry something along the line, are told apart by that.
    """
    config: Any = getattr(backbone, "config", None)
    if getattr(config, "_attn_implementation", None) != "sdpa" or has_window(config):
        return getattr(config, "_attn_implementation", None) == IMPLEMENTATION
    config._attn_implementation = IMPLEMENTATION
    try:
        with eval_mode(backbone):
            agrees = _agrees(backbone)
    except (AttributeError, TypeError, RuntimeError):
        agrees = False
    if not agrees:
        config._attn_implementation = "sdpa"
    return agrees


def _agrees(backbone: nn.Module) -> bool:
    device = next(backbone.parameters()).device
    ids = torch.tensor([[2, 3, 4, 5, 6, 7, 8], [9, 8, 7, 6, 0, 0, 0], [2, 3, 4, 9, 5, 0, 0], [9, 8, 7, 2, 6, 4, 3]])
    lengths = torch.tensor([7, 4, 5, 7])
    ids, is_token = ids.to(device), (torch.arange(7) < lengths.unsqueeze(1)).to(device)
    line = line_up(is_token, [3, 3])
    lined: Tensor = backbone(**line_inputs(line, ids, is_token)).last_hidden_state[0]
    positions = (is_token.long().cumsum(dim=1) - 1).clamp(min=0)
    whole = backbone(input_ids=ids, attention_mask=is_token.long(), position_ids=positions, use_cache=False)
    difference = (lined[line.places] - whole.last_hidden_state)[is_token].float()
    size = whole.last_hidden_state[is_token].float().std()
    exact = lined.dtype == torch.float32
    return bool(difference.abs().max() < (1e-4 if exact else 0.2) * size)


def has_window(config: Any) -> bool:
    """Whether some layer looks back only so far, or is not attention at all."""
    layers = getattr(config, "layer_types", None)
    if layers is not None:
        return any(layer != "full_attention" for layer in layers)
    return getattr(config, "sliding_window", None) is not None
