"""A labelling set is planned on its page: sources, faults, preview, and the process that fills it; nothing mocked."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel, QPushButton

from engine.contract import events, locks, run_dir
from engine.contract.jsonl import append_line
from engine.contract.labels import LabelDir
from engine.contract.labels_log import read_guideline, read_items, read_set
from engine.contract.labels_recipe import load_recipe
from engine.contract.rollouts import completion_line
from engine.contract.run_dir import RunDir
from engine.contract.status import is_alive
from tests.workbench.label_sets import made
from tests.workbench.opened import PATIENCE_MS, opened
from workbench.main_window import MainWindow
from workbench.state.new_set import answers_to_a_prompt
from workbench.state.preset_draft import Change
from workbench.views.new_set_page import NewSetPage

#: An engine starts and answers; other tests run beside this one.
ENGINE_MS = 60_000
CTRL = Qt.KeyboardModifier.ControlModifier
PAIRS = [
    {"prompt": "Two and two?", "chosen": "Four.", "rejected": "Five."},
    {"prompt": "Say hi.", "chosen": "Hi.", "rejected": "<b>x</b>\u202e"},
]


@pytest.fixture
def window(qtbot: Any, workspace: Path) -> Iterator[MainWindow]:
    (workspace / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PAIRS))
    with opened(qtbot, workspace) as made_window:
        yield made_window


def begun(qtbot: Any, window: MainWindow) -> NewSetPage:
    QTest.keyClick(window, Qt.Key.Key_N, CTRL)
    return plan_of(qtbot, window)


def settled(qtbot: Any, page: NewSetPage) -> None:
    """Wait until the engine has said what it makes of the form."""
    qtbot.waitUntil(lambda: bool(page.desk.says) and not page.desk.says.endswith("…"), timeout=ENGINE_MS)


def enter(page: NewSetPage, *keys: Any, value: Any) -> None:
    page.set_group.changed.emit(Change("set", tuple(keys), value))


def cells(page: NewSetPage) -> list[list[str]]:
    table = page.desk.table
    return [
        [item.text() if (item := table.item(row, at)) else "" for at in range(table.columnCount())]
        for row in range(table.rowCount())
    ]


def test_a_key_opens_the_page_from_anywhere_and_esc_leads_back_to_the_sets(qtbot: Any, window: MainWindow) -> None:
    page = begun(qtbot, window)
    assert page.adding["written"].hasFocus()
    QTest.keyClick(window, Qt.Key.Key_Escape)
    assert window.judging is not None
    assert window.judging.currentWidget() is window.judging.sets


def test_a_file_is_previewed_and_becomes_a_set_that_can_be_judged_at_once(
    qtbot: Any, window: MainWindow, workspace: Path
) -> None:
    page = begun(qtbot, window)
    QTest.mouseClick(page.adding["preferences"], Qt.MouseButton.LeftButton)
    enter(page, "name", value="mine")
    enter(page, "parts", 0, "source", value=str(workspace / "pairs.jsonl"))
    page.guideline.setPlainText("Be kind.")
    settled(qtbot, page)
    assert page.desk.says == "2 items"
    assert sorted(cells(page)[1]) == ["<b>x</b>⟨202E⟩", "Hi.", "Say hi."]
    assert not (workspace / "labels").exists()
    QTest.keyClick(window, Qt.Key.Key_Return, CTRL)
    qtbot.waitUntil(lambda: window.is_judging, timeout=ENGINE_MS)
    label_dir = LabelDir(workspace / "labels" / "mine")
    sitting = window.session.labelling
    qtbot.waitUntil(lambda: sitting.sitting is not None and sitting.sitting.turn is not None, timeout=ENGINE_MS)
    qtbot.waitUntil(lambda: not is_alive(RunDir(label_dir.generation)), timeout=ENGINE_MS)
    assert len(read_items(label_dir)) == 2
    assert read_guideline(label_dir) == "Be kind."
    assert [part.kind for part in load_recipe(label_dir.generation / "recipe.yaml").parts] == ["preferences"]


def test_an_answer_to_what_was_entered_before_does_not_count_for_what_is_entered_now(
    qtbot: Any, window: MainWindow, workspace: Path
) -> None:
    page = begun(qtbot, window)
    QTest.mouseClick(page.adding["preferences"], Qt.MouseButton.LeftButton)
    enter(page, "parts", 0, "source", value=str(workspace / "pairs.jsonl"))
    page.desk.rested.emit()
    enter(page, "parts", 0, "gold", value=True)
    page.desk.hold()
    qtbot.waitUntil(lambda: page.desk.table.rowCount() == 2, timeout=ENGINE_MS)
    assert page.desk.says == ""
    page.desk.rested.emit()
    settled(qtbot, page)
    assert page.desk.says == "2 items"


def test_what_is_missing_is_told_once_somebody_wants_to_go_on_and_all_at_once(
    qtbot: Any, window: MainWindow, workspace: Path
) -> None:
    page = begun(qtbot, window)
    for kind in ("written", "preferences"):
        QTest.mouseClick(page.adding[kind], Qt.MouseButton.LeftButton)
    assert page.draft.faults == []
    enter(page, "name", value="no such name!")
    enter(page, "parts", 0, "writers", 0, "temperature", value=0.0)
    enter(page, "parts", 1, "source", value="nowhere.jsonl")
    QTest.keyClick(window, Qt.Key.Key_Return, CTRL)

    def told() -> set[str]:
        return {fault.dotted for fault in page.draft.faults}

    wanted = {"name", "parts.0.prompts", "parts.0.writers.0.model", "parts.0.writers.0.temperature", "parts.1.source"}
    qtbot.waitUntil(lambda: told() == wanted, timeout=ENGINE_MS)
    shown = [one.text() for one in page.findChildren(QLabel) if one.property("role") == "fault" and one.isVisible()]
    assert len(shown) == len(wanted)
    assert any("nowhere.jsonl" in text and "does not exist" in text.lower() for text in shown)
    assert not (workspace / "labels").exists()


def test_a_second_model_has_a_seed_of_its_own_and_each_answers_once(qtbot: Any, window: MainWindow) -> None:
    page = begun(qtbot, window)
    QTest.mouseClick(page.adding["written"], Qt.MouseButton.LeftButton)
    [add] = [one for one in page.cards[0].findChildren(QPushButton) if one.text() == "Add a model"]
    QTest.mouseClick(add, Qt.MouseButton.LeftButton)
    [part] = page.draft.values["parts"]
    assert part["writers"] == [{"model": "", "answers": 1}, {"model": "", "answers": 1, "seed": 1}]
    assert len(page.cards[0].writers) == 2


def test_a_name_that_is_taken_gets_a_number_and_an_existing_set_can_be_added_to(
    qtbot: Any, window: MainWindow, workspace: Path
) -> None:
    made(workspace, "answers", items=1)
    window.session.labelling.list_sets()
    qtbot.waitUntil(lambda: bool(window.session.labelling.sets))
    page = begun(qtbot, window)
    assert page.draft.values["name"] == "answers-2"
    QTest.mouseClick(page.adding["preferences"], Qt.MouseButton.LeftButton)
    enter(page, "name", value="answers")
    enter(page, "parts", 0, "source", value=str(workspace / "pairs.jsonl"))
    settled(qtbot, page)
    assert "added to answers, which is there already" in page.desk.says


# ------------------------------------------------------------------------------------------------------ from a run


def run_of(workspace: Path, *, wrote: bool, path: str = "scratch") -> RunDir:
    preset = f"method: sft\nmodel: {{path: {path}}}\ndata: {{train: [{{path: {workspace / 'pairs.jsonl'}}}]}}\n"
    run = run_dir.create(workspace / "runs", "sums", preset)
    if wrote:
        run.preset.write_text(preset.replace("sft", "grpo") + "rollout: {completions_per_prompt: 2}\n")
        lines = [completion_line(step=1, prompt="1+1=", completion=text) for text in ("2", "3")]
        run.rollouts.write_text("\n".join(lines) + "\n")
    return run


def shown_run(qtbot: Any, window: MainWindow) -> None:
    qtbot.waitUntil(lambda: window.run_path is not None, timeout=PATIENCE_MS)
    window.show_page("runs")


def plan_of(qtbot: Any, window: MainWindow) -> NewSetPage:
    qtbot.waitUntil(lambda: window.judging is not None and window.judging.is_at_desk)
    assert window.judging is not None
    assert window.judging.desks.new is not None
    return window.judging.desks.new


def test_a_run_that_wrote_answers_offers_them_by_one_key(qtbot: Any, workspace: Path) -> None:
    run = run_of(workspace, wrote=True)
    with opened(qtbot, workspace) as window:
        shown_run(qtbot, window)
        QTest.keyClick(window, Qt.Key.Key_J, CTRL)
        page = plan_of(qtbot, window)
        assert page.draft.values["name"] == "sums-answers"
        assert page.draft.values["parts"] == [{"kind": "rollouts", "run": f"runs/{run.path.name}", "follow": False}]
        settled(qtbot, page)
        assert page.desk.says == "1 item"
        assert [sorted(row) for row in cells(page)] == [["1+1=", "2", "3"]]


def test_a_run_that_only_showed_what_it_writes_answers_anew() -> None:
    shown = {"method": "sft", "data": {"train": "p.jsonl"}}
    assert answers_to_a_prompt(shown) == 1
    assert answers_to_a_prompt({**shown, "rollout": {"completions_per_prompt": 8}}) == 8


def test_a_run_is_compared_with_its_base_on_its_own_prompts(qtbot: Any, workspace: Path) -> None:
    base = workspace / "base"
    base.mkdir()
    run = run_of(workspace, wrote=False, path=str(base))
    with opened(qtbot, workspace) as window:
        shown_run(qtbot, window)
        QTest.keyClick(window, Qt.Key.Key_J, CTRL | Qt.KeyboardModifier.ShiftModifier)
        [part] = plan_of(qtbot, window).draft.values["parts"]
        assert [writer["model"] for writer in part["writers"]] == ["base", f"runs/{run.path.name}"]
        assert part["prompts"] == {"path": "pairs.jsonl", "rows": 50}


# --------------------------------------------------------------------------------------------- while it is written


def say(run: RunDir, *told: events.Event) -> None:
    for event in told:
        append_line(run.events, events.event_line(event))


@pytest.fixture
def waiting(qtbot: Any, workspace: Path) -> Iterator[LabelDir]:
    """A set that a process fills, which waits for a run that goes on."""
    run = run_of(workspace, wrote=True)
    say(run, events.RunStarted(time=1.0, method="sft", steps=9), events.Step(step=1, time=2.0, values={}))
    held = locks.hold(run.lock)
    assert held is not None
    recipe = workspace / "recipe.yaml"
    recipe.write_text(f"parts: [{{kind: rollouts, run: {run.path}, follow: true}}]\n")
    words = ["items", "live", "--recipe", str(recipe), "--workspace", str(workspace), "--detach"]
    subprocess.run([sys.executable, "-m", "engine", *words], check=True, capture_output=True)
    label_dir = LabelDir(workspace / "labels" / "live")
    yield label_dir
    held.close()
    qtbot.waitUntil(lambda: not is_alive(RunDir(label_dir.generation)), timeout=ENGINE_MS)


def test_what_is_being_written_is_found_again_and_stopped_by_a_key(
    qtbot: Any, workspace: Path, waiting: LabelDir
) -> None:
    with opened(qtbot, workspace) as window:
        window.show_page("judge")
        qtbot.waitUntil(lambda: window.label_state == "filling", timeout=PATIENCE_MS)
        assert window.judging is not None
        strip = window.judging.sets.strip
        qtbot.waitUntil(strip.stop.isVisible)
        QTest.keyClick(window, Qt.Key.Key_S, Qt.KeyboardModifier.AltModifier)
        qtbot.waitUntil(lambda: window.label_state == "unfinished", timeout=ENGINE_MS)
        assert strip.go_on.isVisible()
        assert "stopped" in strip.text.lower()
    assert read_set(waiting).name == "live"


def test_the_run_that_is_judged_can_be_paused_and_let_go_on_from_its_set(
    qtbot: Any, workspace: Path, waiting: LabelDir
) -> None:
    [run] = run_dir.list_runs(workspace / "runs")
    with opened(qtbot, workspace) as window:
        window.show_page("judge")
        assert window.judging is not None
        strip = window.judging.sets.strip
        qtbot.waitUntil(strip.pause_run.isVisible, timeout=PATIENCE_MS)
        QTest.mouseClick(strip.pause_run, Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda: run.commands.is_file() and '"pause"' in run.commands.read_text())
        say(run, events.CommandDone(step=1, time=3.0, id="1", ask="pause", outcome="obeyed"))
        # What the step wrote is whole now, so it can be judged.
        qtbot.waitUntil(lambda: len(read_items(waiting)) == 1, timeout=ENGINE_MS)
        qtbot.waitUntil(strip.resume_run.isVisible, timeout=PATIENCE_MS)
        assert not strip.pause_run.isVisible()
        QTest.mouseClick(strip.resume_run, Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda: '"resume"' in run.commands.read_text())
