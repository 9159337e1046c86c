"""A reward model as a method: what a step compares, what it tells, and what it leaves in the model."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.contract import events, metrics
from engine.contract.preset import RewardModelPreset
from engine.data.byte_tokenizer import byte_tokenizer
from engine.data.formats import canonical
from engine.data.sources import DataError, Row
from engine.logprobs import Rows
from engine.loop import Update
from engine.methods.bench import Bench
from engine.methods.reward_model import pairs_of, reward_model
from engine.models import Policy
from engine.reward_models import RewardScorer
from engine.tally import Tally
from tests.engine import running
from tests.engine.test_rankings import bert_tokenizer, encoded
from tests.engine.test_reward_measures import t
from tests.tiny import bench_of, tiny_reward_model

pytestmark = pytest.mark.usefixtures("fork_server")

FOUR: Row = {"prompt": "name a colour: ", "answers": ["red", "green", "bluish", "7"], "ranks": [1, 2, 3, 4]}
PAIRS: list[Row] = [
    {"prompt": "2+2=", "chosen": "4", "rejected": "five", "margin": 1.0},
    {"prompt": "x", "chosen": "yz", "rejected": "zy"},
    {"prompt": "a b c ", "chosen": "d e f g h", "rejected": "z"},
]
#: The same preferences as FOUR, as rows of pairs.
SIX: list[Row] = [
    {"prompt": FOUR["prompt"], "chosen": FOUR["answers"][i], "rejected": FOUR["answers"][j]}
    for i in range(4)
    for j in range(i + 1, 4)
]


def preset_of(rows: int = 4, training: dict[str, Any] | None = None, **own: Any) -> RewardModelPreset:
    return RewardModelPreset.model_validate(
        {
            "method": "reward_model",
            "model": {"path": "scratch"},
            "data": {"train": "rows.jsonl", "shuffle": False},
            "training": {"batch_size": rows, "micro_batch_size": rows, **(training or {})},
            "reward_model": own,
        }
    )


def bench_for(folder: Path, rows: list[Row], held_out: list[Row] | None = None, family: str = "llama") -> Bench:
    tokenizer = bert_tokenizer() if family == "bert" else byte_tokenizer()
    policy = Policy(tiny_reward_model(family), tokenizer, has_adapter=False)
    train, measuring = ([canonical(row, "reward_model") for row in some or []] for some in (rows, held_out))
    return bench_of(policy, folder, train=train, held_out=measuring or None, scores=RewardScorer)


def first_update(preset: RewardModelPreset, bench: Bench) -> tuple[Update, dict[str, float]]:
    """The first update, and the means of what its loss tells, with `share` for the loss."""
    method = reward_model(preset, bench)
    [update] = method.batches(1)
    tally, share = Tally(), 0.0
    for batch in update.micro_batches:
        part, values = method.loss(batch)
        share += part.item()
        tally.add(values)
    return update, {"share": share, **tally.means(bench.accelerator)}


# -------------------------------------------------------------------------------------------------------- a step


def test_a_prompt_with_six_pairs_counts_as_much_as_one_with_a_single_pair(tmp_path: Path) -> None:
    """Its share is the mean over its pairs, and the step's loss the mean over prompts."""
    _, of_six = first_update(preset_of(6), bench_for(tmp_path / "six", SIX))
    _, of_three = first_update(preset_of(3, margin=False), bench_for(tmp_path / "three", PAIRS))
    _, together = first_update(preset_of(4, margin=False), bench_for(tmp_path / "four", [FOUR, *PAIRS]))
    for name in ("share", "accuracy", "margin"):
        assert together[name] == pytest.approx((of_six[name] + 3 * of_three[name]) / 4, rel=1e-5, abs=1e-6), name


def test_each_answer_of_a_ranking_is_read_once(tmp_path: Path) -> None:
    update, _ = first_update(preset_of(2), bench_for(tmp_path, [FOUR, PAIRS[0]]))
    [batch] = update.micro_batches
    assert batch.rows.input_ids.shape[0] == 4 + 2
    assert len(batch.pairs.better) == 6 + 1
    assert update.tokens == sum(len(FOUR["prompt"]) + len(answer) + 1 for answer in FOUR["answers"]) + 4 * 2 + 1 + 4 + 2
    assert batch.pairs.better.tolist() == [0, 0, 0, 1, 1, 2, 4]
    assert batch.pairs.worse.tolist() == [1, 2, 3, 2, 3, 3, 5]
    assert batch.pairs.weights.tolist() == pytest.approx([1 / 6] * 6 + [1])


def test_margins_are_used_where_the_data_has_them_unless_told_otherwise() -> None:
    rankings = encoded([*PAIRS, FOUR]).rankings
    assert pairs_of(rankings, use_margins=True).margins.tolist() == [1.0, *[0.0] * 8]
    assert pairs_of(rankings, use_margins=False).margins.tolist() == [0.0] * 9


def test_a_margin_and_centring_change_the_loss_and_nothing_else_that_is_told(tmp_path: Path) -> None:
    _, plain = first_update(preset_of(3, margin=False), bench_for(tmp_path / "a", PAIRS))
    _, wide = first_update(preset_of(3), bench_for(tmp_path / "b", PAIRS))
    _, centred = first_update(preset_of(3, margin=False, centring=0.5), bench_for(tmp_path / "c", PAIRS))
    assert wide["share"] > plain["share"]
    assert centred["share"] > plain["share"]
    assert {**wide, "share": 0} == {**plain, "share": 0} == {**centred, "share": 0}


def test_a_step_tells_what_trl_tells_of_it_and_every_name_is_known(tmp_path: Path) -> None:
    _, values = first_update(preset_of(3), bench_for(tmp_path, PAIRS))
    assert values.keys() == {"share", "accuracy", "margin", "min_reward", "mean_reward", "max_reward"}
    assert values["min_reward"] < values["mean_reward"] < values["max_reward"]
    shown = [*metrics.board("reward_model"), *metrics.more("reward_model"), metrics.HEADLINE["reward_model"], *values]
    assert {name for name in shown if name not in metrics.CATALOGUE} == {"share"}


def test_an_encoder_reads_the_answer_as_its_second_segment(tmp_path: Path) -> None:
    update, _ = first_update(preset_of(3), bench_for(tmp_path, PAIRS, family="bert"))
    [batch] = update.micro_batches
    first: Rows = batch.rows
    assert first.is_target[0].tolist() == [False] * 6 + [True] * 2 + [False] * (first.is_token.shape[1] - 8)


def test_nothing_drops_out_while_answers_are_compared(tmp_path: Path) -> None:
    dropping = tiny_reward_model("gpt2", resid_pdrop=0.5, embd_pdrop=0.5, attn_pdrop=0.5)
    policy = Policy(dropping, byte_tokenizer(), has_adapter=False)
    bench = bench_of(policy, tmp_path, train=PAIRS, scores=RewardScorer)
    first, again = first_update(preset_of(3), bench)[1], first_update(preset_of(3), bench)[1]
    assert first == again


def test_data_that_compares_nothing_is_refused(tmp_path: Path) -> None:
    rated = {"prompt": "p", "completion": "a", "score": 3}
    with pytest.raises(DataError, match=r"no row can be used: 1 of 1 rows is left out: no answer is better"):
        reward_model(preset_of(), bench_for(tmp_path, [rated]))
    with pytest.raises(DataError, match=r"no row can be used: 1 of 1 rows is left out: .* longer than 128 tokens"):
        reward_model(preset_of(), bench_for(tmp_path, [{"prompt": "p" * 200, "chosen": "a", "rejected": "b"}]))


# --------------------------------------------------------------------------------------------------- measurements


def measured(folder: Path, held_out: list[Row], **own: Any) -> tuple[dict[str, float], Bench]:
    preset = preset_of(3, {"steps": 1, "eval_every": 1, "micro_batch_size": 2}, **own)
    bench = bench_for(folder, PAIRS, held_out)
    return reward_model(preset, bench).measure(1), bench


def test_held_out_pairs_are_measured_as_those_of_a_step_are(tmp_path: Path) -> None:
    values, _ = measured(tmp_path / "held out", [*PAIRS, FOUR], centring=0.1)
    _, step = first_update(preset_of(4, centring=0.1), bench_for(tmp_path / "step", [*PAIRS, FOUR]))
    told = {name.removeprefix("eval_"): value for name, value in values.items()}
    assert told["loss"] == pytest.approx(step["share"], rel=1e-5)
    assert {name: told[name] for name in step if name != "share"} == pytest.approx(
        {name: value for name, value in step.items() if name != "share"}, rel=1e-5, abs=1e-6
    )
    assert values.keys() - {f"eval_{name}" for name in step} == {
        "eval_loss",
        "eval_auc",
        "eval_calibration_error",
        "eval_reward_std",
    }
    assert [name for name in values if name not in metrics.CATALOGUE] == []


def test_scores_are_correlated_with_ratings_where_the_data_has_them(tmp_path: Path) -> None:
    """A rated answer by itself measures too; a pair without ratings does not disturb it."""
    rated: list[Row] = [
        {"prompt": "p", "answers": ["abc", "d"], "scores": [3.0, 1.0]},
        {"prompt": "q", "completion": "efgh", "score": 2.0},
        {"prompt": "r", "chosen": "i", "rejected": "jk", "chosen_score": 9.0, "rejected_score": 4.0},
        PAIRS[0],
    ]
    values, bench = measured(tmp_path, rated)
    texts = ["pabc", "pd", "qefgh", "ri", "rjk"]
    model: Any = bench.policy.model
    with torch.no_grad():
        scores = [model(torch.tensor([[*byte_tokenizer()(text)["input_ids"], 1]])).logits.item() for text in texts]
    expected = torch.corrcoef(torch.stack([t(*scores), t(3, 1, 2, 9, 4)]))[0, 1].item()
    assert values["eval_pearson"] == pytest.approx(expected, rel=1e-4)
    ranks = torch.stack([t(*scores).argsort().argsort().float(), t(2, 0, 1, 4, 3)])
    assert values["eval_spearman"] == pytest.approx(torch.corrcoef(ranks)[0, 1].item(), rel=1e-5)
    assert math.isfinite(values["eval_loss"])


def test_mean_and_spread_of_the_scores_are_left_in_the_models_config(tmp_path: Path) -> None:
    values, bench = measured(tmp_path, [FOUR])
    config: Any = bench.policy.model.config
    assert config.reward_mean == pytest.approx(values["eval_mean_reward"], rel=1e-6)
    assert config.reward_std == pytest.approx(values["eval_reward_std"], rel=1e-6)


def test_without_held_out_data_the_training_data_gives_mean_and_spread(tmp_path: Path) -> None:
    run = running.done(tmp_path / "run", running.reward_model(training={"steps": 2}))
    config = json.loads((run.final / "config.json").read_text())
    assert config["reward_std"] > 0
    assert running.of_kind(run, events.Evaluation) == []


def test_rows_of_no_use_are_left_out_with_a_notice(tmp_path: Path) -> None:
    rows = [*PAIRS, {"prompt": "p", "chosen": "same", "rejected": "same"}]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = running.done(tmp_path / "run", running.reward_model(data={"train": str(file)}, training={"steps": 1}))
    assert "1 of 4 rows is left out: both answers are the same" in running.notices(run)


@pytest.mark.parametrize("model", [{}, {"adapter": running.LORA}], ids=["all weights", "adapter"])
def test_a_run_goes_on_from_the_reward_model_of_another(tmp_path: Path, model: dict[str, Any]) -> None:
    """With its head, its adapter merged; at a learning rate of zero it measures what the other did."""
    held_out = {"train": running.SUMS, "eval": {**running.SUMS, "seed": 2, "rows": 10}}
    training = {"steps": 2, "eval_every": 2}
    first = running.done(tmp_path / "first", running.reward_model(model=model, data=held_out, training=training))
    preset = running.reward_model(
        model={"path": str(first.path), "scratch": None, **model},
        data=held_out,
        training=training,
        optimizer={"learning_rate": 0.0},
    )
    second = running.done(tmp_path / "second", preset)
    found, wanted = ([v for kind, _, v in running.curve(run) if kind == "evaluation"][-1] for run in (second, first))
    assert found == pytest.approx(wanted, rel=1e-4, abs=1e-5)
