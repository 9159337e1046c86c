"""A run that cannot go on says why in one plain line, and what to do; what was saved stays as it was."""

import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from engine.contract.preset import Preset
from engine.contract.run_dir import RunDir
from engine.contract.status import summarise
from engine.data.byte_tokenizer import byte_tokenizer
from tests.engine import running
from tests.tiny import tiny_model

pytestmark = pytest.mark.usefixtures("fork_server")


def failure(path: Path, preset: Preset) -> str:
    """What a run that must fail says; it is one line and perhaps a second on what to do, and never a traceback."""
    run = running.new_run(path / "run", preset)
    assert running.run_here(run) == running.FAILED
    return told(run)


def told(run: RunDir) -> str:
    word = running.last_word(run)
    assert word.reason == "failed"
    assert "Traceback" not in word.message
    assert 'File "' not in word.message
    assert len(word.message.splitlines()) <= 2, word.message
    assert len(word.message) < 600
    status = summarise(run).status
    assert status.state == "failed"
    assert status.sentence
    assert status.remedy
    return word.message


def model_folder(path: Path, *, rows: int = 258) -> Path:
    config = AutoConfig.for_model(
        "llama", vocab_size=rows, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(path)
    byte_tokenizer().save_pretrained(path)
    return path


def of_model(path: Path | str) -> Preset:
    return running.sft(model={"path": str(path), "scratch": None})


# ------------------------------------------------------------------------------------------------------ models


def test_a_model_folder_that_is_not_there(tmp_path: Path) -> None:
    message = failure(tmp_path, of_model(tmp_path / "gone"))
    assert "model.path" in message
    assert "gone" in message


def test_a_hub_that_cannot_be_reached(tmp_path: Path) -> None:
    message = failure(tmp_path, of_model("nobody/no-such-model"))
    assert "nobody/no-such-model is not a folder or file here, and the hub could not be reached" in message
    assert "check the spelling and the network" in message


def test_a_model_folder_without_a_tokenizer(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    for file in folder.glob("tokenizer*"):
        file.unlink()
    assert "model.path" in failure(tmp_path, of_model(folder))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_model_folder_with_a_damaged_file(tmp_path: Path, name: str) -> None:
    folder = model_folder(tmp_path / "model")
    (folder / name).write_bytes((folder / name).read_bytes()[:100])
    message = failure(tmp_path, of_model(folder))
    assert "model.path" in message
    assert "could not be opened" in message


def test_a_tokenizer_that_belongs_to_a_larger_model(tmp_path: Path) -> None:
    message = failure(tmp_path, of_model(model_folder(tmp_path / "model", rows=200)))
    assert "the tokenizer knows 258 tokens but the model has embeddings for 200" in message
    assert "use the tokenizer that came with the model" in message


def test_a_run_without_a_model_yet_cannot_be_trained_on(tmp_path: Path) -> None:
    parent = running.new_run(tmp_path / "parent", running.sft())
    assert "has no model yet" in failure(tmp_path, of_model(parent.path))


# -------------------------------------------------------------------------------------------------------- data


def with_rows(path: Path, text: str, **sections: Any) -> Preset:
    file = path / "rows.jsonl"
    file.write_text(text, "utf-8")
    return running.sft(data={"train": str(file)}, **sections)


def test_data_without_a_row_that_can_be_learned_from(tmp_path: Path) -> None:
    rows = json.dumps({"prompt": "a" * 100, "completion": "b"}) + "\n"
    message = failure(tmp_path, with_rows(tmp_path, rows))
    why = "nothing of the answer fits into 32 tokens (rows.jsonl, line 1)"
    assert f"no row can be learned from: 1 of 1 rows is left out: {why}" in message
    assert "raise data.max_length, or check the columns" in message


def test_data_in_which_no_token_counts(tmp_path: Path) -> None:
    preset = with_rows(tmp_path, json.dumps({"messages": [{"role": "user", "content": "a"}]}) + "\n")
    assert "left out: no token counts in the loss (rows.jsonl, line 1)" in failure(tmp_path, preset)


def test_a_tokenizer_with_more_tokens_than_the_model_has_embeddings(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    tiny_model(vocab_size=100).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    row = json.dumps({"prompt": "z", "completion": "b"}) + "\n"
    message = failure(tmp_path, with_rows(tmp_path, row, model={"path": str(folder), "scratch": None}))
    assert message.startswith("the tokenizer knows 258 tokens but the model has embeddings for 100: they do not belong")
    assert message.endswith("use the tokenizer that came with the model")


def test_an_empty_data_file(tmp_path: Path) -> None:
    message = failure(tmp_path, with_rows(tmp_path, "\n\n"))
    assert "no rows; give a source that has some" in message


def test_a_broken_line_costs_that_line_and_is_named_before_the_first_step(tmp_path: Path) -> None:
    good = json.dumps({"prompt": "1+1=", "completion": "2"}) + "\n"
    preset = with_rows(tmp_path, 6 * good + '{"prompt": "1+\n' + good, training={"steps": 1})
    run = running.done(tmp_path / "run", preset)
    assert "1 of 8 rows is left out: is not JSON (Unterminated string starting at) (rows.jsonl, line 7)" in (
        running.notices(run)
    )
    kinds = [json.loads(line)["kind"] for line in run.events.read_text("utf-8").splitlines()]
    assert kinds.index("notice") < kinds.index("step")


def test_rows_without_a_column_that_is_needed(tmp_path: Path) -> None:
    message = failure(tmp_path, with_rows(tmp_path, '{"question": "1+1=", "reply": "2"}\n'))
    assert "no row can be used: has neither `messages`, nor `prompt` and `completion`, nor `text`" in message


def test_a_reward_that_needs_a_column_the_rows_do_not_have(tmp_path: Path) -> None:
    message = failure(tmp_path, running.grpo(rewards=[{"kind": "exact_match", "column": "solution"}]))
    assert "exact_match needs the column 'solution'" in message


# -------------------------------------------------------------------------------------------------- divergence


def test_a_loss_that_is_no_number_any_more_ends_the_run_and_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sft = importlib.import_module("engine.methods.sft")
    real, run = sft.sft_loss, running.new_run(tmp_path / "run", running.sft())

    def diverging(logps: torch.Tensor, *, normaliser: float) -> Any:
        result = real(logps, normaliser=normaliser)
        return result._replace(share=result.share * (float("nan") if len(running.steps_of(run)) == 3 else 1.0))

    monkeypatch.setattr(sft, "sft_loss", diverging)
    assert running.run_here(run) == running.FAILED
    message = told(run)
    assert message.startswith("loss and grad_norm became nan at step 4\n")
    assert "lower optimizer.learning_rate" in message
    assert running.steps_of(run) == [1, 2, 3, 4], "the step that went wrong is on the record"
    assert run.saved_steps() == [2]
    assert not run.final.exists()
    monkeypatch.setattr(sft, "sft_loss", real)
    assert running.run_here(run) == running.FINISHED
    undisturbed = running.done(tmp_path / "undisturbed", running.sft())
    running.assert_same_weights(run.final, undisturbed.final)


def test_a_learning_rate_far_too_high_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine import loop

    monkeypatch.setattr(loop, "learning_rate", lambda *_: 1e30)
    message = failure(tmp_path, running.sft())
    assert "at step 2" in message
    assert "lower optimizer.learning_rate" in message


# ------------------------------------------------------------------------------------------------ old and odd runs


def test_a_model_can_be_taken_from_an_old_run_that_has_checkpoints_but_no_final(tmp_path: Path) -> None:
    parent = running.done(tmp_path / "parent", running.sft())
    shutil.rmtree(parent.final)
    (parent.checkpoint(6) / "model.safetensors").write_bytes(b"damaged")
    run = running.done(tmp_path / "child", running.sft(model={"path": str(parent.path), "scratch": None}))
    first = running.values_of(run, "loss")[0]
    assert first < running.values_of(parent, "loss")[0]


def test_out_of_memory_says_which_setting_to_lower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has …")

    monkeypatch.setattr(importlib.import_module("engine.methods.sft"), "sft_loss", full)
    message = failure(tmp_path, running.sft())
    assert message.startswith("out of memory: CUDA out of memory. Tried to allocate 2.00 GiB.")
    assert "set training.micro_batch_size lower (the curve stays the same), then Resume" in message


def test_an_error_nobody_thought_of_is_one_line_and_its_traceback_is_in_the_log(tmp_path: Path) -> None:
    run = running.new_run(tmp_path / "run", running.sft())
    assert running.live(run, break_the_optimiser) == running.FAILED
    message = told(run)
    assert message == "KeyError: 'something odd'\nengine.log has the details"
    assert "Traceback (most recent call last)" in run.log.read_text()


def break_the_optimiser() -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise KeyError("something odd")

    torch.optim.AdamW.step = broken  # type: ignore[method-assign]


def test_a_failed_run_that_is_mended_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    run = running.new_run(tmp_path / "run", with_rows(tmp_path, "{broken\n"))
    assert running.run_here(run) == running.FAILED
    running.uneven_rows(file)
    assert running.run_here(run) == running.FINISHED
    assert running.last_word(run).reason == "finished"
