"""The Judge page as a person uses it: a real window, real files, real keys."""

import gc
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QKeyEvent, QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLabel, QLineEdit, QPushButton, QWidget

from engine.contract import jsonl
from engine.contract.labels import Candidate, Item, Judgement, LabelDir
from engine.contract.labels_log import read_items, read_judgements
from engine.contract.labels_standing import standing
from engine.contract.labels_use import LabelUse
from engine.labelling.export_rows import export_rows
from tests.pace import slowness
from tests.workbench.label_sets import item, made
from tests.workbench.lives import lives
from tests.workbench.opened import PATIENCE_MS, opened
from workbench.io import key_file
from workbench.main_window import MainWindow
from workbench.views.judge_page import JudgePage
from workbench.views.reading_pane import ReadingPane

SHIFT = Qt.KeyboardModifier.ShiftModifier
NONE = Qt.KeyboardModifier.NoModifier
HOSTILE = (
    "<h1>big</h1><img src='file:///etc/hostname'> **bold** user\u202egnp.exe zero\u200bwidth \x1b[31mred\x1b[0m nul\0"
)


@pytest.fixture
def label_dir(workspace: Path) -> LabelDir:
    return made(workspace, guideline="Prefer what helps.")


@pytest.fixture
def window(qtbot: Any, workspace: Path, label_dir: LabelDir) -> Iterator[MainWindow]:
    with opened(qtbot, workspace) as made_window:
        sit(qtbot, made_window, label_dir)
        yield made_window


def sit(qtbot: Any, window: MainWindow, label_dir: LabelDir) -> None:
    window.show_page("judge")
    window.session.labelling.open(label_dir)
    qtbot.waitUntil(lambda: window.is_judging, timeout=PATIENCE_MS)


def page(window: MainWindow) -> JudgePage:
    assert window.judging is not None
    return window.judging


def press(window: MainWindow, *keys: Qt.Key, modifiers: Qt.KeyboardModifier = NONE) -> None:
    for key in keys:
        found: QWidget | None = window.focusWidget()
        QTest.keyClick(found or window, key, modifiers)


def said(label_dir: LabelDir) -> list[Judgement]:
    return standing(read_judgements(label_dir).lines)


def texts(window: MainWindow) -> list[str]:
    return [text.shown for text in page(window).sitting.answers.texts]


def test_a_new_workspace_offers_the_demo_and_one_press_begins_it(qtbot: Any, workspace: Path) -> None:
    with opened(qtbot, workspace) as window:
        window.show_page("judge")
        first = page(window).sets.first
        qtbot.waitUntil(first.isVisible)
        qtbot.mouseClick(first, Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda: window.is_judging)
        assert "0 of 60" in page(window).sitting.facts
        press(window, Qt.Key.Key_Left)
        assert len(said(LabelDir(workspace / "labels" / "demo"))) == 1


KEYS: list[tuple[Qt.Key, str, int | None]] = [
    (Qt.Key.Key_1, "left", 3),
    (Qt.Key.Key_2, "left", 2),
    (Qt.Key.Key_3, "left", 1),
    (Qt.Key.Key_4, "tie", None),
    (Qt.Key.Key_5, "right", 1),
    (Qt.Key.Key_6, "right", 2),
    (Qt.Key.Key_7, "right", 3),
    (Qt.Key.Key_Left, "left", 2),
    (Qt.Key.Key_Right, "right", 2),
    (Qt.Key.Key_Down, "tie", None),
    (Qt.Key.Key_T, "tie", None),
    (Qt.Key.Key_B, "both_bad", None),
    (Qt.Key.Key_S, "skipped", None),
]


def meant(judgement: Judgement) -> str:
    """left, right or tie as it stood on the screen; or what else it says."""
    places = tuple(judgement.shown.index(index) for group in judgement.ranking[:1] for index in group)
    return ("tie" if len(places) > 1 else ("left", "right")[places[0]]) if places else judgement.outcome


def test_one_key_says_it_and_it_is_on_the_disk(window: MainWindow, label_dir: LabelDir) -> None:
    for key, outcome, strength in KEYS:
        press(window, key)
        judgement = said(label_dir)[-1]
        assert (meant(judgement), judgement.strength) == (outcome, strength)
        assert page(window).sitting.saved == "saved"
    assert len(said(label_dir)) == len(KEYS)


def test_a_button_does_what_its_key_does(qtbot: Any, window: MainWindow, label_dir: LabelDir) -> None:
    button = page(window).sitting.bar.button("6")
    assert button is not None
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert [judgement.strength for judgement in said(label_dir)] == [2]


def test_enter_presses_the_button_that_has_the_focus(window: MainWindow, label_dir: LabelDir) -> None:
    button = page(window).sitting.bar.button("both_bad")
    assert button is not None
    button.setFocus()
    press(window, Qt.Key.Key_Return)
    assert [judgement.outcome for judgement in said(label_dir)] == ["both_bad"]


def test_undo_and_redo_go_back_and_forth_on_the_screen_too(window: MainWindow, label_dir: LabelDir) -> None:
    before = texts(window)
    press(window, Qt.Key.Key_2)
    after = texts(window)
    press(window, Qt.Key.Key_Z)
    assert texts(window) == before
    assert said(label_dir) == []
    press(window, Qt.Key.Key_Z, modifiers=SHIFT)
    assert texts(window) == after
    assert len(said(label_dir)) == 1


def test_a_flag_and_a_note_are_typed_without_judging(window: MainWindow, label_dir: LabelDir) -> None:
    press(window, Qt.Key.Key_F, Qt.Key.Key_N)
    assert isinstance(window.focusWidget(), QLineEdit)
    QTest.keyClicks(window.focusWidget(), "7 is bs")
    assert said(label_dir) == []
    press(window, Qt.Key.Key_Left, Qt.Key.Key_Return)
    press(window, Qt.Key.Key_Left)
    (judgement,) = said(label_dir)
    assert (judgement.flagged, judgement.note) == (True, "7 is bs")


def test_paused_the_answers_are_covered_and_keys_say_nothing(window: MainWindow, label_dir: LabelDir) -> None:
    press(window, Qt.Key.Key_P, Qt.Key.Key_1)
    assert not page(window).sitting.answers.isVisible()
    assert said(label_dir) == []
    press(window, Qt.Key.Key_P, Qt.Key.Key_1)
    assert len(said(label_dir)) == 1


def test_the_guideline_is_a_key_away_and_goes_away_with_escape(window: MainWindow) -> None:
    press(window, Qt.Key.Key_Question)
    assert page(window).sitting.aside.text == "Prefer what helps."
    press(window, Qt.Key.Key_Escape)
    assert page(window).sitting.answers.isVisible()


def test_escape_leaves_the_sitting_and_frees_the_set(qtbot: Any, window: MainWindow) -> None:
    press(window, Qt.Key.Key_1, Qt.Key.Key_Escape)
    assert not window.is_judging
    assert window.session.labelling.opened is None
    sets = page(window).sets
    qtbot.waitUntil(lambda: [summary.judged for summary in [sets.chosen] if summary] == [1])


def test_keys_of_the_sitting_do_nothing_on_other_pages(window: MainWindow, label_dir: LabelDir) -> None:
    window.show_page("runs")
    press(window, Qt.Key.Key_1, Qt.Key.Key_Left, Qt.Key.Key_B)
    assert said(label_dir) == []


def test_nothing_on_the_screen_tells_who_wrote_what(window: MainWindow) -> None:
    words = " ".join(part.text() for part in page(window).sitting.findChildren(QLabel))
    assert "model" not in words.lower()
    assert "step" not in words.lower()


def test_hostile_text_is_shown_literally(qtbot: Any, workspace: Path) -> None:
    label_dir = made(workspace, "hostile", [item(0, HOSTILE, "fine")])
    with opened(qtbot, workspace) as window:
        sit(qtbot, window, label_dir)
        shown = max(texts(window), key=len)
    assert shown == HOSTILE.replace("\u202e", "⟨202E⟩").replace("\u200b", "⟨200B⟩").replace("\x1b", "␛").replace(
        "\0", "␀"
    )


MARKDOWN = ["*a **b ", "> " * 40 + "\n- ", "|a|b|\n|-|-|\n|x `y`|z|\n", "```\nx\n", "# [a](b)\n\n"]


@pytest.mark.parametrize("fillings", [["word ", "a", "x\n", "\u202e<b>\0"], MARKDOWN], ids=["plain", "markdown"])
def test_a_million_characters_do_not_stall(qtbot: Any, workspace: Path, fillings: list[str]) -> None:
    longs = [filling * (1_000_000 // len(filling)) for filling in fillings]
    label_dir = made(workspace, "long", [item(n, long, long[::-1]) for n, long in enumerate(longs)])
    with opened(qtbot, workspace) as window:
        sit(qtbot, window, label_dir)
        answers = page(window).sitting.answers
        if fillings == MARKDOWN:
            press(window, Qt.Key.Key_M)
        took = []
        for _ in longs:
            began = len(texts(window)[0])
            took += [timed(window, lambda: wheel(answers, -9600), clock=time.thread_time) for _ in range(6)]
            assert len(texts(window)[0]) > began
            took.append(timed(window, lambda: press(window, Qt.Key.Key_1), clock=time.thread_time))
        assert max(took) < 0.25


TEXT = "# Tea\n\n**Two** minutes of `120` s.\n\n- green\n\n> quoted\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"


def test_markdown_is_drawn_on_request_and_the_wish_is_kept(qtbot: Any, workspace: Path) -> None:
    label_dir = made(workspace, "tea", [item(n, TEXT, TEXT) for n in range(3)])
    with opened(qtbot, workspace) as window:
        sit(qtbot, window, label_dir)
        assert texts(window)[0] == TEXT
        press(window, Qt.Key.Key_M)
        assert texts(window)[0].startswith("Tea\nTwo minutes of 120 s.\n•\tgreen\nquoted\n")
        press(window, Qt.Key.Key_1)
        assert "**" not in texts(window)[0]
    with opened(qtbot, workspace) as window:
        sit(qtbot, window, label_dir)
        assert "**" not in texts(window)[0]
        press(window, Qt.Key.Key_M)
        assert texts(window)[0] == TEXT


def test_hostile_markdown_is_shown_literally_and_loads_nothing(
    qtbot: Any, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(ReadingPane, "loadResource", lambda _, kind, name: asked.append((kind, name)), raising=False)
    text = f"![x](file:///etc/hostname) [go](file:///etc/passwd)\n\n{HOSTILE}"
    label_dir = made(workspace, "hostile", [item(0, text, "fine")])
    with opened(qtbot, workspace) as window:
        sit(qtbot, window, label_dir)
        press(window, Qt.Key.Key_M)
        shown = max(texts(window), key=len)
        for part in ("<h1>big</h1><img src='file:///etc/hostname'>", "⟨202E⟩", "⟨200B⟩", "␛[31m", "␀", "passwd"):
            assert part in shown
        window.grab()
        document = page(window).sitting.answers.texts[0].document()
        assert not any(made.toCharFormat().isImageFormat() for made in document.allFormats())
        assert not any(made.toCharFormat().isAnchor() for made in document.allFormats())
    assert asked == []


def wheel(widget: QWidget, notches: int) -> None:
    centre = QPointF(widget.rect().center())
    event = QWheelEvent(
        centre,
        QPointF(widget.mapToGlobal(centre.toPoint())),
        QPoint(),
        QPoint(0, notches),
        Qt.MouseButton.NoButton,
        NONE,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(widget, event)


def timed(window: MainWindow, act: Any, clock: Any = time.perf_counter) -> float:
    """Seconds until it is done and drawn. To collect what other tests left is no work of the window's."""
    gc.disable()
    try:
        began = clock()
        act()
        window.repaint()
        QApplication.processEvents()
        return float(clock() - began)
    finally:
        gc.enable()


def test_the_answers_scroll_together(qtbot: Any, workspace: Path) -> None:
    label_dir = made(workspace, "long", [item(0, "one line\n" * 300, "another\n" * 200)])
    with opened(qtbot, workspace) as window:
        sit(qtbot, window, label_dir)
        answers = page(window).sitting.answers
        qtbot.wait(50)
        wheel(answers.texts[0].viewport(), -600)
        first, second = (text.verticalScrollBar().value() for text in answers.texts)
        assert first == second > 0


def test_answers_are_shown_from_their_beginning_also_once_the_window_changes(qtbot: Any, workspace: Path) -> None:
    label_dir = made(workspace, "long", [item(n, "one line\n" * 60, "another\n" * 90) for n in range(2)])
    with opened(qtbot, workspace) as window:
        sit(qtbot, window, label_dir)
        for _ in range(2):
            window.resize(window.width() - 40, window.height() - 40)
            qtbot.wait(50)
            answers = page(window).sitting.answers
            assert [text.verticalScrollBar().value() for text in answers.texts] == [0, 0]
            press(window, Qt.Key.Key_M)


def test_what_was_saved_in_one_set_is_not_told_of_the_next(qtbot: Any, workspace: Path, window: MainWindow) -> None:
    other = made(workspace, "other", 2)
    press(window, Qt.Key.Key_1)
    assert page(window).sitting.saved == "saved"
    window.session.labelling.open(other)
    qtbot.waitUntil(lambda: window.session.labelling.opened is not None and "of 2" in page(window).sitting.facts)
    assert page(window).sitting.saved == ""


def test_items_that_come_meanwhile_move_nothing_on_the_screen(qtbot: Any, workspace: Path) -> None:
    label_dir = made(workspace, "growing", [item(0, "one line\n" * 300, "another\n" * 200)])
    with opened(qtbot, workspace) as window:
        sit(qtbot, window, label_dir)
        answers = page(window).sitting.answers
        qtbot.wait(50)
        wheel(answers.texts[0].viewport(), -600)
        scrolled = answers.texts[0].verticalScrollBar().value()
        jsonl.append_line(label_dir.items, item(1, "a", "b").model_dump_json())
        qtbot.waitUntil(lambda: "of 2" in page(window).sitting.facts)
        assert answers.texts[0].verticalScrollBar().value() == scrolled > 0
        press(window, Qt.Key.Key_P)
        jsonl.append_line(label_dir.items, item(2, "a", "b").model_dump_json())
        qtbot.waitUntil(lambda: "of 3" in page(window).sitting.facts)
        assert not answers.isVisible()


def test_a_key_that_is_held_judges_one_pair(window: MainWindow, label_dir: LabelDir) -> None:
    held = QKeyEvent(QEvent.Type.KeyPress, Qt.Key.Key_1, NONE, "1", True)
    press(window, Qt.Key.Key_1)
    found = window.focusWidget()
    assert found is not None
    for _ in range(3):
        QApplication.sendEvent(window.windowHandle(), held)
    assert len(said(label_dir)) == 1


def test_the_arrows_still_move_through_the_list_of_sets(qtbot: Any, workspace: Path, label_dir: LabelDir) -> None:
    made(workspace, "other", 2)
    with opened(qtbot, workspace) as window:
        window.show_page("judge")
        sets = page(window).sets
        qtbot.waitUntil(lambda: sets.table.rowCount() == 2)
        sets.table.setFocus()
        press(window, Qt.Key.Key_Down)
        assert sets.table.currentRow() == 1
        press(window, Qt.Key.Key_Return)
        qtbot.waitUntil(lambda: window.is_judging)


def test_the_difference_marks_whole_words_behind_an_emoji(qtbot: Any, workspace: Path) -> None:
    """Qt counts an emoji as two characters."""
    label_dir = made(workspace, "emoji", [item(0, "🍵 tea 🍵 one", "🍵 tea 🍵 other")])
    with opened(qtbot, workspace) as window:
        sit(qtbot, window, label_dir)
        press(window, Qt.Key.Key_D)
        answers = page(window).sitting.answers.texts
        marked = {mark.cursor.selectedText() for text in answers for mark in text.extraSelections()}
        assert marked == {"one", "other"}


def test_the_difference_marks_words_and_no_others(window: MainWindow) -> None:
    press(window, Qt.Key.Key_D)
    answers = page(window).sitting.answers.texts
    assert all(text.extraSelections() for text in answers)
    press(window, Qt.Key.Key_D)
    assert not any(text.extraSelections() for text in answers)


def test_more_than_two_answers_are_ranked_digit_by_digit(qtbot: Any, workspace: Path) -> None:
    answers = tuple(Candidate(text=f"answer {i}") for i in range(4))
    label_dir = made(workspace, "many", [Item(id=f"i{n}", prompt="p", candidates=answers) for n in range(2)])
    with opened(qtbot, workspace) as window:
        sit(qtbot, window, label_dir)
        press(window, Qt.Key.Key_R, Qt.Key.Key_3, Qt.Key.Key_1, Qt.Key.Key_Z, Qt.Key.Key_4, Qt.Key.Key_1)
        assert said(label_dir) == []
        press(window, Qt.Key.Key_2)
        (judgement,) = said(label_dir)
        assert places(judgement) == [[2], [3], [0], [1]]
        press(window, Qt.Key.Key_R, Qt.Key.Key_2)
        best = said(label_dir)[1].ranking
        assert [len(group) for group in best] == [1, 3]


def places(judgement: Judgement) -> list[list[int]]:
    """The ranking as it stood on the screen."""
    return [[judgement.shown.index(index) for index in group] for group in judgement.ranking]


def test_short_answers_in_two_rows_need_no_scrolling_and_no_button_is_cut_while_ranking(
    qtbot: Any, workspace: Path
) -> None:
    answers = tuple(Candidate(text=f"answer {i}, in a few words") for i in range(4))
    label_dir = made(workspace, "many", [Item(id=f"i{n}", prompt="p", candidates=answers) for n in range(2)])
    with opened(qtbot, workspace) as window:
        sit(qtbot, window, label_dir)
        press(window, Qt.Key.Key_R)
        qtbot.wait(50)
        sitting = page(window).sitting
        assert all(text.text_height <= text.viewport().height() for text in sitting.answers.texts)
        buttons = [button for button in sitting.bar.findChildren(QPushButton) if button.isVisible()]
        assert {"Enter   rest last", "=   beside the last"} <= {button.text() for button in buttons}
        assert all(button.width() >= button.sizeHint().width() for button in buttons)


R, SAME, REST = Qt.Key.Key_R, Qt.Key.Key_Equal, Qt.Key.Key_Return


@pytest.mark.parametrize(
    ("keys", "ranking"),
    [
        ([Qt.Key.Key_3, SAME, Qt.Key.Key_1, Qt.Key.Key_4, Qt.Key.Key_2], [[2, 0], [3], [1]]),
        ([Qt.Key.Key_3, Qt.Key.Key_1, Qt.Key.Key_4, SAME, Qt.Key.Key_2], [[2], [0], [3, 1]]),
        ([Qt.Key.Key_2, REST], [[1], [0, 2, 3]]),
        ([Qt.Key.Key_2, SAME, Qt.Key.Key_4, REST], [[1, 3], [0, 2]]),
        ([Qt.Key.Key_1, SAME, SAME, Qt.Key.Key_2, REST], [[0], [1], [2, 3]]),
        ([Qt.Key.Key_1, SAME, Qt.Key.Key_Z, Qt.Key.Key_2, REST], [[0], [1], [2, 3]]),
    ],
)
def test_ties_within_a_ranking_are_keyed_and_exported_as_no_pair(
    qtbot: Any, workspace: Path, keys: list[Qt.Key], ranking: list[list[int]]
) -> None:
    answers = tuple(Candidate(text=f"answer {i}") for i in range(4))
    label_dir = made(workspace, "many", [Item(id="i", prompt="p", candidates=answers)])
    with opened(qtbot, workspace) as window:
        sit(qtbot, window, label_dir)
        press(window, R, *keys)
        (judgement,) = said(label_dir)
        # Those that were not ranked come in the order in which they stood there.
        assert [sorted(group) for group in places(judgement)] == [sorted(group) for group in ranking]
    rows = export_rows("preference", read_items(label_dir), [judgement], LabelUse(), "as-is")
    place = {f"answer {judgement.shown[at]}": number for number, group in enumerate(ranking) for at in group}
    assert all(place[row["chosen"]] < place[row["rejected"]] for row in rows)
    sizes = [len(group) for group in ranking]
    assert len(rows) == sum(one * other for at, one in enumerate(sizes) for other in sizes[at + 1 :])


def test_while_ranking_a_line_says_what_the_next_key_does_and_the_answers_show_their_place(
    qtbot: Any, workspace: Path
) -> None:
    answers = tuple(Candidate(text=f"answer {i}") for i in range(4))
    label_dir = made(workspace, "many", [Item(id="i", prompt="p", candidates=answers)])
    with opened(qtbot, workspace) as window:
        sit(qtbot, window, label_dir)
        sitting = page(window).sitting
        assert not sitting.ranking.isVisible()
        press(window, R, Qt.Key.Key_3, SAME)
        assert "as good as the last" in sitting.ranking.text
        press(window, Qt.Key.Key_1)
        assert [card.mark for card in sitting.answers.cards] == ["place 1, shared", "", "place 1, shared", ""]
        assert sitting.bar.button("finish").isVisible()  # type: ignore[union-attr]
        press(window, R)
        assert not sitting.ranking.isVisible()
        assert not sitting.bar.button("finish").isVisible()  # type: ignore[union-attr]


def test_the_end_says_so_and_offers_to_train(qtbot: Any, workspace: Path) -> None:
    label_dir = made(workspace, "short", 3)
    with opened(qtbot, workspace) as window:
        sit(qtbot, window, label_dir)
        press(window, Qt.Key.Key_1, Qt.Key.Key_1, Qt.Key.Key_7)
        assert "Every pair is judged" in page(window).sitting.aside.text
        press(window, Qt.Key.Key_P, Qt.Key.Key_P, Qt.Key.Key_Question, Qt.Key.Key_Question)
        assert "Every pair is judged" in page(window).sitting.aside.text
        assert not page(window).sitting.prompt.isVisible()
        assert not page(window).sitting.bar.button("1").isEnabled()  # type: ignore[union-attr]
        press(window, Qt.Key.Key_Z)
        assert page(window).sitting.bar.button("1").isEnabled()  # type: ignore[union-attr]
        assert QApplication.focusWidget() is page(window).sitting
        press(window, Qt.Key.Key_7, Qt.Key.Key_Return)
        qtbot.waitUntil(lambda: page(window).currentWidget() is page(window).quality, timeout=PATIENCE_MS)
        sit(qtbot, window, label_dir)
        window.go_back()
        assert page(window).currentWidget() is page(window).sets
        sit(qtbot, window, label_dir)
        page(window).sitting.aside.training_wanted.emit()
        assert window.page == "presets"
        assert window.presets is not None
        assert "train: labels:short" in window.presets.draft.text
        assert window.presets.draft.preset is not None


def test_a_key_trains_on_what_was_judged_a_moment_ago(qtbot: Any, workspace: Path) -> None:
    label_dir = made(workspace, "short", 3)
    with opened(qtbot, workspace) as window:
        sit(qtbot, window, label_dir)
        press(window, Qt.Key.Key_1)
        QTest.keyClick(window, Qt.Key.Key_T, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)
        assert window.page == "presets"
        assert window.presets is not None
        assert "train: labels:short" in window.presets.draft.text


def test_another_key_may_be_chosen_and_a_wrong_one_is_told(qtbot: Any, workspace: Path, label_dir: LabelDir) -> None:
    (workspace / key_file.NAME).write_text("judge.undo: U\njudge.indo: X\n")
    with opened(qtbot, workspace) as window:
        assert "did you mean judge.undo?" in window.notice.sentence
        sit(qtbot, window, label_dir)
        press(window, Qt.Key.Key_1, Qt.Key.Key_Z)
        assert len(said(label_dir)) == 1
        press(window, Qt.Key.Key_U)
        assert said(label_dir) == []


def test_what_cannot_be_saved_stays_on_the_screen_with_a_sentence(
    window: MainWindow, label_dir: LabelDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = texts(window)

    def full(*_: object) -> int:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as disk:
        disk.setattr(os, "write", full)
        press(window, Qt.Key.Key_1)
    assert texts(window) == before
    assert "Not saved" in page(window).sitting.failure
    assert page(window).sitting.saved == ""
    press(window, Qt.Key.Key_1)
    assert page(window).sitting.failure == ""
    assert len(said(label_dir)) == 1


def test_a_second_window_shows_the_pair_and_says_on_it_why_no_key_counts(
    qtbot: Any, window: MainWindow, workspace: Path, label_dir: LabelDir
) -> None:
    before = texts(window)
    with opened(qtbot, workspace) as other:
        sit(qtbot, other, label_dir)
        assert texts(other) == before
        press(other, Qt.Key.Key_1)
        assert texts(other) == before
        assert "being judged in another window" in page(other).sitting.failure
        assert page(other).sitting.saved == ""
    assert said(label_dir) == []


def test_the_next_pair_takes_so_little_work_that_fifty_milliseconds_are_mostly_the_disks(
    window: MainWindow, label_dir: LabelDir
) -> None:
    """The 95th percentile of our own time, drawing included: the machine and its disk may be busy with others."""
    slow, took = [], []
    for _ in range(50):
        slow.append(slowness())
        took.append(timed(window, lambda: press(window, Qt.Key.Key_2), clock=time.process_time))
    assert np.percentile(took, 95) < 0.025 * np.percentile(slow, 95)
    assert len(said(label_dir)) >= 48


#: Presses a key again and again in a real window, and names each judgement once the page shows it as saved.
SITS = """
from pathlib import Path
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from engine.contract.labels import LabelDir
from workbench.error_reporting import ErrorReporter
from workbench.io.workspace import Workspace
from workbench.main_window import MainWindow
from workbench.theme import Appearance

def live(folder):
    application = QApplication([])
    workspace = Path(folder)
    window = MainWindow(Workspace(workspace), Appearance(application, "light"), ErrorReporter(workspace / "logs"))
    window.start()
    window.show()
    window.show_page("judge")
    labelling = window.session.labelling
    labelling.open(LabelDir(workspace / "labels" / "demo"))
    while not window.is_judging:
        application.processEvents()
    print(labelling.sitting.turn.item.id, flush=True)
    while labelling.sitting.turn is not None:
        asked = labelling.sitting.turn.item.id
        QTest.keyClick(window.focusWidget(), Qt.Key.Key_2)
        application.processEvents()
        if window.judging.sitting.saved == "saved":
            print(asked, flush=True)
"""


def test_a_window_killed_right_after_a_key_comes_back_at_the_right_pair(workspace: Path) -> None:
    label_dir = made(workspace, items=180, repeats=0)
    with lives(SITS) as sitting:
        for keys in (1, 2, 5):
            before = {judgement.item for judgement in said(label_dir)}
            sitting.begin(workspace)
            first = sitting.line()
            assert first not in before
            for _ in range(keys):
                sitting.line()
            rest = sitting.kill()
            there = {judgement.item for judgement in said(label_dir)}
            assert before | {first, *rest} <= there


def test_after_a_sitting_the_page_tells_how_good_the_labels_are(
    qtbot: Any, window: MainWindow, label_dir: LabelDir
) -> None:
    for _ in range(30):
        press(window, Qt.Key.Key_Left)
    window.session.labelling.read_quality(label_dir)
    qtbot.waitUntil(lambda: page(window).quality is not None)
    assessed = page(window).quality
    assert assessed is not None
    qtbot.waitUntil(assessed.isVisible)
    assert "judgements by one person" in assessed.text
    assert "is preferred over" in assessed.text
    assert "wins more often than chance allows" in " ".join(part.text() for part in assessed.findChildren(QLabel))
    press(window, Qt.Key.Key_Escape)
    assert page(window).sets.isVisible()
