"""Every word and every line can be seen, in both themes."""

from __future__ import annotations

import re

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QIcon
from PySide6.QtWidgets import QCheckBox, QLabel, QLineEdit, QPushButton

from workbench import theme
from workbench.theme import DARK, LIGHT

THEMES = pytest.mark.parametrize("look", [LIGHT, DARK], ids=["light", "dark"])
WORDS = ("text", "muted", "accent", "running", "finished", "failed", "warning")
MARKS = {"running", "paused", "finished", "failed", "crashed", "stopped", "starting", "queued", "warning"}


@pytest.fixture(autouse=True)
def _plain_afterwards(qapp):
    """Leaves the application as the next test expects it."""
    yield
    qapp.setStyleSheet("")


@THEMES
@pytest.mark.parametrize("token", WORDS)
@pytest.mark.parametrize("ground", ["ground", "surface", "raised"])
def test_words_bear_their_ground_at_four_and_a_half_to_one(look, token, ground):
    assert theme.contrast(getattr(look, token), getattr(look, ground)) >= 4.5


@THEMES
def test_words_on_the_accent_bear_it(look):
    assert theme.contrast(look.on_accent, look.accent) >= 4.5


@THEMES
@pytest.mark.parametrize("index", range(8))
def test_curves_bear_their_surface_at_three_to_one(look, index):
    assert theme.contrast(look.curve(index).colour.name(), look.surface) >= 3


@THEMES
def test_the_ninth_curve_is_the_first_dashed(look):
    first, ninth = look.curve(0), look.curve(8)
    assert (first.colour, first.is_dashed) == (ninth.colour, False)
    assert ninth.is_dashed


def test_contrast_is_that_of_wcag():
    assert theme.contrast("#FFFFFF", "#000000") == pytest.approx(21)
    assert theme.contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.01)


@THEMES
def test_the_style_sheet_holds_no_colour_that_is_not_a_token_or_mixed_from_them(look):
    raw = (theme.assets() / "theme.qss").read_text(encoding="utf-8")
    assert not re.search(r"#[0-9A-Fa-f]{3,8}\b", raw)
    assert "$" not in theme.style_sheet(look)


@THEMES
def test_every_image_the_style_sheet_names_exists(look, qapp):
    for path in re.findall(r'url\("([^"]+)"\)', theme.style_sheet(look)):
        assert not QIcon(path).pixmap(16, 16).isNull()


@THEMES
def test_a_focused_widget_looks_different(look, qtbot, qapp):
    theme.apply(qapp, look)
    for kind in (QPushButton, QLineEdit, QCheckBox):
        widget = kind("word")
        qtbot.addWidget(widget)
        widget.show()
        widget.clearFocus()
        before = widget.grab().toImage()
        qtbot.waitExposed(widget)
        widget.activateWindow()
        widget.setFocus(Qt.FocusReason.TabFocusReason)
        qtbot.waitUntil(widget.hasFocus)
        assert widget.grab().toImage() != before, kind.__name__
        widget.close()


def test_every_state_has_a_mark_and_they_are_tinted(qapp):
    assert {file.stem for file in (theme.assets() / "icons").glob("*.svg")} >= MARKS
    for file in (theme.assets() / "icons").glob("*.svg"):
        image = theme.pixmap(file.stem, QColor("#123456"), 16, 2.0).toImage()
        drawn = [image.pixelColor(x, y) for x in range(32) for y in range(32)]
        opaque = {colour.name() for colour in drawn if colour.alpha() == 255}
        assert opaque == {"#123456"}, file.stem
        assert image.size().width() == 32


def test_views_are_told_once_when_the_theme_changes(qtbot, qapp):
    appearance = theme.Appearance(qapp, "light")
    told: list[theme.Theme] = []
    appearance.changed.connect(told.append)
    appearance.choose("dark")
    appearance.choose("dark")
    assert told == [DARK]
    assert appearance.theme is DARK
    appearance.choose("light")
    assert qapp.palette().window().color() == LIGHT.colour("ground")
    appearance.choose("system")
    assert appearance.theme is theme.system_theme(qapp)
    appearance.deleteLater()


def test_figures_are_tabular(qapp):
    assert [tag.toString() for tag in theme.font("value").featureTags()] == [b"tnum"]
    assert theme.font("body").pointSizeF() == 10


def test_a_role_may_change_while_shown(qtbot, qapp):
    theme.apply(qapp, LIGHT)
    label = QLabel("step")
    qtbot.addWidget(label)
    theme.set_role(label, "muted")
    label.ensurePolished()
    assert label.palette().windowText().color() == LIGHT.colour("muted")
    theme.set_role(label, "failed")
    assert label.palette().windowText().color() == LIGHT.colour("failed")
