"""How good the labels are, as a person uses that page: what it leads to, and what it says at equal length."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from engine.contract.labels import LabelDir
from engine.contract.labels_log import append_judgement, read_ledger
from tests.workbench.label_sets import made, pairs, said
from tests.workbench.opened import opened
from tests.workbench.test_judge_page import press
from workbench.main_window import MainWindow
from workbench.views.judge_page import JudgePage
from workbench.views.quality_page import QualityPage

ITEMS = pairs(30)


@pytest.fixture
def label_dir(workspace: Path) -> LabelDir:
    """Ada and bob agree but on two items; a model votes on all."""
    label_dir = made(workspace, "kind", ITEMS)
    for number, one in enumerate(ITEMS):
        append_judgement(label_dir.judgements, said(one, 1, "ada", left=number % 2, strength=2))
        append_judgement(
            label_dir.judgements, said(one, int(number > 1), "bob", left=number % 2, strength=3 - number % 2)
        )
        append_judgement(label_dir.votes, said(one, 1, "model:judge", shown=()))
    return label_dir


@pytest.fixture
def window(qtbot: Any, workspace: Path, label_dir: LabelDir) -> Iterator[MainWindow]:
    with opened(qtbot, workspace) as window:
        window.session.labelling.judge_as("eve")
        window.show_page("judge")
        yield window


def judging(window: MainWindow) -> JudgePage:
    assert window.judging is not None
    return window.judging


def shown(qtbot: Any, window: MainWindow, label_dir: LabelDir) -> QualityPage:
    with qtbot.waitSignal(window.session.labelling.quality_read):
        window.session.labelling.read_quality(label_dir)
    page = judging(window).quality
    assert page is not None
    return page


def test_disagreements_are_a_button_away_are_settled_blind_and_whom_that_agrees_with_is_told_after(
    qtbot: Any, window: MainWindow, label_dir: LabelDir
) -> None:
    page = shown(qtbot, window, label_dir)
    assert page.settle.text() == "Settle 2 disagreements"
    QTest.mouseClick(page.settle, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: window.is_judging)
    sitting = judging(window).sitting
    assert "settling disagreements" in sitting.facts
    assert "0 of 2" in sitting.facts
    assert sitting.saved == ""
    press(window, Qt.Key.Key_T)
    assert sitting.saved == "saved: unlike ada and bob"
    (decided,) = read_ledger(label_dir)[0].adjudications()
    assert (decided.labeller, decided.item, len(decided.settles)) == ("eve", ITEMS[0].id, 2)
    assert shown(qtbot, window, label_dir).settle.text() == "Settle 1 disagreement"


def test_the_key_goes_to_the_disagreements_and_back(qtbot: Any, window: MainWindow, label_dir: LabelDir) -> None:
    window.session.labelling.open(label_dir)
    qtbot.waitUntil(lambda: window.is_judging)
    sitting = judging(window).sitting
    for is_settling in (True, False):
        press(window, Qt.Key.Key_A)
        assert ("settling disagreements" in sitting.facts) is is_settling


def test_at_equal_length_is_a_click_away_and_back(qtbot: Any, window: MainWindow, label_dir: LabelDir) -> None:
    page = shown(qtbot, window, label_dir)
    assert page.text.count("At equal length") == 0
    assert "B is preferred over A in" in page.text
    for is_on in (True, False):
        with qtbot.waitSignal(window.session.labelling.quality_read):
            page.equal_length.click()
        assert ("At equal length, B is preferred over A in" in page.text) is is_on
        assert page.equal_length.isChecked() is is_on


def test_a_set_without_disagreements_offers_none(qtbot: Any, window: MainWindow, workspace: Path) -> None:
    alone = made(workspace, "alone", pairs(3))
    append_judgement(alone.judgements, said(pairs(3)[0], 1))
    assert not shown(qtbot, window, alone).settle.isVisible()
