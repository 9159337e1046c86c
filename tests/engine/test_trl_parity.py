"""The numbers of TRL 1.16, from the engine's own functions as the product uses them.

TRL's are had without `.train()` where one batch is compared, and by `.train()` where whole steps are.
"""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from engine.contract.preset import SftPreset
from engine.data.batching import pad_rows
from engine.data.byte_tokenizer import byte_tokenizer
from engine.data.chat import ChatEncoder
from engine.data.sources import Row
from engine.logprobs import TokenScorer
from engine.losses import sft_loss
from tests.engine.trl import trainer_of
from tests.tiny import FAMILIES, run_steps, tiny_model, tiny_policy

pytestmark = pytest.mark.oracle

ROWS = [
    {"prompt": "2+2=", "completion": "4"},
    {"prompt": "the capital of France is", "completion": " Paris, on the Seine"},
    {"prompt": "hi ", "completion": "there"},
    {"prompt": "a b c ", "completion": "d e f g h i j k"},
    {"prompt": "1, 2, 3,", "completion": " 4, 5"},
    {"prompt": "say nothing:", "completion": " "},
    {"prompt": "round and ", "completion": "round the garden"},
    {"prompt": "x", "completion": "yz"},
]


def largest_relative_error(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """Largest difference over the largest entry, of all tensors together."""
    assert len(ours) == len(theirs) > 0
    largest = max(float(t.abs().max()) for t in theirs)
    return max(float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True)) / largest


def gradients(model: nn.Module) -> list[Tensor]:
    return [p.grad for p in model.parameters() if p.grad is not None]


# ------------------------------------------------------------------------------------------------------------ SFT


def trl_sft(model: PreTrainedModel, folder: Path, rows: list[Row] | None = None, **settings: Any) -> Any:
    return trainer_of("sft", model, folder, rows or ROWS, **settings)


@pytest.mark.parametrize("family", FAMILIES)
def test_sft_rows_loss_gradients_and_metrics_are_trls(family: str, tmp_path: Path) -> None:
    model = tiny_model(family).train()
    trainer = trl_sft(copy.deepcopy(model), tmp_path)
    batch = next(iter(trainer.get_train_dataloader()))
    theirs = trainer.compute_loss(trainer.model, dict(batch))
    theirs.backward()
    told = trainer._metrics["train"]

    encoder = ChatEncoder(byte_tokenizer())
    rows = pad_rows([encoder.example(row, completion_only=True, max_length=1024) for row in ROWS[:4]], 0)
    assert torch.equal(rows.input_ids, batch["input_ids"])
    assert torch.equal(rows.is_target, batch["labels"] != -100)
    scores = TokenScorer(model)(rows)
    ours = sft_loss(scores.logps, normaliser=float(rows.is_target.sum())).share
    ours.backward()
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    assert largest_relative_error(gradients(model), gradients(trainer.model)) < 1e-5
    assert scores.entropy.mean().item() == pytest.approx(told["entropy"][0], rel=1e-5)
    assert scores.is_top.float().mean().item() == pytest.approx(told["mean_token_accuracy"][0])
    assert int(rows.is_token.sum()) == told["num_tokens"][0]


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("family", FAMILIES)
def test_three_steps_of_sft_are_trls(family: str, accumulation: int, tmp_path: Path) -> None:
    """AdamW, its groups, clipping, the linear schedule with warm-up, and the token mean over all of a step."""
    policy = tiny_policy(family)
    trainer = trl_sft(
        copy.deepcopy(policy.model),  # type: ignore[arg-type]
        tmp_path / "trl",
        max_steps=3,
        per_device_train_batch_size=4 // accumulation,
        gradient_accumulation_steps=accumulation,
        learning_rate=1e-3,
        warmup_steps=1,
        weight_decay=0.1,
        max_grad_norm=0.5,
    )
    trainer.train()
    preset = SftPreset.model_validate(
        {
            "method": "sft",
            "model": {"path": "scratch"},
            "data": {"train": "rows.jsonl", "shuffle": False},
            "optimizer": {"learning_rate": 1e-3, "warmup_steps": 1, "weight_decay": 0.1, "max_grad_norm": 0.5},
            "training": {"steps": 3, "batch_size": 4, "micro_batch_size": 4 // accumulation},
            "sft": {"sample_every": 0},
        }
    )
    steps = run_steps(preset, policy, tmp_path / "ours", ROWS)
    names = ["loss", "grad_norm", "learning_rate", "num_tokens"]
    if accumulation == 1:  # of an accumulated step TRL reports the mean of the parts' means; ours is over all tokens
        names += ["entropy", "mean_token_accuracy"]
    for name in names:
        theirs = [log[name] for log in trainer.state.log_history if name in log]
        assert [step.values[name] for step in steps] == pytest.approx(theirs, rel=1e-5), name
    moved = largest_difference(policy.model, tiny_model(family))
    assert largest_difference(policy.model, trainer.model) < 1e-6 < 1e-4 < moved


def largest_difference(model: nn.Module, other: nn.Module) -> float:
    """Of any parameter between two models of the same shape, where its gradient is more than rounding.

    A bias of the keys, as GPT-2 and BERT have it, adds the same to a query's every score, so its gradient is zero but
    for rounding, which Adam blows up to a step of full size.
    """
    differences = []
    for (name, ours), theirs in zip(model.named_parameters(), other.parameters(), strict=True):
        if name.endswith("self.key.bias"):
            continue
        difference = (ours.detach() - theirs.detach()).abs()
        if name.endswith("c_attn.bias"):
            queries, _, values = difference.chunk(3)
            difference = torch.cat([queries, values])
        differences.append(float(difference.max()))
    return max(differences)
