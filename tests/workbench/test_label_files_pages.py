"""Judgements come into a workspace and leave it by two pages: previewed, faults by their field, never by halves."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest

from engine.contract.labels import LabelDir
from engine.contract.labels_log import append_judgement, read_items, read_judgements
from tests.workbench.label_sets import made, pairs, said
from tests.workbench.opened import opened
from workbench.main_window import MainWindow
from workbench.state.preset_draft import Change
from workbench.views.export_page import ExportPage
from workbench.views.file_desk import FileDesk
from workbench.views.import_page import ImportPage
from workbench.views.rows_table import as_text

ENGINE_MS = 60_000
CTRL = Qt.KeyboardModifier.ControlModifier
SHIFT = Qt.KeyboardModifier.ShiftModifier


@pytest.fixture
def label_dir(workspace: Path) -> LabelDir:
    """A set of four pairs, of which three are judged."""
    items = pairs(4)
    made_set = made(workspace, "tea", items=items)
    for item in items[:3]:
        append_judgement(made_set.judgements, said(item, 0))
    return made_set


@pytest.fixture
def window(qtbot: Any, workspace: Path, label_dir: LabelDir) -> Iterator[MainWindow]:
    with opened(qtbot, workspace) as made_window:
        made_window.show_page("judge")
        qtbot.waitUntil(lambda: made_window.label_state == "there")
        yield made_window


def importing(window: MainWindow) -> ImportPage:
    QTest.keyClick(window, Qt.Key.Key_I, CTRL)
    assert window.judging is not None
    page = window.judging.desks.imported
    assert page is not None
    return page


def exporting(window: MainWindow) -> ExportPage:
    QTest.keyClick(window, Qt.Key.Key_E, CTRL | SHIFT)
    assert window.judging is not None
    page = window.judging.desks.exported
    assert page is not None
    return page


def enter(form: FileDesk, name: str, value: Any) -> None:
    form.group.changed.emit(Change("set", (name,), value))


def faults(form: FileDesk) -> dict[str, str]:
    return {fault.dotted: f"{fault.problem}; {fault.remedy}" for fault in form.draft.faults}


def test_an_export_shows_its_rows_first_is_written_whole_and_says_where(
    qtbot: Any, window: MainWindow, workspace: Path
) -> None:
    page = exporting(window)
    qtbot.waitUntil(lambda: page.desk.table.rowCount() == 3, timeout=ENGINE_MS)
    headings = [page.desk.table.horizontalHeaderItem(at) for at in range(3)]
    assert [heading.text() for heading in headings if heading] == ["prompt", "chosen", "rejected"]
    assert page.desk.about.text() == "preference: 3 train"
    dest = workspace / "exports" / "tea-preference"
    assert not dest.exists()
    QTest.keyClick(window, Qt.Key.Key_Return, CTRL)
    qtbot.waitUntil(page.open_folder.isVisible, timeout=ENGINE_MS)
    assert page.desk.says == f"Written: {dest}"
    rows = [json.loads(line) for line in (dest / "train.jsonl").read_text("utf-8").splitlines()]
    assert len(rows) == 3
    QTest.mouseClick(page.copy_path, Qt.MouseButton.LeftButton)
    assert QGuiApplication.clipboard().text() == str(dest)


def test_the_folder_is_named_after_the_format_until_somebody_names_it(
    qtbot: Any, window: MainWindow, workspace: Path
) -> None:
    (workspace / "exports" / "tea-kto").mkdir(parents=True)
    page = exporting(window)
    enter(page.form, "format", "kto")
    assert page.form.draft.values["dest"] == str(workspace / "exports" / "tea-kto-2")
    assert "KTOTrainer" in page.purpose.text()
    enter(page.form, "dest", str(workspace / "exports" / "tea-kto"))
    enter(page.form, "format", "hh")
    QTest.keyClick(window, Qt.Key.Key_Return, CTRL)
    qtbot.waitUntil(lambda: "dest" in faults(page.form), timeout=ENGINE_MS)
    assert faults(page.form) == {"dest": "is there already; name a new folder"}
    assert list((workspace / "exports" / "tea-kto").iterdir()) == []


def test_what_an_option_may_not_be_stands_at_its_field(qtbot: Any, window: MainWindow) -> None:
    page = exporting(window)
    enter(page.form, "format", "hh")
    enter(page.form, "style", "plain")
    enter(page.form, "held_out", 2.0)
    QTest.keyClick(window, Qt.Key.Key_Return, CTRL)
    assert list(faults(page.form)) == ["held_out"]
    enter(page.form, "held_out", 0.0)
    qtbot.waitUntil(lambda: "style" in faults(page.form), timeout=ENGINE_MS)


def test_an_import_is_previewed_and_becomes_a_set_with_its_judgements(
    qtbot: Any, window: MainWindow, workspace: Path
) -> None:
    rows = [{"prompt": "Two and two?", "chosen": "Four.", "rejected": "Five.", "margin": 1.0}]
    (workspace / "their pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = importing(window)
    enter(page.form, "source", str(workspace / "their pairs.jsonl"))
    assert page.form.draft.values["name"] == "their-pairs"
    qtbot.waitUntil(lambda: page.form.desk.table.rowCount() == 1, timeout=ENGINE_MS)
    assert page.form.desk.about.text() == "preference: 1 row, 1 item, 1 judgement"
    label_dir = LabelDir(workspace / "labels" / "their-pairs")
    assert not label_dir.path.exists()
    QTest.keyClick(window, Qt.Key.Key_Return, CTRL)
    qtbot.waitUntil(label_dir.settings.exists, timeout=ENGINE_MS)
    assert window.judging is not None
    sets = window.judging.sets
    qtbot.waitUntil(sets.isVisible)
    qtbot.waitUntil(lambda: sets.chosen is not None and sets.chosen.name == "their-pairs")
    assert len(read_items(label_dir)) == len(read_judgements(label_dir).lines) == 1


def test_wrong_columns_are_named_and_nothing_is_made(qtbot: Any, window: MainWindow, workspace: Path) -> None:
    (workspace / "odd.jsonl").write_text('{"prompt": "Hi", "better": "a", "worse": "b"}\n')
    page = importing(window)
    enter(page.form, "source", str(workspace / "odd.jsonl"))
    qtbot.waitUntil(lambda: "source" in faults(page.form), timeout=ENGINE_MS)
    told = faults(page.form)["source"]
    assert "row 1" in told
    assert "`better`" in told
    assert page.form.desk.says == "Nothing was written"
    assert not (workspace / "labels" / "odd").exists()


def test_a_cell_is_in_words() -> None:
    assert (
        as_text([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}])
        == "user: Hi\nassistant: Ho"
    )
    assert as_text([{"text": "a", "origin": {}}, {"text": "b"}]) == "a\nb"
    assert (as_text(True), as_text(0.5), as_text(None), as_text({"a": 1})) == ("yes", "0.5", "", "a: 1")
