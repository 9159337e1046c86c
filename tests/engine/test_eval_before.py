"""What is measured before the first step: the beginning of every held-out curve."""

from pathlib import Path

import pytest

from engine.command_line.terminal import sentence
from engine.contract import events
from engine.evaluation.run_curve import spent
from tests.engine import running

pytestmark = pytest.mark.usefixtures("fork_server")

HELD_OUT = {"eval": {**running.SUMS, "seed": 2, "rows": 10}}


def test_a_run_measures_before_its_first_step_what_its_model_was_worth_untrained(tmp_path: Path) -> None:
    still = {"learning_rate": 0.0}
    training = {"eval_every": 3, "eval_before": True}
    run = running.done(tmp_path / "run", running.sft(data=HELD_OUT, optimizer=still, training=training))
    told = running.of_kind(run, events.Evaluation)
    assert [event.step for event in told] == [0, 3, 6]
    assert told[0].values == pytest.approx(told[-1].values), "nothing was learned, so all measure the same"
    assert "before the first step" in sentence(told[0])
    assert [kind for kind, _, _ in running.curve(run)][:2] == ["evaluation", "step"]
    assert spent(run, metric="eval_loss", compute="num_tokens")[0].compute == 0


def test_measuring_before_changes_nothing_of_what_is_learned(tmp_path: Path) -> None:
    adapter = {"adapter": {**running.LORA, "dropout": 0.2}}
    runs = [
        running.done(
            tmp_path / str(before),
            running.grpo(data=HELD_OUT, model=adapter, training={"steps": 2, "eval_every": 2, "eval_before": before}),
        )
        for before in (True, False)
    ]
    assert running.curve(runs[0])[1:] == running.curve(runs[1])
    running.assert_same_weights(runs[0].final, runs[1].final)


@pytest.mark.parametrize("training", [{"eval_every": 0}, {"eval_every": 2, "eval_before": False}])
def test_nothing_is_measured_before_where_nothing_is_measured_or_that_is_declined(
    tmp_path: Path, training: dict[str, int]
) -> None:
    own = {"eval_before": True, **training, "steps": 2}
    run = running.done(tmp_path / "run", running.sft(data=HELD_OUT, training=own))
    assert 0 not in [event.step for event in running.of_kind(run, events.Evaluation)]


def test_a_run_that_is_begun_again_or_resumed_measures_it_once(tmp_path: Path) -> None:
    preset = running.sft(data=HELD_OUT, training={"eval_every": 2, "eval_before": True, "checkpoint_every": 4})
    run = running.new_run(tmp_path / "run", preset)

    def fall_over(step: int) -> None:
        if step == 2:
            raise RuntimeError("pulled the plug")

    running.run_here_watched(run, fall_over)
    assert running.run_here(run) == running.FINISHED
    assert [event.step for event in running.of_kind(run, events.Evaluation)].count(0) == 1
    assert running.curve(run) == running.curve(running.done(tmp_path / "undisturbed", preset))
