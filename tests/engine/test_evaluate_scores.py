"""`evaluate` of reward models: against what training itself reports, what transformers gives, and by hand."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from engine import __main__ as command_line
from engine.contract import events, settings
from engine.data.chat import Example
from engine.data.rankings import Ranking
from engine.evaluation.intervals import bootstrap, bootstrap_of_means, interval_of_shares, wilson
from engine.evaluation.scores import figures_of
from engine.models import ModelError, open_model
from engine.reward_models import RewardScorer, open_reward_model, reader_for
from tests.engine import running
from tests.engine.test_rankings import bert_tokenizer
from tests.engine.test_reward_models import end_pads_tokenizer, rows_of, saved
from tests.tiny import tiny_model, tiny_policy, tiny_reward_model

CPU = torch.device("cpu")


def call(*words: object) -> int:
    try:
        return command_line.main([*map(str, words), "--threads", "1"])
    except SystemExit as left:
        return int(left.code or 0)


def measures(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)["measures"]
    return found


# ------------------------------------------------------------------------------------------------------ the command


@pytest.mark.parametrize("adapter", [None, running.LORA], ids=["all weights", "adapter"])
@pytest.mark.parametrize("family", ["llama", "bert"])
def test_a_runs_measures_are_those_it_reported_itself(
    tmp_path: Path, family: str, adapter: dict[str, Any] | None, capsys: Any
) -> None:
    """Of the run, and of its checkpoint; the end token padded in the model that it began with."""
    encodes = family == "bert"
    start = tiny_reward_model("bert") if encodes else tiny_model(vocab_size=300)
    path = saved(tmp_path / "model", start, bert_tokenizer() if encodes else end_pads_tokenizer())
    preset = running.reward_model(
        model={"path": str(path), "scratch": None, "adapter": adapter},
        data={"train": str(running.uneven_pairs(tmp_path / "pairs.jsonl")), "system_prompt": "Be brief."},
        training={"steps": 2, "eval_every": 2},
        reward_model={"centring": 0.1},
    )
    held_out = running.uneven_rankings(tmp_path / "rankings.jsonl", 10)
    data = preset.data.model_copy(update={"eval": [settings.Source(path=str(held_out))]})
    run = running.done(tmp_path / "run", preset.model_copy(update={"data": data}))
    [told] = running.of_kind(run, events.Evaluation)
    for model in (run.path, run.checkpoint(2)):
        words = [] if model == run.path else ["--data", held_out, "--system", "Be brief."]
        assert call("evaluate", model, *words, "--json") == 0
        found = measures(capsys)
        names = ["accuracy", "auc", "calibration_error", "margin", "mean_reward", "reward_std"]
        # A checkpoint by itself does not know how its run weighed the loss.
        names += ["loss"] if model == run.path else []
        for name in names:
            expected = told.values[f"eval_{name}"]
            assert found[name]["value"] == pytest.approx(expected, rel=1e-4, abs=1e-5), name
        assert found["accuracy"]["over"] == 10


def test_scores_are_correlated_with_ratings_and_the_report_is_kept(tmp_path: Path, capsys: Any) -> None:
    folder = saved(tmp_path / "model", tiny_reward_model())
    rows = [{"prompt": "p", "completion": "a" * n, "score": n} for n in (1, 4, 2, 8)]
    data = tmp_path / "rated.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"prompt": "p", "completion": "", "score": 1}]))
    assert call("evaluate", folder, "--data", data, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["measures"]) == {"mean_reward", "reward_std", "pearson", "spearman"}
    assert "1 of 5 rows" in told["notes"][0]
    policy = open_reward_model(settings.Model(path=str(folder)), device=CPU, dtype=torch.float32)
    read = reader_for(policy, system_prompt=None)
    with torch.no_grad():
        scores = torch.cat([policy.model(torch.tensor([read(row).ids])).logits[:, 0] for row in rows])
    expected = torch.corrcoef(torch.stack([scores, torch.tensor([1.0, 4.0, 2.0, 8.0])]))[0, 1].item()
    assert told["measures"]["pearson"]["value"] == pytest.approx(expected, rel=1e-4)
    assert told["measures"]["mean_reward"]["value"] == pytest.approx(scores.mean().item(), abs=1e-5)


def test_where_the_end_pads_a_score_is_read_where_transformers_reads_it(tmp_path: Path) -> None:
    """As in models that others trained with TRL; in a padded batch, right of the text there is nothing but the pad."""
    model: Any = tiny_reward_model(vocab_size=300)
    tokenizer = end_pads_tokenizer()
    model.config.pad_token_id = tokenizer.pad_token_id
    folder = saved(tmp_path / "model", model, tokenizer)
    policy = open_reward_model(settings.Model(path=str(folder)), device=CPU, dtype=torch.float32)
    read = reader_for(policy, system_prompt=None)
    rows = [{"prompt": "a", "completion": "b"}, {"prompt": "long: ", "completion": "answer"}]
    texts = [f"{row['prompt']}{row['completion']}{tokenizer.eos_token}" for row in rows]
    with torch.no_grad():
        theirs = model(**tokenizer(texts, padding=True, return_tensors="pt", return_token_type_ids=False)).logits[:, 0]
        ours = RewardScorer(policy.model)(rows_of([read(row).ids for row in rows])).rewards
    assert ours.tolist() == pytest.approx(theirs.tolist(), abs=2e-6)


def test_a_reward_model_neither_writes_nor_teaches_and_a_language_model_does_not_score(
    tmp_path: Path, capsys: Any
) -> None:
    scorer = saved(tmp_path / "scorer", tiny_reward_model())
    writer = saved(tmp_path / "writer", tiny_policy().model)
    pairs = running.uneven_pairs(tmp_path / "pairs.jsonl", 3)
    for words, message in (
        (
            ("sample", scorer, "--prompt", "a"),
            "is a reward model, which scores answers and writes none; name a language",
        ),
        (
            ("evaluate", scorer, "--data", pairs, "--measure", "loss"),
            "a reward model writes nothing, so there is no loss",
        ),
        (("evaluate", writer, "--data", pairs, "--measure", "scores"), "writes answers and scores none; name a reward"),
    ):
        assert call(*words) == 2, words
        assert message in capsys.readouterr().err
    with pytest.raises(ModelError, match="is a reward model, which scores answers and writes none"):
        open_model(settings.Model(path=str(scorer)), dtype=torch.float32, seed=0)
    with pytest.raises(ModelError, match="is no reward model, as it has no head that scores"):
        open_reward_model(settings.Model(path=str(writer)), device=CPU, dtype=torch.float32)


# ------------------------------------------------------------------------------------------------------ by hand


def ranking(pairs: list[tuple[int, int]], answers: int) -> Ranking:
    return Ranking([Example([1], [False])] * answers, pairs, [0.0] * len(pairs), None)


def test_each_prompt_counts_once_in_the_accuracy_and_its_interval() -> None:
    """Scores 3 2 1 of three answers in order, and 0 1 of two that are not."""
    figures = figures_of(
        settings.RewardModel(),
        torch.tensor([3.0, 2, 1, 0, 1]),
        [ranking([(0, 1), (0, 2), (1, 2)], 3), ranking([(0, 1)], 2)],
    )
    assert figures["accuracy"].value == pytest.approx(1 / 2)
    assert (figures["accuracy"].low, figures["accuracy"].high) == wilson(0.5, 2)
    # Margins 1 2 1 of the first prompt, whose mean counts as much as the -1 of the other.
    assert figures["margin"].value == pytest.approx((4 / 3 - 1) / 2)
    # Resampled, both prompts are the first, or the second, or one of each.
    assert (figures["margin"].low, figures["margin"].high) == pytest.approx((-1, 4 / 3))
    assert figures["mean_reward"].value == pytest.approx(7 / 5)


def test_a_bootstrap_covers_a_correlation_as_often_as_it_says() -> None:
    draw = torch.Generator().manual_seed(0)
    inside = 0
    for _ in range(80):
        x = torch.randn(60, generator=draw)
        y = 0.6 * x + 0.8 * torch.randn(60, generator=draw)

        def correlation(chosen: torch.Tensor, x: torch.Tensor = x, y: torch.Tensor = y) -> dict[str, float]:
            return {"r": float(torch.corrcoef(torch.stack([x[chosen], y[chosen]]))[0, 1])}

        low, high = bootstrap(correlation, 60, resamples=100)["r"]
        inside += low <= 0.6 <= high
    assert 0.86 <= inside / 80 <= 0.99


def test_a_bootstrap_of_a_mean_is_as_wide_as_its_standard_error_says() -> None:
    values = torch.randn(400, generator=torch.Generator().manual_seed(1))
    [(low, high)] = bootstrap_of_means(values[:, None])
    error = float(values.std()) / 20
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.06)
    assert (low + high) / 2 == pytest.approx(float(values.mean()), abs=0.2 * error)


def test_what_is_no_number_in_some_resamples_is_judged_by_the_others() -> None:
    found = bootstrap(lambda chosen: {"x": math.nan if len(set(chosen.tolist())) == 1 else 2.0, "y": math.nan}, 3)
    assert found["x"] == (2.0, 2.0)
    assert math.isnan(found["y"].low)


def test_shares_of_prompts_that_are_all_right_or_wrong_have_wilsons_interval_and_others_a_bootstraps() -> None:
    alike, mixed = interval_of_shares(torch.tensor([[1.0, 0.5], [1.0, 0.4], [1.0, 0.6], [1.0, 0.5]]))
    assert alike == wilson(1.0, 4)
    assert 0.4 <= mixed.low < 0.5 < mixed.high <= 0.6


def test_resamples_of_many_prompts_are_drawn_some_at_a_time() -> None:
    values = torch.rand(300_000, 1, generator=torch.Generator().manual_seed(3))
    [(low, high)] = bootstrap_of_means(values, resamples=40)
    error = float(values.std()) / 300_000**0.5
    assert low == pytest.approx(0.5, abs=6 * error)
    assert 2 * error < high - low < 6 * error
