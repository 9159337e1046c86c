"""Reward models as TRL 1.16 trains them, from the same rows to the same gradients.

What differs by design has tests of its own: where a text ends is read from the mask, never from the pad's id; positions
count from the first token, on whichever side the padding is; an encoder reads prompt and answer as two segments.
"""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from engine.contract.preset import RewardModelPreset, check
from engine.data.byte_tokenizer import byte_tokenizer
from engine.data.formats import canonical
from engine.data.sources import Row
from engine.logprobs import Rows
from engine.methods.bench import Bench
from engine.methods.reward_model import RewardBatch, reward_model
from engine.models import Policy
from engine.reward_models import RewardScorer
from engine.tally import Mean
from tests.engine.test_chat import chat_tokenizer
from tests.engine.test_trl_parity import gradients, largest_difference, largest_relative_error
from tests.engine.trl import STEADY, STEPS, three_steps, trainer_of
from tests.tiny import FAMILIES, bench_of, random_ids, tiny_reward_model, with_lora

pytestmark = pytest.mark.oracle

ROWS: list[Row] = [
    {"prompt": "2+2=", "chosen": "4", "rejected": "five", "margin": 0.5},
    {"prompt": "the capital of France is", "chosen": " Paris, on the Seine", "rejected": " Lyon", "margin": 1.0},
    {"prompt": "a b c ", "chosen": "d e f g h i j k", "rejected": "z", "margin": 0.0},
    {"prompt": "x", "chosen": "yz", "rejected": "zy", "margin": 2.0},
]
TALK: list[Row] = [
    {
        "prompt": [{"role": "user", "content": row["prompt"]}],
        "chosen": [{"role": "assistant", "content": row["chosen"]}],
        "rejected": [{"role": "assistant", "content": row["rejected"]}],
    }
    for row in ROWS
]
#: Tokens of two whole texts each, as an encoder reads them where nothing tells prompt and answer apart.
TOKENS: list[Row] = [
    {"chosen_ids": random_ids(4 + 3 * i, seed=i), "rejected_ids": random_ids(9 - i, seed=10 + i)} for i in range(4)
]
BACKBONES = (*FAMILIES, "bert")


def rows_for(family: str) -> list[Row]:
    return TOKENS if family == "bert" else ROWS


def model_of(family: str, *, lora: bool, seed: int = 0) -> nn.Module:
    model = tiny_reward_model(family, seed=seed)
    head = "classifier" if family == "bert" else "score"
    return with_lora(model, task_type="SEQ_CLS", modules_to_save=[head]) if lora else model


def trl_reward(model: nn.Module, folder: Path, rows: list[Row], **settings: Any) -> Any:
    return trainer_of("reward_model", model, folder, rows, **settings)


def preset_of(training: dict[str, Any] | None = None, optimizer: dict[str, Any] | None = None, **own: Any) -> Any:
    preset, faults = check(
        {
            "method": "reward_model",
            "model": {"path": "some/model"},
            "data": {"train": "rows.jsonl", "shuffle": False},
            "optimizer": optimizer or {},
            "training": {"batch_size": 4, "micro_batch_size": 4, **(training or {})},
            "reward_model": own,
        }
    )
    assert isinstance(preset, RewardModelPreset), faults
    return preset


def bench_for(
    model: nn.Module, folder: Path, rows: list[Row], tokenizer: PreTrainedTokenizerBase | None = None
) -> Bench:
    policy = Policy(model, tokenizer or byte_tokenizer(), has_adapter=hasattr(model, "peft_config"))
    return bench_of(policy, folder, train=[canonical(row, "reward_model") for row in rows], scores=RewardScorer)


def ours_of(preset: RewardModelPreset, bench: Bench) -> tuple[torch.Tensor, dict[str, float], RewardBatch]:
    """Loss of the first step with its gradient taken, what it tells, and its batch."""
    method = reward_model(preset, bench)
    [update] = method.batches(1)
    [batch] = update.micro_batches
    loss, values = method.loss(batch)
    loss.backward()
    told = {name: float(v.total / v.weight if isinstance(v, Mean) else v.value) for name, v in values.items()}
    return loss, told, batch


def theirs_of(trainer: Any, batch: dict[str, Any] | None = None) -> tuple[torch.Tensor, dict[str, float]]:
    batch = batch or next(iter(trainer.get_train_dataloader()))
    loss = trainer.compute_loss(trainer.model.train(), dict(batch))
    loss.backward()
    return loss, {name: values[-1] for name, values in trainer._metrics["train"].items()}


@pytest.mark.parametrize("lora", [False, True], ids=["all weights", "adapter"])
@pytest.mark.parametrize("family", BACKBONES)
def test_the_loss_its_gradients_and_metrics_are_trls(family: str, lora: bool, tmp_path: Path) -> None:
    model = model_of(family, lora=lora)
    trainer = trl_reward(copy.deepcopy(model), tmp_path / "trl", rows_for(family), center_rewards_coefficient=0.01)
    theirs, told = theirs_of(trainer)
    ours, values, batch = ours_of(preset_of(centring=0.01), bench_for(model, tmp_path / "ours", rows_for(family)))
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    assert largest_relative_error(gradients(model), gradients(trainer.model)) < 1e-5
    assert {name: told[name] for name in values} == pytest.approx(values, rel=1e-5, abs=1e-6)
    assert len(values) == 5
    assert int(batch.rows.is_token.sum()) == told["num_tokens"]


def test_without_centring_and_margin_the_loss_is_trls(tmp_path: Path) -> None:
    rows = [{name: value for name, value in row.items() if name != "margin"} for row in ROWS]
    model = model_of("llama", lora=False)
    theirs, _ = theirs_of(trl_reward(copy.deepcopy(model), tmp_path / "trl", rows))
    ours, _, _ = ours_of(preset_of(margin=False), bench_for(model, tmp_path / "ours", ROWS))
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)


@pytest.mark.parametrize(
    ("rows", "tokenizer"), [(ROWS, byte_tokenizer), (TALK, chat_tokenizer)], ids=["text", "messages"]
)
def test_rows_become_the_tokens_that_trl_makes_of_them_and_long_ones_are_left_out(
    rows: list[Row], tokenizer: Any, tmp_path: Path
) -> None:
    """The second pair is longer than the others, and too long."""
    longest = 40 if rows is ROWS else 100
    trainer = trl_reward(tiny_reward_model(), tmp_path / "trl", rows, tokenizer=tokenizer(), max_length=longest)
    theirs = next(iter(trainer.get_train_dataloader()))
    assert len(theirs["input_ids"]) == 6
    preset = preset_of(training={"batch_size": 3})
    preset = preset.model_copy(update={"data": preset.data.model_copy(update={"max_length": longest})})
    bench = bench_for(tiny_reward_model(), tmp_path / "ours", rows, tokenizer())
    _, _, batch = ours_of(preset, bench)
    # Ours come pair by pair, TRL's with all chosen answers first.
    order = [*range(0, 6, 2), *range(1, 6, 2)]
    assert torch.equal(batch.rows.is_token[order], theirs["attention_mask"].bool())
    assert torch.equal(batch.rows.input_ids[order], theirs["input_ids"])


def to_the_left(rows: Rows, pad: int) -> dict[str, torch.Tensor]:
    """The same rows with their padding first, and the chosen answers before the rejected."""
    lengths, width = rows.is_token.sum(dim=1), rows.is_token.shape[1]
    ids, mask = torch.full_like(rows.input_ids, pad), torch.zeros_like(rows.input_ids)
    for index, length in enumerate(lengths.tolist()):
        ids[index, width - length :], mask[index, width - length :] = rows.input_ids[index, :length], 1
    order = [*range(0, len(ids), 2), *range(1, len(ids), 2)]
    return {"input_ids": ids[order], "attention_mask": mask[order]}


@pytest.mark.parametrize("lora", [False, True], ids=["all weights", "adapter"])
@pytest.mark.parametrize("family", FAMILIES)
def test_padding_on_the_left_changes_neither_loss_nor_gradients_and_for_relative_positions_is_trls(
    family: str, lora: bool, tmp_path: Path
) -> None:
    """By design GPT-2's positions count from the first token, where TRL's count the padding."""
    model = model_of(family, lora=lora)
    bench = bench_for(model, tmp_path / "ours", ROWS)
    ours, _, batch = ours_of(preset_of(margin=False), bench)
    right = [gradient.clone() for gradient in gradients(model)]
    model.zero_grad(set_to_none=True)
    left = to_the_left(batch.rows, 0)
    is_token = left["attention_mask"].bool()
    chosen, rejected = bench.scorer(Rows(left["input_ids"], is_token, torch.zeros_like(is_token))).rewards.chunk(2)
    same = -torch.nn.functional.logsigmoid(chosen - rejected).mean()
    same.backward()
    assert same.item() == pytest.approx(ours.item(), rel=1e-6)
    assert largest_relative_error(gradients(model), right) < 1e-5
    trainer = trl_reward(model_of(family, lora=lora), tmp_path / "trl", ROWS)
    theirs, _ = theirs_of(trainer, left)
    if family == "gpt2":
        assert abs(theirs.item() - ours.item()) > 1e-3
    else:
        assert theirs.item() == pytest.approx(ours.item(), rel=1e-6)
        assert largest_relative_error(right, gradients(trainer.model)) < 1e-5


def test_by_design_a_text_is_scored_at_its_end_token_where_trl_takes_it_for_padding(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer()
    tokenizer.pad_token = tokenizer.eos_token
    model = model_of("llama", lora=False)
    bench = bench_for(model, tmp_path / "ours", ROWS, tokenizer)
    ours, _, batch = ours_of(preset_of(), bench)
    apart, _, _ = ours_of(preset_of(), bench_for(copy.deepcopy(model), tmp_path / "apart", ROWS))
    assert ours.item() == apart.item(), "which token pads makes no difference"

    trainer = trl_reward(copy.deepcopy(model), tmp_path / "trl", ROWS, tokenizer=tokenizer)
    theirs, _ = theirs_of(trainer)
    assert abs(ours.item() - theirs.item()) > 1e-3
    # TRL's number is that of the texts without their end.
    before_end = Rows(batch.rows.input_ids, batch.rows.is_token & (batch.rows.input_ids != 1), batch.rows.is_target)
    chosen, rejected = bench.scorer(before_end).rewards.view(-1, 2).T
    margins = torch.tensor([row["margin"] for row in ROWS])
    early = -torch.nn.functional.logsigmoid(chosen - rejected - margins).mean()
    assert early.item() == pytest.approx(theirs.item(), rel=1e-6)


def test_by_design_an_encoder_reads_two_segments_where_trl_gives_it_one(tmp_path: Path) -> None:
    model = model_of("bert", lora=False)
    bench = bench_for(model, tmp_path / "ours", TOKENS)
    _, _, batch = ours_of(preset_of(), bench)
    answer = torch.zeros_like(batch.rows.is_target)
    answer[:, 3:] = batch.rows.is_token[:, 3:]
    inputs = {"input_ids": batch.rows.input_ids, "attention_mask": batch.rows.is_token.long()}
    two = bench.scorer(batch.rows._replace(is_target=answer)).rewards.detach()
    assert torch.equal(two, model(**inputs, token_type_ids=answer.long()).logits[:, 0])
    assert float((two - model(**inputs).logits[:, 0]).detach().abs().min()) > 1e-4


@pytest.mark.parametrize("lora", [False, True], ids=["all weights", "adapter"])
@pytest.mark.parametrize("family", BACKBONES)
def test_three_steps_of_a_reward_model_are_trls(family: str, lora: bool, tmp_path: Path) -> None:
    """With warm-up, decay and clipping.

    Ours lays out a batch pair by pair, so sums round otherwise than TRL's. Adam blows rounding up to a step of full
    size where an entry has no other gradient; with this seed none of these models has such an entry.
    """
    start = model_of(family, lora=lora, seed=2)
    model = copy.deepcopy(start)
    rows = rows_for(family)
    trainer = trl_reward(
        copy.deepcopy(start),
        tmp_path / "trl",
        rows,
        max_steps=3,
        center_rewards_coefficient=0.01,
        adam_epsilon=STEADY,
        **STEPS,
    )
    trainer.train()
    preset = preset_of(training={"steps": 3}, optimizer=STEPS, centring=0.01)
    bench = bench_for(model, tmp_path / "ours", rows)
    steps = three_steps(preset, bench)
    for name in ("loss", "grad_norm", "learning_rate", "accuracy", "margin", "min_reward", "max_reward", "num_tokens"):
        theirs = [log[name] for log in trainer.state.log_history if name in log]
        assert [step.values[name] for step in steps] == pytest.approx(theirs, rel=1e-5, abs=2e-6), name
    assert largest_difference(model, trainer.model) < 1e-6
    assert largest_difference(model, start) > 1e-4
