"""Reading with a model of transformers as it is, whatever its layers are.

Prompts stand on the right, padded on the left; rows of a group begin with copies of one reading of their prompt.
"""

import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from engine import virtual_tokens
from engine.logprobs import takes_positions
from engine.models import Policy


def keeps_a_cache(model: nn.Module) -> bool:
    """Whether a model takes a cache as all do that attend; some recurrent ones have another way, and some none."""
    return "past_key_values" in inspect.signature(type(virtual_tokens.base_of(model)).forward).parameters


class GenericReader:
    """A Reader for a model that keeps a cache. longest: tokens that each row may write."""

    def __init__(self, policy: Policy, prompts: Sequence[list[int]], per_prompt: int, longest: int) -> None:
        self._model = virtual_tokens.base_of(policy.model)
        self._takes_positions = takes_positions(self._model)
        ids, mask = _padded(policy, prompts)
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        inputs = virtual_tokens.inputs(policy.model, ids, mask, positions if self._takes_positions else None)
        prefix = inputs.given.pop("past_key_values", None)  # a trained one is a cache already
        self._cache = DynamicCache(config=self._model.config) if prefix is None else prefix
        first = self._forward(**inputs.given)
        rows = torch.arange(len(prompts), device=ids.device).repeat_interleave(per_prompt)
        self.logits = first[rows]
        self._cache.reorder_cache(rows)  # type: ignore[arg-type]
        for index, layer in enumerate(self._cache.layers):
            if type(layer) is DynamicLayer and layer.is_initialized:
                self._cache.layers[index] = RoomyLayer(layer, longest)
        self._mask = inputs.given["attention_mask"][rows]
        self._position = (positions[:, -1] + 1 + virtual_tokens.count(policy.model))[rows]

    def read(self, tokens: Tensor) -> None:
        """See `Reader`."""
        self._mask = torch.cat([self._mask, torch.ones_like(self._mask[:, :1])], dim=1)
        placed = {"position_ids": self._position[:, None]} if self._takes_positions else {}
        self.logits = self._forward(input_ids=tokens[:, None], attention_mask=self._mask, **placed)
        self._position = self._position + 1

    def keep(self, rows: Tensor) -> None:
        """See `Reader`."""
        self._cache.reorder_cache(rows)  # type: ignore[arg-type]
        self._mask, self._position = self._mask[rows], self._position[rows]

    def _forward(self, **given: Tensor) -> Tensor:
        """Logits after the last of what is given, (rows, n): (rows, vocabulary). The cache grows by n."""
        output = self._model(**given, past_key_values=self._cache, use_cache=True, logits_to_keep=1)
        logits: Tensor = output.logits[:, -1]
        return logits


class RoomyLayer(DynamicLayer):
    """A layer's keys and values with room for what is to come, where transformers copies all of them for each token."""

    def __init__(self, read: DynamicLayer, room: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dtype, self.device, self.is_initialized = read.dtype, read.device, True
        self._columns = read.get_seq_length()
        self._room = [_widened(states, room) for states in (read.keys, read.values) if states is not None]
        self._show()

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write them behind the others; all there are."""
        first, self._columns = self._columns, self._columns + key_states.shape[-2]
        for states, new in zip(self._room, (key_states, value_states), strict=True):
            states[:, :, first : self._columns] = new
        return self._show()

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Go on with these rows, ascending, alone."""
        for states in self._room:
            states[: len(beam_idx), :, : self._columns] = states[beam_idx, :, : self._columns]
        self._room = [states[: len(beam_idx)] for states in self._room]
        self._show()

    def _show(self) -> tuple[Tensor, Tensor]:
        keys, values = (states[:, :, : self._columns] for states in self._room)
        self.keys, self.values = keys, values
        return keys, values


class RereadingReader:
    """A Reader for a model without such a cache: it reads each row from its beginning, every time."""

    def __init__(self, policy: Policy, prompts: Sequence[list[int]], per_prompt: int, longest: int) -> None:
        self._model = virtual_tokens.base_of(policy.model)
        padded = _padded(policy, prompts)
        self._ids, self._mask = (each.repeat_interleave(per_prompt, dim=0) for each in padded)
        self.logits = self._forward()

    def read(self, tokens: Tensor) -> None:
        """See `Reader`."""
        self._ids = torch.cat([self._ids, tokens[:, None]], dim=1)
        self._mask = torch.cat([self._mask, torch.ones_like(self._mask[:, :1])], dim=1)
        self.logits = self._forward()

    def keep(self, rows: Tensor) -> None:
        """See `Reader`."""
        self._ids, self._mask = self._ids[rows], self._mask[rows]

    def _forward(self) -> Tensor:
        logits: Tensor = self._model(input_ids=self._ids, attention_mask=self._mask, use_cache=False).logits[:, -1]
        return logits


class Padded(NamedTuple):
    """Both (rows, width). mask: 0 where padding is."""

    ids: Tensor
    mask: Tensor


def _padded(policy: Policy, prompts: Sequence[list[int]]) -> Padded:
    """Prompts with their ends side by side."""
    device = next(policy.model.parameters()).device
    pad = policy.tokenizer.pad_token_id or 0
    width = max(len(prompt) for prompt in prompts)
    ids = torch.tensor([[pad] * (width - len(p)) + p for p in prompts], device=device)
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=device)
    return Padded(ids, mask)


def _widened(states: Tensor, room: int) -> Tensor:
    rows, heads, columns, size = states.shape
    wide = states.new_zeros(rows, heads, columns + room, size)
    wide[:, :, :columns] = states
    return wide
