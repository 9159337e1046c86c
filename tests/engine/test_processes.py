"""Two processes that share each batch learn what one would.

One test types the command, so the launcher is in it; the others fork both from a process that has imported torch.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from engine import several
from engine.contract import commands, events
from engine.contract.preset import Preset, TextPreset, preset_text
from engine.contract.run_dir import RunDir
from engine.data.byte_tokenizer import byte_tokenizer
from engine.starting import launch
from tests.engine import running
from tests.tiny import tiny_model

pytestmark = [pytest.mark.usefixtures("fork_server"), pytest.mark.slow, pytest.mark.timeout(200)]

ROOT = Path(__file__).parents[2]


@contextmanager
def command_line(folder: Path, preset: Preset, *more: str) -> Iterator["tuple[subprocess.Popen[str], RunDir]"]:
    """`python -m engine run PRESET RUN_DIR --set …`, as typed; ended if the test did not."""
    file = folder / "preset.yaml"
    file.write_text(preset_text(preset), "utf-8")
    run = RunDir(folder / "run")
    typed = [sys.executable, "-m", "engine", "run", str(file), str(run.path), *more]
    process = subprocess.Popen(
        typed, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(os.environ)
    )
    try:
        yield process, run
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def with_two(folder: Path, preset: TextPreset) -> RunDir:
    """The run in two processes, from beginning to end."""
    training = getattr(preset, "training").model_copy(update={"processes": 2})  # noqa: B009 - all that train have one
    run = running.new_run(folder / "run", preset.model_copy(update={"training": training}))
    lives = [running.begin(run, take_place, rank, str(folder / "meeting")) for rank in range(2)]
    assert [running.end_of(life) for life in lives] == [running.FINISHED] * 2, running.log_of(run)
    assert running.of_kind(run, events.RunStarted)[0].processes == 2
    return run


def take_place(rank: int, meeting: str) -> None:
    """Make this process one of two, as `several` tells those that it starts."""
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, several.MEETING: meeting}
    os.environ.update({name: str(value) for name, value in place.items()})


def uneven(folder: Path, **sections: Any) -> dict[str, Any]:
    """Rows of 1 to 12 letters in micro-batches of 3, so that the processes count other numbers of tokens."""
    rows = str(running.uneven_rows(folder / "uneven.jsonl"))
    return {"data": {"train": rows, "eval": rows}, **sections}


def assert_same_curve(found: RunDir, wanted: RunDir, names: list[str]) -> None:
    assert running.steps_of(found) == running.steps_of(wanted)
    for name in names:
        assert running.values_of(found, name) == pytest.approx(running.values_of(wanted, name), rel=1e-5, abs=1e-6), (
            name
        )


def test_two_processes_give_the_sft_curve_of_one_and_only_the_first_writes(tmp_path: Path) -> None:
    preset = running.sft(**uneven(tmp_path, training={"micro_batch_size": 3, "eval_every": 3}))
    one, two = running.done(tmp_path / "one", preset), with_two(tmp_path, preset)
    same = ["loss", "grad_norm", "entropy", "mean_token_accuracy", "num_tokens", "learning_rate"]
    assert_same_curve(two, one, same)
    measured = [[e.values["eval_loss"] for e in running.of_kind(run, events.Evaluation)] for run in (two, one)]
    assert measured[0] == pytest.approx(measured[1], rel=1e-5)
    running.assert_close_weights(two.final, one.final, relative=1e-4)

    assert [line for line in running.events_of(two) if isinstance(line, events.Unreadable)] == []
    assert len(running.of_kind(two, events.RunStarted)) == 1
    assert len(running.of_kind(two, events.RunFinished)) == 1
    assert [event.step for event in running.of_kind(two, events.Checkpoint)] == [2, 4, 6]
    names = {"environment.json", "preset.yaml", "process.json", "engine.log", "heartbeat"}
    assert {entry.name for entry in two.path.iterdir()} == names | {"events.jsonl", "checkpoints", "final"}


def test_two_processes_give_the_dpo_curve_of_one(tmp_path: Path) -> None:
    pairs = str(running.uneven_pairs(tmp_path / "pairs.jsonl"))
    training = {"micro_batch_size": 3, "steps": 4, "eval_every": 2}
    preset = running.dpo(
        data={"train": pairs, "eval": pairs}, training=training, dpo={"sft_weight": 0.5, "reference": "cached"}
    )
    one, two = running.done(tmp_path / "one", preset), with_two(tmp_path, preset)
    same = ["loss", "grad_norm", "rewards/accuracies", "rewards/margins", "logps/chosen", "entropy", "nll_loss"]
    assert_same_curve(two, one, [*same, "mean_token_accuracy", "num_tokens"])
    measured = [running.of_kind(run, events.Evaluation)[-1].values for run in (two, one)]
    assert measured[0] == pytest.approx(measured[1], rel=1e-5, abs=1e-6)
    running.assert_close_weights(two.final, one.final, relative=1e-4)


def test_two_processes_give_the_kto_curve_of_one_with_the_divergence_of_the_whole_step(tmp_path: Path) -> None:
    pairs = str(running.uneven_pairs(tmp_path / "pairs.jsonl"))
    training = {"micro_batch_size": 3, "steps": 4, "eval_every": 2}
    fast = {"learning_rate": 1e-2}
    preset = running.preferring("kto", data={"train": pairs, "eval": pairs}, training=training, optimizer=fast)
    one, two = running.done(tmp_path / "one", preset), with_two(tmp_path, preset)
    assert max(running.values_of(one, "kl")) > 0.01
    assert_same_curve(
        two, one, ["loss", "grad_norm", "kl", "rewards/margins", "rewards/chosen", "entropy", "num_tokens"]
    )
    measured = [running.of_kind(run, events.Evaluation)[-1].values for run in (two, one)]
    assert measured[0] == pytest.approx(measured[1], rel=1e-4, abs=1e-5)


def test_two_processes_give_the_curve_and_the_measures_of_a_reward_model_of_one(tmp_path: Path) -> None:
    """Of prompts with 1 to 6 pairs each, so that the processes compare other numbers of answers."""
    rankings = str(running.uneven_rankings(tmp_path / "rankings.jsonl", 23))
    training = {"micro_batch_size": 3, "steps": 4, "eval_every": 2}
    preset = running.reward_model(data={"train": rankings, "eval": rankings}, training=training)
    one, two = running.done(tmp_path / "one", preset), with_two(tmp_path, preset)
    same = ["loss", "grad_norm", "accuracy", "margin", "min_reward", "mean_reward", "max_reward", "num_tokens"]
    assert_same_curve(two, one, same)
    measured = [running.of_kind(run, events.Evaluation)[-1].values for run in (two, one)]
    assert measured[0] == pytest.approx(measured[1], rel=1e-5, abs=1e-6)
    running.assert_close_weights(two.final, one.final, relative=1e-4)


@pytest.mark.parametrize(
    "own",
    [
        {"beta": 0.1, "iterations": 2},
        # Groups are left out on one process and not on the other, and the spread is of both.
        {
            **{"beta": 0.1, "kl_in": "reward", "aggregation": "prompt", "scale_advantages": "advantages"},
            **{"leave_out_alike": True, "refill": 2, "retire_at": 1.0},
        },
    ],
    ids=["several passes", "dynamic sampling"],
)
def test_two_processes_give_the_grpo_curve_of_one_with_the_same_answers(tmp_path: Path, own: dict[str, Any]) -> None:
    preset = running.grpo(**uneven(tmp_path, training={"micro_batch_size": 3, "steps": 4}, grpo=own))
    one, two = running.done(tmp_path / "one", preset), with_two(tmp_path, preset)
    same = ["loss", "grad_norm", "reward", "reward_std", "kl", "entropy", "completions/mean_length", "num_tokens"]
    if "refill" in own:
        same += ["dynamic_sampling/turns", "dynamic_sampling/kept", "prompts/retired", "advantages/p90"]
    assert_same_curve(two, one, same)
    first = [answer for answer in running.answers_of(one) if answer.step == 1]
    mine = [answer for answer in running.answers_of(two) if answer.step == 1]
    assert [a.token_ids for a in mine] == [a.token_ids for a in first][: len(mine)]
    assert len(mine) > 0


def test_two_processes_stop_together_with_a_checkpoint_and_go_on_from_it(tmp_path: Path) -> None:
    preset = running.sft(training={"steps": 100_000, "checkpoint_every": 0})
    with command_line(tmp_path, preset, "--set", "training.processes=2") as (process, run):
        running.wait_for(lambda: run.events.exists() and running.steps_of(run), seconds=90)
        commands.send(run.commands, "pause")
        running.wait_for(lambda: running.of_kind(run, events.CommandDone))
        commands.send(run.commands, "stop")
        process.communicate(timeout=60)
        assert process.returncode == running.STOPPED
    stopped = run.saved_steps()
    assert stopped == running.steps_of(run)[-1:]
    assert running.last_word(run).reason == "stopped"

    launch.resume(run.path)
    running.wait_for(lambda: len(running.steps_of(run)) > stopped[0] + 1, seconds=90)
    assert [event.from_step for event in running.of_kind(run, events.Resumed)] == stopped
    commands.send(run.commands, "stop_now")
    running.wait_for(lambda: run.ended.exists())
    assert running.last_word(run).reason == "stopped"


def test_two_processes_leave_out_an_update_together_and_end_early_together(tmp_path: Path) -> None:
    """A row that one process alone reads makes the loss no number; then a measure gets no better."""
    rows = [{"prompt": f"{word}=", "completion": word} for word in ["z", *running.WORDS, "ab", "cd", "ef"]]
    wish = {"metric": "eval_loss", "patience": 1, "min_delta": 100.0}
    preset = running.sft(
        data={"train": written(tmp_path / "rows.jsonl", rows), "eval": written(tmp_path / "eval.jsonl", rows[1:])},
        training={"eval_every": 2, "steps": 9, "checkpoint_every": 0, "on_nan": "skip", "early_stopping": wish},
        model={"path": str(model_that_cannot_read_z(tmp_path / "model")), "scratch": None},
    )
    one, two = running.done(tmp_path / "one", preset), with_two(tmp_path, preset)
    assert running.steps_of(two) == running.steps_of(one) == [1, 2, 3, 4]
    assert running.values_of(two, "skipped_updates") == running.values_of(one, "skipped_updates")
    assert running.values_of(two, "skipped_updates")[-1] == 2, "once an epoch of two steps"
    assert "ended early at step 4" in running.notices(two)
    assert running.last_word(two).reason == "finished"
    assert running.values_of(two, "num_tokens") == running.values_of(one, "num_tokens")


def written(file: Path, rows: list[dict[str, str]]) -> str:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(file)


def model_that_cannot_read_z(folder: Path) -> Path:
    model = tiny_model()
    tokenizer = byte_tokenizer()
    with torch.no_grad():
        model.get_input_embeddings().weight[tokenizer.convert_tokens_to_ids("z")] = float("nan")  # type: ignore[operator]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_two_processes_give_the_ppo_curve_of_one_with_minibatches_of_the_whole_step(tmp_path: Path) -> None:
    preset = running.ppo(
        training={"micro_batch_size": 3, "steps": 3},
        optimizer={"learning_rate": 1e-2},
        ppo={"minibatches": 2, "critic_warmup": 1, "scores": "normalized", "whiten_rewards": True},
    )
    one, two = running.done(tmp_path / "one", preset), with_two(tmp_path, preset)
    same = ["objective/kl", "objective/scores", "loss/policy", "loss/value", "grad_norm", "val/explained_variance"]
    assert running.steps_of(two) == running.steps_of(one)
    for name in [*same, "policy/approxkl_avg", "policy/entropy_avg", "num_tokens", "completions/mean_length"]:
        assert running.values_of(two, name) == pytest.approx(running.values_of(one, name), rel=1e-3, abs=1e-5), name
    assert [a.token_ids for a in running.answers_of(two)] == [a.token_ids for a in running.answers_of(one)]


@pytest.mark.parametrize(
    ("method", "sections", "same"),
    [
        # The elite is of all answers, so one process may keep three of them and the other one; or none.
        (
            "best_of_n",
            {"best_of_n": {"keep": "elite", "elite": 0.25, "minibatches": 2}},
            ["loss", "kept/share", "kept/reward", "kept/least_reward", "mean_token_accuracy"],
        ),
        # Some prompts give a tie, and so no pair.
        (
            "online_dpo",
            {"online_dpo": {"beta": 0.5}},
            ["loss", "objective/scores", "pairs/ties", "rewards/margins", "rewards/accuracies"],
        ),
        ("distill", {}, ["loss", "teacher/kl", "teacher/agreement"]),
    ],
    ids=["best_of_n", "online_dpo", "distill"],
)
def test_two_processes_learn_what_one_does_from_its_own_answers(
    tmp_path: Path, method: str, sections: dict[str, Any], same: list[str]
) -> None:
    make = {"best_of_n": running.best_of_n, "online_dpo": running.online_dpo, "distill": running.distill}[method]
    given = uneven(tmp_path, training={"micro_batch_size": 3, "steps": 2, "checkpoint_every": 0, "eval_every": 2})
    if method == "distill":
        sections = running.on_disk(method, tmp_path)
    preset = make(**given, **sections)
    one, two = running.done(tmp_path / "one", preset), with_two(tmp_path, preset)
    assert_same_curve(two, one, [*same, "grad_norm", "entropy", "completions/mean_length", "num_tokens"])
    measured = [running.of_kind(run, events.Evaluation)[-1].values for run in (two, one)]
    assert measured[0] == pytest.approx(measured[1], rel=1e-4, abs=1e-5)
    running.assert_close_weights(two.final, one.final, relative=1e-3)
    answers = [[a.token_ids for a in running.answers_of(run) if a.step == 2] for run in (two, one)]
    assert answers[0] == answers[1][: len(answers[0])]
    assert answers[0]
