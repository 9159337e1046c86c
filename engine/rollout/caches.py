"""Keys and values of rows in groups that begin with the same prompt, kept in one of two ways.

With its prompt in front of each row, attention is three calls; with a prompt once for its group, it is a dozen, which
read far less memory. The first is faster while all of it is small, the second from then on.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

#: Bytes of keys and values of a layer up to which each row has its prompt before it: what a processor's cache holds.
SMALL = 2**22


class Cache(Protocol):
    """The keys and values of some layers, and what queries find there."""

    def see(self, layer: int, queries: Tensor, keys_and_values: Tensor) -> Tensor:
        """What each row's query, (rows, heads, size), sees of its prompt and of what the row wrote, the new token too.

        keys_and_values: (rows, 2, kv heads, size), of the new token. Gives (rows, kv heads, queries of each, size).
        """

    def advance(self) -> None:
        """All layers have seen the new token."""

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows alone; rows: their indices, ascending."""


def cache_of(prompts: Sequence[Tensor], lengths: Tensor, per_prompt: int, longest: int) -> Cache:
    """The faster of the two.

    prompts: for each layer keys and values, padded to the right, (2, prompts, kv heads, columns, size); lengths:
    theirs, (prompts,). Each prompt gets per_prompt rows, which write at most longest tokens.
    """
    _, groups, kv_heads, columns, size = prompts[0].shape
    numbers = 2 * groups * per_prompt * kv_heads * (columns + longest) * size
    is_small = per_prompt == 1 or numbers * prompts[0].element_size() <= SMALL
    hidden = _hidden(prompts[0], lengths)
    return (RowsCache if is_small else GroupsCache)(prompts, hidden, per_prompt, longest)


class RowsCache:
    """Each row's prompt stands before what the row wrote. hidden: see `_hidden`."""

    def __init__(self, prompts: Sequence[Tensor], hidden: Tensor | None, per_prompt: int, longest: int) -> None:
        groups, self._columns = prompts[0].shape[1], prompts[0].shape[3]
        self._in_prompt = self._columns
        self._kept = _room(prompts, groups * per_prompt, self._columns + longest)
        for kept, prompt in zip(self._kept, prompts, strict=True):
            kept[:, :, :, : self._columns] = prompt.repeat_interleave(per_prompt, dim=1)
        self._hidden = None if hidden is None else hidden.repeat_interleave(per_prompt, dim=0)

    def see(self, layer: int, queries: Tensor, keys_and_values: Tensor) -> Tensor:
        kept = self._kept[layer]
        kept[:, :, :, self._columns] = keys_and_values.transpose(0, 1)
        keys, values = kept[:, :, :, : self._columns + 1]
        found = torch.matmul(queries.unflatten(1, (kept.shape[2], -1)), keys.transpose(2, 3))
        if self._hidden is not None:
            found[..., : self._in_prompt] += self._hidden
        return torch.matmul(torch.softmax(found, dim=-1, dtype=torch.float32).to(kept.dtype), values)

    def advance(self) -> None:
        self._columns += 1

    def keep(self, rows: Tensor) -> None:
        self._kept = _moved_up(self._kept, rows, columns=self._columns)
        self._hidden = None if self._hidden is None else self._hidden[rows]


class GroupsCache:
    """A prompt stands once for its group. The queries of a group meet their prompt's keys in one product, those of each
    row its own keys in another, and one softmax goes over both. hidden: see `_hidden`.
    """

    def __init__(self, prompts: Sequence[Tensor], hidden: Tensor | None, per_prompt: int, longest: int) -> None:
        groups = prompts[0].shape[1]
        self._prompts, self._hidden, self._written = list(prompts), hidden, 0
        self._own = _room(prompts, groups * per_prompt, longest)
        self._group = torch.arange(groups, device=prompts[0].device).repeat_interleave(per_prompt)
        self._grid = grid_of(self._group)

    def see(self, layer: int, queries: Tensor, keys_and_values: Tensor) -> Tensor:
        own, columns = self._own[layer], self._written + 1
        own[:, :, :, self._written] = keys_and_values.transpose(0, 1)
        queries = queries.unflatten(1, (own.shape[2], -1))
        (own_keys, own_values), (keys, values) = own[:, :, :, :columns], self._prompts[layer]
        in_prompt = torch.matmul(self._grid.lay(queries), keys.transpose(2, 3))
        if self._hidden is not None:
            in_prompt += self._hidden
        in_own = torch.matmul(queries, own_keys.transpose(2, 3))
        shares = torch.softmax(torch.cat([self._grid.take(in_prompt), in_own], dim=-1), dim=-1, dtype=torch.float32)
        of_prompt, of_own = shares.to(own.dtype).split([in_prompt.shape[-1], columns], dim=-1)
        return self._grid.take(torch.matmul(self._grid.lay(of_prompt), values)) + torch.matmul(of_own, own_values)

    def advance(self) -> None:
        self._written += 1

    def keep(self, rows: Tensor) -> None:
        self._own = _moved_up(self._own, rows, columns=self._written)
        groups, self._group = self._group[rows].unique_consecutive(return_inverse=True)
        if len(groups) < self._prompts[0].shape[1]:
            self._prompts = _moved_up(self._prompts, groups, columns=self._prompts[0].shape[3])
            self._hidden = None if self._hidden is None else self._hidden[groups]
        self._grid = grid_of(self._group)


def _hidden(prompts: Tensor, lengths: Tensor) -> Tensor | None:
    """Added to what queries find in prompts, (prompts, 1, 1, columns): 0, or minus infinity beyond a prompt's end."""
    if lengths.min() == lengths.max():
        return None
    column = torch.arange(prompts.shape[3], device=prompts.device)
    return torch.where(column < lengths[:, None], 0.0, -torch.inf).to(prompts.dtype)[:, None, None]


def _room(like: Sequence[Tensor], rows: int, columns: int) -> list[Tensor]:
    """For keys and values of each layer, (2, rows, kv heads, columns, size): one piece of memory, never moved.

    Rows and heads stand next to each other, so that products over both read it where it is.
    """
    return [each.new_zeros(2, rows, each.shape[2], columns, each.shape[4]) for each in like]


def _moved_up(states: list[Tensor], rows: Tensor, *, columns: int) -> list[Tensor]:
    """Rows, ascending, as far as `columns`, moved to the front."""
    for each in states:
        each[:, : len(rows), :, :columns] = each[:, rows, :, :columns]
    return [each[:, : len(rows)] for each in states]


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
