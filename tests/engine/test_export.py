"""`export` gives what others open, with the same numbers: in full, the adapter alone, or merged; whole or absent."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AutoPeftModelForCausalLM
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from engine import __main__ as command_line
from engine import export
from engine.checkpoint import is_whole
from engine.contract.run_dir import RunDir, write_json
from engine.logprobs import TokenScorer
from tests.engine import running
from tests.tiny import random_ids, rows_of

ROWS = rows_of([(random_ids(9, seed=1, vocabulary=200), random_ids(6, seed=2, vocabulary=200))])


def call(*words: object) -> int:
    try:
        return command_line.main(["export", *map(str, words)])
    except SystemExit as left:
        return int(left.code or 0)


@pytest.fixture(autouse=True)
def _no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", running.no_wait)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run of all weights, with checkpoints of steps 2 and 4."""
    preset = running.sft(training={"steps": 4}, optimizer={"learning_rate": 0.02})
    return running.done(tmp_path_factory.mktemp("full") / "20260101-000000-sums", preset)


def adapter_run(folder: Path, kind: str, family: str = "llama") -> RunDir:
    model = {"adapter": running.ADAPTERS[kind], "scratch": {**running.SCRATCH, "family": family}}
    preset = running.sft(model=model, training={"steps": 3}, optimizer={"learning_rate": 0.1, "schedule": "constant"})
    return running.done(folder, preset)


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return adapter_run(tmp_path_factory.mktemp("lora") / "run", "lora")


def logps(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return torch.as_tensor(TokenScorer(model.eval())(ROWS).logps)


# --------------------------------------------------------------------------------------------------- the numbers


@pytest.mark.parametrize(("kind", "family"), [("lora", "gpt2"), ("dora", "llama"), ("rslora", "qwen2")])
def test_a_merged_model_is_the_adapter_on_its_base(tmp_path: Path, kind: str, family: str) -> None:
    run = adapter_run(tmp_path / "run", kind, family)
    assert call(run.path, tmp_path / "out", "--format", "merged") == 0
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    adapter: Any = AutoPeftModelForCausalLM.from_pretrained(str(run.final))
    assert torch.allclose(logps(merged), logps(adapter), rtol=0, atol=1e-5)
    with adapter.disable_adapter():
        assert (logps(merged) - logps(adapter)).abs().max() > 0.1
    assert not (tmp_path / "out" / "adapter_config.json").exists()


def test_an_adapter_alone_opens_with_peft(lora: RunDir, tmp_path: Path) -> None:
    assert call(lora.path, tmp_path / "out") == 0
    model = AutoPeftModelForCausalLM.from_pretrained(str(tmp_path / "out"))
    expected = AutoPeftModelForCausalLM.from_pretrained(str(lora.final))
    assert torch.equal(logps(model), logps(expected))
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_a_full_model_is_the_runs_own_with_its_tokenizer_and_nothing_of_training(full: RunDir, tmp_path: Path) -> None:
    assert call(full.path, tmp_path / "out") == 0
    running.assert_same_weights(tmp_path / "out", full.final)
    assert AutoTokenizer.from_pretrained(tmp_path / "out")("1+1=")["input_ids"]
    assert call(full.path, tmp_path / "of 2", "--step", 2) == 0
    running.assert_same_weights(tmp_path / "of 2", full.checkpoint(2))
    assert not (tmp_path / "of 2" / "training").exists()
    assert is_whole(tmp_path / "of 2")


def test_weights_may_be_written_in_16_bits_and_the_configuration_says_so(full: RunDir, tmp_path: Path) -> None:
    assert call(full.path, tmp_path / "out", "--dtype", "bfloat16") == 0
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    wanted = running.weights(full.final)
    found = running.weights(tmp_path / "out")
    assert all(torch.equal(found[name], tensor.to(torch.bfloat16)) for name, tensor in wanted.items())


# ------------------------------------------------------------------------------------------------------ the card


def test_the_card_tells_data_preset_metrics_and_parents(full: RunDir, tmp_path: Path, capsys: Any) -> None:
    rows = running.uneven_rows(tmp_path / "rows.jsonl")
    preset = running.sft(
        model={"path": str(full.path), "scratch": None, "adapter": running.LORA},
        data={"train": str(rows)},
        training={"steps": 1},
    )
    run = running.done(tmp_path / "20260102-000000-more", preset)
    write_json(
        run.path / "evaluation-20260103.json",
        {"data": ["x"], "measures": {"rouge1": {"value": 0.5, "low": 0.4, "high": 0.6}}},
    )
    assert call(run.path, tmp_path / "out", "--format", "merged", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"dest": str(tmp_path / "out"), "format": "merged", "run": str(run.path), "step": 1}
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    front = card.split("---")[1]
    assert "library_name: transformers" in front
    assert "AutoModelForCausalLM.from_pretrained" in card
    assert "LoRA rank 4" in card
    assert "merged into it" in card
    assert "| Loss (`loss`) |" in card
    assert "| ROUGE-1 (`rouge1`) | 0.5 | 0.4 to 0.6 |" in card
    assert "1. `20260102-000000-more`: supervised fine-tuning" in card
    assert "2. `20260101-000000-sums`: supervised fine-tuning on `task:arithmetic`" in card
    assert "3. `scratch`" in card
    assert "rank: 4" in card
    assert json.loads(run.environment.read_text("utf-8"))["data"][str(rows)]["sha256"] in card


def test_the_card_of_an_adapter_for_a_model_of_the_hub_names_it(lora: RunDir) -> None:
    from engine.contract.preset import load_text_preset
    from engine.model_card import model_card

    preset = load_text_preset(lora.preset)
    of_hub = preset.model_copy(update={"model": preset.model.model_copy(update={"path": "org/name"})})
    assert "base_model: org/name\nbase_model_relation: adapter\n" in model_card(lora, of_hub)
    gguf = preset.model_copy(update={"model": preset.model.model_copy(update={"path": "/models/some.gguf"})})
    assert 'from_pretrained("/models", gguf_file="some.gguf")' in model_card(lora, gguf)


# ------------------------------------------------------------------------------------------------ whole or absent


def test_a_failure_in_the_middle_leaves_nothing_and_what_was_there(
    full: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    assert call(full.path, tmp_path / "out") == 0
    before = (tmp_path / "out" / "manifest.json").read_bytes()

    def no_space(*_: object, **__: object) -> str:
        raise OSError(28, "No space left on device", "out")

    monkeypatch.setattr(export, "model_card", no_space)
    assert call(full.path, tmp_path / "other") == 1
    assert call(full.path, tmp_path / "out", "--force", "--step", 2) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "manifest.json").read_bytes() == before


def test_what_a_killed_export_left_is_gone_after_the_next_and_no_part_of_it(full: RunDir, tmp_path: Path) -> None:
    """Killed while it wrote, and while it deleted what it replaced; a folder of a similar name is not its own."""
    for name in (".tmp-out[1]", ".del-out[1]-4711", ".del-out1-4711"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "half.safetensors").write_bytes(b"half")
    assert call(full.path, tmp_path / "out[1]") == 0
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".del-out1-4711", "out[1]"]
    assert not (tmp_path / "out[1]" / "half.safetensors").exists()


def test_an_export_is_replaced_only_when_told_and_other_folders_never(
    full: RunDir, tmp_path: Path, capsys: Any
) -> None:
    assert call(full.path, tmp_path / "out", "--step", 2) == 0
    assert call(full.path, tmp_path / "out") == 2
    assert "is there already" in capsys.readouterr().err
    assert call(full.path, tmp_path / "out", "--force") == 0
    running.assert_same_weights(tmp_path / "out", full.final)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "letter.txt").write_text("dear")
    assert call(full.path, mine, "--force") == 2
    assert "was not written by `export`" in capsys.readouterr().err
    assert (mine / "letter.txt").read_text() == "dear"


def test_what_cannot_be_exported_is_one_message_and_nothing_is_written(
    full: RunDir, lora: RunDir, tmp_path: Path, capsys: Any
) -> None:
    empty = running.new_run(tmp_path / "empty", running.sft())
    virtual = running.new_run(tmp_path / "virtual", running.sft(model={"adapter": running.ADAPTERS["prefix_tuning"]}))
    out = tmp_path / "out"
    for words, message in (
        ((tmp_path, out), "is neither a run nor a labelling set"),
        ((empty.path, out), "is a run without a model; let it save a checkpoint first"),
        ((full.path, out, "--format", "adapter"), "this run trained all weights and has no adapter"),
        ((lora.path, out, "--format", "full"), "this run trained an adapter"),
        ((lora.path, out, "--format", "merge"), "did you mean merged?"),
        ((virtual.path, out, "--format", "merged"), "virtual tokens cannot be merged"),
        ((full.path, out, "--step", 3), "there is no checkpoint of this step"),
        ((full.path, full.preset / "out"), "is a file (got"),
    ):
        assert call(*words) == 2, message
        assert message in capsys.readouterr().err
    assert not out.exists()


def test_a_damaged_model_is_not_exported(tmp_path: Path, capsys: Any) -> None:
    run = running.done(tmp_path / "run", running.sft(training={"steps": 2}))
    file = run.final / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    assert call(run.path, tmp_path / "out") == 2
    assert "is damaged or incomplete; name another step with --step" in capsys.readouterr().err
    assert call(run.path, tmp_path / "out", "--step", 2) == 0
