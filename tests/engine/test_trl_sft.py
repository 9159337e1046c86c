"""SFT is TRL 1.16's: losses, gradients, weights after three steps, with and without an adapter, nll and dft.

Where it is not, a test names the difference: positions of left-padded rows, what is reported of an accumulated step,
and the length that NEFTune counts.
"""

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine.contract.preset import SftPreset
from engine.logprobs import Rows, TokenScorer
from engine.losses import dft_loss, sft_loss
from engine.methods.sft import sft
from engine.neftune import embedding_noise
from tests.engine.test_trl_parity import (
    ROWS,
    gradients,
    largest_difference,
    largest_relative_error,
    trl_sft,
)
from tests.tiny import FAMILIES, bench_of, run_steps, tiny_policy

pytestmark = pytest.mark.oracle

LOSSES = {"nll": sft_loss, "dft": dft_loss}


def preset_of(loss: str, *, steps: int = 3, size: int = 4) -> SftPreset:
    return SftPreset.model_validate(
        {
            "method": "sft",
            "model": {"path": "some/model"},
            "data": {"train": "rows.jsonl", "shuffle": False},
            "optimizer": {"learning_rate": 1e-3, "warmup_steps": 1, "weight_decay": 0.1, "max_grad_norm": 0.5},
            "training": {"steps": steps, "batch_size": 4, "micro_batch_size": size},
            "sft": {"sample_every": 0, "loss": loss},
        }
    )


def trained(model: nn.Module) -> list[Tensor]:
    return [parameter.detach() for parameter in model.parameters() if parameter.requires_grad]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradients_of_a_step_are_trls(family: str, lora: bool, loss: str, tmp_path: Path) -> None:
    policy = tiny_policy(family, lora=lora)
    trainer = trl_sft(copy.deepcopy(policy.model), tmp_path / "trl", loss_type=loss)  # type: ignore[arg-type]
    batch = next(iter(trainer.get_train_dataloader()))
    theirs = trainer.compute_loss(trainer.model.train(), dict(batch))
    theirs.backward()

    method = sft(preset_of(loss), bench_of(policy, tmp_path / "ours", train=ROWS))
    [update] = method.batches(1)
    [micro_batch] = update.micro_batches
    assert micro_batch.line is not None, "without padding, as usual"
    ours, _ = method.loss(micro_batch)
    ours.backward()
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    assert largest_relative_error(gradients(policy.model), gradients(trainer.model)) < 1e-5


@pytest.mark.parametrize(
    ("family", "lora", "loss"),
    [("llama", True, "nll"), ("gpt2", True, "dft"), ("qwen2", True, "nll"), ("llama", False, "dft")],
)
def test_weights_after_three_steps_are_trls(family: str, lora: bool, loss: str, tmp_path: Path) -> None:
    policy = tiny_policy(family, lora=lora)
    begun = [parameter.clone() for parameter in trained(policy.model)]
    trainer = trl_sft(
        copy.deepcopy(policy.model),  # type: ignore[arg-type]
        tmp_path / "trl",
        max_steps=3,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
        learning_rate=1e-3,
        warmup_steps=1,
        weight_decay=0.1,
        max_grad_norm=0.5,
        loss_type=loss,
    )
    trainer.train()
    steps = run_steps(preset_of(loss, size=2), policy, tmp_path / "ours", ROWS)
    theirs = [log["loss"] for log in trainer.state.log_history if "loss" in log]
    assert [step.values["loss"] for step in steps] == pytest.approx(theirs, rel=1e-5)
    moved = max(float((a - b).abs().max()) for a, b in zip(trained(policy.model), begun, strict=True))
    assert largest_difference(policy.model, trainer.model) < 1e-6 < 1e-4 < moved


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_rows_padded_on_the_left_cost_what_they_cost_trl(family: str, loss: str, lora: bool, tmp_path: Path) -> None:
    policy = tiny_policy(family, lora=lora)
    rows, theirs = left_padded(policy.model, tmp_path, loss, with_positions=False)
    ours = LOSSES[loss](TokenScorer(policy.model)(rows).logps, normaliser=float(rows.is_target.sum())).share
    ours.backward()
    assert ours.item() == pytest.approx(theirs[0], rel=1e-6)
    assert largest_relative_error(gradients(policy.model), theirs[1]) < 1e-5


# ------------------------------------------------------------------------------------------- deliberate differences


def test_difference_positions_of_left_padded_rows_come_from_the_mask_where_trl_counts_the_padding(
    tmp_path: Path,
) -> None:
    """Of a model with learned positions. Given ours, TRL's loss is ours."""
    policy = tiny_policy("gpt2")
    rows, (plain, _) = left_padded(policy.model, tmp_path, "nll", with_positions=False)
    _, (placed, wanted) = left_padded(policy.model, tmp_path, "nll", with_positions=True)
    ours = sft_loss(TokenScorer(policy.model)(rows).logps, normaliser=float(rows.is_target.sum())).share
    ours.backward()
    assert ours.item() == pytest.approx(placed, rel=1e-6)
    assert largest_relative_error(gradients(policy.model), wanted) < 1e-5
    assert plain != pytest.approx(placed, rel=1e-3)


def left_padded(
    model: nn.Module, folder: Path, loss: str, *, with_positions: bool
) -> tuple[Rows, tuple[float, list[Tensor]]]:
    """Four rows with their padding on the left; and what they cost TRL, with the gradients."""
    trainer = trl_sft(copy.deepcopy(model), folder / "trl", loss_type=loss)  # type: ignore[arg-type]
    batch = next(iter(trainer.get_train_dataloader()))
    mask = batch["attention_mask"]
    left = {
        name: torch.stack([row.roll(int((own == 0).sum())) for row, own in zip(batch[name], mask, strict=True)])
        for name in ("input_ids", "attention_mask", "labels")
    }
    rows = Rows(left["input_ids"], left["attention_mask"].bool(), left["labels"] != -100)
    positions = {"position_ids": (left["attention_mask"].cumsum(dim=1) - 1).clamp(min=0)} if with_positions else {}
    theirs = trainer.compute_loss(trainer.model.train(), {**left, **positions})
    theirs.backward()
    return rows, (theirs.item(), gradients(trainer.model))


def test_difference_means_of_an_accumulated_step_are_over_its_tokens_where_trl_averages_its_parts(
    tmp_path: Path,
) -> None:
    policy = tiny_policy()
    found: dict[int, dict[str, Any]] = {}
    for accumulation in (1, 2):
        folder = tmp_path / str(accumulation)
        trainer = trl_sft(
            copy.deepcopy(policy.model),  # type: ignore[arg-type]
            folder / "trl",
            max_steps=1,
            per_device_train_batch_size=4 // accumulation,
            gradient_accumulation_steps=accumulation,
        )
        trainer.train()
        preset = preset_of("nll", steps=1, size=4 // accumulation)
        ours = run_steps(preset, copy.deepcopy(policy), folder / "ours", ROWS)[0].values
        found[accumulation] = {"trl": trainer.state.log_history[0]["entropy"], "ours": ours["entropy"]}
    assert found[1]["ours"] == pytest.approx(found[1]["trl"], rel=1e-5)
    assert found[2]["ours"] == pytest.approx(found[1]["ours"], rel=1e-5)
    assert found[2]["trl"] != pytest.approx(found[1]["trl"], rel=1e-5)


def test_difference_neftune_counts_a_rows_own_tokens_where_transformers_counts_its_padding() -> None:
    from transformers.integrations.neftune import neftune_post_forward_hook

    embeddings = nn.Embedding(9, 64)
    embeddings.neftune_noise_alpha = 5.0  # type: ignore[assignment]
    embedded = torch.zeros(1, 400, 64)  # a row of 100 tokens beside one of 400
    theirs = neftune_post_forward_hook(embeddings.train(), None, embedded).abs().max().item()
    ours = embedding_noise([100], [0], alpha=5.0, width=64).abs().max().item()
    assert theirs == pytest.approx(5.0 / math.sqrt(400 * 64), rel=1e-2)
    assert ours == pytest.approx(5.0 / math.sqrt(100 * 64), rel=1e-2)
    # Without padding they are the same.
    alone = neftune_post_forward_hook(embeddings, None, embedded[:, :100]).abs().max().item()
    assert ours == pytest.approx(alone, rel=2e-2)
