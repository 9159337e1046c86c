"""A run that games its reward pauses itself, says why in its record and in the window, and goes on when told."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from engine.contract import events, jsonl
from engine.contract.run_dir import RunDir, list_runs
from engine.contract.status import is_alive, summarise
from tests.workbench.opened import opened
from workbench.main_window import MainWindow

ROOT = Path(__file__).parents[2]
START_MS = 90_000
#: DRaFT with nothing that holds it: digits are white blocks within a few steps.
HACKED = (
    "optimizer.learning_rate=1e-3",
    "training.steps=12",
    "training.threads=1",
    "training.checkpoint_every=0",
    "drift.every=1",
    "drift.images=30",
    "drift.on_hack=pause",
    "draft.anchor=0",
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def events_of(run: RunDir, kind: type[Any]) -> list[Any]:
    return [event for event in map(events.read_event, jsonl.follow(run.events)) if isinstance(event, kind)]


def header_of(window: MainWindow) -> str:
    """What stands above the run that is on show."""
    assert window.runs.run is not None
    return window.runs.run.header.text


def typed(workspace: Path) -> RunDir:
    """`python -m engine run presets/draft_digits.yaml --detach --set …`."""
    sets = [part for change in HACKED for part in ("--set", change)]
    command = [sys.executable, "-m", "engine", "run", "presets/draft_digits.yaml", "--workspace", str(workspace)]
    subprocess.run([*command, "--detach", *sets], cwd=ROOT, check=True, capture_output=True, timeout=120)
    return list_runs(workspace / "runs")[0]


def test_a_run_that_is_hacked_pauses_says_why_and_goes_on_when_told(qtbot: Any, workspace: Path) -> None:
    run = typed(workspace)
    qtbot.waitUntil(lambda: bool(events_of(run, events.CommandDone)), timeout=START_MS)
    (pause,) = events_of(run, events.CommandDone)
    (notice,) = [each for each in events_of(run, events.Notice) if "reward hacking" in each.what]
    assert (pause.ask, pause.outcome, pause.why) == ("pause", "paused", notice.what)
    assert pause.step < 12
    assert summarise(run).status.state == "paused"

    with opened(qtbot, workspace) as window:
        qtbot.waitUntil(lambda: window.status is not None and window.status.state == "paused", timeout=10_000)
        assert "This looks like reward hacking: the reward rose from" in header_of(window)
        assert "Resume goes on all the same." in header_of(window)
        assert events_of(run, events.Step)[-1].step == pause.step, "it waits"
        QTest.keyClick(window, Qt.Key.Key_R, Qt.KeyboardModifier.ControlModifier)
        qtbot.waitUntil(lambda: window.status is not None and window.status.state == "finished", timeout=START_MS)
        assert "reward hacking" not in header_of(window)
        qtbot.waitUntil(lambda: not is_alive(run), timeout=10_000)  # after its last word it takes a moment to leave

    assert [each.outcome for each in events_of(run, events.CommandDone)] == ["paused", "went on"]
    assert events_of(run, events.Step)[-1].step == 12
