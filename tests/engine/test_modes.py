"""Dropout is off where a policy is compared, and layers are computed again in backward all the same."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine.contract.preset import DpoPreset, GrpoPreset, KtoPreset
from engine.logprobs import TokenScorer
from engine.methods.dpo import dpo
from engine.methods.grpo import grpo
from engine.methods.kto import kto
from engine.modes import eval_mode, without_dropout
from tests.tiny import bench_of, random_ids, rows_of, tiny_model, tiny_policy

ROWS = rows_of([(random_ids(5, seed=1), random_ids(4, seed=2)), (random_ids(2, seed=3), random_ids(6, seed=4))])
LAYERS = {"llama": "LlamaMLP", "gpt2": "GPT2MLP", "opt": "OPTAttention"}
DROPS: dict[str, dict[str, Any]] = {
    "llama": {"attention_dropout": 0.5},
    "gpt2": {"resid_pdrop": 0.5, "attn_pdrop": 0.5},
    "opt": {"dropout": 0.5, "ffn_dim": 64, "word_embed_proj_dim": 32},  # its layers drop by a function of their own
}


def learnt(model: nn.Module, family: str) -> tuple[int, Tensor, list[Tensor]]:
    """How often parts of its two layers were called in backward, the scores, and the gradients."""
    calls: list[None] = []
    parts = [part for part in model.modules() if type(part).__name__ == LAYERS[family]]
    assert len(parts) == 2
    model.zero_grad()
    logps = TokenScorer(model)(ROWS).logps
    hooks = [part.register_forward_pre_hook(lambda *_: calls.append(None)) for part in parts]
    logps.sum().backward()
    for hook in hooks:
        hook.remove()
    return len(calls), logps.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("family", LAYERS)
def test_layers_are_computed_again_in_backward_with_equal_gradients_and_without_dropout(family: str) -> None:
    model = tiny_model(family, **DROPS[family])
    without_dropout(model)
    again, wanted, expected = learnt(model, family)
    assert again == 0
    model.gradient_checkpointing_enable({"use_reentrant": False})
    without_dropout(model)
    again, found, given = learnt(model, family)
    assert again == 2, "each layer once more, in backward"
    assert torch.equal(found, wanted)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(given, expected, strict=True))


def test_eval_mode_gives_every_module_its_mode_back() -> None:
    model = tiny_model()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    without_dropout(model)
    modes = [module.training for module in model.modules()]
    assert any(modes)
    assert not all(modes)
    with eval_mode(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == modes


@pytest.mark.parametrize("method", ["dpo", "kto", "grpo"])
def test_methods_that_compare_policies_use_gradient_checkpointing(method: str, tmp_path: Path) -> None:
    policy = tiny_policy("gpt2", resid_pdrop=0.5)
    policy.model.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[operator]
    rows: list[dict[str, Any]]
    common: dict[str, Any] = {"model": {"path": "some/model"}, "data": {"train": "x.jsonl"}}
    if method == "dpo":
        rows = [{"prompt": "2+2=", "chosen": "4", "rejected": "five"}]
        dpo(DpoPreset.model_validate({"method": "dpo", **common}), bench_of(policy, tmp_path, train=rows))
    elif method == "kto":
        rows = [
            {"prompt": "2+2=", "completion": "4", "label": True},
            {"prompt": "x", "completion": "y", "label": False},
        ]
        kto(KtoPreset.model_validate({"method": "kto", **common}), bench_of(policy, tmp_path, train=rows))
    else:
        rows = [{"prompt": "2+2=", "answer": "4"}]
        preset = {"method": "grpo", "rewards": [{"kind": "exact_match"}], **common}
        grpo(GrpoPreset.model_validate(preset), bench_of(policy, tmp_path, train=rows))
    again, _, _ = learnt(policy.model, "gpt2")
    assert again == 2
