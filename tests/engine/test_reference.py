"""What DPO compares with: where it began, or a model that was named; asked in each step, or once and kept on disk."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from engine.contract.run_dir import RunDir
from engine.methods import reference
from tests.engine import running
from tests.tiny import tiny_model


def preset(folder: Path, **own: Any) -> Any:
    pairs = str(running.uneven_pairs(folder / "pairs.jsonl"))
    model = own.pop("model", {})
    return running.dpo(
        model=model, data={"train": pairs, "eval": pairs}, training={"steps": 3, "eval_every": 3}, dpo=own
    )


def kept_files(run: RunDir) -> list[Path]:
    return sorted(run.path.glob("reference-*.json"))


def assert_close_curves(found: RunDir, wanted: RunDir) -> None:
    for (_, step, values), (_, _, expected) in zip(running.curve(found), running.curve(wanted), strict=True):
        assert values == pytest.approx(expected, rel=1e-5, abs=1e-5), f"step {step}"


def refuse(*_: object) -> list[float]:
    raise AssertionError("the reference was asked again")


@pytest.fixture
def other_model(tmp_path: Path) -> str:
    """A model that reads the same bytes and thinks otherwise."""
    from engine.data.byte_tokenizer import byte_tokenizer

    folder = tmp_path / "other"
    tiny_model(seed=5).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("adapter", [None, running.LORA], ids=["all weights", "adapter"])
def test_a_reference_kept_on_disk_gives_the_curve_of_one_asked_each_step(tmp_path: Path, adapter: Any) -> None:
    model = {"adapter": adapter}
    live = running.done(tmp_path / "live", preset(tmp_path, model=model, ld_alpha=0.5))
    kept = running.done(tmp_path / "kept", preset(tmp_path, model=model, ld_alpha=0.5, reference="cached"))
    assert_close_curves(kept, live)
    assert len(kept_files(kept)) == 1  # train and held-out data are the same file here, so they share what is kept
    assert kept_files(live) == []


def kto(folder: Path, *, model: dict[str, Any] | None = None, shuffle: bool = False, size: int = 8, **own: Any) -> Any:
    """Eight answers, of four pairs."""
    pairs = str(running.uneven_pairs(folder / "few.jsonl", 4))
    data = {"train": pairs, "eval": pairs, "shuffle": shuffle}
    training = {"steps": 3, "eval_every": 3, "batch_size": size}
    return running.preferring("kto", model=model or {}, data=data, training=training, kto=own)


@pytest.mark.parametrize("adapter", [None, running.LORA], ids=["all weights", "adapter"])
def test_in_kto_it_knows_each_answer_and_each_stranger(tmp_path: Path, adapter: Any) -> None:
    """Where a step is all of the data in its order, both ways a prompt meets the same stranger's answer."""
    how: dict[str, Any] = {"model": {"adapter": adapter}, "undesirable_weight": 0.0}  # words rise, strangers' too
    live = running.done(tmp_path / "live", kto(tmp_path, **how))
    kept = running.done(tmp_path / "kept", kto(tmp_path, **how, reference="cached"))
    assert_close_curves(kept, live)
    assert running.values_of(live, "kl")[-1] > 1e-4
    assert len(kept_files(kept)) == 1
    logps = json.loads(kept_files(kept)[0].read_text())["logps"]
    assert len(logps) == 2 * 8


def test_in_kto_without_a_divergence_no_stranger_is_asked_for(tmp_path: Path) -> None:
    own: dict[str, Any] = {"loss": "apo_zero_unpaired", "shuffle": True, "size": 3}
    live = running.done(tmp_path / "live", kto(tmp_path, **own))
    kept = running.done(tmp_path / "kept", kto(tmp_path, **own, reference="cached"))
    assert_close_curves(kept, live)
    assert len(json.loads(kept_files(kept)[0].read_text())["logps"]) == 8


def test_in_kto_a_model_that_was_named_is_asked_and_let_go(tmp_path: Path, other_model: str) -> None:
    model = {"reference": other_model}
    live = running.done(tmp_path / "live", kto(tmp_path, model=model))
    kept = running.done(tmp_path / "kept", kto(tmp_path, model=model, reference="cached"))
    assert_close_curves(kept, live)
    assert abs(running.values_of(live, "rewards/chosen")[0]) > 1e-3


def test_what_another_run_has_kept_is_used_by_the_next_with_the_same_weights_and_pairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = running.done(tmp_path / "first", preset(tmp_path, reference="cached"))
    monkeypatch.setattr(reference, "_ask_all", refuse)
    second = running.done(tmp_path / "second", preset(tmp_path, reference="cached", beta=0.5))
    assert [file.name for file in kept_files(second)] == [file.name for file in kept_files(first)]
    third = running.new_run(tmp_path / "third", preset(tmp_path, reference="cached", ld_alpha=0.5))
    assert running.run_here(third) == running.FAILED
    assert "the reference was asked again" in running.last_word(third).message


def test_other_weights_are_another_reference(tmp_path: Path) -> None:
    scratch = {"scratch": {**running.SCRATCH, "width": 64}}
    one = running.done(tmp_path / "one", preset(tmp_path, reference="cached"))
    two = running.done(tmp_path / "two", preset(tmp_path, reference="cached", model=scratch))
    assert kept_files(one)[0].name != kept_files(two)[0].name


@pytest.mark.parametrize("text", ['{"logps": [1.0, ', '{"logps": [1.0, 2.0]}', ""], ids=["torn", "too short", "empty"])
def test_a_damaged_file_is_not_believed_and_written_again(tmp_path: Path, text: str) -> None:
    whole = running.done(tmp_path / "whole", preset(tmp_path, reference="cached"))
    name, good = kept_files(whole)[0].name, kept_files(whole)[0].read_text()
    kept_files(whole)[0].unlink()
    damaged = running.new_run(tmp_path / "damaged", preset(tmp_path, reference="cached"))
    (damaged.path / name).write_text(text)
    assert running.run_here(damaged) == running.FINISHED
    assert json.loads((damaged.path / name).read_text()) == json.loads(good)
    assert running.curve(damaged) == running.curve(whole)


@pytest.mark.parametrize("adapter", [None, running.LORA], ids=["all weights", "adapter"])
def test_a_model_that_was_named_takes_the_place_of_where_the_policy_began(
    tmp_path: Path, adapter: Any, other_model: str
) -> None:
    model = {"adapter": adapter, "reference": other_model}
    live = running.done(tmp_path / "live", preset(tmp_path, model=model))
    kept = running.done(tmp_path / "kept", preset(tmp_path, model=model, reference="cached"))
    assert abs(running.values_of(live, "loss")[0] - math.log(2)) > 1e-3
    assert_close_curves(kept, live)


def test_a_reference_that_reads_other_tokens_is_refused(tmp_path: Path, other_model: str) -> None:
    file = Path(other_model) / "tokenizer.json"
    file.write_text(file.read_text().replace('"<|end|>"', '"<|stop|>"'))
    run = running.new_run(tmp_path / "run", preset(tmp_path, model={"reference": other_model}))
    assert running.run_here(run) == running.FAILED
    assert "reads other tokens than scratch" in running.last_word(run).message
