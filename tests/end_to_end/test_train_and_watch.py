"""A real window and a real engine, used as a person uses them: keys, kills, and what is left afterwards."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QWidget
from safetensors.torch import load_file

from engine.contract import events, jsonl
from engine.contract.run_dir import RunDir, list_runs, read_json
from engine.contract.status import engine_pid
from tests.workbench.opened import opened
from workbench.main_window import MainWindow

ROOT = Path(__file__).parents[2]
#: An engine imports torch and transformers before its first step: seconds, and more on a busy machine.
START_MS = 90_000
STEPS = 300
PRESET = f"""
method: sft
name: watched
model: {{path: scratch, scratch: {{layers: 2, width: 64, context: 64}}, device: cpu}}
data: {{train: "task:arithmetic", max_length: 32}}
optimizer: {{learning_rate: 3.0e-3}}
training: {{steps: {STEPS}, batch_size: 64, threads: 1, checkpoint_every: 25}}
sft: {{sample_every: 20, samples: 4, sample_tokens: 4}}
"""
CTRL = Qt.KeyboardModifier.ControlModifier

pytestmark = pytest.mark.slow


def steps_on_record(run: RunDir) -> list[int]:
    """Steps as a reader counts them: what an earlier life wrote after a resume point is dropped."""
    steps: list[int] = []
    for line in jsonl.follow(run.events):
        match events.read_event(line):
            case events.Resumed(from_step=from_step):
                steps = [step for step in steps if step <= from_step]
            case events.Step(step=step):
                steps.append(step)
    return steps


def press(window: MainWindow, key: Qt.Key, modifiers: Qt.KeyboardModifier = CTRL) -> None:
    focused: QWidget | None = window.focusWidget()
    QTest.keyClick(window if focused is None else focused, key, modifiers)


def shown_steps(window: MainWindow) -> list[float]:
    assert window.session.feed is not None
    loss = window.session.feed.state.series.get("loss")
    return [] if loss is None else loss.arrays()[0].tolist()


def state_of(window: MainWindow) -> str:
    return window.status.state if window.status is not None else ""


def start_with_keys(qtbot: Any, window: MainWindow) -> RunDir:
    """Open the preset page, put the preset in, press Ctrl+Enter, and wait for the first curve."""
    press(window, Qt.Key.Key_2)
    assert window.presets is not None
    window.presets.open_text(PRESET, "watched")
    press(window, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: len(shown_steps(window)) >= 3, timeout=START_MS)
    assert window.run_path is not None
    return RunDir(window.run_path)


def undisturbed(workspace: Path) -> RunDir:
    preset = workspace / "undisturbed.yaml"
    preset.write_text(PRESET.replace("watched", "undisturbed"), "utf-8")
    command = [sys.executable, "-m", "engine", "run", str(preset), "--workspace", str(workspace)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=240)
    return next(run for run in list_runs(workspace / "runs") if run.name == "undisturbed")


def test_a_run_survives_stop_a_killed_window_and_a_killed_engine_bit_for_bit(qtbot: Any, workspace: Path) -> None:
    with opened(qtbot, workspace) as window:
        run = start_with_keys(qtbot, window)

        press(window, Qt.Key.Key_Period)
        qtbot.waitUntil(lambda: state_of(window) == "stopped", timeout=30_000)
        stopped_at = steps_on_record(run)[-1]
        assert stopped_at < STEPS, "it stopped after the step, not at the end"
        assert stopped_at in run.saved_steps(), "a stop leaves a checkpoint"

        press(window, Qt.Key.Key_R)
        qtbot.waitUntil(lambda: len(shown_steps(window)) > stopped_at, timeout=START_MS)

    another = kill_a_window_that_watches(workspace)
    assert another == -signal.SIGKILL
    assert engine_pid(run) is not None, "the engine does not notice that a window died"

    with opened(qtbot, workspace) as window:
        qtbot.waitUntil(lambda: len(shown_steps(window)) > stopped_at, timeout=10_000)
        pid = engine_pid(run)
        if pid is not None:  # on a fast machine it may have finished while the window was killed
            os.kill(pid, signal.SIGKILL)
            killed = time.monotonic()
            qtbot.waitUntil(lambda: state_of(window) == "crashed", timeout=5_000)
            assert time.monotonic() - killed < 2.0
            assert window.status is not None
            assert "signal 9" in window.status.sentence
            press(window, Qt.Key.Key_R)
        qtbot.waitUntil(lambda: state_of(window) == "finished", timeout=START_MS)
        qtbot.waitUntil(lambda: len(shown_steps(window)) == STEPS, timeout=10_000)
        assert shown_steps(window) == list(range(1, STEPS + 1)), (
            "no step is missing from the curve, none is there twice"
        )

    assert steps_on_record(run) == list(range(1, STEPS + 1))
    ours, theirs = (load_file(str(each.final / "model.safetensors")) for each in (run, undisturbed(workspace)))
    assert ours.keys() == theirs.keys()
    assert all(bool((ours[name] == theirs[name]).all()) for name in ours), "the same weights, bit for bit"


def kill_a_window_that_watches(workspace: Path) -> int:
    """Open a second window in a process of its own, kill it as soon as it is up, and return its exit code."""
    environment = os.environ | {"QT_QPA_PLATFORM": "offscreen"}
    watching = subprocess.Popen([sys.executable, "-m", "workbench", str(workspace)], cwd=ROOT, env=environment)
    time.sleep(2.0)  # up, and reading the run; there is nothing it writes that could be waited for
    watching.kill()
    return watching.wait(10)


def test_a_run_started_in_a_terminal_appears_in_an_open_window(qtbot: Any, workspace: Path) -> None:
    preset = workspace / "short.yaml"
    preset.write_text(PRESET.replace("watched", "typed").replace(f"steps: {STEPS}", "steps: 5"), "utf-8")
    with opened(qtbot, workspace) as window:
        command = [
            sys.executable,
            "-m",
            "engine",
            "run",
            str(preset),
            "--workspace",
            str(workspace),
            "--detach",
            "--json",
        ]
        started = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
        path = Path(json.loads(started.stdout)["run_dir"])
        qtbot.waitUntil(lambda: window.session.index.find("typed") is not None, timeout=10_000)
        qtbot.waitUntil(lambda: state_of(window) == "finished", timeout=START_MS)
        assert shown_steps(window) == [1, 2, 3, 4, 5]
    qtbot.waitUntil(lambda: read_json(RunDir(path).ended).get("exit_code") == 0, timeout=20_000)


def test_the_tour_lifts_the_reward_from_below_three_quarters_to_nearly_all_right(workspace: Path) -> None:
    command = [sys.executable, "-m", "engine", "tour", str(workspace), "--json"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=290)
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["exit_code"] == 0
    assert told["first_5"] <= 0.75
    assert told["last_20"] >= 0.95
