"""Charts. The only module that knows pyqtgraph, and none of its objects leave it."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QRectF, QSize, Qt, QTimer
from PySide6.QtGui import QAction, QFontMetricsF, QGuiApplication, QImage, QKeyEvent, QPaintEvent
from PySide6.QtWidgets import QFrame, QGridLayout, QSizePolicy, QVBoxLayout, QWidget

from workbench import theme as themes
from workbench.state.pyramid import Line
from workbench.state.series import Series, Smoothed, csv_text
from workbench.theme import Theme
from workbench.views.chart_cursor import ChartCursor
from workbench.views.chart_header import ChartHeader
from workbench.views.chart_line import FEW, ChartLine, corner, summary
from workbench.views.chart_overlay import Area, ChartOverlay, Marker, Marks, Point
from workbench.views.scales import Scale, Span, fitted, linear_ticks, logarithmic
from workbench.views.x_link import XLink

__all__ = ["Canvas", "Chart", "Marker", "XLink"]

WEIGHT = 0.9  # of the smoothed line, unless the user asks for another
TOP, RIGHT = 6.0, 16.0  # px free above, and at the right, where half of the last tick's label hangs over
Y_AXIS, X_AXIS = (
    44.0,
    24.0,
)  # px; the axis of y is at least so wide, so that the charts of a board stand in line
PIXELS_PER_X_TICK, PIXELS_PER_Y_TICK = 80, 40


class Canvas(QWidget):
    """Two axes and lines, drawn by pyqtgraph. It takes heights and ticks ready made and decides nothing.

    A bare ViewBox and two axes: a PlotItem brings menus and costs four times as long to make.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._items: dict[str, tuple[pg.PlotCurveItem, pg.PlotCurveItem]] = {}
        self._hairlines = pg.PlotCurveItem(connect="pairs")
        self._axes: object = None
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
        self._hairlines.setPen(pg.mkPen(theme.colour("line"), width=1))
        for axis in (self._x_axis, self._y_axis):
            axis.setPen(pg.mkPen(theme.colour("line")))
            axis.setTickPen(pg.mkPen(theme.colour("line")))
            axis.setTextPen(pg.mkPen(theme.colour("muted")))

    def add(self, name: str) -> None:
        thin, bold = pg.PlotCurveItem(antialias=False), pg.PlotCurveItem(antialias=True)
        bold.setSegmentedLineMode("on")  # the stroker takes 500 ms for a bold zigzag that this draws in 6
        bold.setZValue(1)  # above the thin lines of all series
        for item in (thin, bold):
            self._box.addItem(item, ignoreBounds=True)
        self._items[name] = (thin, bold)

    def remove(self, name: str) -> None:
        for item in self._items.pop(name):
            self._box.removeItem(item)

    def draw(
        self, name: str, line: ChartLine, strokes: tuple[Line | None, Line | None], area: Area, scale: Scale
    ) -> None:
        """Show the thin and the bold stroke of a line that was added."""
        is_behind = strokes[1] is not None
        pens = (
            pg.mkPen(line.style.pale if is_behind else line.style.colour, width=1),
            pg.mkPen(line.style.colour, width=2),
        )
        for item, pen, stroke in zip(self._items[name], pens, strokes, strict=True):
            if stroke is None:
                item.clear()
                continue
            joins = line.joins(stroke, area.x, area.rect.width(), is_bold=stroke is strokes[1])
            item.setPen(pen)
            item.setData(stroke.x, scale.forward(stroke.y), connect="all" if joins is None else joins)

    def draw_hairlines(self, xs: Sequence[float], heights: Span) -> None:
        """Verticals over the whole height at these x."""
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

    def area_rect(self) -> QRectF:
        """Where the lines are, in pixels of this widget."""
        size = self.size()
        return QRectF(self._y_width, TOP, size.width() - self._y_width - RIGHT, size.height() - TOP - X_AXIS)

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
    chart cannot be seen. Keys: Left and Right move the cursor, Page Up and Page Down by a tenth, Home shows
    everything.
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
        self._scale = Scale()
        self._heights: Span | None = None
        self._zoomed_heights: Span | None = None
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
        self._lines[name] = ChartLine(label or name, series, smoothed, colour_index, style, self._weight)
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
        self._heights = self._zoomed_heights = None

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
        # Escaped and marked up, as a tooltip would take a name with a tag in it for rich text.
        self._header.setToolTip(f"<p>{html.escape(hint)}</p>".replace("\n", "<br>") if hint else "")
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

    def picture(self, scale: float = 2.0) -> QImage:
        """The card as it stands, `scale` image pixels to a pixel of the window."""
        image = QImage(self.size() * scale, QImage.Format.Format_ARGB32_Premultiplied)
        image.setDevicePixelRatio(scale)
        image.fill(self._theme.colour("surface"))
        self.render(image)
        return image

    def copy_picture(self) -> None:
        QGuiApplication.clipboard().setImage(self.picture())

    def save_picture(self, path: Path) -> None:
        """Write a PNG. Raises OSError where it cannot be written."""
        if not self.picture().save(str(path)):
            raise OSError(f"{path}: the picture could not be written; choose another folder")

    def sizeHint(self) -> QSize:
        return QSize(340, 230)

    def refresh(self) -> None:
        """Draw what the series gained since the last time, if the chart can be seen."""
        if not self.isVisible() or self.visibleRegion().isEmpty():
            return  # paintEvent asks again when it comes into view
        for line in self._lines.values():
            first, last = line.series.first, line.series.last
            if first is not None and last is not None:
                self._link.include(first.x, last.x)
        stamp = self._stamp()
        if stamp != self._drawn:
            self._drawn = stamp
            self._draw()

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if self._stamp() != self._drawn:
            self._soon.start()

    def _stamp(self) -> object:
        samples = tuple(line.series.stamp for line in self._lines.values())
        ranges = (self._link.x_range, self._link.whole_range, self._zoomed_heights)
        return samples, ranges, self._canvas.size(), self.devicePixelRatioF()

    def _invalidate(self) -> None:
        self._drawn = None
        self._soon.start()

    def _draw(self) -> None:
        x = self._link.x_range
        area = self._canvas.set_axes(x, self._choose_heights(x), self._scale)
        pixels = max(round(area.rect.width() * self.devicePixelRatioF()), 1)
        ends: list[Point] = []
        dots: list[Point] = []
        for name, line in self._lines.items():
            strokes = line.strokes(x, pixels, self._link.whole_range)
            self._canvas.draw(name, line, strokes, area, self._scale)
            top = strokes[1] or strokes[0]
            ends += line.points(top, self._scale)[-1:] if top else []
            dots += line.points(top, self._scale) if top and top.x.size <= FEW else []
        self._canvas.draw_hairlines([marker.x for marker in self._markers], area.y)
        self._show_marks(area, ends, dots)
        self._header.set_values(corner(list(self._lines.values()), self._theme))
        self.setAccessibleDescription(self.summary())
        self._show_cursor(self._link.cursor)

    def _choose_heights(self, x: Span) -> Span:
        """The range of y, and the scale: from the extremes of all lines between the edges of x."""
        if self._zoomed_heights is not None:
            return self._zoomed_heights
        found = [line.series.extrema(*x) for line in self._lines.values()]
        low = min((e.low for e in found if e is not None), default=0.0)
        high = max((e.high for e in found if e is not None), default=1.0)
        scale = logarithmic(low, high) if self.is_logarithmic else Scale()
        if scale != self._scale:
            self._scale, self._heights = scale, None
        self._heights = fitted(self._heights, scale.height(low), scale.height(high))
        return self._heights

    def _show_marks(self, area: Area, ends: list[Point], dots: list[Point]) -> None:
        broken = tuple(s.x for line in self._lines.values() for s in line.series.broken(*area.x))
        names = tuple(ends) if len(self._lines) > 1 else ()
        message = "" if any(len(line.series) for line in self._lines.values()) else "no values yet"
        self._overlay.set_marks(area, Marks(names, (*dots, *ends), broken, self._markers, message))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if not self._cursor.take_key(event.key()):
            super().keyPressEvent(event)

    def _show_cursor(self, x: float | None) -> None:
        area = self._overlay.area
        self._overlay.set_readout(None if x is None else self._cursor.readout(x, self._scale, area, self._markers))

    def _zoom(self, x: Span, heights: Span | None) -> None:
        self._zoomed_heights = heights
        self._link.zoom(*x)

    def _follow_range(self) -> None:
        if not self._link.is_zoomed:
            self._zoomed_heights = None
        self.refresh()

    def _toggle_logarithmic(self) -> None:
        self._heights = self._zoomed_heights = None
        self._invalidate()
