"""The preset page, driven like a person drives it: keys, clicks, and what can be read on the screen."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QTextCursor, QWheelEvent
from PySide6.QtWidgets import QApplication, QCheckBox, QComboBox, QPushButton
from pytestqt.qtbot import QtBot

from engine.contract.faults import Fault
from engine.contract.preset import PRESETS, load_preset
from workbench.io.workspace import own_presets
from workbench.state.preset_draft import PresetDraft
from workbench.state.preset_schema import sections_of
from workbench.theme import DARK, LIGHT
from workbench.views.preset_completion import offers_at
from workbench.views.preset_fields import stepped
from workbench.views.preset_page import PresetPage
from workbench.views.preset_row import SettingRow

TEXT = """\
method: grpo
model:
  path: gpt2  # the small one
data:
  train: a.jsonl
optimizer:
  learning_rate: 1e-4
rewards:
  - kind: verifier
"""
PRESET_FILES = sorted(own_presets().glob("*.yaml"))


@pytest.fixture
def page(qtbot: QtBot, tmp_path: Path) -> Iterator[PresetPage]:
    page = PresetPage()
    qtbot.addWidget(page)
    page.set_workspace(tmp_path)
    page.resize(1190, 630)
    page.open_text(TEXT, "mine")
    page.show()
    qtbot.waitExposed(page)
    yield page
    page.hide()


def row(page: PresetPage, dotted: str) -> SettingRow:
    found = page.form.row_at(tuple(dotted.split(".")))
    assert found is not None
    return found


def type_into(qtbot: QtBot, page: PresetPage, dotted: str, text: str) -> None:
    entry = row(page, dotted).entry()
    entry.setFocus()
    qtbot.keyClick(entry, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    qtbot.keyClicks(entry, text)


def type_yaml(qtbot: QtBot, page: PresetPage, old: str, new: str) -> None:
    """Replace `old` in the editor by typing `new`, and wait until the form has followed."""
    cursor = page.text.document().find(old)
    assert not cursor.isNull()
    page.text.setTextCursor(cursor)
    for number, line in enumerate(new.split("\n")):
        if number:
            qtbot.keyClick(page.text, Qt.Key.Key_Return)
        qtbot.keyClicks(page.text, line)
    qtbot.waitUntil(lambda: page.draft.text == page.text.text)


def test_typing_into_a_field_changes_its_line_of_the_yaml_alone(page: PresetPage, qtbot: QtBot) -> None:
    type_into(qtbot, page, "optimizer.learning_rate", "3e-5")
    assert page.text.text == TEXT.replace("1e-4", "3e-5")


def test_typing_into_the_yaml_changes_the_field(page: PresetPage, qtbot: QtBot) -> None:
    type_yaml(qtbot, page, "1e-4", "2e-3")
    assert row(page, "optimizer.learning_rate").entry().text() == "2e-3"  # type: ignore[attr-defined]


def test_a_fault_stands_under_its_field_and_on_its_line(page: PresetPage, qtbot: QtBot) -> None:
    type_into(qtbot, page, "training.steps", "many")
    found = row(page, "training.steps")
    assert "whole number" in found.fault_text
    line = page.text.text.split("\n").index("  steps: many") + 1
    assert "whole number" in page.text.fault_on(line)
    assert page.bar.fault_button.text() == "1 fault"
    assert not page.bar.run_button.isEnabled()


def test_a_click_on_the_count_leads_to_the_field_of_the_fault(page: PresetPage, qtbot: QtBot) -> None:
    type_yaml(qtbot, page, "gpt2", "gpt2\ndtype: float12")
    qtbot.mouseClick(page.bar.fault_button, Qt.MouseButton.LeftButton)
    assert any(row.setting.dotted == "model.dtype" and row.isVisible() for g in page.form.groups for row in g.rows)
    assert QApplication.focusWidget() is row(page, "model.dtype").entry()


def test_an_unknown_key_is_told_above_the_form(page: PresetPage, qtbot: QtBot) -> None:
    type_yaml(qtbot, page, "learning_rate", "learning_rat")
    assert any("did you mean learning_rate" in said for said in words_on(page))


def test_yaml_that_cannot_be_read_rests_the_form_and_keeps_its_values(page: PresetPage, qtbot: QtBot) -> None:
    type_yaml(qtbot, page, "gpt2", "[gpt2")
    assert not row(page, "model.path").entry().isEnabled()
    assert row(page, "model.path").entry().text() == "gpt2"  # type: ignore[attr-defined]
    page.undo()
    assert row(page, "model.path").entry().isEnabled()


def test_the_dot_of_a_changed_setting_resets_it(page: PresetPage, qtbot: QtBot) -> None:
    dot = row(page, "optimizer.learning_rate").reset_dot
    assert dot.isEnabled()
    assert dot.accessibleName() == "Reset learning rate to 1e-05"
    qtbot.mouseClick(dot, Qt.MouseButton.LeftButton)
    assert "learning_rate" not in page.text.text
    assert not dot.isEnabled()


def test_ctrl_enter_in_a_field_asks_for_the_run(page: PresetPage, qtbot: QtBot) -> None:
    entry = row(page, "model.path").entry()
    with qtbot.waitSignal(page.run_requested) as asked:
        qtbot.keyClick(entry, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    assert asked.args == [TEXT, None]


def test_ctrl_shift_enter_in_the_yaml_asks_for_the_deep_check_with_what_was_typed_last(
    page: PresetPage, qtbot: QtBot
) -> None:
    page.text.moveCursor(QTextCursor.MoveOperation.End)
    qtbot.keyClicks(page.text, "seed: 4")
    both = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
    with qtbot.waitSignal(page.deep_check_requested) as asked:
        qtbot.keyClick(page.text, Qt.Key.Key_Return, both)
    assert asked.args == [f"{TEXT}seed: 4", None]


def test_run_with_a_fault_leads_to_the_fault(page: PresetPage, qtbot: QtBot) -> None:
    type_into(qtbot, page, "training.steps", "0")
    with qtbot.assertNotEmitted(page.run_requested):
        page.run()
    assert QApplication.focusWidget() is row(page, "training.steps").entry()


def test_a_section_opens_once_its_sibling_allows_it(page: PresetPage, qtbot: QtBot) -> None:
    scratch = next(group for group in page.form.groups if group.section.key == ("model", "scratch"))
    assert not scratch.isVisible()
    type_into(qtbot, page, "model.path", "scratch")
    assert scratch.isVisible()
    assert not row(page, "model.scratch.width").isVisible()
    qtbot.mouseClick(scratch.switch_box, Qt.MouseButton.LeftButton, pos=QPoint(8, 8))
    assert page.draft.values["model"]["scratch"]["width"] == 128


def test_the_method_changes_the_sections_and_keeps_what_is_common(page: PresetPage, qtbot: QtBot) -> None:
    methods = row(page, "method").entry()
    assert isinstance(methods, QComboBox)
    qtbot.keyClick(methods, Qt.Key.Key_Home)
    assert page.draft.preset is not None
    assert "learning_rate: 1e-4" in page.text.text
    assert "rewards" not in page.text.text
    assert {group.section.key for group in page.form.groups} >= {("sft",), ("optimizer",)}


def test_rewards_are_added_and_removed_by_their_buttons(page: PresetPage, qtbot: QtBot) -> None:
    add = next(b for b in page.form.findChildren(QPushButton) if b.text() == "Add reward")
    menu = add.menu()
    assert menu is not None
    next(action for action in menu.actions() if action.text() == "Length").trigger()
    assert "  - kind: length\n    target: 32\n" in page.text.text
    page.undo()
    assert page.text.text == TEXT


def test_a_reward_of_ones_own_asks_for_a_yes_beside_what_it_means(page: PresetPage, qtbot: QtBot) -> None:
    add = next(b for b in page.form.findChildren(QPushButton) if b.text() == "Add reward")
    menu = add.menu()
    assert menu is not None
    next(action for action in menu.actions() if action.text() == "Function").trigger()
    meaning = "Yes, run this file: it is a program, and may do whatever you may do"
    qtbot.waitUntil(lambda: meaning in words_on(page))
    yes = next(box for box in page.form.findChildren(QCheckBox) if box.accessibleName() == "Allow code")
    assert not yes.isChecked()
    page.form.ensureWidgetVisible(yes)
    qtbot.mouseClick(yes, Qt.MouseButton.LeftButton)
    assert "    allow_code: true\n" in page.text.text


def test_the_rewards_of_a_judge_show_only_while_there_is_one(page: PresetPage, qtbot: QtBot) -> None:
    page.open_preset(own_presets() / "diffusion_dpo_digits.yaml")
    groups = {group.section.key: group for group in page.form.groups}
    judged, rewards = groups[("judged",)], groups[("judged", "rewards")]
    was_on = judged.switch_box.isChecked()
    assert rewards.isVisible() == was_on
    judged.switch_box.click()
    assert rewards.isVisible() != was_on


def test_undo_and_redo_are_one_history_of_form_and_text(page: PresetPage, qtbot: QtBot) -> None:
    type_into(qtbot, page, "training.steps", "7")
    type_yaml(qtbot, page, "gpt2", "gpt3")
    changed = page.text.text
    for _ in range(2):
        qtbot.keyClick(page.text, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert page.text.text == TEXT
    for _ in range(2):
        page.redo()
    assert page.text.text == changed


def test_the_wheel_over_a_field_that_is_not_in_use_changes_nothing(page: PresetPage, qtbot: QtBot) -> None:
    page.text.setFocus()
    entry = row(page, "optimizer.learning_rate").entry()
    QApplication.sendEvent(entry, wheel())
    assert page.text.text == TEXT
    entry.setFocus()
    QApplication.sendEvent(entry, wheel())
    assert "learning_rate: 2e-4" in page.text.text


def test_launch_faults_are_shown_like_any_other_until_the_text_changes(page: PresetPage, qtbot: QtBot) -> None:
    page.show_launch_faults([Fault(("data", "train"), "a.jsonl", "is not there", "check the path")])
    assert "Is not there" in row(page, "data.train").fault_text
    assert not page.bar.run_button.isEnabled()
    type_into(qtbot, page, "data.train", "b.jsonl")
    assert row(page, "data.train").fault_text == ""
    assert page.bar.run_button.isEnabled()


def test_a_busy_page_says_what_it_waits_for_and_starts_nothing(page: PresetPage, qtbot: QtBot) -> None:
    page.set_busy("Starting the engine")
    assert page.bar.says == "Starting the engine"
    with qtbot.assertNotEmitted(page.run_requested):
        page.run()
    page.set_busy("")
    assert "200 steps of 16 prompts" in page.bar.says


def test_save_asks_for_a_path_of_ones_own_and_then_knows_it(page: PresetPage, qtbot: QtBot, tmp_path: Path) -> None:
    type_into(qtbot, page, "training.steps", "7")
    with qtbot.waitSignal(page.save_requested) as asked:
        page.save()
    text, path = asked.args or ["", None]
    assert path == tmp_path / "presets" / "mine.yaml"
    path.parent.mkdir()
    path.write_text(text)
    assert page.unsaved() is not None
    page.show_saved(path, text)
    assert page.unsaved() is None


def test_what_was_typed_into_one_preset_is_there_again_after_another(
    page: PresetPage, qtbot: QtBot, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(TEXT)
    page.open_preset(tmp_path / "one.yaml")
    type_into(qtbot, page, "training.steps", "7")
    page.open_preset(tmp_path / "two.yaml")
    assert page.text.text == TEXT
    page.open_preset(tmp_path / "one.yaml")
    assert page.draft.values["training"] == {"steps": 7}


def test_a_file_too_large_to_be_a_preset_is_refused_in_words(page: PresetPage, tmp_path: Path) -> None:
    (tmp_path / "large.yaml").write_bytes(b"#" * 1_000_001)
    page.open_preset(tmp_path / "large.yaml")
    assert page.text.text == TEXT
    assert any("larger than 1,000,000 bytes" in said for said in words_on(page))


def test_keys_are_completed_from_the_section_around_the_cursor() -> None:
    lines = ["method: sft", "training:", "  steps: 3", "  ba", "model:", "  dtype: "]
    names = [name for name, _ in offers_at(lines, 3, 4, PRESETS["sft"])]
    assert "batch_size" in names
    assert "steps" not in names
    assert "bfloat16" in [word for word, _ in offers_at(lines, 5, 9, PRESETS["sft"])]


def test_ctrl_space_offers_keys_and_enter_takes_one(page: PresetPage, qtbot: QtBot) -> None:
    page.text.moveCursor(QTextCursor.MoveOperation.End)
    qtbot.keyClicks(page.text, "tra")
    qtbot.keyClick(page.text, Qt.Key.Key_Space, Qt.KeyboardModifier.ControlModifier)
    assert "training" in page.text.completion.words
    qtbot.keyClick(page.text.completion.popup, Qt.Key.Key_Return)
    assert page.text.text.endswith("\ntraining: ")


def test_a_step_changes_the_last_digit_and_keeps_the_spelling() -> None:
    assert stepped("3e-4", 1, is_whole=False) == "4e-4"
    assert stepped("0.04", -1, is_whole=False) == "0.03"
    assert stepped("1.0", 1, is_whole=False) == "1.1"
    assert stepped("16", 10, is_whole=True) == "26"
    assert stepped("1e-5", -1, is_whole=False) is None
    assert stepped("many", 1, is_whole=True) is None


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_nothing_of_the_form_is_wider_than_its_room(page: PresetPage, theme: Any) -> None:
    page.apply_theme(theme)
    for group in page.form.groups:
        group.set_open(True)
    QApplication.processEvents()
    body = page.form.widget()
    assert body is not None
    assert body.width() <= page.form.viewport().width()


@pytest.mark.parametrize("method", list(PRESETS))
def test_every_setting_of_a_method_has_a_control(page: PresetPage, method: str) -> None:
    page.open_text(f"method: {method}\n", "new")
    for group in page.form.groups:
        group.set_open(True)
    for section in sections_of(PRESETS[method]):
        for setting in section.settings:
            found = row(page, setting.dotted)
            assert found.setting is setting
            assert found.entry() is not None


@pytest.mark.parametrize("path", PRESET_FILES, ids=lambda path: path.stem)
def test_every_preset_that_ships_opens_without_a_fault(page: PresetPage, path: Path) -> None:
    page.open_preset(path)
    assert page.draft.faults == []
    assert page.draft.preset == load_preset(path)
    assert PresetDraft(page.text.text).preset == page.draft.preset


def words_on(page: PresetPage) -> list[str]:
    from PySide6.QtWidgets import QLabel

    return [label.text() for label in page.findChildren(QLabel) if label.isVisible()]


def wheel() -> QWheelEvent:
    return QWheelEvent(
        QPointF(5, 5),
        QPointF(5, 5),
        QPoint(0, 120),
        QPoint(0, 120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )


def test_the_keyboard_can_leave_the_yaml(page: PresetPage, qtbot: QtBot) -> None:
    page.text.setFocus()
    qtbot.keyClick(page.text, Qt.Key.Key_Tab)
    assert page.text.hasFocus()
    assert page.text.text.startswith("  method")
    qtbot.keyClick(page.text, Qt.Key.Key_Tab, Qt.KeyboardModifier.ControlModifier)
    assert not page.text.hasFocus()


def test_a_preset_saved_late_is_the_one_that_was_asked_for(page: PresetPage, qtbot: QtBot, tmp_path: Path) -> None:
    type_into(qtbot, page, "training.steps", "7")
    with qtbot.waitSignal(page.save_requested) as asked:
        page.save()
    text, path = asked.args or ["", None]
    page.open_text(TEXT.replace("gpt2", "gpt3"), "other")
    page.show_saved(path, text)
    assert page.draft.name == "other"
    page.open_preset(path)
    assert page.text.text == text
    assert not page.draft.is_dirty
