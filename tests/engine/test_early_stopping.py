"""A run ends early when a held-out measure gets no better, with its best weights, resumed or not."""

import math
from pathlib import Path
from typing import Any

import pytest

from engine.contract import events
from engine.contract.preset import Preset
from engine.contract.run_dir import RunDir
from engine.contract.settings import EarlyStopping
from engine.early_stopping import NOTHING_YET, Best, is_enough, judged
from tests.engine import running

pytestmark = pytest.mark.usefixtures("fork_server")


@pytest.mark.parametrize(
    ("metric", "min_delta", "values", "best"),
    [
        ("eval_loss", 0.0, [3.0, 2.0, 2.5, 2.0], Best(2.0, 2, 2)),  # as good is no better
        ("eval_loss", 0.5, [3.0, 2.6, 2.4], Best(2.4, 3, 0)),
        ("eval_loss", 0.5, [3.0, 2.6, 2.55], Best(3.0, 1, 2)),
        ("eval_mean_token_accuracy", 0.0, [0.1, 0.3, 0.2], Best(0.3, 2, 1)),
        ("eval_loss", 0.0, [math.nan, 2.0, math.nan], Best(2.0, 2, 1)),
    ],
)
def test_the_best_by_hand(metric: str, min_delta: float, values: list[float], best: Best) -> None:
    wish = EarlyStopping(metric=metric, patience=2, min_delta=min_delta)
    found = NOTHING_YET
    for step, value in enumerate(values, start=1):
        found = judged(found, {metric: value, "other": 0.0}, step, wish)
        assert judged(found, {"other": 9.0}, step, wish) == found, "what was not measured says nothing"
    assert found == best
    assert is_enough(found, wish) == (best.since >= 2)
    assert not is_enough(found, None)


def test_values_that_are_never_a_number_use_up_patience() -> None:
    wish = EarlyStopping(patience=2)
    found = judged(judged(NOTHING_YET, {"eval_loss": math.nan}, 1, wish), {"eval_loss": math.nan}, 2, wish)
    assert (found.step, found.since) == (0, 2)
    assert is_enough(found, wish)


def preset(folder: Path, **training: Any) -> Preset:
    """Learns its few rows by heart, so that it soon gets worse on others."""
    train, other = running.uneven_rows(folder / "train.jsonl", 4), folder / "other.jsonl"
    other.write_text('{"prompt": "zz=", "completion": "abcdefgh"}\n' * 3, "utf-8")
    wish = {"metric": "eval_loss", "patience": 2, "min_delta": 0.0}
    usual = {"steps": 60, "eval_every": 2, "checkpoint_every": 0, "keep_checkpoints": 1, "early_stopping": wish}
    return running.sft(
        data={"train": str(train), "eval": str(other)},
        optimizer={"learning_rate": 2e-2, "schedule": "constant"},
        training={**usual, **training},
    )


def held_out(run: RunDir) -> dict[int, float]:
    return {event.step: event.values["eval_loss"] for event in running.of_kind(run, events.Evaluation)}


def test_a_run_ends_when_it_gets_no_better_and_keeps_its_best_weights(tmp_path: Path) -> None:
    run = running.done(tmp_path / "run", preset(tmp_path))
    losses = held_out(run)
    best = min(losses, key=lambda step: losses[step])
    last = running.steps_of(run)[-1]
    assert last == best + 4 < 60, "two evaluations, two steps apart"
    assert running.last_word(run).reason == "finished"
    told = running.notices(run)
    assert f"info: ended early at step {last}: eval_loss has not become better since step {best}" in told
    assert f"final/ holds the weights of step {best}" in told
    assert run.saved_steps() == [best, last]
    running.assert_same_weights(run.final, run.checkpoint(best))
    with pytest.raises(AssertionError):
        running.assert_same_weights(run.final, run.checkpoint(last))


def test_a_run_that_was_killed_ends_at_the_same_step_with_the_same_weights(tmp_path: Path) -> None:
    whole = running.done(tmp_path / "whole", preset(tmp_path))
    last = running.steps_of(whole)[-1]
    run = running.new_run(tmp_path / "run", preset(tmp_path, checkpoint_every=1, keep_checkpoints=9))

    class Killed(BaseException):
        pass

    def kill(step: int) -> None:
        if step == last - 1:
            raise Killed

    with pytest.raises(Killed):
        running.run_here_watched(run, kill)
    assert running.run_here(run) == running.FINISHED
    assert held_out(run) == held_out(whole)
    assert running.steps_of(run) == running.steps_of(whole)
    running.assert_same_weights(run.final, whole.final)
    # Resumed once more, it knows that it had ended.
    assert running.run_here(run) == running.FINISHED
    assert running.steps_of(run)[-1] == last


def test_a_run_that_ends_as_planned_ends_with_its_best_weights_too(tmp_path: Path) -> None:
    run = running.done(tmp_path / "run", preset(tmp_path, early_stopping={"patience": 99}, steps=40))
    losses = held_out(run)
    best = min(losses, key=lambda step: losses[step])
    assert best < 40 == running.steps_of(run)[-1]
    assert "ended early" not in running.notices(run)
    running.assert_same_weights(run.final, run.checkpoint(best))


def test_a_best_checkpoint_that_is_gone_is_told(tmp_path: Path) -> None:
    run = running.new_run(tmp_path / "run", preset(tmp_path))

    def damage(step: int) -> None:
        for saved in run.saved_steps()[:-1] or ([] if step % 2 else run.saved_steps()):
            (run.checkpoint(saved) / "model.safetensors").write_bytes(b"damaged")

    assert running.run_here_watched(run, damage) == running.FINISHED
    assert "damaged or gone; final/ holds the last weights instead" in running.notices(run)
    running.assert_same_weights(run.final, run.checkpoint(running.steps_of(run)[-1]))
