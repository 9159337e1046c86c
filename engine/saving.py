"""Keeping a run's progress and taking it up again, whatever it is that learns."""

import errno
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from engine import checkpoint, random_state
from engine.contract import events, settings
from engine.contract.run_dir import RunDir
from engine.early_stopping import Best
from engine.loop import Method, Progress
from engine.reporting import Reporter


@dataclass(frozen=True)
class Keeper:
    """What has a state that the next step depends on. threads: CPU threads, as other sums would round otherwise."""

    run: RunDir
    training: settings.Training
    accelerator: Accelerator
    optimizer: Any
    method: Method
    threads: int

    def save(
        self,
        progress: Progress,
        reporter: Reporter,
        write: Callable[[Path], None],
        tensors: Callable[[], dict[str, Tensor]] = dict,
    ) -> None:
        """Write a checkpoint; a full disk costs the checkpoint, not the run. write: puts the model into the folder.

        tensors: what else is to be there when the run goes on.
        """
        mine = [random_state.own()]
        random = gather_object(mine) if self.accelerator.num_processes > 1 else mine
        if not self.accelerator.is_main_process:
            return
        training = checkpoint.training_state(
            progress.step,
            self.optimizer.optimizer,
            random=random,
            tokens=progress.tokens,
            threads=self.threads,
            skipped=progress.skipped,
            best=progress.best,
            method=self.method.memory() if self.method.memory else None,
        )
        training["tensors"] |= tensors()
        try:
            path = checkpoint.save_with(self.run, progress.step, write, training=training)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            self._tell_full_disk(progress.step, reporter)
            return
        checkpoint.keep_newest(self.run, self.training.keep_checkpoints, best=progress.best.step)
        relative = path.relative_to(self.run.path).as_posix()
        reporter.event(events.Checkpoint(step=progress.step, time=time.time(), path=relative))

    def restore(self, path: Path) -> Progress:
        """Put optimiser, random numbers and the method's memory back as a checkpoint has them."""
        rank = self.accelerator.process_index
        numbers = checkpoint.restore_training(path, self.optimizer.optimizer, rank=rank)
        if self.method.recall and numbers.get("method") is not None:
            self.method.recall(numbers["method"])
        best = Best(*numbers.get("best", ()))
        return Progress(numbers["step"], numbers["tokens"], skipped=numbers.get("skipped", 0), best=best)

    def best_checkpoint(self, reporter: Reporter, progress: Progress) -> Path | None:
        """Where the best weights are, if they are not the last; None, and a notice, where they are damaged."""
        if progress.best.step in (0, progress.step):
            return None
        path = self.run.checkpoint(progress.best.step)
        if checkpoint.is_whole(path):
            return path
        what = f"the best checkpoint, {path.name}, is damaged or gone; final/ holds the last weights instead"
        reporter.notice("warning", what, "pick another from checkpoints/, or train again")
        return None

    def _tell_full_disk(self, step: int, reporter: Reporter) -> None:
        free = shutil.disk_usage(self.run.path).free
        what = f"no room for the checkpoint of step {step}: {free / 1e6:.0f} MB are free; the run goes on"
        reporter.notice("error", what, "free some space, then press Save now")


def put_final(run: RunDir, write: Callable[[Path], None]) -> None:
    """Make final/, whole or not at all. write: puts the model and its card into the folder."""
    staging = run.path / ".tmp-final"
    shutil.rmtree(staging, ignore_errors=True)
    write(staging)
    checkpoint.put_in_place(staging, run.final)
