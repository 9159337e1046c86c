"""When loss or gradient is no number, the run stops, leaves the update out, or goes on: as its preset says."""

import contextlib
import dataclasses
import importlib
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.assembly import optimizer_of
from engine.contract import events
from engine.contract.run_dir import RunDir
from engine.loop import Diverged, Progress, train
from engine.methods import METHODS
from tests.engine import running
from tests.tiny import Untouched, bench_of, tiny_policy

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


# ------------------------------------------------------------------------------------------------------ in float16


def in_float16(folder: Path, policy: str, *, scale: float, broken: tuple[int, ...] = ()) -> tuple[Any, Any, Any]:
    """Six steps with gradients scaled as on a GPU: the optimiser, the accelerator, and the events.

    The arithmetic stays float32; what scaling does is the same, and a gradient that is scaled beyond float32 overflows
    as one beyond float16 would.
    """
    preset, model = running.sft(training={"on_nan": policy}), tiny_policy()
    rows = [{"prompt": f"{i}+{i}=", "completion": str(2 * i)} for i in range(24)]
    bench = bench_of(model, folder, train=rows)
    accelerator = bench.accelerator
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    accelerator.native_amp = True
    optimizer = accelerator.prepare(optimizer_of(preset, model.model))
    method, steps = METHODS["sft"](preset, bench), 0

    def loss(batch: Any) -> Any:
        nonlocal steps
        steps += 1
        share, values = method.loss(batch)
        return share * (float("nan") if steps in broken else 1.0), values

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(accelerator), "mixed_precision", "fp16")
        patch.setattr(accelerator, "autocast", contextlib.nullcontext)
        train(
            dataclasses.replace(method, loss=loss),
            scorer=bench.scorer,
            optimizer=optimizer,
            accelerator=accelerator,
            settings=preset.optimizer,
            steps=6,
            progress=Progress(),
            reporter=bench.reporter,
            control=Untouched(),
            save=lambda progress: None,
            checkpoint_every=0,
            on_nan=preset.training.on_nan,
        )
    return optimizer, accelerator, [e for e in running.events_of(RunDir(folder)) if isinstance(e, events.Step)]


@pytest.mark.parametrize("policy", ["stop", "skip"])
def test_a_gradient_that_only_its_scale_made_too_large_is_scaled_less_and_the_run_goes_on(
    tmp_path: Path, policy: str
) -> None:
    optimizer, accelerator, steps = in_float16(tmp_path, policy, scale=2.0**127)
    assert len(steps) == 6
    finite = [step for step in steps if "grad_norm" in step.values]
    assert 0 < len(finite) < 6, "some overflow at first, and the others do not"
    assert all(math.isfinite(value) for step in steps for value in step.values.values())
    assert accelerator.scaler.get_scale() == 2.0 ** (127 - (6 - len(finite)))
    taken = {int(state["step"]) for state in optimizer.state.values()}
    assert taken == {len(finite)}
    if policy == "skip":
        assert steps[-1].values["skipped_updates"] == 6 - len(finite)


def test_a_loss_that_is_no_number_is_left_out_in_float16_and_the_next_is_not(tmp_path: Path) -> None:
    optimizer, accelerator, steps = in_float16(tmp_path, "skip", scale=2.0**10, broken=(2, 3))
    assert [math.isnan(step.values["loss"]) for step in steps] == [False, True, True, False, False, False]
    assert [step.values["skipped_updates"] for step in steps] == [0, 1, 2, 2, 2, 2]
    assert {int(state["step"]) for state in optimizer.state.values()} == {4}
    assert accelerator.scaler.get_scale() == 2.0**8
    with pytest.raises(Diverged, match="loss and grad_norm became nan at step 2"):
        in_float16(tmp_path / "stop", "stop", scale=2.0**10, broken=(2,))
