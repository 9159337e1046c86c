"""Reading with a Llama's layers: the keys and values of a prompt are worked out once for its group, and kept once.

Each row has room of its own for what it writes, laid out before the first token. The queries of a group meet their
prompt's keys in one product, those of each row its own keys in another, and one softmax goes over both.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.rollout.layers import Layers

#: Tokens of prompts that go through the layers at once.
TOKENS_AT_ONCE = 4096


class GroupedReader:
    """A Reader for a model that `reads_layers`. longest: tokens that each row may write."""

    def __init__(self, layers: Layers, prompts: Sequence[list[int]], per_prompt: int, longest: int) -> None:
        self._layers = layers
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=layers.device)
        self._turns = layers.turns(int(lengths.max()) + longest)
        self._prompts = _room(layers, len(prompts), int(lengths.max()))
        first = torch.cat([self._read_prompts(prompts, part) for part in _parts(prompts)])
        self.logits = first.repeat_interleave(per_prompt, dim=0)
        self._own = _room(layers, len(prompts) * per_prompt, longest)
        self._written = 0
        self._positions = lengths.repeat_interleave(per_prompt)
        self._group = torch.arange(len(prompts), device=layers.device).repeat_interleave(per_prompt)
        self._grid = grid_of(self._group)
        column = torch.arange(int(lengths.max()), device=layers.device)
        #: Added to what queries find in prompts, (groups, 1, 1, columns): 0, or minus infinity beyond the end.
        self._behind_the_end: Tensor | None = None
        if lengths.min() < lengths.max():
            hidden = torch.where(column < lengths[:, None], 0.0, -torch.inf)
            self._behind_the_end = hidden.to(layers.dtype)[:, None, None]

    def read(self, tokens: Tensor) -> None:
        """See `Reader`."""
        hidden = self._layers.read(tokens, self._turns[self._positions], self._attend)
        self.logits = self._layers.logits(hidden)
        self._positions = self._positions + 1
        self._written += 1

    def keep(self, rows: Tensor) -> None:
        """See `Reader`."""
        self._own = _moved_up(self._own, rows, columns=self._written)
        self._positions = self._positions[rows]
        groups, self._group = self._group[rows].unique_consecutive(return_inverse=True)
        if len(groups) < len(self._prompts[0]):
            self._prompts = _moved_up(self._prompts, groups, columns=self._prompts[0].shape[3])
            if self._behind_the_end is not None:
                self._behind_the_end = self._behind_the_end[groups]
        self._grid = grid_of(self._group)

    def _read_prompts(self, prompts: Sequence[list[int]], part: slice) -> Tensor:
        """Logits after each prompt of a part, (prompts of it, vocabulary). The layers see their tokens alone."""
        device = self._layers.device
        lengths = torch.tensor([len(prompt) for prompt in prompts[part]], device=device)
        width = int(lengths.max())
        ids = torch.tensor([token for prompt in prompts[part] for token in prompt], device=device)
        row, column = (torch.arange(width, device=device) < lengths[:, None]).nonzero(as_tuple=True)

        def attend(layer: int, queries: Tensor, keys_and_values: Tensor) -> Tensor:
            # Padding stands to the right, so nothing but causality hides it; it holds zeros.
            placed = queries.new_zeros(len(lengths), width, *queries.shape[1:])
            placed[row, column] = queries
            kept = self._prompts[layer][part, :, :, :width]
            kept.permute(0, 3, 1, 2, 4)[row, column] = keys_and_values.to(kept.dtype)
            keys, values = kept.unbind(1)
            seen = F.scaled_dot_product_attention(
                placed.transpose(1, 2), keys, values, is_causal=True, scale=1.0, enable_gqa=True
            )
            return seen.transpose(1, 2)[row, column]

        hidden = self._layers.read(ids, self._turns[column], attend)
        return self._layers.logits(hidden[lengths.cumsum(0) - 1])

    def _attend(self, layer: int, queries: Tensor, keys_and_values: Tensor) -> Tensor:
        """What each row's query sees of its prompt and of what the row wrote, (rows, kv heads, queries, size)."""
        own, columns = self._own[layer], self._written + 1
        own[:, :, :, self._written] = keys_and_values
        queries = queries.unflatten(1, (own.shape[2], -1))
        (own_keys, own_values), (keys, values) = own[:, :, :, :columns].unbind(1), self._prompts[layer].unbind(1)
        in_prompt = torch.matmul(self._grid.lay(queries), keys.transpose(2, 3))
        if self._behind_the_end is not None:
            in_prompt += self._behind_the_end
        in_own = torch.matmul(queries, own_keys.transpose(2, 3))
        shares = torch.softmax(torch.cat([self._grid.take(in_prompt), in_own], dim=-1), dim=-1, dtype=torch.float32)
        of_prompt, of_own = shares.to(own.dtype).split([in_prompt.shape[-1], columns], dim=-1)
        return self._grid.take(torch.matmul(self._grid.lay(of_prompt), values)) + torch.matmul(of_own, own_values)


def _room(layers: Layers, rows: int, columns: int) -> list[Tensor]:
    """For the keys and values of each layer, (rows, 2, kv heads, columns, size): one piece of memory, never moved."""
    _, kv_heads, size = layers.shape
    shape = rows, 2, kv_heads, columns, size
    return [torch.zeros(shape, dtype=layers.dtype, device=layers.device) for _ in range(len(layers))]


def _moved_up(states: list[Tensor], rows: Tensor, *, columns: int) -> list[Tensor]:
    """Rows, ascending, as far as `columns`, moved to the front."""
    for each in states:
        each[: len(rows), :, :, :columns] = each[rows, :, :, :columns]
    return [each[: len(rows)] for each in states]


class Grid(NamedTuple):
    """Rows of uneven groups as groups of equal size. slots: (rows,), where each stands; None where all are taken."""

    groups: int
    places: int
    slots: Tensor | None

    def lay(self, states: Tensor) -> Tensor:
        """(rows, kv heads, queries, n) to (groups, kv heads, places · queries, n); empty places hold zeros."""
        if self.places == 1:
            return states
        if self.slots is not None:
            states = states.new_zeros(self.groups * self.places, *states.shape[1:]).index_copy_(0, self.slots, states)
        laid: Tensor = states.unflatten(0, (self.groups, self.places)).transpose(1, 2).flatten(2, 3)
        return laid

    def take(self, states: Tensor) -> Tensor:
        """The way back."""
        if self.places == 1:
            return states
        rows: Tensor = states.unflatten(2, (self.places, -1)).transpose(1, 2).flatten(0, 1)
        return rows if self.slots is None else rows.index_select(0, self.slots)


def grid_of(group: Tensor) -> Grid:
    """group: (rows,), ascending from 0 without gaps, which group each row belongs to."""
    sizes = torch.bincount(group)
    groups, places = len(sizes), int(sizes.max())
    if groups * places == len(group):
        return Grid(groups, places, None)
    first = sizes.cumsum(0) - sizes
    return Grid(groups, places, group * places + torch.arange(len(group), device=group.device) - first[group])


def _parts(prompts: Sequence[list[int]]) -> Iterator[slice]:
    """Prompts, in order, of TOKENS_AT_ONCE together; a longer one by itself."""
    start, tokens = 0, 0
    for index, prompt in enumerate(prompts):
        if index > start and tokens + len(prompt) > TOKENS_AT_ONCE:
            yield slice(start, index)
            start, tokens = index, 0
        tokens += len(prompt)
    yield slice(start, len(prompts))
