"""A run stopped or killed and resumed is the run that was never disturbed: weights bit for bit, and its record."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.contract import commands, events
from engine.contract.preset import Preset
from engine.contract.run_dir import RunDir
from engine.value_models import CRITIC
from tests.engine import running

pytestmark = pytest.mark.usefixtures("fork_server")

DROPOUT = {**running.LORA, "dropout": 0.2}
RUNS: dict[str, Preset] = {
    "sft": running.sft(),
    "sft with held-out data and samples": running.sft(
        data={"eval": {**running.SUMS, "seed": 2, "rows": 10}},
        training={"eval_every": 2},
        sft={"sample_every": 3, "samples": 4, "sample_tokens": 4},
    ),
    "sft of an adapter with dropout": running.sft(model={"adapter": DROPOUT}),
    "reward model with held-out pairs": running.reward_model(
        data={"eval": {**running.SUMS, "seed": 2, "rows": 10}}, training={"eval_every": 2}
    ),
    "reward model of an adapter": running.reward_model(model={"adapter": DROPOUT}, reward_model={"centring": 0.01}),
    "dpo with a frozen copy and held-out pairs": running.dpo(
        data={"eval": {**running.SUMS, "seed": 2, "rows": 10}}, training={"eval_every": 2}
    ),
    "dpo with a reference kept on disk": running.dpo(dpo={"reference": "cached"}),
    "dpo of an adapter": running.dpo(model={"adapter": DROPOUT}, dpo={"loss": "ipo", "sft_weight": 0.5}),
    "kto with a frozen copy and samples": running.preferring(
        "kto",
        data={"eval": {**running.SUMS, "seed": 2, "rows": 10}},
        training={"eval_every": 2},
        kto={"sample_every": 3, "samples": 4, "sample_tokens": 4},
    ),
    "orpo": running.preferring("orpo"),
    "ppo with a critic of its own and held-out prompts": running.ppo(
        data={"eval": {**running.SUMS, "seed": 2, "rows": 6}},
        training={"eval_every": 2},
        ppo={"minibatches": 2, "kl_target": 1.0, "kl_horizon": 50, "scores": "normalized", "critic_warmup": 1},
    ),
    "ppo of an adapter with a head": running.ppo(model={"adapter": DROPOUT}, ppo={"critic": "head"}),
    "ppo of an adapter with a critic of its own": running.ppo(model={"adapter": DROPOUT}),
    "best of n in minibatches": running.best_of_n(best_of_n={"keep": "elite", "elite": 0.4, "minibatches": 2}),
    "online dpo of an adapter": running.online_dpo(model={"adapter": DROPOUT}),
    "grpo with a frozen copy": running.grpo(),
    "grpo of an adapter": running.grpo(
        model={"adapter": DROPOUT}, grpo={"beta": 0.1, "iterations": 2, "minibatches": 2}
    ),
}
every_kind = pytest.mark.parametrize("preset", RUNS.values(), ids=RUNS.keys())


def assert_as_undisturbed(run: RunDir, undisturbed: RunDir) -> None:
    assert running.last_word(run).reason == "finished"
    running.assert_same_weights(run.final, undisturbed.final)
    if (undisturbed.path / CRITIC).exists():
        running.assert_same_weights(run.path / CRITIC, undisturbed.path / CRITIC)
    assert running.curve(run) == running.curve(undisturbed)
    assert running.answers_of(run) == running.answers_of(undisturbed)


def stop_after(run: RunDir, step: int) -> int:
    """One life that is asked to stop during `step`, as a watcher would ask. Returns where its commands end."""

    def ask(now: int) -> None:
        if now == step:
            commands.send(run.commands, "stop")

    assert running.run_here_watched(run, ask, commands_from=size(run.commands)) == running.STOPPED
    return size(run.commands)


def size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def kill_in_step(step: int, kind: type[Any] = events.Step) -> None:
    """Kill this process right after the line of `step` is written, or another of it, before anything is saved."""
    from engine.reporting import Reporter

    tell = Reporter.event

    def tell_and_die(self: Reporter, event: Any) -> None:
        tell(self, event)
        if isinstance(event, kind) and event.step == step:
            os.kill(os.getpid(), signal.SIGKILL)

    Reporter.event = tell_and_die  # type: ignore[method-assign]


@every_kind
def test_a_run_stopped_and_resumed_equals_one_never_stopped(tmp_path: Path, preset: Preset) -> None:
    undisturbed = running.done(tmp_path / "undisturbed", preset)
    run = running.new_run(tmp_path / "stopped", preset)
    obeyed = stop_after(run, 1)
    assert running.steps_of(run) == [1]
    obeyed = stop_after(run, 3)
    assert running.steps_of(run) == [1, 2, 3]
    assert running.run_here(run, commands_from=obeyed) == running.FINISHED
    assert [event.from_step for event in running.of_kind(run, events.Resumed)] == [1, 3]
    assert_as_undisturbed(run, undisturbed)


@pytest.mark.slow
@every_kind
def test_a_run_killed_between_checkpoints_and_resumed_equals_one_never_killed(tmp_path: Path, preset: Preset) -> None:
    undisturbed = running.done(tmp_path / "undisturbed", preset)
    run = running.new_run(tmp_path / "killed", preset)
    assert running.live(run, kill_in_step, 3) == running.KILLED
    assert running.steps_of(run) == [1, 2, 3]
    assert running.live(run) == running.FINISHED
    assert [event.from_step for event in running.of_kind(run, events.Resumed)] == [2]
    assert_as_undisturbed(run, undisturbed)


def test_a_run_killed_before_its_first_checkpoint_starts_over_and_says_so(tmp_path: Path) -> None:
    undisturbed = running.done(tmp_path / "undisturbed", running.sft())
    run = running.new_run(tmp_path / "killed", running.sft())
    assert running.live(run, kill_in_step, 1) == running.KILLED
    assert running.live(run) == running.FINISHED
    assert [event.from_step for event in running.of_kind(run, events.Resumed)] == [0]
    assert_as_undisturbed(run, undisturbed)


def test_a_run_killed_between_its_first_answers_and_its_first_step_tells_them_once(tmp_path: Path) -> None:
    undisturbed = running.done(tmp_path / "undisturbed", running.grpo())
    run = running.new_run(tmp_path / "killed", running.grpo())
    assert running.live(run, kill_in_step, 1, events.Samples) == running.KILLED
    assert running.steps_of(run) == []
    assert running.live(run) == running.FINISHED
    assert_as_undisturbed(run, undisturbed)


@pytest.mark.parametrize("damaged", ["the newest", "all"])
def test_a_damaged_checkpoint_is_passed_over_with_a_notice_and_changes_nothing(tmp_path: Path, damaged: str) -> None:
    undisturbed = running.done(tmp_path / "undisturbed", running.sft())
    run = running.new_run(tmp_path / "damaged", running.sft())
    obeyed = stop_after(run, 5)
    assert run.saved_steps() == [4, 5]
    for step in [5] if damaged == "the newest" else [4, 5]:
        file = run.checkpoint(step) / "training" / "state.safetensors"
        data = bytearray(file.read_bytes())
        data[-9] ^= 16
        file.write_bytes(data)
    assert running.run_here(run, commands_from=obeyed) == running.FINISHED
    told = "the run goes on from step-000004" if damaged == "the newest" else "the run starts over"
    assert f"warning: checkpoint step-000005 is damaged or incomplete; {told}" in running.notices(run)
    assert_as_undisturbed(run, undisturbed)


def test_a_finished_run_that_lost_its_last_word_ends_again_with_the_same_model(tmp_path: Path) -> None:
    undisturbed = running.done(tmp_path / "undisturbed", running.sft())
    run = running.done(tmp_path / "again", running.sft())
    lines = run.events.read_bytes().splitlines(keepends=True)
    run.events.write_bytes(b"".join(lines[:-1]))
    assert running.run_here(run) == running.FINISHED
    assert_as_undisturbed(run, undisturbed)


def refuse_pickles() -> None:
    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "pickle.find_class":
            raise AssertionError(f"a pickle asks for {arguments}")

    sys.addaudithook(refuse)


def test_a_life_that_resumes_unpickles_nothing(tmp_path: Path) -> None:
    run = running.new_run(tmp_path / "run", running.sft(model={"adapter": running.LORA}))
    stop_after(run, 2)
    assert running.live(run, refuse_pickles, commands_from=size(run.commands)) == running.FINISHED


def test_where_the_data_stands_follows_from_the_step_alone(tmp_path: Path) -> None:
    """40 rows in batches of 12: steps cross the ends of epochs, and a resumed run crosses them at the same rows."""
    preset = running.sft(training={"batch_size": 12, "steps": 8})
    undisturbed = running.done(tmp_path / "undisturbed", preset)
    run = running.new_run(tmp_path / "stopped", preset)
    obeyed = stop_after(run, 4)
    assert running.run_here(run, commands_from=obeyed) == running.FINISHED
    assert_as_undisturbed(run, undisturbed)
