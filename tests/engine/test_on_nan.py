"""When loss or gradient is no number, the run stops, leaves the update out, or goes on: as its preset says."""

import importlib
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.contract import events
from engine.contract.run_dir import RunDir
from tests.engine import running

pytestmark = pytest.mark.usefixtures("fork_server")


def run_with(folder: Path, policy: str, *broken: int) -> RunDir:
    """A whole run in which the loss of the steps `broken` is no number."""
    sft = importlib.import_module("engine.methods.sft")
    preset = running.sft(training={"on_nan": policy, "checkpoint_every": 1, "keep_checkpoints": 9})
    real, run = sft.sft_loss, running.new_run(folder, preset)

    def breaking(logps: torch.Tensor, *, normaliser: float) -> Any:
        result = real(logps, normaliser=normaliser)
        return result._replace(share=result.share * (float("nan") if step_now(run) in broken else 1.0))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sft, "sft_loss", breaking)
        assert running.run_here(run) == running.FINISHED
    return run


def step_now(run: RunDir) -> int:
    return len(running.steps_of(run)) + 1


def broken_steps(run: RunDir) -> list[int]:
    return [event.step for event in running.of_kind(run, events.Step) if math.isnan(event.values["loss"])]


def test_skip_leaves_the_update_out_and_counts_it(tmp_path: Path) -> None:
    run = run_with(tmp_path / "run", "skip", 2, 3, 5)
    assert broken_steps(run) == [2, 3, 5]
    assert running.values_of(run, "skipped_updates") == [0, 1, 2, 2, 3, 3]
    for before, after in ((1, 2), (2, 3), (4, 5)):
        running.assert_same_weights(run.checkpoint(after), run.checkpoint(before))
    assert all(tensor.isfinite().all() for tensor in running.weights(run.final).values())
    told = [line for line in running.notices(run).splitlines() if "became nan" in line]
    assert [line[: line.index(";")] for line in told] == [
        "warning: loss and grad_norm became nan at step 2",
        "warning: loss and grad_norm became nan at step 5",
    ], "once for as long as it lasts"
    assert "the update was left out" in told[0]


def test_skip_changes_nothing_of_a_run_without_such_steps(tmp_path: Path) -> None:
    skipping = run_with(tmp_path / "skip", "skip")
    running.assert_same_weights(skipping.final, run_with(tmp_path / "stop", "stop").final)


def test_the_count_of_what_was_left_out_survives_a_resume(tmp_path: Path) -> None:
    run = run_with(tmp_path / "run", "skip", 2)
    for step in (5, 6):
        (run.checkpoint(step) / "manifest.json").unlink()
    assert running.run_here(run) == running.FINISHED
    assert running.values_of(run, "skipped_updates") == [0, 1, 1, 1, 1, 1]


def test_go_on_applies_it_and_says_what_that_means(tmp_path: Path) -> None:
    run = run_with(tmp_path / "run", "go_on", 4)
    assert running.steps_of(run) == [1, 2, 3, 4, 5, 6]
    assert broken_steps(run) == [4, 5, 6]
    assert "the run goes on, and its weights may be of no use" in running.notices(run)
    assert any(not tensor.isfinite().all() for tensor in running.weights(run.final).values())


def test_an_infinite_gradient_of_a_finite_loss_is_left_out_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from accelerate import Accelerator

    clip = Accelerator.clip_grad_norm_

    def overflowing(self: Accelerator, *arguments: Any) -> Any:
        norm = clip(self, *arguments)
        return norm * math.inf if step_now(RunDir(tmp_path / "run")) == 3 else norm

    monkeypatch.setattr(Accelerator, "clip_grad_norm_", overflowing)
    run = run_with(tmp_path / "run", "skip")
    assert running.values_of(run, "skipped_updates") == [0, 0, 1, 1, 1, 1]
    assert "grad_norm became inf at step 3" in running.notices(run)
