"""Adapters, through peft: low-rank matrices beside frozen weights, or virtual tokens before every row."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache, PreTrainedModel, PreTrainedTokenizerBase

from engine.contract import settings
from engine.virtual_tokens import has_virtual_tokens


class AdapterError(ValueError):
    """An adapter that a model cannot take, in words for a person."""


def add_adapter(
    model: PreTrainedModel,
    adapter: settings.Adapter,
    tokenizer: PreTrainedTokenizerBase,
    *,
    seed: int,
    head: str | None = None,
) -> nn.Module:
    """The model, frozen, with a new adapter. Raises AdapterError.

    seed: decides the random weights it begins with, whatever was drawn before. head: the layer of a reward model that
    learns all its weights beside matrices, being new itself.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if adapter.is_low_rank:
            return _with_matrices(model, adapter, head)
        return _with_virtual_tokens(model, adapter, tokenizer)


def merged(model: Any, name: str) -> PreTrainedModel:
    """The model with its adapter's matrices added to its weights. Raises AdapterError where there are none to add."""
    if has_virtual_tokens(model):
        raise AdapterError(
            f"{name}: virtual tokens cannot be merged into a model's weights; name the model that they were trained on"
        )
    whole: PreTrainedModel = model.merge_and_unload()
    return whole


def _with_matrices(model: PreTrainedModel, adapter: settings.Adapter, head: str | None) -> nn.Module:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha,  # type: ignore[arg-type]  # peft takes a float, and says int
        lora_dropout=adapter.dropout,
        target_modules=adapter.targets,
        use_dora=adapter.kind == "dora",
        use_rslora=adapter.kind == "rslora",
        task_type="CAUSAL_LM" if head is None else "SEQ_CLS",
        modules_to_save=None if head is None else [head],
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise AdapterError(f"model.adapter.targets: {error}") from error


def _with_virtual_tokens(
    model: PreTrainedModel, adapter: settings.Adapter, tokenizer: PreTrainedTokenizerBase
) -> nn.Module:
    from peft import PrefixTuningConfig, PromptTuningConfig, get_peft_model

    is_prefix = adapter.kind == "prefix_tuning"
    kind: Any = PrefixTuningConfig if is_prefix else PromptTuningConfig
    ids = _first_words(model, adapter, tokenizer)
    with torch.no_grad():
        start = _keys_and_values(model, ids) if is_prefix else model.get_input_embeddings()(ids)
    wrapped: Any = get_peft_model(model, kind(num_virtual_tokens=adapter.virtual_tokens, task_type="CAUSAL_LM"))
    weight = wrapped.prompt_encoder[wrapped.active_adapter].embedding.weight
    if weight.shape != start.shape or (is_prefix and not isinstance(wrapped.get_prompt(1), Cache)):
        raise _unknown_cache(model)
    with torch.no_grad():
        weight.copy_(start)
    module: nn.Module = wrapped
    return module


def _first_words(model: PreTrainedModel, adapter: settings.Adapter, tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """The tokens that the virtual ones begin as, (virtual,): those of `init_text` over and over, else random ones."""
    wanted, device = adapter.virtual_tokens, model.device
    if not adapter.init_text:
        return torch.randint(0, len(tokenizer), (wanted,)).to(device)
    ids = list(tokenizer(adapter.init_text, add_special_tokens=False)["input_ids"])
    if not ids:
        raise AdapterError("model.adapter.init_text: has no token in it; give it some words, or leave it out")
    return torch.tensor((ids * (wanted // len(ids) + 1))[:wanted], device=device)


def _keys_and_values(model: PreTrainedModel, ids: Tensor) -> Tensor:
    """What the model itself keeps of real tokens, (virtual, layers x 2 x heads x size): the start that Li & Liang 2021
    (arXiv:2101.00190, 7.4) found best; random numbers drown what the model knows."""
    was_training = model.training
    cache = model.eval()(input_ids=ids.unsqueeze(0), use_cache=True).past_key_values
    model.train(was_training)
    if cache is None or any(getattr(layer, "keys", None) is None or layer.is_sliding for layer in cache.layers):
        raise _unknown_cache(model)  # a sliding window would lose sight of the prefix sooner in a padded row
    layers = [part for layer in cache.layers for part in (layer.keys, layer.values)]  # each (1, heads, virtual, size)
    return torch.cat(layers).permute(2, 0, 1, 3).flatten(1)


def _unknown_cache(model: PreTrainedModel) -> AdapterError:
    return AdapterError(
        f"model.adapter.kind: prefix tuning does not know how {model.config.model_type} keeps its keys and values; "
        "use prompt_tuning or lora"
    )
