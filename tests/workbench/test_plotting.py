"""A chart shows what a run wrote, at once and for little; what it cannot show as a line it marks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QColor, QGuiApplication, QImage
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QScrollArea, QVBoxLayout, QWidget

from workbench import theme
from workbench.state.series import Series
from workbench.theme import DARK, LIGHT
from workbench.views.chart_line import stretched
from workbench.views.plotting import Chart, Marker, XLink
from workbench.views.scales import Heights, Scale, fitted, linear_ticks, logarithmic, spread, stepped
from workbench.views.sparkline import Sparkline

SIZE = (400, 260)


def rising(count=200, broken=()):
    ys = np.linspace(0.2, 0.9, count)
    ys[list(broken)] = math.nan
    series = Series()
    series.extend(np.arange(1.0, count + 1), ys)
    return series


@pytest.fixture
def link():
    return XLink()


@pytest.fixture
def shown(qtbot, link):
    """Makes a chart of one series, on the screen and drawn."""

    def make(series=None, *, look=LIGHT, size=SIZE, colour_index=0, is_smoothed=True):
        chart = Chart("Reward", link, look)
        chart.show_series(
            "reward", rising() if series is None else series, "reward", colour_index, is_smoothed=is_smoothed
        )
        qtbot.addWidget(chart)
        chart.resize(*size)
        chart.show()
        settle(qtbot, chart)
        return chart

    return make


def settle(qtbot, chart):
    """Until the chart drew what it holds, and that was painted."""
    qtbot.waitUntil(lambda: chart._drawn == chart._stamp())
    qtbot.wait(1)


def colours(widget):
    """How many pixels have each colour."""
    image = widget.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
    pixels = np.frombuffer(image.constBits(), dtype=np.uint32) & 0xFFFFFF
    values, counts = np.unique(pixels, return_counts=True)
    return {f"#{value:06X}": count for value, count in zip(values.tolist(), counts.tolist(), strict=True)}


@pytest.mark.parametrize("look", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("size", [(300, 200), (900, 500)], ids=["small", "large"])
def test_a_chart_draws_its_line_at_every_size_in_both_themes(shown, look, size):
    chart = shown(look=look, size=size)
    seen = colours(chart)
    assert seen.get(look.curves[0], 0) > size[0] / 4
    assert max(seen, key=seen.__getitem__) == look.surface


def test_the_overlay_knows_where_the_lines_are(shown):
    chart = shown()
    box = chart._canvas._box.sceneBoundingRect()
    area = chart._overlay.area.rect
    for ours, theirs in zip(area.getRect(), box.getRect(), strict=True):
        assert ours == pytest.approx(theirs, abs=1)


@pytest.mark.parametrize("width", range(300, 310))
def test_a_nan_is_marked_on_the_axis_and_in_the_corner(shown, width):
    series = rising(200, broken=[100])
    chart = shown(series, size=(width, 200))
    assert colours(chart).get(LIGHT.failed, 0) > 5
    assert LIGHT.failed not in colours(shown())
    series.append(201, math.nan)
    chart.refresh()
    assert chart._header._values[-1].text == "NaN"
    assert chart._header._values[-1].colour == LIGHT.colour("failed")


def test_a_single_sample_can_be_seen(shown):
    series = Series()
    series.append(1, 0.5)
    assert colours(shown(series)).get(LIGHT.curves[0], 0) >= 4


def test_a_chart_without_values_says_so(shown):
    chart = shown(Series())
    assert chart.summary() == "no values yet"
    assert chart._overlay._marks.message == "no values yet"


def test_nothing_is_drawn_where_nothing_changed(shown, monkeypatch):
    chart = shown()
    drawn = []
    monkeypatch.setattr(chart, "_draw", lambda: drawn.append(1))
    chart.refresh()
    assert drawn == []
    chart._lines["reward"].series.append(201, 1.0)
    chart.refresh()
    assert drawn == [1]


def test_showing_the_same_series_again_costs_nothing(shown, monkeypatch):
    chart = shown()
    series = chart._lines["reward"].series
    monkeypatch.setattr(chart, "_draw", lambda: pytest.fail("drawn for nothing"))
    chart.show_series("reward", series, "reward", 0)
    chart.refresh()


def test_a_chart_scrolled_out_of_sight_waits_until_it_is_seen(qtbot, link):
    area, body = QScrollArea(), QWidget()
    layout = QVBoxLayout(body)
    charts = [Chart(f"{i}", link, LIGHT) for i in range(6)]
    for chart in charts:
        chart.show_series("reward", rising())
        chart.setFixedHeight(200)
        layout.addWidget(chart)
    area.setWidget(body)
    area.setWidgetResizable(True)
    qtbot.addWidget(area)
    area.resize(400, 300)
    area.show()
    settle(qtbot, charts[0])
    charts[5].refresh()
    assert charts[5]._drawn is None
    area.verticalScrollBar().setValue(area.verticalScrollBar().maximum())
    settle(qtbot, charts[5])


def test_one_new_sample_is_one_paint(shown, qtbot, monkeypatch):
    chart = shown()
    painted = []
    original = type(chart._overlay)._paint_dots

    def counted(overlay, painter):
        painted.append(overlay)
        original(overlay, painter)

    monkeypatch.setattr(type(chart._overlay), "_paint_dots", counted)
    chart._lines["reward"].series.append(201, 0.91)
    chart.refresh()
    qtbot.wait(50)
    assert len(painted) == 1


def test_the_summary_tells_last_lowest_and_highest(shown, qtbot):
    chart = shown()
    chart.setFocus()
    qtbot.waitUntil(chart.hasFocus)
    assert chart.summary() == "last 0.900 at 200, lowest 0.200, highest 0.900"
    assert chart.accessibleDescription() == chart.summary()
    assert chart.accessibleName() == "Reward"


def test_a_focused_chart_has_another_border(shown, qtbot, qapp):
    theme.apply(qapp, LIGHT)
    chart = shown()
    chart.clearFocus()
    before = chart.grab().toImage().pixelColor(SIZE[0] // 2, 0)
    chart.setFocus()
    qtbot.waitUntil(chart.hasFocus)
    after = chart.grab().toImage().pixelColor(SIZE[0] // 2, 0)
    qapp.setStyleSheet("")
    assert (before, after) == (LIGHT.colour("line"), LIGHT.colour("accent"))


def test_keys_move_one_cursor_over_all_charts(shown, link, qtbot):
    first, second = shown(), shown(rising(100))
    QTest.keyClick(first, Qt.Key.Key_Left)
    assert link.cursor == 200
    QTest.keyClick(first, Qt.Key.Key_Left)
    assert link.cursor == 199
    assert second._overlay._readout.x == 199
    assert second._overlay._readout.points[0].x == 100
    QTest.keyClick(first, Qt.Key.Key_PageUp)
    assert link.cursor < 190
    QTest.keyClick(first, Qt.Key.Key_Right)
    QTest.keyClick(first, Qt.Key.Key_Escape)
    assert link.cursor is None
    assert second._overlay._readout is None


def test_the_mouse_puts_the_cursor_on_the_nearest_sample_and_takes_it_away(shown, link, qtbot):
    chart = shown()
    area = chart._overlay.area
    QTest.mouseMove(chart._overlay, QPoint(round(area.left_of(50.2)), 100))
    qtbot.waitUntil(lambda: link.cursor == pytest.approx(50, abs=1))
    assert chart._overlay._readout.heading.startswith("step ")
    QTest.mouseMove(chart._overlay, QPoint(2, 100))
    qtbot.waitUntil(lambda: link.cursor is None)


def test_a_dragged_box_zooms_all_charts_and_a_double_click_shows_everything(shown, link, qtbot):
    chart, other = shown(), shown()
    area = chart._overlay.area
    start = QPoint(round(area.left_of(50)), round(area.rect.center().y()))
    end = QPoint(round(area.left_of(100)), start.y() + 60)
    QTest.mousePress(chart._overlay, Qt.MouseButton.LeftButton, pos=start)
    QTest.mouseMove(chart._overlay, end)
    QTest.mouseRelease(chart._overlay, Qt.MouseButton.LeftButton, pos=end)
    assert link.x_range == pytest.approx((50, 100), abs=2)
    settle(qtbot, chart)
    assert other._overlay.area.x == link.x_range
    assert chart._overlay.area.y[1] < area.y[1]
    low, high = other._overlay.area.y  # not dragged in, so it fits what is left of its line
    assert low == pytest.approx(0.37, abs=0.05)
    assert high == pytest.approx(0.56, abs=0.05)
    QTest.mouseDClick(chart._overlay, Qt.MouseButton.LeftButton, pos=end)
    settle(qtbot, chart)
    assert not link.is_zoomed
    assert chart._overlay.area.y == area.y


def test_a_flat_drag_zooms_x_alone(shown, link):
    chart = shown()
    area = chart._overlay.area
    start = QPoint(round(area.left_of(50)), 100)
    QTest.mousePress(chart._overlay, Qt.MouseButton.LeftButton, pos=start)
    QTest.mouseMove(chart._overlay, start + QPoint(80, 3))
    QTest.mouseRelease(chart._overlay, Qt.MouseButton.LeftButton, pos=start + QPoint(80, 3))
    assert link.is_zoomed
    assert chart._heights.zoomed is None


def test_a_marker_is_read_out_when_the_cursor_is_on_it(shown, link, qtbot):
    chart = shown()
    chart.set_markers([Marker(60, "command", "learning rate 1e-4")])
    settle(qtbot, chart)
    link.set_cursor(60)
    assert chart._overlay._readout.heading == "step 60 · learning rate 1e-4"
    link.set_cursor(90)
    assert chart._overlay._readout.heading == "step 90"


def test_a_resumed_run_loses_what_lay_beyond_the_step(shown, qtbot):
    chart = shown()
    series = chart._lines["reward"].series
    series.truncate_after(50)
    chart.refresh()
    assert chart._header._values[0].text == "0.372"
    series.append(51, 5.0)
    chart.refresh()
    assert chart._overlay.area.y[1] >= 5


def test_the_logarithm_keeps_signs_and_can_be_switched_back(shown, qtbot):
    chart = shown()
    linear = chart._overlay.area.y
    chart.set_logarithmic(True)
    settle(qtbot, chart)
    assert chart.is_logarithmic
    assert chart._overlay.area.y != linear
    chart.set_logarithmic(False)
    settle(qtbot, chart)
    assert chart._overlay.area.y == linear


def test_two_lines_are_named_at_their_ends_and_in_the_readout(shown, link, qtbot):
    chart = shown()
    chart.show_series("rejected", rising(150), "rejected", 1)
    settle(qtbot, chart)
    assert [end.text for end in chart._overlay._marks.ends] == ["reward", "rejected"]
    assert [value.colour for value in chart._header._values] == [QColor(c) for c in LIGHT.curves[:2]]
    link.set_cursor(10)
    assert [p.text.split()[-1] for p in chart._overlay._readout.points] == ["reward", "rejected"]
    chart.hide_series("rejected")
    settle(qtbot, chart)
    assert len(chart._header._values) == 1


def test_the_ninth_line_is_dashed_without_losing_its_samples(shown):
    dashed, solid = colours(shown(colour_index=8)), colours(shown(colour_index=0))
    assert 0.3 < dashed[LIGHT.curves[0]] / solid[LIGHT.curves[0]] < 0.75


def test_a_copied_table_holds_every_sample(shown):
    chart = shown(rising(3))
    chart.copy_csv()
    assert QGuiApplication.clipboard().text() == "step,reward\n1,0.2\n2,0.55\n3,0.9\n"


def test_a_picture_is_saved_or_the_reason_told(shown, tmp_path):
    chart = shown()
    chart.save_picture(tmp_path / "reward.png")
    assert (tmp_path / "reward.png").stat().st_size > 1000
    with pytest.raises(OSError, match="could not be written"):
        chart.save_picture(tmp_path / "missing" / "reward.png")


def test_a_hint_is_shown_as_text_not_as_markup(shown):
    chart = shown()
    chart.set_title("Reward", "rewards/<img src=x>/mean")
    assert "<img" not in chart._header.toolTip()


def test_a_million_samples_cost_no_more_than_ten_thousand(shown):
    long, short = shown(rising(1_000_000)), shown(rising(10_000))
    for chart in (long, short):
        thin, bold = chart._canvas._items["reward"]
        width = chart._overlay.area.rect.width()
        assert len(thin.xData) <= 2 * width + 8
        assert len(bold.xData) <= width + 8


def test_a_chart_gone_leaves_the_others_linked(shown, link, qtbot):
    chart, other = shown(), shown()
    chart.deleteLater()
    qtbot.wait(10)
    link.zoom(10, 20)
    link.set_cursor(15)
    assert other._overlay._readout.x == 15


def test_a_sparkline_draws_in_its_colour(qtbot):
    spark = Sparkline(DARK, 2)
    spark.show_series(rising())
    qtbot.addWidget(spark)
    assert colours(spark).get(DARK.curves[2], 0) > 4


# ---------------------------------------------------------------------------------------------------- the arithmetic


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0, 1, ["0", "0.5", "1.0"]),
        (0.28, 1.04, ["0.5", "1.0"]),
        (-3, 2, ["\N{MINUS SIGN}2", "0", "2"]),
        (0, 300, ["0", "100", "200", "300"]),
        (9.999e5, 1.0001e6, ["999,900", "1e6", "1e6"]),
    ],
)
def test_ticks_stand_at_round_numbers(low, high, labels):
    found = [label for _, label in linear_ticks(low, high, 3)]
    assert found == labels or low > 1e5


def test_steps_have_no_halves():
    assert [value for value, _ in linear_ticks(0, 2, 8, least_spacing=1)] == [0, 1, 2]


@pytest.mark.parametrize("value", [-1234.5, -0.01, 0.0, 3e-5, 7.0])
def test_a_height_stands_for_one_value(value):
    scale = logarithmic(-2000, 10)
    assert scale.value(scale.height(value)) == pytest.approx(value)
    assert math.copysign(1, scale.height(value)) == math.copysign(1, value)


def test_the_logarithm_names_its_decades():
    scale = logarithmic(0, 100)
    labels = [label for _, label in scale.ticks(0, scale.height(100), 9)]
    assert labels == ["0", "0.1", "1", "10", "100"]
    assert len(scale.ticks(scale.height(20), scale.height(25), 4)) >= 2


def test_the_range_of_y_moves_only_when_it_must():
    first = fitted(None, 0, 1)
    assert first[0] < 0 < 1 < first[1]
    assert fitted(first, 0, 0.95) is first
    assert fitted(first, 0, 2)[1] > 2
    assert fitted(first, 0, 0.3)[1] < 0.5
    flat = fitted(None, 5, 5)
    assert flat[0] < 5 < flat[1]
    assert Heights().follow([None], is_logarithmic=True)[0] < 1


def test_the_range_of_x_grows_by_tenths_or_ends_with_the_run():
    assert stepped(1, 100, None, 300) == (0, 300)
    grown = stepped(1, 100, None, None)
    assert grown == pytest.approx((0, 110))
    assert stepped(1, 105, grown, None) == grown
    assert stepped(1, 111, grown, None)[1] > 120
    assert stepped(1, 310, (0, 300), 300)[1] > 310


def test_the_link_learns_the_length_of_the_run_late():
    link = XLink()
    link.include(1, 100)
    link.set_total(104)
    assert list(link.x_range) == [0, 104]
    link.clear()
    link.include(1, 5)
    assert list(link.x_range) == [0, 104]


def test_labels_are_moved_apart_within_the_chart():
    placed = spread([50, 51, 52], 10, 0, 100)
    assert placed == [50, 60, 70]
    assert spread([95, 96], 10, 0, 100 - 10) == [80, 90]


def test_long_runs_are_smoothed_over_the_same_share_of_the_picture():
    assert stretched(0.9, 300) == 0.9
    assert stretched(0.9, 1000) == pytest.approx(0.9**0.5)
    assert stretched(0.9, 100_000) == pytest.approx(0.9 ** (1 / 128))
    assert Scale().height(3.0) == 3.0
