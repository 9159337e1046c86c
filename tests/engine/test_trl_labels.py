"""TRL's own trainers train on what a labelling set is exported to, as it is."""

from pathlib import Path
from typing import Any

import pytest
import torch

from engine.contract.labels import Candidate, Item, Judgement, LabelSet
from engine.contract.labels_log import append_judgement, create_set
from engine.data.byte_tokenizer import byte_tokenizer
from engine.labelling.exporting import Wish, export_set
from tests.tiny import CHATML, tiny_model

pytestmark = pytest.mark.oracle

STEPS = 3


@pytest.fixture
def exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    """The rows of an exported set of six judgements, read by `datasets`; the parameter is the style."""
    from datasets import load_dataset

    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    items = [
        Item(id=f"{n}", prompt=f"Question {n}?", candidates=(Candidate(text=f"Yes, {n}."), Candidate(text="No.")))
        for n in range(6)
    ]
    labels = create_set(tmp_path / "labels" / "six", LabelSet(name="six"), items)
    for n in range(6):
        ranking = ((n % 2,), (1 - n % 2,))
        judgement = Judgement(id=f"{n}", item=f"{n}", labeller="ada", ranking=ranking, strength=n % 3 + 1, time=1.0)
        append_judgement(labels.judgements, judgement)
    made = export_set(labels, tmp_path / "out", Wish(style=request.param, file="parquet"))
    return load_dataset(str(made.path), split="train")


def settings(folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "output_dir": str(folder / "trl"),
        "max_steps": STEPS,
        "per_device_train_batch_size": 2,
        "learning_rate": 1e-3,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": [],
        "save_strategy": "no",
        "logging_steps": 1,
        "disable_tqdm": True,
        **more,
    }


def check_trained(trainer: Any) -> None:
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == STEPS
    assert torch.isfinite(torch.tensor(losses)).all()
    changed = [not torch.equal(a, b) for a, b in zip(before, trainer.model.parameters(), strict=True)]
    assert any(changed)


@pytest.mark.parametrize("exported", ["plain", "conversational"], indirect=True)
def test_trls_dpo_trainer_trains_on_an_export(exported: Any, tmp_path: Path) -> None:
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    tokenizer = byte_tokenizer()
    tokenizer.chat_template = CHATML
    arguments = DPOConfig(**settings(tmp_path, max_length=128))
    rows: Any = {"train_dataset": exported, "processing_class": tokenizer}
    check_trained(DPOTrainer(tiny_model(), ref_model=tiny_model(seed=1), args=arguments, **rows))


@pytest.mark.parametrize("exported", ["plain", "conversational"], indirect=True)
def test_trls_reward_trainer_trains_on_an_export_with_its_margins(exported: Any, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification
    from trl.trainer.reward_config import RewardConfig
    from trl.trainer.reward_trainer import RewardTrainer

    tokenizer = byte_tokenizer()
    tokenizer.chat_template = CHATML
    config = tiny_model().config
    config.num_labels = 1
    config.pad_token_id = tokenizer.pad_token_id
    model = AutoModelForSequenceClassification.from_config(config)
    arguments = RewardConfig(**settings(tmp_path, max_length=128))
    trainer: Any = RewardTrainer(model, args=arguments, train_dataset=exported, processing_class=tokenizer)
    assert sorted(set(trainer.train_dataset["margin"])) == pytest.approx([1 / 3, 2 / 3, 1.0])
    check_trained(trainer)
