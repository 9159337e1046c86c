"""A run that draws, in the window: noise becomes pictures live, all pictures in rows or a grid, one drawn again."""

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QGuiApplication
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QPushButton, QTabBar

from engine.contract.trajectory import ABOUT
from tests.workbench.fake_pictures import STEPS, FakeSampler, digit, drawing, frames, png
from tests.workbench.fake_runs import FakeEngine
from tests.workbench.opened import PATIENCE_MS, opened
from workbench.main_window import MainWindow
from workbench.state.picture_view import WHOLE
from workbench.views.gallery_pane import GalleryPane
from workbench.views.run_page import RunPage
from workbench.views.trajectory_pane import TrajectoryPane

MANY = 800


@pytest.fixture
def engine(workspace: Path) -> Iterator[FakeSampler]:
    made = drawing(workspace)
    yield made
    made.vanish()


@pytest.fixture
def window(qtbot: Any, workspace: Path, engine: FakeSampler) -> Iterator[MainWindow]:
    with opened(qtbot, workspace, size=(1000, 600)) as made:
        qtbot.waitUntil(lambda: made.runs.run is not None and made.has_tab("Gallery"), timeout=PATIENCE_MS)
        yield made


def page(window: MainWindow) -> RunPage:
    assert window.runs.run is not None
    return window.runs.run


def film(qtbot: Any, window: MainWindow) -> TrajectoryPane:
    """The trajectory, once its newest step is drawn."""
    window.show_tab("Trajectory")
    pane = page(window).trajectory
    qtbot.waitUntil(lambda: pane.is_drawn, timeout=PATIENCE_MS)
    return pane


def pictures(qtbot: Any, window: MainWindow, count: int = 30) -> GalleryPane:
    """The gallery, once all records were read."""
    window.show_tab("Gallery")
    pane = page(window).gallery
    qtbot.waitUntil(lambda: len(pane.gallery.records) == count, timeout=PATIENCE_MS)
    qtbot.waitUntil(lambda: pane.table.pictures.count == count, timeout=PATIENCE_MS)
    return pane


def press(*keys: Qt.Key) -> None:
    for key in keys:
        place = QApplication.focusWidget()
        assert place is not None
        QTest.keyClick(place, key)


def press_alt(window: MainWindow, key: Qt.Key) -> None:
    QTest.keyClick(window, key, Qt.KeyboardModifier.AltModifier)


def test_a_run_that_draws_shows_its_film_first_and_no_completions(qtbot: Any, window: MainWindow) -> None:
    qtbot.waitUntil(lambda: page(window).tab == "Trajectory", timeout=PATIENCE_MS)
    assert not window.has_tab("Completions")
    assert page(window).split.is_beside
    press(Qt.Key.Key_Down)  # still the list's: nothing took the keyboard's place
    assert window.runs.list.view.hasFocus()


def test_a_training_has_its_curves_beside_the_strips_it_drew(qtbot: Any, window: MainWindow, workspace: Path) -> None:
    engine = FakeSampler(workspace / "runs", "learning", method="denoiser", stamp="20251009-120000")
    engine.begin().train(5, every=0)
    for step in (2, 4):
        engine.put(f"images/strip-{step:06d}.png", png(digit(3, step)), role="strip", step=step)
    window.resize(1280, 720)
    window.session.show(engine.run.path)
    qtbot.waitUntil(lambda: page(window).board.isVisible(), timeout=PATIENCE_MS)
    pane = pictures(qtbot, window, count=2)
    assert [pane.name(place) for place in range(2)] == ["strip  step 2", "strip  step 4"]
    assert page(window).board.x() + page(window).board.width() <= pane.mapTo(page(window), QPoint(0, 0)).x()
    pane.table.go_to(0)
    press(Qt.Key.Key_S)
    assert "does not say how it was drawn" in window.notice.sentence
    engine.vanish()


def test_where_there_is_no_room_for_both_the_curves_are_the_first_tab(
    qtbot: Any, window: MainWindow, workspace: Path
) -> None:
    made = FakeEngine(workspace / "runs", "words", stamp="20251009-120000").begin().train(10).finish()
    window.session.show(made.run.path)
    qtbot.waitUntil(lambda: page(window).tab == "Curves" and page(window).board.is_drawn, timeout=PATIENCE_MS)
    shown = page(window)
    assert shown.board.isVisible()
    assert shown.board.height() > 300
    press_alt(window, Qt.Key.Key_1)
    assert (shown.tab, shown.board.isVisible(), shown.completions.isVisible()) == ("Completions", False, True)
    shown.completions.pin(0)  # a button comes to go back to the newest, no wider than its words
    chip = shown.completions.controls.findChild(QPushButton)
    assert chip is not None
    qtbot.waitUntil(chip.isVisible, timeout=PATIENCE_MS)
    assert chip.width() == chip.sizeHint().width()
    window.resize(1280, 720)
    qtbot.waitUntil(lambda: shown.board.isVisible() and shown.completions.isVisible(), timeout=PATIENCE_MS)
    assert (shown.has_tab("Curves"), shown.tab) == (False, "Completions")
    sizes = shown.split.sizes()
    window.resize(1000, 600)
    qtbot.waitUntil(lambda: shown.has_tab("Curves"), timeout=PATIENCE_MS)
    press_alt(window, Qt.Key.Key_0)
    qtbot.waitUntil(shown.board.isVisible, timeout=PATIENCE_MS)
    window.resize(1280, 720)
    qtbot.waitUntil(shown.completions.isVisible, timeout=PATIENCE_MS)
    assert (shown.tab, shown.split.sizes()) == ("Completions", sizes)


def test_the_tabs_close_up_whichever_run_comes_after_another(qtbot: Any, window: MainWindow, workspace: Path) -> None:
    made = FakeEngine(workspace / "runs", "proof", method="sampler_proof", stamp="20251009-120000").begin().finish()
    window.show_tab("Preset")
    window.session.show(made.run.path)
    qtbot.waitUntil(lambda: window.has_tab("Lab"), timeout=PATIENCE_MS)
    bar = page(window).findChild(QTabBar)
    assert bar is not None
    seen = [bar.tabRect(at) for at in range(bar.count()) if bar.isTabVisible(at)]
    assert seen[0].left() == 0
    assert all(left.right() + 1 == right.left() for left, right in pairwise(seen))


def test_tab_leads_through_what_can_be_done_with_pictures_to_them(qtbot: Any, window: MainWindow) -> None:
    pane = pictures(qtbot, window)
    assert pane.table.hasFocus()
    bar = page(window).findChild(QTabBar)
    assert bar is not None
    (again,) = (button for button in pane.findChildren(QPushButton) if button.text().startswith("Same seed"))
    qtbot.waitUntil(again.isVisible, timeout=PATIENCE_MS)  # once it is shown that the record of the picture was read
    bar.setFocus()
    passed = []
    for _ in range(4):
        press(Qt.Key.Key_Tab)
        passed.append(type(QApplication.focusWidget()).__name__)
    assert passed == ["QComboBox", "QPushButton", "QPushButton", "GalleryTable"]


def test_after_a_click_on_its_tab_the_keys_move_through_a_trajectory(qtbot: Any, window: MainWindow) -> None:
    pictures(qtbot, window)
    bar = page(window).findChild(QTabBar)
    assert bar is not None
    bar.setFocus()
    (at,) = (at for at in range(bar.count()) if bar.tabText(at) == "Trajectory")
    QTest.mouseClick(bar, Qt.MouseButton.LeftButton, pos=bar.tabRect(at).center())
    assert page(window).tab == "Trajectory"
    place = QApplication.focusWidget()
    assert place is not None
    assert page(window).trajectory.isAncestorOf(place)


def test_a_run_of_texts_has_curves_above_and_no_pictures(qtbot: Any, window: MainWindow, workspace: Path) -> None:
    engine = FakeEngine(workspace / "runs", "words", stamp="20251009-120000").begin().train(5).finish()
    window.resize(1280, 720)
    window.session.show(engine.run.path)
    qtbot.waitUntil(lambda: page(window).tab == "Completions", timeout=PATIENCE_MS)
    assert not window.has_tab("Gallery")
    assert not page(window).split.is_beside
    assert page(window).board.isVisible()
    assert page(window).completions.isVisible()


def test_steps_are_followed_until_one_looks_back_by_key(qtbot: Any, window: MainWindow, engine: FakeSampler) -> None:
    writer = engine.begin_track("live", count=2)
    steps = list(frames(writer.about))
    writer.append(steps[:3])
    pane = page(window).trajectory
    window.show_tab("Trajectory")
    qtbot.waitUntil(lambda: "step 3 of 20" in pane.facts and pane.is_drawn, timeout=PATIENCE_MS)
    writer.append(steps[3:5])
    with (writer.path).open("ab") as file:
        file.write(b"half a record")
    qtbot.waitUntil(lambda: "step 5 of 20" in pane.facts, timeout=PATIENCE_MS)
    press(Qt.Key.Key_Left, Qt.Key.Key_Left)
    assert "step 3 of 20" in pane.facts
    press(Qt.Key.Key_Home)
    assert pane.playback.at == 0
    press(Qt.Key.Key_Right, Qt.Key.Key_End)
    assert "step 5 of 20" in pane.facts


def test_a_trajectory_drawn_anew_by_a_new_life_is_read_anew(
    qtbot: Any, window: MainWindow, engine: FakeSampler
) -> None:
    pane = film(qtbot, window)
    assert pane.playback.count == 2 * STEPS
    writer = engine.begin_track("ddpm", count=3)
    writer.append(list(frames(writer.about))[:4])
    qtbot.waitUntil(lambda: pane.playback.count == 4 and pane.is_drawn, timeout=PATIENCE_MS)
    assert "step 4 of 20" in pane.facts


def test_space_plays_from_noise_to_picture_and_holds_still(qtbot: Any, window: MainWindow) -> None:
    pane = film(qtbot, window)
    press(Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: 3 <= pane.playback.at < STEPS, timeout=PATIENCE_MS)
    press(Qt.Key.Key_Space)
    at = pane.playback.at
    qtbot.wait(120)
    assert pane.playback.at == at


def test_two_samplers_are_stepped_together_and_zoomed_together(qtbot: Any, window: MainWindow) -> None:
    pane = film(qtbot, window)
    press(Qt.Key.Key_N)  # the other one: 20 steps beside 40
    press(Qt.Key.Key_B, Qt.Key.Key_B)
    qtbot.waitUntil(lambda: all(shown is not None for shown in pane.shown), timeout=PATIENCE_MS)
    press(Qt.Key.Key_Home)
    for _ in range(10):
        press(Qt.Key.Key_Right)
    qtbot.waitUntil(lambda: [s.wanted.record for s in pane.shown if s] == [10, 21], timeout=PATIENCE_MS)
    few, many = (shown.point.t for shown in pane.shown if shown)
    assert abs(few - many) < 1000 / STEPS
    press(Qt.Key.Key_Plus, Qt.Key.Key_Plus)
    assert {part.view for lane in pane.lanes for part in lane.panes} == {pane.view} != {WHOLE}


def test_sizes_that_cannot_be_are_told_and_not_believed(qtbot: Any, window: MainWindow, engine: FakeSampler) -> None:
    writer = engine.begin_track("zz-hostile", count=1)
    about = json.loads((writer.path.parent / ABOUT).read_text())
    (writer.path.parent / ABOUT).write_text(json.dumps(about | {"width": 4_000_000_000}))
    pane = page(window).trajectory
    window.show_tab("Trajectory")
    qtbot.waitUntil(lambda: "width" in pane.failure, timeout=PATIENCE_MS)


def test_pictures_say_what_varies_and_lie_in_a_grid_by_key(qtbot: Any, window: MainWindow) -> None:
    pane = pictures(qtbot, window)
    table = pane.table.pictures
    assert pane.name(13) == "class 3  guidance 2"
    press(Qt.Key.Key_G, Qt.Key.Key_G)
    assert (table.rowCount(), table.columnCount()) == (10, 3)
    heads = [table.headerData(at, Qt.Orientation.Horizontal) for at in range(3)]
    assert heads == ["guidance 1", "guidance 2", "guidance 4"]
    assert table.headerData(4, Qt.Orientation.Vertical) == "class 4"
    assert table.place(table.index(4, 1)) == 14


def test_marked_pictures_are_compared_blinked_and_zoomed_by_key(qtbot: Any, window: MainWindow) -> None:
    pane = pictures(qtbot, window)
    press(Qt.Key.Key_Home, Qt.Key.Key_Space, Qt.Key.Key_Right, Qt.Key.Key_Space, Qt.Key.Key_Return)
    look = pane.look
    assert look is not None
    assert look.places == [0, 1]
    qtbot.waitUntil(lambda: not look.cards.why_not, timeout=PATIENCE_MS)
    left, right = (part.picture for part in look.cards.panes[:2])
    press(Qt.Key.Key_X)
    assert [part.picture for part in look.cards.panes[:2]] == [right, left]
    press(Qt.Key.Key_X, Qt.Key.Key_Plus)
    assert look.cards.view.zoom > 1
    press(Qt.Key.Key_D)
    assert look.details.count("sampler: ddim") == 2
    press(Qt.Key.Key_Escape)
    assert not pane.is_looking
    assert pane.table.hasFocus()


def test_one_picture_is_stepped_to_the_next_under_the_same_view(qtbot: Any, window: MainWindow) -> None:
    pane = pictures(qtbot, window)
    pane.table.go_to(4)
    press(Qt.Key.Key_Return, Qt.Key.Key_Right)
    look = pane.look
    assert look is not None
    qtbot.waitUntil(lambda: not look.cards.why_not, timeout=PATIENCE_MS)
    assert look.places == [5]
    press(Qt.Key.Key_Plus, Qt.Key.Key_Right)
    assert look.places == [6]
    assert look.cards.view.zoom > 1
    press(Qt.Key.Key_C)
    assert "label: 6" in QGuiApplication.clipboard().text()


def test_same_seed_other_settings_opens_a_preset_of_that_noise(qtbot: Any, window: MainWindow) -> None:
    pane = pictures(qtbot, window)
    pane.table.go_to(17)
    press(Qt.Key.Key_S)
    assert window.page == "presets"
    assert window.presets is not None
    text = window.presets.text.text
    assert "method: diffusion_sample" in text
    assert "classes:\n  - 7" in text
    assert "seeds:\n  - 7" in text


def drop(window: MainWindow, path: Path) -> None:
    dragged = QMimeData()
    dragged.setUrls([QUrl.fromLocalFile(str(path))])
    how = (dragged, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier)
    QApplication.sendEvent(window, QDragEnterEvent(QPoint(5, 5), Qt.DropAction.CopyAction, *how))
    QApplication.sendEvent(window, QDropEvent(QPointF(5, 5), Qt.DropAction.CopyAction, *how))


def test_a_dropped_png_offers_the_preset_that_draws_it(qtbot: Any, window: MainWindow, engine: FakeSampler) -> None:
    drop(window, engine.run.images / "000012.png")
    qtbot.waitUntil(lambda: window.page == "presets", timeout=PATIENCE_MS)
    assert window.presets is not None
    assert "first: 2" in window.presets.text.text
    assert "among:" in window.presets.text.text


def test_a_strangers_file_gets_one_sentence(qtbot: Any, window: MainWindow, tmp_path: Path) -> None:
    for name, data in (("holiday.png", png(digit(3, 1))), ("torn.png", b"\x89PNG but no more")):
        (tmp_path / name).write_bytes(data)
        drop(window, tmp_path / name)
        qtbot.waitUntil(lambda name=name: name in window.notice.sentence, timeout=PATIENCE_MS)
    assert window.page == "runs"


def test_of_thousands_of_pictures_only_those_in_sight_are_read(qtbot: Any, workspace: Path) -> None:
    engine = FakeSampler(workspace / "runs", "many", stamp="20251009-101500").begin()
    assert isinstance(engine, FakeSampler)
    data = png(digit(5, 1))
    for number in range(MANY):
        engine.put(f"images/{number:06d}.png", data, role="sample")
    engine.finish()
    with opened(qtbot, workspace, size=(1000, 600)) as window:
        pane = page(window).gallery
        qtbot.waitUntil(lambda: pane.table.pictures.count == MANY, timeout=PATIENCE_MS)
        store = pane.store
        qtbot.waitUntil(lambda: pane.table.picture(0) is not None, timeout=PATIENCE_MS)
        pane.table.scrollToBottom()
        qtbot.waitUntil(lambda: pane.table.picture(MANY - 1) is not None, timeout=PATIENCE_MS)
        assert pane.table.picture(MANY // 2) is None
        assert store is not None
        assert store.kept < MANY // 4


def test_a_run_without_pictures_yet_says_what_will_be_here(qtbot: Any, workspace: Path) -> None:
    engine = FakeSampler(workspace / "runs", "soon", stamp="20251009-101500")
    engine.begin()
    with opened(qtbot, workspace, size=(1000, 600)) as window:
        qtbot.waitUntil(lambda: window.has_tab("Gallery"), timeout=PATIENCE_MS)
        assert page(window).gallery.is_empty
        assert page(window).trajectory.is_empty
        assert page(window).gallery.isVisible()
    engine.vanish()
