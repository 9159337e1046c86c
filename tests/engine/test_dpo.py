"""DPO as a method: what a step learns from, what it tells, and where its policy begins."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.contract import events, metrics
from engine.contract.preset import DpoPreset
from engine.data.sources import DataError, Row
from engine.loop import Update
from engine.methods.dpo import dpo, summed
from engine.tally import Tally
from tests.engine import running
from tests.tiny import bench_of, rows_of, tiny_policy

pytestmark = pytest.mark.usefixtures("fork_server")

ROWS: list[Row] = [
    {"prompt": "2+2=", "chosen": "4", "rejected": "five"},
    {"prompt": "the capital of France is", "chosen": " Paris", "rejected": " a city on the Seine"},
    {"prompt": "a b c ", "chosen": "d e f g h i j k", "rejected": "z"},
    {"prompt": "x", "chosen": "yz", "rejected": "zy"},
]


def preset_of(training: dict[str, Any] | None = None, **own: Any) -> DpoPreset:
    return DpoPreset.model_validate(
        {
            "method": "dpo",
            "model": {"path": "scratch"},
            "data": {"train": "rows.jsonl", "shuffle": False},
            "training": {"batch_size": 4, "micro_batch_size": 4, **(training or {})},
            "dpo": own,
        }
    )


def first_update(preset: DpoPreset, bench: Any) -> tuple[Update, dict[str, float]]:
    """The first update, and the means of what its loss tells, with `share` for the loss."""
    method = dpo(preset, bench)
    [update] = method.batches(1)
    tally, share = Tally(), 0.0
    for batch in update.micro_batches:
        part, values = method.loss(batch)
        share += part.item()
        tally.add(values)
    return update, {"share": share, **tally.means(bench.accelerator)}


def test_the_rows_margins_are_leads_that_the_setting_scales(tmp_path: Path) -> None:
    """The policy is its reference, so each loss is -log sigmoid(-margin / 2); a row without one asks for none."""
    margins = [2.0, 0.0, 4.0]
    rows = [*({**row, "margin": m} for row, m in zip(ROWS, margins, strict=False)), ROWS[3]]
    bench = bench_of(replace(tiny_policy(), reference=tiny_policy().model), tmp_path, train=rows)
    _, told = first_update(preset_of(margin=0.5), bench)
    leads = [0.5 * m for m in (*margins, 0.0)]
    assert told["share"] == pytest.approx(sum(math.log1p(math.exp(lead)) for lead in leads) / 4, rel=1e-5)
    assert first_update(preset_of(), bench)[1]["share"] == pytest.approx(math.log(2), rel=1e-5)


def test_a_margin_that_no_row_has_is_refused(tmp_path: Path) -> None:
    bench = bench_of(replace(tiny_policy(), reference=tiny_policy().model), tmp_path, train=ROWS)
    with pytest.raises(DataError, match=r"no row has a `margin`, which dpo.margin asks for; add that column, or set"):
        dpo(preset_of(margin=0.5), bench)


@pytest.mark.parametrize("lora", [False, True], ids=["frozen copy", "adapter off"])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_policy_equal_to_its_reference_has_a_loss_of_log_two(family: str, lora: bool, tmp_path: Path) -> None:
    run = running.done(
        tmp_path / "run",
        running.dpo(
            model={
                "scratch": {**running.SCRATCH, "family": family},
                "adapter": {**running.LORA, "dropout": 0.5} if lora else None,
            },
            training={"steps": 2},
        ),
    )
    first, second = (values for _, _, values in running.curve(run))
    assert first["loss"] == pytest.approx(math.log(2), rel=1e-6)
    assert first["rewards/margins"] == pytest.approx(0.0, abs=1e-5)
    assert abs(second["rewards/margins"]) > 1e-4 or abs(second["rewards/chosen"]) > 1e-4


def test_a_step_tells_what_trl_tells_of_it(tmp_path: Path) -> None:
    _, values = first_update(preset_of(), bench_of(tiny_policy(lora=True), tmp_path, train=ROWS))
    names = {"rewards/chosen", "rewards/rejected", "rewards/accuracies", "rewards/margins", "logps/chosen"}
    assert values.keys() == names | {"logps/rejected", "entropy", "mean_token_accuracy", "share"}
    assert values["rewards/margins"] == pytest.approx(values["rewards/chosen"] - values["rewards/rejected"], abs=1e-6)
    shown = [*metrics.board("dpo"), *metrics.more("dpo"), metrics.HEADLINE["dpo"], *names]
    assert [name for name in shown if name not in metrics.CATALOGUE] == []


def test_the_batch_holds_every_chosen_row_and_then_every_rejected_one(tmp_path: Path) -> None:
    bench = bench_of(tiny_policy(lora=True), tmp_path, train=ROWS)
    update, _ = first_update(preset_of(training={"micro_batch_size": 2}), bench)
    texts = [
        [
            bench.encoder.decode(row[mask].tolist())
            for row, mask in zip(part.rows.input_ids, part.rows.is_token, strict=True)
        ]
        for part in update.micro_batches
    ]
    assert texts[0] == [
        "2+2=4",
        "the capital of France is Paris",
        "2+2=five",
        "the capital of France is a city on the Seine",
    ]
    assert texts[1] == ["a b c d e f g h i j k", "xyz", "a b c z", "xzy"]
    assert update.tokens == sum(len(text) + 1 for part in texts for text in part)


def test_length_desensitising_weighs_what_goes_beyond_the_shorter_answer() -> None:
    rows = rows_of([([5, 6], [7, 8, 9]), ([5], [7])])  # a chosen answer of 3 tokens, a rejected one of 1
    logps = torch.tensor([-1.0, -2.0, -4.0, -8.0])
    assert summed(logps, rows.is_target, None).tolist() == [-7.0, -8.0]
    assert summed(logps, rows.is_target, 1.0).tolist() == [-7.0, -8.0]
    assert summed(logps, rows.is_target, 0.5).tolist() == [-4.0, -8.0]
    assert summed(logps, rows.is_target, 0.0).tolist() == [-1.0, -8.0]


def test_the_sft_part_is_the_token_mean_of_the_chosen_answers_times_its_weight(tmp_path: Path) -> None:
    bench = bench_of(tiny_policy(lora=True), tmp_path, train=ROWS)
    _, plain = first_update(preset_of(), bench)
    _, mixed = first_update(preset_of(sft_weight=0.5), bench)
    tokens = sum(len(row["chosen"]) + 1 for row in ROWS)
    assert mixed["nll_loss"] == pytest.approx(-4 * plain["logps/chosen"] / tokens, rel=1e-5)
    assert mixed["share"] == pytest.approx(plain["share"] + 0.5 * mixed["nll_loss"], rel=1e-5)


def test_held_out_pairs_are_measured_as_those_of_a_step_are(tmp_path: Path) -> None:
    pairs = str(running.uneven_pairs(tmp_path / "pairs.jsonl", 8))
    training = {"steps": 1, "batch_size": 8, "eval_every": 1, "micro_batch_size": 3}
    preset = running.dpo(
        data={"train": pairs, "eval": pairs, "shuffle": False}, training=training, dpo={"sft_weight": 0.3},
        optimizer={"learning_rate": 0.0},
    )  # fmt: skip
    run = running.done(tmp_path / "run", preset)
    [step], [measured] = running.of_kind(run, events.Step), running.of_kind(run, events.Evaluation)
    assert len(measured.values) == 10
    told = {name.removeprefix("eval_"): value for name, value in measured.values.items()}
    assert told == pytest.approx({name: step.values[name] for name in told}, rel=1e-5, abs=1e-6)


def test_pairs_of_no_use_are_left_out_with_a_notice(tmp_path: Path) -> None:
    rows = [*ROWS, {"prompt": "p", "chosen": "same", "rejected": "same"}]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = running.done(tmp_path / "run", running.dpo(data={"train": str(file)}, training={"steps": 1}))
    assert "1 of 5 rows is left out: both answers are the same (pairs.jsonl, line 5)" in running.notices(run)


def test_data_without_a_pair_of_use_ends_the_run_and_says_why(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text(json.dumps({"prompt": "p", "chosen": "", "rejected": "a"}) + "\n")
    run = running.new_run(tmp_path / "run", running.dpo(data={"train": str(file)}))
    assert running.run_here(run) == running.FAILED
    assert "pairs.jsonl: no row can be used: an answer is empty (pairs.jsonl, line 1)" in running.last_word(run).message


@pytest.mark.parametrize("method", ["dpo", "kto", "orpo"])
def test_answers_are_written_as_it_learns_and_scored_by_the_task(tmp_path: Path, method: str) -> None:
    own = {"sample_every": 2, "samples": 3, "sample_tokens": 4}
    held_out = {**running.SUMS, "seed": 2, "rows": 10}
    run = running.done(
        tmp_path / "run", running.preferring(method, data={"eval": held_out}, training={"steps": 4}, **{method: own})
    )
    written = running.answers_of(run)
    assert [answer.step for answer in written] == [2, 2, 2, 4, 4, 4]
    assert all(answer.prompt.endswith("=") and answer.reward in (0.0, 1.0) for answer in written)
    assert ["sampled_accuracy" in event.values for event in running.of_kind(run, events.Evaluation)] == [True, True]


@pytest.mark.parametrize("loss", ["aot", "aot_unpaired"])
def test_a_loss_that_sorts_the_batch_trains_where_the_whole_batch_is_in_memory(tmp_path: Path, loss: str) -> None:
    preset = running.dpo(dpo={"loss": loss}, training={"micro_batch_size": 8, "steps": 3})
    assert running.values_of(running.done(tmp_path / "run", preset), "loss")[0] == pytest.approx(math.log(2), rel=1e-6)
