"""Charts. The only module that knows pyqtgraph, and none of its objects leave it."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QRectF, Qt, QTimer
from PySide6.QtGui import (
    QAccessible,
    QAction,
    QFocusEvent,
    QFontMetricsF,
    QGuiApplication,
    QKeyEvent,
    QPaintEvent,
    QPen,
)
from PySide6.QtWidgets import QFrame, QGridLayout, QSizePolicy, QVBoxLayout, QWidget

from workbench import theme as themes
from workbench.state.series import Series, Smoothed, csv_text
from workbench.theme import Theme
from workbench.views.chart_cursor import ChartCursor
from workbench.views.chart_header import ChartHeader
from workbench.views.chart_line import FEW, ChartLine, Strokes, corner, summary
from workbench.views.chart_overlay import Area, ChartOverlay, Marker, Marks, Point, Readout
from workbench.views.labels import tip
from workbench.views.pictures import picture_of, save_picture
from workbench.views.scales import Heights, Scale, Span, linear_ticks
from workbench.views.x_link import XLink

__all__ = ["Canvas", "Chart", "Marker", "XLink"]

WEIGHT = 0.9  # of the smoothed line, unless the user asks for another
TOP, RIGHT = 6.0, 16.0  # px free above, and at the right, where half of the last tick's label hangs over
Y_AXIS, X_AXIS = 44.0, 24.0  # px; y is at least so wide, so that the charts of a board stand in line
PIXELS_PER_X_TICK, PIXELS_PER_Y_TICK = 80, 40


@functools.cache
def _pen(colour: str, width: int) -> QPen:
    pen: QPen = pg.mkPen(colour, width=width)
    return pen


class _Stroke(pg.PlotCurveItem):  # type: ignore[misc]  # pyqtgraph has no types
    """A line as large as what is shown: to find its true bounds costs more than to draw it."""

    def boundingRect(self) -> QRectF:
        box = self.getViewBox()
        return QRectF() if box is None else QRectF(box.viewRect())


class Canvas(QWidget):
    """Two axes and lines, drawn by pyqtgraph. It takes heights and ticks ready made and decides nothing.

    A bare ViewBox and two axes: a PlotItem brings menus and costs four times as long to make.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._items: dict[str, tuple[_Stroke, _Stroke]] = {}
        self._hairlines = _Stroke(connect="pairs")
        self._axes: object = None
        self._ruled: object = None
        self._y_width = Y_AXIS
        self._view = pg.GraphicsView(self)
        self._view.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._box = pg.ViewBox(enableMouse=False, enableMenu=False, defaultPadding=0)
        self._x_axis, self._y_axis = pg.AxisItem("bottom"), pg.AxisItem("left")
        self._place_items()

    def _place_items(self) -> None:
        layout = pg.GraphicsLayout()
        layout.setContentsMargins(0, TOP, RIGHT, 0)
        layout.setSpacing(0)
        layout.addItem(self._y_axis, 0, 0)
        layout.addItem(self._box, 0, 1)
        layout.addItem(self._x_axis, 1, 1)
        for axis in (self._x_axis, self._y_axis):
            axis.linkToView(self._box)
            axis.setTickFont(themes.font("tick"))
            axis.setStyle(tickLength=4, tickTextOffset=3, autoExpandTextSpace=False, hideOverlappingLabels=False)
        self._x_axis.setHeight(X_AXIS)
        self._y_axis.setWidth(Y_AXIS)
        self._box.addItem(self._hairlines, ignoreBounds=True)
        self._hairlines.setZValue(-1)  # they stand behind the lines
        self._view.setCentralItem(layout)

    def set_theme(self, theme: Theme) -> None:
        self._view.setBackground(theme.colour("surface"))
        self._hairlines.setPen(_pen(theme.line, 1))
        for axis in (self._x_axis, self._y_axis):
            axis.setPen(_pen(theme.line, 1))
            axis.setTickPen(_pen(theme.line, 1))
            axis.setTextPen(_pen(theme.muted, 1))

    def add(self, name: str) -> None:
        thin, bold = _Stroke(antialias=False), _Stroke(antialias=True)
        bold.setSegmentedLineMode("on")  # the stroker takes 500 ms for a bold zigzag that this draws in 6
        bold.setZValue(1)  # above the thin lines of all series
        for item in (thin, bold):
            self._box.addItem(item, ignoreBounds=True)
        self._items[name] = (thin, bold)

    def remove(self, name: str) -> None:
        for item in self._items.pop(name):
            self._box.removeItem(item)

    def draw(self, name: str, line: ChartLine, strokes: Strokes, area: Area, scale: Scale) -> None:
        """Show the thin and the bold stroke of a line that was added."""
        thin = line.style.pale if strokes[1] is not None else line.style.colour
        pens = (_pen(thin.name(), 1), _pen(line.style.colour.name(), 2))
        for item, pen, stroke in zip(self._items[name], pens, strokes, strict=True):
            if stroke is None:
                item.clear()
                continue
            joins = line.joins(stroke, area.x, area.rect.width(), is_bold=stroke is strokes[1])
            if item.opts["pen"] != pen:
                item.setPen(pen)
            item.setData(stroke.x, scale.forward(stroke.y), connect="all" if joins is None else joins)

    def draw_hairlines(self, xs: Sequence[float], heights: Span) -> None:
        """Verticals over the whole height at these x."""
        asked = (tuple(xs), heights)
        if asked != self._ruled:
            self._ruled = asked
            self._hairlines.setData(np.repeat(np.asarray(xs, dtype=np.float64), 2), np.tile(heights, len(xs)))

    def set_axes(self, x: Span, heights: Span, scale: Scale) -> Area:
        """Show this range; says where on the canvas it is. Cheap where nothing changed."""
        asked = (x, heights, scale, self.size())
        if asked != self._axes:
            self._axes = asked
            rows = max(int(self.area_rect().height()) // PIXELS_PER_Y_TICK, 2)
            y_ticks = scale.ticks(*heights, rows)
            self._widen_for([label for _, label in y_ticks])
            columns = max(int(self.area_rect().width()) // PIXELS_PER_X_TICK, 2)
            self._y_axis.setTicks([y_ticks])
            self._x_axis.setTicks([linear_ticks(*x, columns, least_spacing=1)])
            self._box.setRange(xRange=x, yRange=heights, padding=0, disableAutoRange=True)
        return Area(self.area_rect(), x, heights)

    def repaint_all(self) -> None:
        """Once, with what lies over it: an update of the overlay alone would be a second paint."""
        self._view.scene().update()

    def area_rect(self) -> QRectF:
        """Where the lines are, in pixels of this widget."""
        return QRectF(self.rect()).adjusted(self._y_width, TOP, -RIGHT, -X_AXIS)

    def cover(self, overlay: QWidget) -> None:
        """Lay a widget over the lines, of the same size."""
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._view, 0, 0)
        layout.addWidget(overlay, 0, 0)
        overlay.raise_()

    def _widen_for(self, labels: list[str]) -> None:
        measure = QFontMetricsF(themes.font("tick"))
        widest = max((measure.horizontalAdvance(label) for label in labels), default=0.0)
        # In steps of 8, so that the axis does not move with every digit.
        width = max(Y_AXIS, math.ceil((widest + 14) / 8) * 8.0)
        if width != self._y_width:
            self._y_width = width
            self._y_axis.setWidth(width)


class Chart(QFrame):
    """A card that draws one or more series over a shared x, with their last values in the corner.

    It holds no data: `refresh` reads what the series gained, and costs nothing where nothing changed or the
    chart cannot be seen. Keys: Left, Right, Page Up, Page Down move the cursor; Home shows everything.
    """

    def __init__(
        self,
        title: str,
        link: XLink,
        theme: Theme,
        *,
        hint: str = "",
        x_name: str = "step",
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._link = link
        self._theme = theme
        self._x_name = x_name
        self._lines: dict[str, ChartLine] = {}
        self._cursor = ChartCursor(link, self._lines, x_name)
        self._markers: tuple[Marker, ...] = ()
        self._weight = WEIGHT
        self._heights = Heights()
        self._drawn: object = None
        self._header = ChartHeader(title, theme)
        self._canvas = Canvas()
        self._overlay = ChartOverlay(self._canvas, theme)
        self._log_action = QAction("Logarithmic y", self, checkable=True)
        self._soon = QTimer(self, singleShot=True, interval=0)
        self._build()
        self.set_title(title, hint)
        self.set_theme(theme)

    def _build(self) -> None:
        self._canvas.cover(self._overlay)
        themes.set_role(self, "card")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(180, 130)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(1, 1, 1, 4)
        layout.setSpacing(0)
        layout.addWidget(self._header)
        layout.addWidget(self._canvas, 1)
        self._log_action.toggled.connect(self._toggle_logarithmic)
        self.addAction("Copy as CSV", self.copy_csv)
        self.addAction("Copy picture", self.copy_picture)
        self.addAction(self._log_action)
        self.addAction("Show everything", self._link.reset)
        self._overlay.hovered.connect(self._cursor.point_at)
        self._overlay.left.connect(lambda: self._link.set_cursor(None))
        self._overlay.boxed.connect(self._zoom)
        self._overlay.reset_wanted.connect(self._link.reset)
        self._link.range_changed.connect(self._follow_range)
        self._link.cursor_moved.connect(self._show_cursor)
        self._soon.timeout.connect(self.refresh)

    def show_series(
        self, name: str, series: Series, label: str = "", colour_index: int = 0, *, is_smoothed: bool = True
    ) -> None:
        """Draw `series` under `name`, in place of what was drawn under it.

        label: stands at the line's end and in the readout where the chart has several lines.
        is_smoothed: False for series of few samples, such as evaluations, which are drawn as they are.
        """
        before = self._lines.get(name)
        if before is not None and before.shows(series, label or name, colour_index, is_smoothed=is_smoothed):
            return
        if before is None:
            self._canvas.add(name)
        smoothed = Smoothed(series) if is_smoothed else None
        style = self._theme.curve(colour_index)
        self._lines[name] = ChartLine(name, label or name, series, smoothed, colour_index, style, self._weight)
        self._invalidate()

    def hide_series(self, name: str) -> None:
        """Stop drawing what `show_series` drew under `name`."""
        if self._lines.pop(name, None) is not None:
            self._canvas.remove(name)
            self._invalidate()

    def clear(self) -> None:
        """Stop drawing everything, as before another run is shown."""
        for name in list(self._lines):
            self.hide_series(name)
        self._markers = ()
        self._heights.forget()

    def set_markers(self, markers: Sequence[Marker]) -> None:
        """What happened during the run, as hairlines over the chart."""
        if tuple(markers) != self._markers:
            self._markers = tuple(markers)
            self._invalidate()

    def set_smoothing(self, weight: float) -> None:
        """0 <= weight < 1; 0 draws the samples alone. A long run is smoothed over the same share of the picture."""
        self._weight = weight
        for line in self._lines.values():
            line.weight = weight
        self._invalidate()

    def set_logarithmic(self, is_logarithmic: bool) -> None:
        """A symmetric logarithm for y: signs are kept, and zero has its place."""
        self._log_action.setChecked(is_logarithmic)

    def set_title(self, title: str, hint: str = "") -> None:
        """title: what the chart means. hint: plain text for the tooltip: metric name, formula, source."""
        self._header.set_title(title)
        self._header.setToolTip(tip(hint))
        self.setAccessibleName(title)

    def set_theme(self, theme: Theme) -> None:
        self._theme = theme
        for part in (self._canvas, self._header, self._overlay):
            part.set_theme(theme)
        for line in self._lines.values():
            line.style = theme.curve(line.colour_index)
        self._invalidate()

    @property
    def is_logarithmic(self) -> bool:
        return self._log_action.isChecked()

    def summary(self) -> str:
        """The chart in words: last, lowest and highest value of each line."""
        return summary(list(self._lines.values()))

    def csv(self) -> str:
        """Every sample of every line, at full resolution."""
        return csv_text({name: line.series for name, line in self._lines.items()}, self._x_name)

    def copy_csv(self) -> None:
        QGuiApplication.clipboard().setText(self.csv())

    def copy_picture(self) -> None:
        QGuiApplication.clipboard().setImage(picture_of(self, self._theme.colour("surface")))

    def save_picture(self, path: Path) -> None:
        """Write the card as it stands. Raises OSError where that cannot be done."""
        save_picture(picture_of(self, self._theme.colour("surface")), path)

    def refresh(self) -> None:
        """Draw what the series gained since the last time, if the chart can be seen."""
        if not self.isVisible() or self.visibleRegion().isEmpty():
            return  # paintEvent asks again when it comes into view
        for line in self._lines.values():
            first, last = line.series.first, line.series.last
            if first is not None and last is not None:
                self._link.include(first.x, last.x)
        if (stamp := self._stamp()) != self._drawn:
            self._drawn = stamp
            self._draw()

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if self._stamp() != self._drawn:
            self._soon.start()

    def _stamp(self) -> object:
        samples = tuple(line.series.stamp for line in self._lines.values())
        ranges = (self._link.x_range, self._link.whole_range, self._heights.zoomed)
        return samples, ranges, self._canvas.size(), self.devicePixelRatioF()

    def _invalidate(self) -> None:
        self._drawn = None
        self._soon.start()

    def _draw(self) -> None:
        x = self._link.x_range
        extrema = (line.series.extrema(*x) for line in self._lines.values())
        heights = self._heights.follow(extrema, is_logarithmic=self.is_logarithmic)
        scale = self._heights.scale
        area = self._canvas.set_axes(x, heights, scale)
        pixels = max(round(area.rect.width() * self.devicePixelRatioF()), 1)
        ends: list[Point] = []
        dots: list[Point] = []
        for name, line in self._lines.items():
            strokes = line.strokes(x, pixels, self._link.whole_range)
            self._canvas.draw(name, line, strokes, area, scale)
            top = strokes[1] or strokes[0]
            if top is not None:
                ends += line.points(top, scale, 1)
                dots += line.points(top, scale, FEW) if top.x.size <= FEW else []
        self._canvas.draw_hairlines([marker.x for marker in self._markers], area.y)
        self._show_marks(area, ends, dots)
        self._header.set_values(corner(list(self._lines.values()), self._theme))
        if QAccessible.isActive() or self.hasFocus():
            self.setAccessibleDescription(self.summary())

    def _show_marks(self, area: Area, ends: list[Point], dots: list[Point]) -> None:
        broken = tuple(s.x for line in self._lines.values() for s in line.series.broken(*area.x))
        message = "" if any(len(line.series) for line in self._lines.values()) else "no values yet"
        marks = Marks(tuple(ends), (*dots, *ends), broken, self._markers, message)
        self._overlay.set_marks(area, marks, self._readout(area))
        self._canvas.repaint_all()

    def focusInEvent(self, event: QFocusEvent) -> None:
        self.setAccessibleDescription(self.summary())
        super().focusInEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if not self._cursor.take_key(event.key()):
            super().keyPressEvent(event)

    def _show_cursor(self) -> None:
        self._overlay.set_readout(self._readout(self._overlay.area))

    def _readout(self, area: Area) -> Readout | None:
        return self._cursor.readout(self._link.cursor, self._heights.scale, area, self._markers)

    def _zoom(self, x: Span, heights: Span | None) -> None:
        self._heights.zoomed = heights
        self._link.zoom(*x)

    def _follow_range(self) -> None:
        if not self._link.is_zoomed:
            self._heights.zoomed = None
        self.refresh()

    def _toggle_logarithmic(self) -> None:
        self._heights.forget()
        self._invalidate()
