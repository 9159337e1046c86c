"""How much memory answers take while they are written, and so how many are written at once."""

from collections.abc import Iterator
from typing import Any

from torch import nn

from engine import virtual_tokens
from engine.contract.online_settings import Rollout as RolloutSettings

MEBIBYTE = 2**20
#: Numbers of 4 bytes that a row keeps for each word: its logits, those that are left, their weights, one to spare.
PER_WORD = 4


def row_bytes(model: nn.Module, tokens: int) -> int:
    """What a row of so many tokens takes at most: keys and values of every layer, and logits.

    An upper bound where layers are ordinary attention: a group's prompt may be kept once, and layers with a window or
    a state of fixed size keep less.
    """
    config: Any = virtual_tokens.base_of(model).config.get_text_config()
    heads = config.num_attention_heads
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    number = next((p.element_size() for p in model.parameters() if p.is_floating_point()), 4)
    kept = 2 * config.num_hidden_layers * kv_heads * size * (tokens + virtual_tokens.count(model))
    return int(number * kept + 4 * PER_WORD * config.vocab_size)


def rows_at_once(model: nn.Module, how: RolloutSettings, longest_prompt: int) -> int:
    """Answers that are written at once within `how.memory`; one where not even that fits."""
    return max(1, how.memory * MEBIBYTE // row_bytes(model, longest_prompt + how.max_new_tokens))


def batches(prompts: int, count: int, size: int) -> Iterator[tuple[range, range]]:
    """Which prompts and which of their answers are written together: at most `size` answers, prompt after prompt."""
    if count <= size:
        per_batch = size // count
        for start in range(0, prompts, per_batch):
            yield range(start, min(start + per_batch, prompts)), range(count)
        return
    for prompt in range(prompts):
        for start in range(0, count, size):
            yield range(prompt, prompt + 1), range(start, min(start + size, count))
