"""Kills at random moments, also while a checkpoint is written and while a run resumes: each run ends as if undisturbed.

PLUMBLINE_KILLS sets how many; PLUMBLINE_KILL_SEED draws other moments.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from engine.contract.preset import Preset
from engine.contract.run_dir import RunDir
from tests.engine import running
from tests.engine.test_checkpoint import change

pytestmark = pytest.mark.usefixtures("fork_server")

KILLS = int(os.environ.get("PLUMBLINE_KILLS", "16"))
SEED = int(os.environ.get("PLUMBLINE_KILL_SEED", "0"))
#: A run that was killed so often is let go on to its end, so that each trial ends with a comparison.
KILLS_A_RUN = 5
RUNS: dict[str, Preset] = {
    "sft": running.sft(),
    "adapter": running.sft(model={"adapter": {**running.LORA, "dropout": 0.1}}),
    "grpo": running.grpo(),
    "ppo": running.ppo(ppo={"minibatches": 2, "kl_target": 1.0, "kl_horizon": 50, "scores": "scaled"}),
}


def kill_at_change(at: int) -> None:
    """Kill this process right before its change number `at` of the disk, whatever that is: a line, a file, a rename."""
    seen = 0

    def watch(frame: FrameType, event: str, called: Any) -> None:
        nonlocal seen
        if change(frame, event, called):
            seen += 1
            if seen == at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(watch)


def count_changes(file: str) -> None:
    """Write into `file`, at the end of this process, how often it changed the disk."""
    import atexit
    from multiprocessing import util

    seen = 0

    def watch(frame: FrameType, event: str, called: Any) -> None:
        nonlocal seen
        seen += change(frame, event, called) is not None

    util.Finalize(None, lambda: Path(file).write_text(str(seen)), exitpriority=1)
    atexit.register(sys.setprofile, None)
    sys.setprofile(watch)


def killed_somewhere(run: RunDir, draw: random.Random, *, seconds: float, changes: int) -> int:
    """One life with a kill in it, half of them by the clock and half at a change of the disk. Its exit code."""
    if draw.random() < 0.5:
        return running.live(run, kill_at_change, draw.randint(1, changes))
    life = running.begin(run)
    time.sleep(draw.uniform(0, seconds))
    life.kill()
    return running.end_of(life)


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_killed_at_random_moments_a_run_still_ends_as_if_undisturbed(tmp_path: Path, name: str) -> None:
    preset, draw = RUNS[name], random.Random(f"{SEED} {name}")  # noqa: S311 - moments, not secrets
    undisturbed = running.new_run(tmp_path / "undisturbed", preset)
    started = time.monotonic()
    assert running.live(undisturbed, count_changes, str(tmp_path / "changes")) == running.FINISHED
    seconds, changes = time.monotonic() - started, int((tmp_path / "changes").read_text())
    assert changes > 30

    wanted = -(-KILLS // len(RUNS))
    kills, trial = 0, 0
    while kills < wanted:
        trial += 1
        run = running.new_run(tmp_path / f"trial-{trial}", preset)
        for _ in range(min(KILLS_A_RUN, wanted - kills)):
            code = killed_somewhere(run, draw, seconds=seconds, changes=changes)
            assert code in (running.KILLED, running.FINISHED), run.log.read_text()
            kills += code == running.KILLED
            if code == running.FINISHED:
                break
        else:
            assert running.live(run) == running.FINISHED, run.log.read_text()
        running.assert_same_weights(run.final, undisturbed.final)
        assert running.curve(run) == running.curve(undisturbed)
        assert running.answers_of(run) == running.answers_of(undisturbed)
        assert [entry.name for entry in run.checkpoints.iterdir() if entry.name.startswith(".")] == []
