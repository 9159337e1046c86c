"""Virtual tokens of prompt and prefix tuning: what stands before every row, and what that shifts.

peft puts them in front within its own forward, where positions are lost and every position meets the LM head. Here the
model under it is given them instead, so that padding on either side, positions and the split head stay exact.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Inputs(NamedTuple):
    """What a model's forward takes for rows of T tokens; `skip` first columns of what it gives are virtual."""

    given: dict[str, Any]
    skip: int


def base_of(model: nn.Module) -> Any:
    """The model under peft's wrapper, LoRA and its kin within its layers; a bare model is itself."""
    unwrap = getattr(model, "get_base_model", None)
    return model if unwrap is None else unwrap()


def has_virtual_tokens(model: nn.Module) -> bool:
    """Whether the adapter is one of virtual tokens, switched on or not."""
    config = getattr(model, "active_peft_config", None)
    return bool(getattr(config, "is_prompt_learning", False))


def count(model: nn.Module) -> int:
    """Virtual tokens before each row now; 0 without such an adapter, and while it is switched off."""
    if not has_virtual_tokens(model) or model._adapters_disabled:
        return 0
    config: Any = model.active_peft_config
    return int(config.num_virtual_tokens)


def inputs(model: nn.Module, ids: Tensor, is_token: Tensor, positions: Tensor | None) -> Inputs:
    """What `base_of(model)` is to be given for rows `ids`, all (B, T). positions: None for a model that takes none."""
    mask = is_token.long()
    virtual = count(model)
    if not virtual:
        return Inputs({"input_ids": ids, "attention_mask": mask, **_placed(positions)}, skip=0)
    peft: Any = model
    prompt = peft.get_prompt(len(ids))
    before = mask.new_ones(len(ids), virtual)
    if not isinstance(prompt, Tensor):  # keys and values of every layer, as a cache
        mask = torch.cat([before, mask], dim=1)
        after = None if positions is None else positions + virtual
        return Inputs({"input_ids": ids, "attention_mask": mask, "past_key_values": prompt, **_placed(after)}, skip=0)
    embedded = base_of(model).get_input_embeddings()(ids)
    order = _right_before_the_text(mask, virtual)
    whole = torch.cat([prompt.to(embedded.dtype), embedded], dim=1)
    whole = whole.gather(1, order.unsqueeze(-1).expand_as(whole))
    if positions is not None:
        first = torch.arange(virtual, device=ids.device).expand(len(ids), -1)
        positions = torch.cat([first, positions + virtual], dim=1).gather(1, order)
    mask = torch.cat([before, mask], dim=1).gather(1, order)
    return Inputs({"inputs_embeds": whole, "attention_mask": mask, **_placed(positions)}, skip=virtual)


def _right_before_the_text(mask: Tensor, virtual: int) -> Tensor:
    """Where each column comes from, (B, virtual + T), so that padding on the left comes before the virtual tokens:
    a sliding window counts columns, and padding within it would push them out of sight."""
    padding = (mask.cumsum(dim=1) == 0).sum(dim=1, keepdim=True)
    column = torch.arange(virtual + mask.shape[1], device=mask.device).expand(len(mask), -1)
    moved = torch.where(column < padding, column + virtual, column - padding)
    return torch.where(column < padding + virtual, moved, column)


def _placed(positions: Tensor | None) -> dict[str, Tensor]:
    return {} if positions is None else {"position_ids": positions}
