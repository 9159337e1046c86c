"""Pairs of pictures: the same keys, store and protocol as texts, looked at together, read while nobody waits."""

import struct
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLabel

from engine.contract.labels import Candidate, Item, LabelDir
from engine.contract.labels_log import read_items, read_ledger
from tests.workbench.label_sets import drawn, made, made_of_pictures
from tests.workbench.opened import PATIENCE_MS, opened
from tests.workbench.test_judge_page import meant, page, places, press, said, sit, wheel
from workbench.io import picture_store
from workbench.io.background import Background
from workbench.io.picture_store import PictureStore, read_picture
from workbench.main_window import MainWindow
from workbench.state import shown_item
from workbench.state.label_quality import quality
from workbench.state.picture_view import WHOLE
from workbench.views.picture_cards import PictureCards


@pytest.fixture
def label_dir(workspace: Path) -> LabelDir:
    return made_of_pictures(workspace)


@pytest.fixture
def window(qtbot: Any, workspace: Path, label_dir: LabelDir) -> Iterator[MainWindow]:
    with opened(qtbot, workspace) as made_window:
        sit(qtbot, made_window, label_dir)
        seen(qtbot, made_window)
        yield made_window


def cards(window: MainWindow) -> PictureCards:
    return page(window).sitting.pictures


def seen(qtbot: Any, window: MainWindow) -> None:
    """Wait until every picture of the pair was read."""
    panes = cards(window).panes
    qtbot.waitUntil(lambda: all(pane.picture is not None for pane in panes if pane.isVisible()), timeout=PATIENCE_MS)


def test_pictures_are_judged_with_the_keys_of_texts(qtbot: Any, window: MainWindow, label_dir: LabelDir) -> None:
    press(window, Qt.Key.Key_1)
    seen(qtbot, window)
    press(window, Qt.Key.Key_Z)
    seen(qtbot, window)
    for key in (Qt.Key.Key_6, Qt.Key.Key_Down, Qt.Key.Key_B):
        press(window, key)
        seen(qtbot, window)
    assert [(meant(judgement), judgement.strength) for judgement in said(label_dir)] == [
        ("right", 2), ("tie", None), ("both_bad", None),
    ]  # fmt: skip
    assert "Every pair is judged" in page(window).sitting.aside.text


def test_one_view_moves_both_pictures(window: MainWindow) -> None:
    pictures = cards(window)
    press(window, Qt.Key.Key_Plus, Qt.Key.Key_Plus)
    assert pictures.view.zoom > 1.5
    press(window, Qt.Key.Key_Minus)
    before = pictures.view
    left = pictures.panes[0]
    QTest.mousePress(left, Qt.MouseButton.LeftButton, pos=QPoint(100, 100))
    QTest.mouseMove(left, QPoint(80, 100))
    QTest.mouseRelease(left, Qt.MouseButton.LeftButton, pos=QPoint(80, 100))
    assert pictures.view.x > before.x
    wheel(pictures.panes[1], 240)
    assert pictures.view.zoom > before.zoom
    press(window, Qt.Key.Key_0)
    assert pictures.view == WHOLE


def test_closer_shows_larger_pixels_in_both_panes(window: MainWindow) -> None:
    def colours() -> list[int]:
        images = [pane.grab().toImage() for pane in cards(window).panes[:2]]
        return [len({image.pixel(x, image.height() // 2) for x in range(image.width())}) for image in images]

    whole = colours()
    press(window, *[Qt.Key.Key_Plus] * 9)
    assert all(near < far for near, far in zip(colours(), whole, strict=True))


def test_a_held_key_blinks_and_a_short_press_stays(qtbot: Any, window: MainWindow) -> None:
    pictures = cards(window)
    left, right = (pane.picture for pane in pictures.panes[:2])
    press(window, Qt.Key.Key_X)
    assert [pane.picture for pane in pictures.panes[:2]] == [right, left]
    assert "B  →   in this place for now" in [part.text() for part in pictures.cards[0].findChildren(QLabel)]
    press(window, Qt.Key.Key_X)
    assert [pane.picture for pane in pictures.panes[:2]] == [left, right]
    QTest.keyPress(window.focusWidget(), Qt.Key.Key_X)
    assert [pane.picture for pane in pictures.panes[:2]] == [right, left]
    qtbot.wait(350)
    for _ in range(3):  # the keyboard repeats
        QTest.keyRelease(window.focusWidget(), Qt.Key.Key_X)
        QTest.keyPress(window.focusWidget(), Qt.Key.Key_X)
    assert [pane.picture for pane in pictures.panes[:2]] == [right, left]
    QTest.keyRelease(window.focusWidget(), Qt.Key.Key_X)
    qtbot.waitUntil(lambda: [pane.picture for pane in pictures.panes[:2]] == [left, right])


def test_blinking_does_not_change_what_a_key_says(window: MainWindow, label_dir: LabelDir) -> None:
    press(window, Qt.Key.Key_X, Qt.Key.Key_Left)
    assert [meant(judgement) for judgement in said(label_dir)] == ["left"]
    assert not cards(window).is_blinking


def test_nothing_on_the_screen_tells_who_drew_what(window: MainWindow) -> None:
    sitting = page(window).sitting
    shown = " ".join(part.text() + part.toolTip() + part.accessibleName() for part in sitting.findChildren(QLabel))
    named = " ".join(pane.accessibleName() + pane.toolTip() for pane in cards(window).panes)
    assert "lighthouse" in sitting.prompt.shown
    for word in ("model", "step", ".png"):
        assert word not in (shown + named).lower()


def test_the_next_pair_is_read_while_this_one_is_looked_at(qtbot: Any, window: MainWindow) -> None:
    labelling = window.session.labelling
    assert labelling.opened is not None
    coming = labelling.opened.sitting.coming
    assert coming is not None
    folder = labelling.opened.label_dir.path
    paths = [path for path in shown_item.pictures(folder, coming.item, coming.shown) if path]
    qtbot.waitUntil(lambda: all(labelling.pictures.get(path) is not None for path in paths))
    press(window, Qt.Key.Key_S)
    assert [pane.picture for pane in cards(window).panes[:2]] == [labelling.pictures.get(path) for path in paths]


def test_a_picture_that_is_gone_says_so_and_the_pair_can_only_be_flagged_and_skipped(
    qtbot: Any, workspace: Path
) -> None:
    label_dir = made_of_pictures(workspace, "holes", items=2)
    for candidate in read_items(label_dir)[0].candidates[:1] + read_items(label_dir)[1].candidates[:1]:
        (label_dir.path / str(candidate.image)).unlink()
    with opened(qtbot, workspace) as window:
        sit(qtbot, window, label_dir)
        seen(qtbot, window)
        assert "This picture is not there any more." in [pane.said for pane in cards(window).panes]
        press(window, Qt.Key.Key_1, Qt.Key.Key_T)
        assert said(label_dir) == []
        assert "skip it" in page(window).sitting.failure
        press(window, Qt.Key.Key_F, Qt.Key.Key_S)
        (judgement,) = said(label_dir)
        assert (judgement.outcome, judgement.flagged) == ("skipped", True)
        assert page(window).sitting.failure == ""


def test_more_than_two_pictures_are_ranked(qtbot: Any, workspace: Path) -> None:
    label_dir = made_of_pictures(workspace, "many", items=1, of=4)
    with opened(qtbot, workspace) as window:
        sit(qtbot, window, label_dir)
        seen(qtbot, window)
        press(window, Qt.Key.Key_R, Qt.Key.Key_4, Qt.Key.Key_2, Qt.Key.Key_Return)
        (judgement,) = said(label_dir)
        assert [sorted(group) for group in places(judgement)] == [[3], [1], [0, 2]]


def test_keys_say_nothing_before_the_pictures_are_there(
    qtbot: Any, workspace: Path, label_dir: LabelDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_read = threading.Event()
    real = picture_store.read_picture
    monkeypatch.setattr(picture_store, "read_picture", lambda path: (may_read.wait(10), real(path))[1])
    with opened(qtbot, workspace) as window:
        sit(qtbot, window, label_dir)
        press(window, Qt.Key.Key_1)
        assert "still being read" in page(window).sitting.failure
        qtbot.waitUntil(lambda: cards(window).panes[0].said == "Reading the picture …")
        may_read.set()
        seen(qtbot, window)
        assert page(window).sitting.failure == ""
        press(window, Qt.Key.Key_1)
        assert len(said(label_dir)) == 1


def test_quality_of_a_set_of_pictures_leaves_out_lengths(window: MainWindow, qtbot: Any, label_dir: LabelDir) -> None:
    press(window, Qt.Key.Key_1)
    seen(qtbot, window)
    press(window, Qt.Key.Key_7)
    ledger, _ = read_ledger(label_dir)
    found = quality(read_items(label_dir), ledger)
    assert (found.judgements, found.length.total, found.circles) == (2, 0, 0)
    window.session.labelling.read_quality(label_dir)
    qtbot.waitUntil(lambda: (found_page := page(window).quality) is not None and found_page.isVisible())


def test_an_item_of_a_text_and_a_picture_shows_both_as_text(qtbot: Any, workspace: Path) -> None:
    mixed = Item(id="i", prompt="p", candidates=(Candidate(text="words"), Candidate(image="images/secret.png")))
    label_dir = made(workspace, "mixed", [mixed])
    with opened(qtbot, workspace) as window:
        sit(qtbot, window, label_dir)
        shown = [text.shown for text in page(window).sitting.answers.texts]
        assert sorted(shown) == sorted(["words", shown_item.IN_PLACE])


# ------------------------------------------------------------------------------------------------------- files


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


HEAD = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
BOMB = b"\x89PNG\r\n\x1a\n" + HEAD + chunk(b"IDAT", zlib.compress(bytes(100_000))) + chunk(b"IEND", b"")
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/hostname"/></svg>'


@pytest.mark.parametrize(
    ("content", "fault"), [(b"", "broken"), (b"no picture", "broken"), (SVG, "broken"), (BOMB, "too large")]
)
def test_a_file_that_is_no_picture_to_show_says_why(tmp_path: Path, content: bytes, fault: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    assert read_picture(path).fault == fault


def test_half_a_picture_is_broken(tmp_path: Path) -> None:
    path = drawn(tmp_path / "a.png", 0)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert read_picture(path).fault == "broken"


@pytest.mark.parametrize("image", ["/etc/hostname", "../other/a.png", "images/../../a.png", "images/a\0.png"])
def test_a_path_that_leads_out_of_the_set_is_not_followed(tmp_path: Path, image: str) -> None:
    pair = Item(id="i", prompt="p", candidates=(Candidate(image=image), Candidate(image="images/b.png")))
    assert shown_item.pictures(tmp_path, pair, (0, 1)) == [None, tmp_path / "images/b.png"]


def test_what_was_on_show_is_kept_for_undo_while_there_is_room(
    qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_store, "KEPT_PIXELS", 2 * 64 * 48)
    paths = [drawn(tmp_path / f"{number}.png", number) for number in range(5)]
    background = Background(threads=1)
    store = PictureStore(background)
    for path in paths:
        store.want([path])
        qtbot.waitUntil(lambda of=path: store.get(of) is not None)
    assert [store.get(path) is not None for path in paths] == [False, False, True, True, True]
    store.drop()
    assert not any(store.get(path) for path in paths)
    background.close()


@pytest.mark.slow
def test_pictures_of_8192_by_8192_are_read_elsewhere_and_drawn_at_once(qtbot: Any, workspace: Path) -> None:
    """Of the thread that draws, its own time: what other threads and programs take does not count."""
    label_dir = made_of_pictures(workspace, "large", items=1, size=(8192, 8192))
    with opened(qtbot, workspace) as window:
        sit(qtbot, window, label_dir)
        pictures, longest, deadline = cards(window), 0.0, time.monotonic() + 120
        while any(pane.picture is None for pane in pictures.panes[:2]) and time.monotonic() < deadline:
            began = time.thread_time()
            QApplication.processEvents()
            longest = max(longest, time.thread_time() - began)
            time.sleep(0.001)
        for act in (Qt.Key.Key_Plus, Qt.Key.Key_Plus, Qt.Key.Key_X, Qt.Key.Key_0):
            began = time.thread_time()
            press(window, act)
            window.repaint()
            longest = max(longest, time.thread_time() - began)
        assert pictures.panes[0].picture is not None
        assert pictures.panes[0].picture.levels[0].width() == 8192
        assert longest < 0.25
