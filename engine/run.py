"""One run, from preset to last checkpoint: the only place that wires the parts together.

Started by the supervisor as `python -m engine.run RUN_DIR`; goes on from the newest whole checkpoint if there is one.
"""

import argparse
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from engine.contract import events
from engine.contract.preset import Preset, load_preset
from engine.contract.run_dir import RunDir, read_json, write_json
from engine.contract.status import own_identity
from engine.failures import explain
from engine.labelling.frozen import with_frozen
from engine.reporting import Reporter

FINISHED, FAILED, STOPPED = 0, 1, 3
#: A run tries its longest batch first if that takes no longer; `check` takes the time it needs.
REHEARSAL_SECONDS = 2.0


def main(arguments: list[str] | None = None) -> int:
    """Run or go on with the run in RUN_DIR. Returns the exit code; what went wrong is told as an event."""
    parser = argparse.ArgumentParser(prog="python -m engine.run", description=__doc__)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument(
        "--commands-from", type=int, default=0, help="bytes of commands.jsonl that an earlier life obeyed"
    )
    options = parser.parse_args(arguments)
    run = RunDir(options.run_dir)
    is_first = int(os.environ.get("RANK", "0")) == 0
    reporter = Reporter(run, is_writer=is_first)
    try:
        if is_first:
            write_json(run.process, own_identity())
            reporter.beat(force=True)
        reason = _run(run, with_frozen(load_preset(run.preset), run), reporter, commands_from=options.commands_from)
    except Exception as error:  # noqa: BLE001 - whatever it is, the run must say how it ended
        traceback.print_exc()
        reporter.event(events.RunFinished(time=time.time(), reason="failed", message=explain(error)))
        return FAILED
    reporter.event(events.RunFinished(time=time.time(), reason=reason))
    return FINISHED if reason == "finished" else STOPPED


class Stage(NamedTuple):
    """A run about to go. parts: of text or of images; they have the same names where it matters here."""

    run: RunDir
    preset: Any
    parts: Any
    examine: Callable[..., Any]
    reporter: Reporter
    control: Any


def _run(run: RunDir, preset: Preset, reporter: Reporter, *, commands_from: int) -> Literal["finished", "stopped"]:
    """Returns how it ended: finished or stopped."""
    reporter.phase("starting PyTorch")
    # Imported here: a run that cannot even start says so within a moment, and torch takes seconds.
    from accelerate.utils import set_seed

    from engine import assembly, checkpoint
    from engine.loop import StopNow
    from engine.rehearsal.wiring import wiring_of
    from engine.work import Work

    accelerator = assembly.accelerator_of(preset)
    set_seed(preset.seed, device_specific=True)  # each process drops out neurons of its own
    if accelerator.is_main_process:
        checkpoint.clear_leftovers(run)
    found = checkpoint.newest_whole(run)
    _tell_damage(run, found, reporter)
    control = assembly.control_of(run, reporter, accelerator, commands_from)
    try:
        wiring = wiring_of(preset)
        parts = wiring.assemble(run, preset, accelerator, reporter, control)
        stage = Stage(run, preset, parts, wiring.examine, reporter, control)
        finished = (_work if isinstance(parts.method, Work) else _learn)(stage, found)
    except StopNow:
        return "stopped"
    accelerator.end_training()
    return "finished" if finished else "stopped"


def _learn(stage: Stage, found: Path | None) -> bool:
    """Train, and keep the model that comes of it. Returns False if asked to stop; raises StopNow."""
    from engine.loop import Progress, train

    run, preset, parts, examine, reporter, control = stage
    progress = Progress() if found is None else parts.restore(found)
    if found is not None or _has(run, "run_started"):  # also one that ended after its first answers, before a step
        reporter.event(events.Resumed(time=time.time(), from_step=progress.step))
    if found is None:
        _look_first(parts, examine, reporter)
    _tell_start(run, preset, parts, preset.training.steps, reporter)
    finished = train(
        parts.method,
        scorer=parts.scorer,
        optimizer=parts.optimizer,
        accelerator=parts.bench.accelerator,
        settings=preset.optimizer,
        steps=preset.training.steps,
        progress=progress,
        reporter=reporter,
        control=control,
        save=lambda now: parts.save(now, reporter),
        checkpoint_every=preset.training.checkpoint_every,
        on_nan=preset.training.on_nan,
        early_stopping=preset.training.early_stopping,
        eval_before=preset.training.eval_every > 0 and preset.training.eval_before and not _has(run, "evaluation"),
        meter=parts.meter,
    )
    if finished:
        reporter.phase("saving the model")
        parts.finish(reporter, progress)
    return finished


def _work(stage: Stage, found: Path | None) -> bool:
    """Do what is to be done without learning, which keeps no checkpoints. Otherwise as `_learn`."""
    from engine.work import perform

    run, preset, parts, _, reporter, control = stage
    if _has(run, "run_started"):
        reporter.event(events.Resumed(time=time.time(), from_step=parts.method.done))
    _tell_start(run, preset, parts, parts.method.steps, reporter)
    return perform(parts.method, reporter, control)


def _look_first(parts: Any, examine: Callable[..., Any], reporter: Reporter) -> None:
    """Put on the record what the data looks like to the model. Raises Refused if nothing would be learned."""
    from engine.rehearsal.findings import refuse_errors

    report = examine(parts, budget=REHEARSAL_SECONDS)
    reporter.event(events.Preflight(time=time.time(), report=report))
    refuse_errors(report)


def _tell_start(run: RunDir, preset: Preset, parts: Any, steps: int, reporter: Reporter) -> None:
    from engine import environment

    accelerator = parts.bench.accelerator
    processes = accelerator.num_processes
    if accelerator.is_main_process:
        for name in environment.changed_functions(preset, read_json(run.environment)):
            what = (
                f"the reward function {name} has changed since this run began, so its answers are judged otherwise now"
            )
            reporter.notice("warning", what, "if that was not meant, put the old file back and resume again")
        described = environment.describe(preset, threads=parts.threads, processes=processes, device=accelerator.device)
        write_json(run.environment, read_json(run.environment) | described)
    reporter.event(events.RunStarted(time=time.time(), method=preset.method, steps=steps, processes=processes))
    reporter.phase("first step")


def _has(run: RunDir, kind: str) -> bool:
    """Whether an earlier life got as far as such an event."""
    from engine.contract.jsonl import follow

    mark = b'"kind":"%s"' % kind.encode()
    return bool(run.events.stat().st_size) and any(mark in line for line in follow(run.events))


def _tell_damage(run: RunDir, found: Path | None, reporter: Reporter) -> None:
    newest = run.saved_steps()
    if newest and run.checkpoint(newest[-1]) != found:
        used = "the run starts over" if found is None else f"the run goes on from {found.name}"
        what = f"checkpoint {run.checkpoint(newest[-1]).name} is damaged or incomplete; {used}"
        reporter.notice("warning", what, "it is left in place; delete it when you have looked at it")


if __name__ == "__main__":
    sys.exit(main())
