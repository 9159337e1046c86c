"""Measures against hand-worked numbers, the libraries and simulation; `evaluate` against what training itself says."""

import itertools
import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import __main__ as command_line
from engine.contract import events
from engine.contract.run_dir import RunDir
from engine.contract.settings import Model
from engine.data.chat import ChatEncoder
from engine.evaluation import best_of
from engine.evaluation.figures import of_answers, of_best, of_overlap, of_pairs
from engine.evaluation.intervals import wilson
from engine.evaluation.overlap import bleu, rouge
from engine.evaluation.pass_at_k import mean_pass_at_k, pass_at_k, usual_ks
from engine.models import open_for_use
from tests.engine import running
from tests.tiny import tiny_policy, whole_logps

# ---------------------------------------------------------------------------------------------------- pure measures


@given(st.integers(1, 12), st.data())
def test_pass_at_k_is_the_share_of_draws_with_a_right_answer(answers: int, data: st.DataObject) -> None:
    """Chen et al.'s equation 1 counts subsets; here they are drawn, every one."""
    right, k = data.draw(st.integers(0, answers)), data.draw(st.integers(1, answers))
    draws = list(itertools.combinations(range(answers), k))
    expected = sum(min(draw) < right for draw in draws) / len(draws)
    assert pass_at_k(answers, right, k) == pytest.approx(expected, abs=1e-12)
    assert pass_at_k(answers, right, k) == pytest.approx(
        1 - math.comb(answers - right, k) / math.comb(answers, k), abs=1e-12
    )


def test_pass_at_k_by_hand_and_far_beyond_what_binomials_fit_into() -> None:
    # 10 answers, 3 right: 1 - C(7, 5) / C(10, 5) = 1 - 21/252 = 11/12.
    assert pass_at_k(10, 3, 5) == pytest.approx(11 / 12)
    assert pass_at_k(10, 3, 1) == pytest.approx(0.3)
    assert pass_at_k(100_000, 1, 1000) == pytest.approx(0.01)
    assert mean_pass_at_k([0, 3, 10], answers=10, k=5) == pytest.approx((0 + 11 / 12 + 1) / 3)


def test_pass_at_k_is_unbiased_where_the_usual_shortcut_is_not() -> None:
    """Answers right with probability 0.2; at least one of 5 is with 1 - 0.8^5 = 0.67232."""
    draw = random.Random(0)  # noqa: S311 - coins, not secrets
    counts = [sum(draw.random() < 0.2 for _ in range(8)) for _ in range(20_000)]
    truth = 1 - 0.8**5
    # The standard error of the mean is 0.0023.
    assert mean_pass_at_k(counts, answers=8, k=5) == pytest.approx(truth, abs=0.007)
    shortcut = sum(1 - (1 - c / 8) ** 5 for c in counts) / len(counts)
    assert abs(shortcut - truth) > 0.03


@pytest.mark.parametrize(("answers", "right", "k"), [(3, 4, 1), (3, -1, 1), (3, 1, 4), (3, 1, 0)])
def test_pass_at_k_refuses_what_cannot_be_drawn(answers: int, right: int, k: int) -> None:
    with pytest.raises(ValueError, match="cannot be drawn from them"):
        pass_at_k(answers, right, k)


def test_the_ks_are_powers_of_two_and_all_of_them() -> None:
    assert [usual_ks(n) for n in (1, 2, 5, 8)] == [[], [2], [2, 4, 5], [2, 4, 8]]


def test_wilson_by_hand_and_in_its_coverage() -> None:
    # p = 1/2 of 4: centre 1/2, half-width z / (1 + z²/4) sqrt(1/16 + z²/64) with z² = 3.8415, that is 0.34996.
    assert wilson(0.5, 4) == pytest.approx((0.15004, 0.84996), abs=1e-4)
    assert wilson(0.0, 10).low == 0.0
    assert wilson(1.0, 10).high == 1.0
    assert wilson(0.0, 10).high == pytest.approx(0.27753, abs=1e-5)  # z² / (n + z²)
    draw = random.Random(1)  # noqa: S311 - coins, not secrets
    inside = 0
    for _ in range(4000):
        low, high = wilson(sum(draw.random() < 0.1 for _ in range(40)) / 40, 40)
        inside += low <= 0.1 <= high
    assert 0.93 < inside / 4000 < 0.98
    with pytest.raises(ValueError, match="mean should lie in"):
        wilson(1.5, 3)


def test_rouge_and_bleu_by_hand() -> None:
    # Words: precision 3/4, recall 1, so F = 6/7, in order too. Bigrams: precision 2/3, recall 1, so F = 4/5.
    scores = rouge("the cat sat down", "the cat sat")
    assert scores == pytest.approx({"rouge1": 6 / 7, "rouge2": 4 / 5, "rougeL": 6 / 7})
    # n-gram precisions 4/4, 3/3, 2/2, 1/1 and a brevity penalty of exp(1 - 5/4).
    found = bleu(["the cat sat down"], ["the cat sat down quietly"])
    assert found.score == pytest.approx(100 * math.exp(-0.25))
    assert "tok:13a" in found.signature


def test_an_answer_equal_to_its_reference_scores_all_there_is() -> None:
    figures = of_overlap([["four words are here"], ["and five words stand here"]], ["four words are here"] * 2)
    alone = of_overlap([["four words are here"]], ["four words are here"])
    assert (alone["rouge1"].value, alone["rougeL"].value, alone["bleu"].value) == pytest.approx((1.0, 1.0, 100.0))
    second = rouge("and five words stand here", "four words are here")["rouge1"]
    assert figures["rouge1"].value == pytest.approx((1 + second) / 2)


def test_accuracy_and_pass_at_k_of_several_answers_count_prompts_in_their_interval() -> None:
    figures = of_answers([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]], [2])
    assert figures["sampled_accuracy"].value == pytest.approx(3 / 12)
    # 1 - C(3,2)/C(4,2) = 1/2; 1 - C(2,2)/C(4,2) = 5/6; 0.
    assert figures["pass@2"].value == pytest.approx((1 / 2 + 5 / 6) / 3)
    # Prompts of 1/4, 2/4 and 0: resampled, their mean is between 0 and 2/4, each with a chance of 1/27 > 2.5%.
    assert (figures["sampled_accuracy"].low, figures["sampled_accuracy"].high) == pytest.approx((0.0, 0.5))
    alike = of_answers([[1], [1], [0]], [])["sampled_accuracy"]
    assert (alike.low, alike.high) == wilson(2 / 3, 3)
    assert "score" not in figures
    partly = of_answers([[0.5], [1.0]], [])
    assert (partly["sampled_accuracy"].value, partly["score"].value) == (0.5, 0.75)


@settings(max_examples=40)
@given(st.lists(st.integers(0, 3) | st.none(), min_size=1, max_size=7), st.data())
def test_an_answer_is_the_best_as_often_as_among_all_that_can_be_drawn(
    drawn: list[int | None], data: st.DataObject
) -> None:
    """Counted out over all subsets; of equals the first in a random order is the best."""
    rewards = [math.nan if reward is None else float(reward) for reward in drawn]
    n = data.draw(st.integers(1, len(rewards)))
    expected, counted = [0.0] * len(rewards), 0
    for subset in itertools.combinations(range(len(rewards)), n):
        known = [i for i in subset if not math.isnan(rewards[i])]
        best = [i for i in known if rewards[i] == max(rewards[j] for j in known)]
        counted += bool(known)
        for i in best:
            expected[i] += 1 / len(best)
    found = best_of.chances(torch.tensor([rewards]), n)[0].tolist()
    if counted:
        assert found == pytest.approx([each / counted for each in expected], abs=1e-12)
    else:
        assert all(math.isnan(each) for each in found)


def test_the_best_of_n_is_unbiased_and_of_what_an_answer_is_worth_by_hand() -> None:
    # Uniform rewards: the best of n is n / (n + 1) in the mean.
    rewards = torch.rand(2000, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64).tolist()
    curve = best_of.by_prompt(rewards, [1, 3, 8], rewards).mean(dim=0).tolist()
    assert curve == pytest.approx([1 / 2, 3 / 4, 8 / 9], abs=0.01)
    # Two of 4 by reward 0, 1, 2, 3: the best has 1 in 1, 2 in 2, 3 in 3 of 6 draws; the reward likes what is wrong.
    figures = of_best([[0.0, 1.0, 2.0, 3.0]] * 2, [[1.0, 1.0, 1.0, 0.0]] * 2, [2, 4])
    assert figures["reward_of_best@2"].value == pytest.approx((1 + 2 * 2 + 3 * 3) / 6)
    assert figures["accuracy_of_best@2"].value == pytest.approx(1 / 2)
    assert figures["accuracy_of_best@4"].value == 0.0
    assert figures["reward_of_best@4"].kl_bound == pytest.approx(math.log(4) - 3 / 4)
    assert set(of_best([[0.0, 1.0]], [], [2])) == {"reward_of_best@2"}
    # Where binomials overflow:
    assert float(best_of.chances(torch.arange(10_000.0)[None], 5000)[0, -1]) == pytest.approx(
        0.5
    )  # where binomials overflow
    with pytest.raises(ValueError, match="the best of 3 cannot be drawn"):
        best_of.chances(torch.zeros(1, 2), 3)


def test_implicit_rewards_by_hand() -> None:
    # Log-ratios 2, -1, 0 of chosen and 1, 1, 0 of rejected: one of three in order, a tie is not.
    figures = of_pairs([2.0, -1.0, 0.0], [1.0, 1.0, 0.0], 0.5)
    assert figures["rewards/accuracies"].value == pytest.approx(1 / 3)
    assert figures["rewards/margins"].value == pytest.approx(0.5 * (1 / 3 - 2 / 3))
    assert figures["rewards/chosen"].value == pytest.approx(0.5 / 3)


# ------------------------------------------------------------------------------------------------------ the command


def call(*words: object) -> int:
    try:
        return command_line.main(["evaluate", *map(str, words), "--threads", "1"])
    except SystemExit as left:
        return int(left.code or 0)


def measures(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)["measures"]
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run of an adapter that measured held-out sums at its end."""
    preset = running.sft(
        model={"adapter": running.LORA},
        data={"eval": {**running.SUMS, "seed": 2, "rows": 12}},
        optimizer={"learning_rate": 0.01},
        training={"steps": 12, "eval_every": 12},
    )
    return running.done(tmp_path_factory.mktemp("trained") / "run", preset)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder."""
    folder = tmp_path_factory.mktemp("model")
    policy: Any = tiny_policy()
    policy.model.save_pretrained(folder)
    policy.tokenizer.save_pretrained(folder)
    return folder


def test_the_held_out_loss_is_the_one_the_run_itself_reported(trained: RunDir, capsys: Any) -> None:
    assert call(trained.path, "--measure", "loss", "--json") == 0
    found = measures(capsys)
    [told] = running.of_kind(trained, events.Evaluation)
    assert found["loss"]["value"] == pytest.approx(told.values["eval_loss"], rel=1e-6)
    assert found["perplexity"]["value"] == pytest.approx(told.values["eval_perplexity"], rel=1e-6)
    assert found["mean_token_accuracy"]["value"] == pytest.approx(told.values["eval_mean_token_accuracy"])


def test_a_report_stands_beside_the_run_and_as_a_table_on_the_terminal(trained: RunDir, capsys: Any) -> None:
    for left in trained.path.glob("evaluation-*.json"):
        left.unlink()
    assert call(trained.path, "--count", 2, "--max-new-tokens", 3) == 0
    out = capsys.readouterr().out
    [file] = trained.path.glob("evaluation-*.json")
    report = json.loads(file.read_text("utf-8"))
    assert list(report["measures"]) == [
        *("loss", "perplexity", "mean_token_accuracy", "sampled_accuracy", "pass@2", "greedy_accuracy")
    ]
    assert report["sampling"]["count"] == 2
    assert report["data"] == ["task:arithmetic"]
    assert report["versions"]["sacrebleu"]
    lines = out.splitlines()
    assert lines[0].split() == ["measure", "value", "95%", "interval", "over"]
    assert len(lines) == 1 + len(report["measures"]) + 1
    assert lines[-1] == f"kept in {file}"
    assert call(trained.path, "--measure", "loss") == 0
    assert len(list(trained.path.glob("evaluation-*.json"))) == 2


def test_accuracy_is_the_verifiers_and_a_perfect_model_passes(model: Path, tmp_path: Path, capsys: Any) -> None:
    """What the model itself writes greedily is the right answer, so by that column it is always right."""
    words = ["--greedy", "--max-new-tokens", 4]
    samples = tmp_path / "samples.jsonl"
    prompts = ["--prompt", "ab", "--prompt", "cde"]
    sampling = ["sample", model, *prompts, *words, "--threads", 1, "--output", samples]
    assert command_line.main([str(word) for word in sampling]) == 0
    capsys.readouterr()
    assert call(model, "--data", samples, "--answer", "completion", *words, "--json") == 0
    found = measures(capsys)
    assert found["sampled_accuracy"]["value"] == 1.0
    assert found["sampled_accuracy"]["low"] == pytest.approx(wilson(1.0, 2).low)
    sums = "{path: task:arithmetic, seed: 3, options: {digits: 1}}"
    assert call(model, "--data", sums, "--rows", 5, *words, "--json") == 0
    assert measures(capsys)["sampled_accuracy"]["value"] == 0.0


def test_answers_to_rows_of_their_own_are_compared_with_them(model: Path, tmp_path: Path, capsys: Any) -> None:
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "x"}]
    rows = [{"prompt": "ab", "completion": "one two"}, {"messages": messages}]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert call(model, "--data", data, "--greedy", "--max-new-tokens", 4, "--json") == 0
    found = measures(capsys)
    assert set(found) == {"loss", "perplexity", "mean_token_accuracy", "rouge1", "rouge2", "rougeL", "bleu"}
    assert found["rouge1"]["over"] == 2


@pytest.mark.parametrize("by_model", [True, False], ids=["another model", "adapter off"])
def test_pairs_are_ordered_by_log_ratios_to_the_reference(
    trained: RunDir, tmp_path: Path, capsys: Any, by_model: bool
) -> None:
    data = running.uneven_pairs(tmp_path / "pairs.jsonl", 8)
    words = ["--reference", trained.path / "base"] if by_model else []
    assert call(trained.path, "--data", data, *words, "--measure", "preferences", "--beta", 0.3, "--json") == 0
    found = measures(capsys)
    cpu = torch.device("cpu")
    policy = open_for_use(Model(path=str(trained.path)), device=cpu, dtype=torch.float32)
    encoder, ratios = ChatEncoder(policy.tokenizer), []
    for row in map(json.loads, data.read_text().splitlines()):
        for side in ("chosen", "rejected"):
            answered = {"prompt": row["prompt"], "completion": row[side]}
            example = encoder.example(answered, completion_only=True, max_length=64)
            first = example.is_target.index(True)
            split = example.ids[:first], example.ids[first:]
            with torch.no_grad():
                mine = whole_logps(policy.model, *split).sum()
                with policy.without_adapter():
                    ratios.append(float(mine - whole_logps(policy.model, *split).sum()))
    chosen, rejected = ratios[::2], ratios[1::2]
    expected = of_pairs(chosen, rejected, 0.3)
    assert found["rewards/margins"]["value"] == pytest.approx(expected["rewards/margins"].value, abs=1e-5)
    assert found["rewards/accuracies"]["value"] == expected["rewards/accuracies"].value
    assert found["rewards/chosen"]["value"] == pytest.approx(expected["rewards/chosen"].value, abs=1e-5)


def test_what_cannot_be_measured_is_one_message_and_nothing_is_written(
    model: Path, trained: RunDir, tmp_path: Path, capsys: Any
) -> None:
    empty = running.new_run(tmp_path / "empty", running.sft())
    prompts, texts, none = (tmp_path / f"{name}.jsonl" for name in ("prompts", "texts", "none"))
    prompts.write_text('{"prompt": "a"}\n')
    texts.write_text('{"text": "abcdef"}\n')
    none.write_text("")
    pairs = running.uneven_pairs(tmp_path / "pairs.jsonl", 3)
    before = sorted(tmp_path.rglob("*"))
    for words, message in (
        ((tmp_path / "nowhere", "--data", prompts), "does not exist"),
        ((empty.path, "--data", prompts), "is a run without a model"),
        ((model,), "there is no data; give --data"),
        ((model, "--data", none), "no rows; give a source that has some"),
        ((model, "--data", prompts), "there is nothing to compare answers with"),
        ((model, "--data", texts, "--measure", "answers"), "has no `prompt`"),
        ((model, "--data", pairs, "--measure", "preferences"), "there is no reference to compare with"),
        ((model, "--data", prompts, "--measure", "loss"), "has neither"),
        ((model, "--data", prompts, "--answer", "solution"), "a row has no column 'solution'"),
        ((model, "--data", "{path: task:arithmetic, sed: 3}"), "no such setting; did you mean seed?"),
        ((model, "--data", "task:arithmetic", "--pass-at", 4, "--count", 2), "takes at least as many answers"),
    ):
        assert call(*words) == 2, words
        err = capsys.readouterr().err
        assert message in err, err
        assert "Traceback" not in err
    assert sorted(tmp_path.rglob("*")) == before
