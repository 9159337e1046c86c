"""The three steps of RLHF as a person types them: examples, a reward model, PPO; and its held-out score rises."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.contract import events, jsonl
from engine.contract.run_dir import RunDir, newest_named

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def typed(workspace: Path, preset: str, *changes: str) -> RunDir:
    """`python -m engine run presets/… --workspace … --set …`, to its end; the run it made."""
    sets = [part for change in ("training.threads=1", *changes) for part in ("--set", change)]
    command = [sys.executable, "-m", "engine", "run", f"presets/{preset}.yaml", "--workspace", str(workspace), *sets]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 0, done.stdout + done.stderr
    run = newest_named(workspace / "runs", preset.replace("_", "-"))
    assert run is not None
    return run


def evaluations(run: RunDir, name: str) -> list[float]:
    told = (events.read_event(line) for line in jsonl.follow(run.events))
    return [event.values[name] for event in told if isinstance(event, events.Evaluation)]


def test_from_examples_by_a_reward_model_to_ppo_whose_held_out_score_rises(tmp_path: Path) -> None:
    typed(tmp_path, "sft_tiny", "training.steps=35", "sft.sample_every=0")
    typed(tmp_path, "reward_model_sums")
    tuned = typed(tmp_path, "ppo_sums", "training.steps=30")
    score = evaluations(tuned, "eval_reward")  # the first of them before the first step
    assert len(score) == 7
    assert sum(score[-3:]) / 3 > score[0] + 0.15  # in spreads of the reward model's scores
    assert (tuned.path / "critic" / "config.json").is_file()
    assert (tuned.final / "config.json").is_file()
