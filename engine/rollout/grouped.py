"""Reading with a Llama's layers: the keys and values of a prompt are worked out once for its group."""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.rollout.caches import cache_of
from engine.rollout.layers import Layers

#: Tokens of prompts that go through the layers at once.
TOKENS_AT_ONCE = 4096


class GroupedReader:
    """A Reader for a model that `reads_layers`. longest: tokens that each row may write."""

    def __init__(self, layers: Layers, prompts: Sequence[list[int]], per_prompt: int, longest: int) -> None:
        self._layers = layers
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=layers.device)
        self._turns = layers.turns(int(lengths.max()) + longest)
        kept = _room(layers, len(prompts), int(lengths.max()))
        first = torch.cat([self._read_prompts(prompts, part, kept) for part in _parts(prompts)])
        self.logits = first.repeat_interleave(per_prompt, dim=0)
        self._positions = lengths.repeat_interleave(per_prompt)
        self._cache = cache_of(kept, lengths, per_prompt, longest)

    def read(self, tokens: Tensor) -> None:
        """See `Reader`."""
        hidden = self._layers.read(tokens, self._turns[self._positions], self._cache.see)
        self.logits = self._layers.logits(hidden)
        self._positions = self._positions + 1
        self._cache.advance()

    def keep(self, rows: Tensor) -> None:
        """See `Reader`."""
        self._cache.keep(rows)
        self._positions = self._positions[rows]

    def _read_prompts(self, prompts: Sequence[list[int]], part: slice, room: list[Tensor]) -> Tensor:
        """Logits after each prompt of a part, (prompts of it, vocabulary). The layers see their tokens alone.

        Keys and values go to the part's place in the room.
        """
        device = self._layers.device
        lengths = torch.tensor([len(prompt) for prompt in prompts[part]], device=device)
        width = int(lengths.max())
        ids = torch.tensor([token for prompt in prompts[part] for token in prompt], device=device)
        row, column = (torch.arange(width, device=device) < lengths[:, None]).nonzero(as_tuple=True)

        def attend(layer: int, queries: Tensor, keys_and_values: Tensor) -> Tensor:
            # Padding stands to the right, so nothing but causality hides it; it holds zeros.
            placed = queries.new_zeros(len(lengths), width, *queries.shape[1:])
            placed[row, column] = queries
            kept = room[layer][:, part, :, :width]
            kept.permute(1, 3, 0, 2, 4)[row, column] = keys_and_values.to(kept.dtype)
            keys, values = kept
            seen = F.scaled_dot_product_attention(
                placed.transpose(1, 2), keys, values, is_causal=True, scale=1.0, enable_gqa=True
            )
            return seen.transpose(1, 2)[row, column]

        hidden = self._layers.read(ids, self._turns[column], attend)
        return self._layers.logits(hidden[lengths.cumsum(0) - 1])


def _room(layers: Layers, prompts: int, columns: int) -> list[Tensor]:
    """For the keys and values of each layer, (2, prompts, kv heads, columns, size)."""
    _, kv_heads, size = layers.shape
    shape = 2, prompts, kv_heads, columns, size
    return [torch.zeros(shape, dtype=layers.dtype, device=layers.device) for _ in range(len(layers))]


def _parts(prompts: Sequence[list[int]]) -> Iterator[slice]:
    """Prompts, in order, of TOKENS_AT_ONCE together; a longer one by itself."""
    start, tokens = 0, 0
    for index, prompt in enumerate(prompts):
        if index > start and tokens + len(prompt) > TOKENS_AT_ONCE:
            yield slice(start, index)
            start, tokens = index, 0
        tokens += len(prompt)
    yield slice(start, len(prompts))
