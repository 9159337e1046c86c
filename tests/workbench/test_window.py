"""The window as a person uses it: real widgets, real files, keys."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QCoreApplication, QEvent, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QComboBox, QLabel, QPlainTextEdit, QWidget

from engine.contract import events
from engine.contract.faults import Fault
from engine.contract.jsonl import read_lines
from engine.contract.rollouts import completion_line
from tests.workbench.fake_runs import FakeEngine, tour
from tests.workbench.opened import opened
from workbench.io import engine_process
from workbench.main_window import MainWindow

CTRL = Qt.KeyboardModifier.ControlModifier


@pytest.fixture
def engine(workspace: Path) -> Iterator[FakeEngine]:
    made = tour(workspace, trained=40)
    yield made
    made.vanish()


@pytest.fixture
def window(qtbot: Any, workspace: Path, engine: FakeEngine) -> Iterator[MainWindow]:
    with opened(qtbot, workspace) as made:
        yield made


def press(window: MainWindow, key: Qt.Key, modifiers: Qt.KeyboardModifier = CTRL) -> None:
    QTest.keyClick(_focused(window), key, modifiers)


def _focused(window: MainWindow) -> QWidget:
    found: QWidget | None = window.focusWidget()
    return window if found is None else found


def asked(engine: FakeEngine) -> list[str]:
    return [line.decode() for line in read_lines(engine.run.commands, 0).lines]


def facts(window: MainWindow) -> str:
    assert window.runs.run is not None
    return window.runs.run.header.text


def test_it_opens_on_the_run_at_work_with_its_curves(qtbot: Any, window: MainWindow) -> None:
    assert window.runs.run is not None
    qtbot.waitUntil(lambda: "step 40 of 300" in facts(window))
    charts = window.runs.run.board.charts
    assert list(charts)[:2] == ["reward", "kl"]
    assert "last" in charts["reward"].summary()


def test_it_opens_on_the_run_at_work_even_if_a_newer_one_is_done(
    qtbot: Any, workspace: Path, engine: FakeEngine
) -> None:
    FakeEngine(workspace / "runs", "newer").begin().train(3).finish()
    with opened(qtbot, workspace) as window:
        qtbot.wait(200)
        assert window.run_path == engine.run.path


def test_asked_for_a_run_that_is_not_there_it_says_so_and_shows_another(
    qtbot: Any, workspace: Path, engine: FakeEngine
) -> None:
    with opened(qtbot, workspace, run="nobody") as window:
        assert "no run called nobody" in window.notice.sentence
        assert window.run_path == engine.run.path


def test_what_the_engine_writes_appears(qtbot: Any, window: MainWindow, engine: FakeEngine) -> None:
    engine.train(7)
    qtbot.waitUntil(lambda: "step 47 of 300" in facts(window))


@pytest.mark.parametrize(
    ("key", "modifiers", "ask"),
    [
        (Qt.Key.Key_P, CTRL, "pause"),
        (Qt.Key.Key_S, CTRL, "save"),
        (Qt.Key.Key_Period, CTRL, "stop"),
        (Qt.Key.Key_Period, CTRL | Qt.KeyboardModifier.ShiftModifier, "stop_now"),
    ],
)
def test_a_key_writes_a_request(
    qtbot: Any, window: MainWindow, engine: FakeEngine, key: Qt.Key, modifiers: Any, ask: str
) -> None:
    press(window, key, modifiers)
    qtbot.waitUntil(lambda: bool(asked(engine)))
    assert f'"ask":"{ask}"' in asked(engine)[0]


def test_a_killed_engine_is_told_within_two_seconds_with_what_to_do(
    qtbot: Any, window: MainWindow, engine: FakeEngine
) -> None:
    engine.vanish(signal=9)
    qtbot.waitUntil(lambda: "Killed (signal 9)." in facts(window), timeout=2000)
    assert window.status is not None
    assert window.status.state == "crashed"


def test_a_writer_that_is_really_killed_is_told_within_two_seconds(qtbot: Any, workspace: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from tests.workbench.fake_runs import FakeEngine\n"
        f"engine = FakeEngine(Path({str(workspace)!r}) / 'runs', 'doomed').begin().train(20)\n"
        "print('up', flush=True)\n"
        "time.sleep(60)"
    )
    root = Path(__file__).parents[2]
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=root)
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"up\n"
        with opened(qtbot, workspace) as window:
            qtbot.waitUntil(lambda: window.status is not None and window.status.is_alive)
            writer.send_signal(signal.SIGKILL)
            qtbot.waitUntil(lambda: window.status is not None and window.status.state == "crashed", timeout=2000)
            qtbot.waitUntil(lambda: "nobody saw how" in facts(window), timeout=1000)
    finally:
        writer.kill()
        writer.wait()
        if writer.stdout is not None:
            writer.stdout.close()


def test_resume_starts_an_engine_for_the_dead_run(
    qtbot: Any, window: MainWindow, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Path] = []

    def resume(run: Path, workspace: Path) -> engine_process.Answer:
        started.append(run)
        return engine_process.Started(run)

    monkeypatch.setattr(engine_process, "resume_run", resume)
    engine.vanish(signal=9)
    qtbot.waitUntil(lambda: window.status is not None and window.status.state == "crashed")
    press(window, Qt.Key.Key_R)
    qtbot.waitUntil(lambda: started == [engine.run.path])


def test_the_palette_finds_a_run_by_a_few_letters_and_shows_it(qtbot: Any, window: MainWindow) -> None:
    press(window, Qt.Key.Key_K)
    QTest.keyClicks(window.focusWidget(), "toursft")
    assert window.palette_box.titles[0] == "tour-sft"
    QTest.keyClick(window.focusWidget(), Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: window.run_path is not None and window.run_path.name.endswith("tour-sft"))
    qtbot.waitUntil(lambda: "200 of 200" in facts(window))


def test_the_palette_has_every_command_run_and_preset(window: MainWindow) -> None:
    press(window, Qt.Key.Key_K)
    titles = {entry.title for entry in window.palette_box._entries}
    assert {command.title for command in window.commands} - titles == {"Search or do…"}
    assert {"tour-grpo", "tour-sft", "grpo-kl-0.1", "tour_grpo"} <= titles


def test_a_key_of_ours_works_even_where_text_is_typed(window: MainWindow) -> None:
    press(window, Qt.Key.Key_2)
    field = window.findChildren(QPlainTextEdit)[-1]
    field.setFocus()
    press(window, Qt.Key.Key_K)
    assert window.palette_box.isVisible()
    press(window, Qt.Key.Key_Escape, Qt.KeyboardModifier.NoModifier)
    assert not window.palette_box.isVisible()
    assert window.page == "presets"


def test_escape_goes_back_from_help_to_where_one_was(window: MainWindow) -> None:
    press(window, Qt.Key.Key_F1, Qt.KeyboardModifier.NoModifier)
    assert window.page == "help"
    press(window, Qt.Key.Key_Escape, Qt.KeyboardModifier.NoModifier)
    assert window.page == "runs"


def test_tab_leads_from_the_list_of_runs_to_what_is_asked_of_one(window: MainWindow) -> None:
    window.runs.list.view.setFocus()
    passed: list[str] = []
    for _ in range(4):
        QTest.keyClick(_focused(window), Qt.Key.Key_Tab)
        passed.append(str(_focused(window).property("text")))
    assert passed == ["New run from a preset", "Judge…", "Save now", "Pause"]


def test_another_run_is_one_key_away(qtbot: Any, window: MainWindow) -> None:
    press(window, Qt.Key.Key_Down, Qt.KeyboardModifier.AltModifier)
    qtbot.waitUntil(lambda: window.run_path is not None and window.run_path.name.endswith("tour-sft"))


def test_new_answers_wait_while_somebody_reads(qtbot: Any, window: MainWindow, engine: FakeEngine) -> None:
    assert window.runs.run is not None
    pane = window.runs.run.completions
    qtbot.waitUntil(lambda: bool(pane.rows))
    pane.read(3)
    before = list(pane.rows)
    engine.train(10)
    qtbot.waitUntil(lambda: pane.waiting == 16)
    qtbot.wait(300)
    assert pane.rows == before
    pane.follow()
    qtbot.waitUntil(lambda: bool(pane.rows) and pane.rows[0].step == 50)
    assert pane.waiting == 0


def test_hostile_text_is_shown_as_it_is(qtbot: Any, window: MainWindow, engine: FakeEngine) -> None:
    hostile = "<img src='/dev/zero'><table>\x00\u202e</b>\n"
    offset = engine.run.rollouts.stat().st_size
    with engine.run.rollouts.open("a") as file:
        file.write(completion_line(step=41, prompt=hostile, completion=hostile, reward=0.0) + "\n")
    engine.train(1, every=0)
    engine.say(events.Samples(step=41, time=time.time(), offset=offset, count=1))
    assert window.runs.run is not None
    pane = window.runs.run.completions
    qtbot.waitUntil(lambda: bool(pane.rows) and pane.rows[0].step == 41)
    pane.read(0)
    assert "<img src='/dev/zero'><table>" in pane.detail_text


def test_a_run_of_a_newer_version_and_garbage_lines_are_told_in_health(
    qtbot: Any, window: MainWindow, engine: FakeEngine
) -> None:
    with engine.run.events.open("ab") as file:
        file.write(b"garbage\n")
    engine.say(events.RunStarted(time=1.0, method="grpo", steps=300, contract=events.CONTRACT_VERSION + 1))
    window.show_tab("Health")
    assert window.runs.run is not None
    health = window.runs.run.health
    qtbot.waitUntil(lambda: "1 line could not be read" in health.told)
    assert "This run was written by a newer version" in health.told


def test_the_theme_turns_with_a_key_and_is_kept(qtbot: Any, workspace: Path, engine: FakeEngine) -> None:
    with opened(qtbot, workspace, theme="light") as window:
        press(window, Qt.Key.Key_T)
        assert window.appearance.theme.name == "dark"
    assert window.session.workspace.settings().value("theme") == "dark"


def test_closing_the_window_leaves_the_run_alone(qtbot: Any, workspace: Path, engine: FakeEngine) -> None:
    with opened(qtbot, workspace):
        pass
    assert asked(engine) == []


def test_an_empty_workspace_offers_the_tour(qtbot: Any, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Path] = []

    def start(where: Path) -> subprocess.Popen[bytes]:
        started.append(where)
        return subprocess.Popen([sys.executable, "-c", ""])

    monkeypatch.setattr(engine_process, "start_tour", start)
    with opened(qtbot, workspace) as window:
        qtbot.waitUntil(lambda: window.focusWidget() is not None)
        QTest.keyClick(window.focusWidget(), Qt.Key.Key_Space)
        assert started == [workspace]
        qtbot.waitUntil(lambda: not window.session.is_touring)


def test_a_second_window_says_so_in_one_line_and_works(qtbot: Any, workspace: Path, engine: FakeEngine) -> None:
    with opened(qtbot, workspace) as first, opened(qtbot, workspace) as second:
        assert first.notice.sentence == ""
        assert "Another window" in second.notice.sentence
        engine.train(2)
        qtbot.waitUntil(lambda: "step 42 of 300" in facts(first) and "step 42 of 300" in facts(second))
        first.close()
        qtbot.waitUntil(lambda: second.notice.sentence == "")


def test_a_notice_goes_when_what_it_told_is_over_and_a_fault_stays(qtbot: Any, window: MainWindow) -> None:
    window.notice.say("The engine accepts this preset.", is_error=False, about="plan")
    window.notice.let_go("window", "place")
    assert window.notice.sentence == "The engine accepts this preset."
    press(window, Qt.Key.Key_2)
    assert window.notice.sentence == ""
    window.notice.say("The request could not be written: no space left.")
    press(window, Qt.Key.Key_1)
    assert window.notice.sentence == "The request could not be written: no space left."
    window.notice.say("There is no run called nobody here.", about="place")
    window.step_run(1)
    assert window.notice.sentence == ""


def test_a_refused_preset_shows_its_faults_where_they_are(
    qtbot: Any, window: MainWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = Fault(("data", "train"), "missing.jsonl", "does not exist", "check the path", 3)
    monkeypatch.setattr(engine_process, "start_run", lambda *_: engine_process.Refused("a.yaml", [fault]))
    press(window, Qt.Key.Key_2)
    press(window, Qt.Key.Key_Return)
    assert window.presets is not None
    page = window.presets
    qtbot.waitUntil(lambda: fault in page.draft.faults)
    assert window.page == "presets"


def test_a_checked_preset_is_told_in_a_sentence(
    qtbot: Any, window: MainWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = {"steps": 200, "batch_size": 16, "parameters": 655_872, "writes_bytes": 90_720_256}
    monkeypatch.setattr(engine_process, "check_preset", lambda *_: plan)
    press(window, Qt.Key.Key_2)
    press(window, Qt.Key.Key_E)
    told = "The engine accepts this preset: 200 steps of 16, 655,872 parameters, writes up to 91 MB."
    qtbot.waitUntil(lambda: window.notice.sentence == told)
    assert window.presets is not None
    window.presets.text.insertPlainText("# ")
    qtbot.waitUntil(lambda: window.notice.sentence == "")


def test_a_preset_typed_and_not_saved_is_there_in_the_next_window(
    qtbot: Any, workspace: Path, engine: FakeEngine
) -> None:
    with opened(qtbot, workspace) as window:
        press(window, Qt.Key.Key_2)
        assert window.presets is not None
        window.presets.open_text("method: sft\nname: half-typed\n", "half-typed")
        window.presets.text.setPlainText("method: sft\nname: more-typed\n")
    with opened(qtbot, workspace) as window:
        press(window, Qt.Key.Key_2)
        assert window.presets is not None
        assert window.presets.draft.text == "method: sft\nname: more-typed\n"


def test_an_error_of_the_window_is_one_line_with_its_details(
    qtbot: Any, window: MainWindow, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        raise RuntimeError("boom")
    except RuntimeError as error:
        window.errors.report(RuntimeError, error, error.__traceback__)
    assert "RuntimeError" in window.notice.sentence
    assert "boom" in (window.session.workspace.path / "logs" / "window.log").read_text()


def test_enter_presses_the_button_that_has_the_focus(qtbot: Any) -> None:
    from PySide6.QtWidgets import QCheckBox, QPushButton

    from workbench.views.enter_key import EnterPresses

    button, box = QPushButton("Go"), QCheckBox("Keep")
    pressed: list[str] = []
    button.clicked.connect(lambda: pressed.append("go"))
    for widget in (button, box):
        qtbot.addWidget(widget)
        widget.installEventFilter(EnterPresses(widget))
        QTest.keyClick(widget, Qt.Key.Key_Return)
        QTest.keyClick(widget, Qt.Key.Key_Enter, Qt.KeyboardModifier.KeypadModifier)
        QTest.keyClick(widget, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    assert pressed == ["go", "go"]
    assert not box.isChecked()


def test_the_wheel_passes_over_a_box_without_changing_it(qtbot: Any) -> None:
    from PySide6.QtCore import QPoint, QPointF
    from PySide6.QtGui import QWheelEvent

    from workbench.views.wheel_guard import WheelGuard

    box = QComboBox()
    qtbot.addWidget(box)
    box.addItems(["a", "b", "c"])
    guard = WheelGuard(box)
    box.installEventFilter(guard)
    turn = QWheelEvent(
        QPointF(5, 5),
        QPointF(5, 5),
        QPoint(0, -120),
        QPoint(0, -120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QTest.qWait(1)
    QApplication.sendEvent(box, turn)
    assert box.currentIndex() == 0


def test_a_closed_window_leaves_no_part_of_a_page_behind(qtbot: Any, workspace: Path, engine: FakeEngine) -> None:
    """What has no parent is deleted by nobody, and styled at each change of theme."""
    before = set(QApplication.topLevelWidgets())
    with opened(qtbot, workspace) as window:
        window.show_page("presets")
        assert window.presets is not None
        window.presets.open_text("method: grpo\nrewards: [{kind: verifier}]\n", "sums")
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    left = set(QApplication.topLevelWidgets()) - before
    assert [widget for widget in left if type(widget) in (QWidget, QLabel)] == []
