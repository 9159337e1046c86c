"""Each method learns its toy task in seconds on a CPU."""

import math
from pathlib import Path

import pytest

from engine.contract import events
from engine.contract.run_dir import RunDir
from tests.engine import running

pytestmark = pytest.mark.usefixtures("fork_server")

SUMS = {"path": "task:arithmetic", "rows": 2000, "seed": 1, "options": {"digits": 1}}
#: There are only a hundred such sums: what is asked is whether they are learned.
MEASURED = {"path": "task:arithmetic", "rows": 64, "seed": 2, "options": {"digits": 1}}
SCRATCH = {"family": "llama", "layers": 2, "width": 64, "heads": 4, "context": 64}


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


@pytest.fixture(scope="module")
def pupil(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A model from scratch after 60 steps of examples: it gets some sums right."""
    preset = running.sft(
        model={"scratch": SCRATCH},
        data={"train": SUMS, "eval": MEASURED, "max_length": 16},
        optimizer={"learning_rate": 3e-3, "schedule": "cosine", "warmup_steps": 5},
        training={"steps": 60, "batch_size": 64, "eval_every": 30, "checkpoint_every": 0},
        sft={"sample_every": 0},
    )
    return running.done(tmp_path_factory.mktemp("pupil") / "run", preset)


@pytest.mark.slow
def test_sft_lowers_the_loss_and_raises_the_accuracy_on_sums(pupil: RunDir) -> None:
    loss, accuracy = running.values_of(pupil, "loss"), running.values_of(pupil, "mean_token_accuracy")
    assert mean(loss[-5:]) < 0.35 * mean(loss[:5])
    assert mean(accuracy[-5:]) > mean(accuracy[:5]) + 0.3
    held_out = [event.values["eval_loss"] for event in running.of_kind(pupil, events.Evaluation)]
    assert held_out[-1] < held_out[0]


@pytest.mark.slow
def test_a_reward_model_learns_to_score_right_sums_above_wrong_ones(tmp_path: Path) -> None:
    preset = running.reward_model(
        model={"scratch": SCRATCH},
        data={"train": SUMS, "eval": MEASURED, "max_length": 16},
        optimizer={"learning_rate": 3e-3, "warmup_steps": 5},
        training={"steps": 60, "batch_size": 32, "eval_every": 60, "checkpoint_every": 0},
        reward_model={"centring": 0.01},
    )
    run = running.done(tmp_path / "run", preset)
    loss, accuracy = running.values_of(run, "loss"), running.values_of(run, "accuracy")
    assert mean(loss[-5:]) < 0.5 * mean(loss[:5])
    assert mean(accuracy[:3]) < 0.7
    assert mean(accuracy[-5:]) > 0.9
    [measured] = running.of_kind(run, events.Evaluation)
    assert measured.values["eval_accuracy"] > 0.9
    assert measured.values["eval_auc"] > 0.9
    assert abs(measured.values["eval_mean_reward"]) < 0.5


@pytest.mark.slow
def test_dpo_learns_to_tell_right_sums_from_wrong_ones(pupil: RunDir, tmp_path: Path) -> None:
    preset = running.dpo(
        model={"path": str(pupil.path), "scratch": None},
        data={"train": SUMS, "eval": MEASURED, "max_length": 16},
        optimizer={"learning_rate": 1e-3, "schedule": "constant"},
        training={"steps": 30, "batch_size": 32, "eval_every": 30, "checkpoint_every": 0},
    )
    run = running.done(tmp_path / "run", preset)
    loss, accuracy = running.values_of(run, "loss"), running.values_of(run, "rewards/accuracies")
    assert loss[0] == pytest.approx(math.log(2), rel=1e-5)
    assert mean(loss[-5:]) < 0.7 * loss[0]
    assert mean(accuracy[-5:]) > 0.8
    [measured] = running.of_kind(run, events.Evaluation)
    assert measured.values["eval_rewards/accuracies"] > 0.8


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "own", "measure"),
    [
        ("kto", {"beta": 0.5}, "eval_rewards/margins"),
        ("orpo", {"beta": 1.0}, "eval_rewards/accuracies"),
        ("simpo", {"beta": 2.0, "gamma": 1.0}, "eval_rewards/accuracies"),
        ("cpo", {"beta": 0.1}, "eval_rewards/accuracies"),
    ],
)
def test_methods_of_single_answers_and_without_a_reference_learn_to_tell_right_sums_from_wrong_ones(
    pupil: RunDir, tmp_path: Path, method: str, own: dict[str, float], measure: str
) -> None:
    preset = running.preferring(
        method,
        model={"path": str(pupil.path), "scratch": None},
        data={"train": SUMS, "eval": MEASURED, "max_length": 16},
        optimizer={"learning_rate": 1e-3, "schedule": "constant"},
        training={"steps": 30, "batch_size": 32, "eval_every": 30, "checkpoint_every": 0},
        **{method: own},
    )
    run = running.done(tmp_path / "run", preset)
    loss = running.values_of(run, "loss")
    assert mean(loss[-5:]) < 0.8 * mean(loss[:2])
    [measured] = running.of_kind(run, events.Evaluation)
    assert measured.values[measure] > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("beta", [0.0, 0.04], ids=["without a reference", "pulled back to a reference"])
def test_grpo_lifts_the_reward_of_a_model_that_gets_some_sums_right(pupil: RunDir, tmp_path: Path, beta: float) -> None:
    preset = running.grpo(
        model={"path": str(pupil.path), "scratch": None},
        data={"train": {**SUMS, "seed": 3}, "max_length": 16},
        optimizer={"learning_rate": 1e-3, "schedule": "constant"},
        training={"steps": 40, "batch_size": 16, "checkpoint_every": 0},
        rollout={"completions_per_prompt": 8, "max_new_tokens": 4, "recorded": 0},
        rewards=[{"kind": "verifier"}],
        grpo={"beta": beta},
    )
    run = running.done(tmp_path / "run", preset)
    reward = running.values_of(run, "reward")
    assert mean(reward[-5:]) > mean(reward[:5]) + 0.15
    if beta:
        kl = running.values_of(run, "kl")
        assert kl[0] == pytest.approx(0, abs=1e-5)
        assert kl[-1] > 1e-3
