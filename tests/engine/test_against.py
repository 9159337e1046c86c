"""Two models side by side: pass@k and reward, by hand, by simulation, and as `evaluate A --against B` tells them."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from engine import __main__ as command_line
from engine.contract import measures
from engine.evaluation.comparison import (
    VERDICTS,
    Difference,
    asked_to_earn,
    asked_to_match,
    differences,
    differences_of_best,
    of_rewards,
    verdict,
    verdict_of_best,
    verdict_of_reward,
)
from engine.evaluation.figures import of_answers
from engine.evaluation.figures import of_rewards as figures_of_rewards
from engine.sampling import Sample, Sampler
from tests.engine import running
from tests.engine.test_reward_models import saved
from tests.tiny import tiny_policy, tiny_reward_model

NAMES = ("tuned", "base")


def draws(chances: torch.Tensor, answers: int, seed: int) -> list[int]:
    """Right answers to each prompt, (prompts,), of those that are right with these chances."""
    counts = torch.binomial(torch.full_like(chances, answers), chances, generator=torch.Generator().manual_seed(seed))
    return [int(count) for count in counts]


# ----------------------------------------------------------------------------------------------------------- by hand


def test_differences_are_of_pass_at_k_prompt_by_prompt() -> None:
    # Of 4 answers: 4 and 0 right against 2 and 2. pass@1 1/2 both; pass@2 1/2 against 1 - C(2,2)/C(4,2) = 5/6.
    one, two = differences([4, 0], [2, 2], answers=4, ks=[1, 2])
    assert (one.first, one.second) == pytest.approx((0.5, 0.5))
    assert (two.first, two.second) == pytest.approx((0.5, 5 / 6))
    # Both prompts are drawn as the same one with a chance of 1/2: the ends are the prompts' own differences.
    assert (one.low, one.high) == pytest.approx((-0.5, 0.5))
    assert (two.low, two.high) == pytest.approx((-5 / 6, 1 / 6))


def test_what_makes_a_prompt_hard_for_both_widens_no_interval() -> None:
    """Prompts are hard or easy; the first is a little better on each of them."""
    easy = [100] * 20 + [10] * 20
    point = differences([right + 5 for right in easy], easy, answers=128, ks=[1])[0]
    assert (point.low, point.high) == pytest.approx((5 / 128, 5 / 128))
    alone = of_answers([[1.0] * right + [0.0] * (128 - right) for right in easy], [])["sampled_accuracy"]
    assert alone.low is not None
    assert alone.high is not None
    assert alone.high - alone.low > 0.15


def test_how_often_the_second_is_asked_to_match_one_answer_of_the_first() -> None:
    # The second's pass@k of 1 right in 4: 1/4, 1/2, 3/4, 1.
    assert [asked_to_match([right], [1], answers=4) for right in (0, 1, 2, 3, 4)] == [1, 1, 2, 3, 4]
    assert asked_to_match([1], [0], answers=4) is None


def test_a_difference_of_rewards_is_paired_with_its_standard_error() -> None:
    # Means of prompts 2, 1, 3 against 1, 1, 1: differences 1, 0, 2, whose standard deviation is 1.
    found = of_rewards([[1, 3], [1, 1], [3, 3]], [[1, 1], [0, 2], [1, 1]])
    assert found.difference == pytest.approx(1.0)
    assert found.standard_error == pytest.approx(1 / math.sqrt(3))
    # 1/27 of resamples are three times the same prompt.
    assert (found.low, found.high) == pytest.approx((0, 2))
    assert "do not tell whether the answers of tuned or of base" in verdict_of_reward(found, names=NAMES, prompts=3)
    better = verdict_of_reward(found._replace(low=0.5), names=NAMES, prompts=3)
    assert better == "Answers of tuned earn more reward than those of base (+1, standard error 0.58, 95% +0.5 to +2)."
    assert "tuned earn less" in verdict_of_reward(found._replace(low=-2, high=-0.5), names=NAMES, prompts=3)


def test_the_reward_of_the_best_is_compared_prompt_by_prompt() -> None:
    # Best of two of 0, 1, 2: 1, 2 or 2; of 1, 1, 1: 1. The prompt that one model has no reward for is left out.
    first = [[0.0, 1.0, 2.0], [3.0, 3.0, 3.0], [9.0, 9.0, 9.0]]
    second = [[1.0, 1.0, 1.0], [0.0, 3.0, 9.0], [math.nan] * 3]
    one, two = differences_of_best(first, second, ks=[1, 2])
    assert (one.first, one.second) == pytest.approx((2.0, 2.5))
    assert (two.first, two.second) == pytest.approx(((5 / 3 + 3) / 2, (1 + 7) / 2))
    assert (two.low, two.high) == pytest.approx((3 - 7, 5 / 3 - 1))
    # The second's best of 1, 2, 3 earns 2.5, 4, 5; of the first 2 in the mean, of the second 2.5.
    assert asked_to_earn(first, second) == 1
    assert asked_to_earn(second, first) == 3  # (5 / 3 + 3) / 2 < 2.5 = (2 + 3) / 2
    assert asked_to_earn([[4, 4]], [[1, 3]]) is None
    sentence = verdict_of_best([one, two], 1, names=NAMES, prompts=2)
    assert sentence.startswith("Of the best answer by reward: 2 prompts do not tell tuned from base")


def test_held_out_reward_has_the_standard_error_of_prompts_not_of_answers() -> None:
    figure = figures_of_rewards([[0, 2], [2, 4], [5, 5]])["reward"]
    assert figure.value == pytest.approx(3.0)
    assert figure.standard_error == pytest.approx(2 / math.sqrt(3))  # of 1, 3, 5
    assert "standard error 1.2" in figure.note


# --------------------------------------------------------------------------------------------------- the one sentence


def told(*signs: int, ks: tuple[int, ...] = (1, 2, 4)) -> str:
    points = [
        Difference(k, 0.5, 0.5, 0.1 * s if s else -0.1, 0.2 * s if s else 0.1) for k, s in zip(ks, signs, strict=False)
    ]
    points = [p if p.low <= p.high else p._replace(low=p.high, high=p.low) for p in points]
    return verdict(points, 3, names=NAMES, prompts=64)


def test_the_sentence_says_who_is_ahead_at_one_answer_and_at_many() -> None:
    assert "tuned beats asking base more often" in told(1, 1, 1)
    assert "one answer of tuned is worth 3 of base" in told(1, 1, 1)
    assert "tuned is ahead at one answer" in told(1, 0, 0)
    assert "asking base more often does as well, as far as 64 prompts tell at 4" in told(1, 0, 0)
    assert "asking base more often beats it, from 4 answers on" in told(1, 0, -1)
    assert "from 2 answers on" in told(1, -1, -1)
    assert "64 prompts do not tell tuned from base, neither at one answer" in told(0, 0, 0)
    assert "tuned does not beat base" in told(-1, 0, -1)
    assert "tuned is behind at one answer" in told(-1, 1, 1)
    assert told(1, ks=(1,)).startswith("tuned is right more often than base at one answer (0.5 to 0.5")
    sentences = {told(one, 0, most) for one, most in VERDICTS}
    assert len(sentences) == len(VERDICTS) == 9
    assert all(sentence.endswith(".") and sentence.count(". ") == 0 for sentence in sentences)


def test_a_model_that_only_became_surer_is_beaten_by_asking_the_other_more_often() -> None:
    """It always solves half of the prompts and never the others; the base solves each with a chance of 1 in 5."""
    surer = draws(torch.tensor([1.0, 0.0] * 32), 32, seed=0)
    base = draws(torch.full((64,), 0.2), 32, seed=1)
    found = differences(surer, base, answers=32, ks=[1, 2, 4, 8, 16, 32])
    assert [point.sign for point in found] == [1, 1, 0, -1, -1, -1]
    sentence = verdict(found, asked_to_match(surer, base, answers=32), names=NAMES, prompts=64)
    assert "asking base more often beats it, from 8 answers on" in sentence
    assert "one answer of tuned is worth 4 of base" in sentence  # 1 - 0.8^3 = 0.488, 1 - 0.8^4 = 0.59


def test_models_that_are_alike_are_told_apart_no_more_often_than_promised() -> None:
    chances = torch.rand(80, generator=torch.Generator().manual_seed(2))
    wrong = 0
    for seed in range(100):
        first, second = draws(chances, 8, seed=2 * seed), draws(chances, 8, seed=2 * seed + 1)
        wrong += differences(first, second, answers=8, ks=[1])[0].sign != 0
    assert wrong <= 11  # 5% of 100; 11 or fewer with a chance of 99.6%


# ------------------------------------------------------------------------------------------------------ the command


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folders = []
    for seed in (0, 1):
        folder = tmp_path_factory.mktemp("model") / f"seed-{seed}"
        policy: Any = tiny_policy(seed=seed)
        policy.model.save_pretrained(folder)
        policy.tokenizer.save_pretrained(folder)
        folders.append(folder)
    return folders[0], folders[1]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Right is what ends at once, as one answer in some dozens does."""
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"prompt": word, "answer": ""}) + "\n" for word in ("ab", "c", "def", "gh")))
    return file


WORDS = ["--answer", "answer", "--max-new-tokens", 2, "--count", 64, "--top-k", 12, "--batch-size", 64, "--threads", 1]


def call(*words: object) -> int:
    try:
        return command_line.main([str(word) for word in ("evaluate", *words)])
    except SystemExit as left:
        return int(left.code or 0)


def report_of(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_report_has_both_curves_as_each_model_has_by_itself(
    models: tuple[Path, Path], data: Path, tmp_path: Path, capsys: Any
) -> None:
    first, second = models
    reward = ["--reward", "[{kind: length, target: 1}]"]
    out = tmp_path / "answers.jsonl"
    assert call(first, "--against", second, "--data", data, *WORDS, *reward, "--output", out, "--json") == 0
    report = report_of(capsys)
    assert [point["k"] for point in report["against"]["differences"]] == [1, 2, 4, 8, 16, 32, 64]
    assert [point["k"] for point in report["against"]["differences_of_best"]] == [1, 2, 4, 8, 16, 32, 64]
    assert len(report["against"]["verdicts"]) == 3
    assert report["against"]["verdicts"][0].count("seed-0") >= 1
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(lines) == 2 * 4 * 64
    for model, found in ((first, report), (second, report["against"])):
        assert call(model, "--data", data, *WORDS, *reward, "--json") == 0
        alone = report_of(capsys)
        assert alone["measures"] == found["measures"]
        mine = [line for line in lines if line["model"] == str(model)]
        right = [sum(line["completion"].strip() == "" for line in mine if line["prompt_id"] == p) for p in range(4)]
        assert found["answers"]["right"] == right
        assert found["answers"]["each"] == 64
        # Full reward at one token, none at two.
        assert found["measures"]["reward"]["value"] == pytest.approx(sum(line["tokens"] == 1 for line in mine) / 256)
    point = report["against"]["differences"][3]
    assert point["first"] == pytest.approx(report["measures"]["pass@8"]["value"])
    assert point["second"] == pytest.approx(report["against"]["measures"]["pass@8"]["value"])
    point = report["against"]["differences_of_best"][3]
    assert point["first"] == pytest.approx(report["measures"]["reward_of_best@8"]["value"])
    assert point["second"] == pytest.approx(report["against"]["measures"]["reward_of_best@8"]["value"])
    known = {name: measures.measure(name).meaning for name in report["measures"]}
    assert all(known.values()), known


def test_the_terminal_shows_both_tables_and_the_sentences(models: tuple[Path, Path], data: Path, capsys: Any) -> None:
    first, second = models
    assert call(first, "--against", second, "--data", data, *WORDS, "--pass-at", 16) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"against {second}" in lines
    head = lines.index(next(line for line in lines if line.startswith("answers ")))
    assert [line.split()[0] for line in lines[head : head + 3]] == ["answers", "1", "16"]
    assert lines[-1].endswith(".")


def test_stopped_in_the_middle_it_tells_of_the_prompts_that_were_done(
    models: tuple[Path, Path], data: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl+C while the third prompt is answered, first of the one model, then of the other."""
    whole, stop_at = Sampler.sample, {"answers": 2 * 64 + 5}

    def interrupted(self: Sampler, *arguments: Any) -> Iterator[Sample]:
        for sample in whole(self, *arguments):
            if stop_at["answers"] == 0:
                raise KeyboardInterrupt
            stop_at["answers"] -= 1
            yield sample

    monkeypatch.setattr(Sampler, "sample", interrupted)
    first, second = models
    out = tmp_path / "answers.jsonl"
    assert call(first, "--against", second, "--data", data, *WORDS, "--json", "--output", out) == 3
    report = report_of(capsys)
    assert report["stopped"] is True
    assert report["measures"]["pass@64"]["over"] == 2
    assert report["against"] is None
    assert "stopped after 2 prompts; what was done is kept" in report["notes"]
    assert len(out.read_text().splitlines()) == 2 * 64 + 5

    stop_at["answers"] = 4 * 64 + 4 + 2 * 64 + 5  # the first model's, its greedy ones, and some of the other's
    assert call(first, "--against", second, "--data", data, *WORDS, "--json") == 3
    report = report_of(capsys)
    assert report["measures"]["pass@64"]["over"] == 4
    assert report["against"]["measures"]["pass@64"]["over"] == 2
    assert "2 prompts" in report["against"]["verdicts"][0]

    stop_at["answers"] = 3
    assert call(first, "--data", data, *WORDS, "--json") == 3
    assert capsys.readouterr().out == ""


def test_a_run_is_scored_by_its_own_rewards_unless_the_data_has_not_what_they_need(
    tmp_path: Path, data: Path, capsys: Any
) -> None:
    held_out = {**running.SUMS, "seed": 2, "rows": 6}
    rewards = [{"kind": "verifier"}, {"kind": "length", "target": 2}]
    preset = running.grpo(data={"eval": held_out}, training={"steps": 1}, rewards=rewards)
    run = running.done(tmp_path / "run", preset)
    assert call(run.path, "--max-new-tokens", 5, "--count", 2, "--threads", 1, "--json") == 0
    found = report_of(capsys)["measures"]
    assert 0 <= found["reward"]["value"] <= 2
    assert found["reward"]["standard_error"] >= 0
    assert call(run.path, "--data", data, *WORDS, "--json") == 0
    report = report_of(capsys)
    assert "reward" not in report["measures"]
    assert any("reward not measured: rewards: `verifier` needs rows" in note for note in report["notes"])


def test_a_reward_model_scores_answers_too(models: tuple[Path, Path], data: Path, tmp_path: Path, capsys: Any) -> None:
    judge: Any = tiny_reward_model()
    judge.config.reward_mean, judge.config.reward_std = 0.5, 2.0
    folder = saved(tmp_path / "judge", judge)
    out = tmp_path / "answers.jsonl"
    reward = ["--reward", f"[{{kind: model, path: {folder}}}]", "--max-new-tokens", 3, "--threads", 1]
    assert call(models[0], "--data", data, *reward, "--output", out, "--json") == 0
    figure = report_of(capsys)["measures"]["reward"]
    assert figure["over"] == 4
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(lines) == 4
    assert math.isfinite(figure["value"])
    assert figure["low"] < figure["value"] < figure["high"]


def test_rewards_and_models_of_no_use_are_one_message(
    models: tuple[Path, Path], data: Path, tmp_path: Path, capsys: Any
) -> None:
    model, _ = models
    sft = running.new_run(tmp_path / "sft", running.sft())
    texts = tmp_path / "texts.jsonl"
    texts.write_text('{"text": "abcdef"}\n')
    for words, message in (
        (("--data", data, "--reward", sft.path), "has no rewards (got"),
        (("--data", data, "--reward", tmp_path / "none.yaml"), "is no file (got"),
        (("--data", data, "--reward", "[{kind: lenght, target: 1}]"), "lenght"),
        (("--data", data, "--reward", "[]"), "--reward"),
        (("--data", data, "--reward", "[{kind: model, path: ./nowhere}]"), "does not exist"),
        (("--data", data, "--reward", "[{kind: verifier}]"), "`verifier` needs rows from a `task:` source"),
        (("--data", texts, "--against", model), "has no `prompt`"),
        (("--data", data, "--against", tmp_path / "nowhere"), "does not exist"),
        (("--data", data, "--answer", "answer", "--output", data), "is there already; name a new file"),
    ):
        assert call(model, *words) == 2, words
        err = capsys.readouterr().err
        assert message in err, err
        assert "Traceback" not in err
