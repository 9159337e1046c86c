"""The engine's half of `check`: looks at the data, tries one step, tells it as events, and leaves.

Started as `python -m engine.rehearsal RUN_DIR`, in a run directory that is thrown away afterwards.
"""

import argparse
import sys
import time
import traceback
from pathlib import Path

from engine.contract import events
from engine.contract.preset import load_preset
from engine.contract.run_dir import RunDir
from engine.failures import explain
from engine.labelling.frozen import with_frozen
from engine.loop import Wish
from engine.reporting import Reporter

FINISHED, FAILED, REFUSED = 0, 1, 2


class Unasked:
    """Nobody asks anything of a check: whoever has enough of it ends the process."""

    def breathe(self) -> None:
        """Nothing is waited for."""

    def after_step(self, step: int) -> Wish:
        return Wish()


def main(arguments: list[str] | None = None) -> int:
    """Returns 0, 2 if the run would be refused, 1 if something else went wrong; the events say what."""
    parser = argparse.ArgumentParser(prog="python -m engine.rehearsal", description=__doc__)
    parser.add_argument("run_dir", type=Path)
    run = RunDir(parser.parse_args(arguments).run_dir)
    reporter = Reporter(run)
    try:
        _check(run, reporter)
    except Exception as error:  # noqa: BLE001 - whatever it is, the check must say what happened
        traceback.print_exc()
        reporter.event(events.RunFinished(time=time.time(), reason="failed", message=explain(error)))
        return REFUSED if isinstance(error, ValueError) else FAILED
    return FINISHED


def _check(run: RunDir, reporter: Reporter) -> None:
    reporter.phase("starting PyTorch")
    from accelerate.utils import set_seed

    from engine import assembly
    from engine.rehearsal.findings import refuse_errors
    from engine.rehearsal.wiring import wiring_of

    preset = with_frozen(load_preset(run.preset), run)
    accelerator = assembly.accelerator_of(preset)
    set_seed(preset.seed, device_specific=True)
    wiring = wiring_of(preset)
    parts = wiring.assemble(run, preset, accelerator, reporter, Unasked())
    report = wiring.examine(parts, budget=None)
    reporter.event(events.Preflight(time=time.time(), report=report))
    refuse_errors(report)


if __name__ == "__main__":
    sys.exit(main())
