"""A small plot with two logarithmic axes: the order of an error is the slope of its line."""

import math
from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QWidget

from workbench import theme
from workbench.state import figures
from workbench.state.lab import Bounds, LogLine, bounds_of, decades, steps_between
from workbench.theme import Theme
from workbench.views import small_plot
from workbench.views.small_plot import BOTTOM, LEAST, SIZE, TOP

LEFT = 36.0  # px; the words of the axis stand there
LEGEND = 158.0  # px at the right
ROW = 15.0  # px, of the legend
TEXT_GAP = 34.0  # px that a number below the axis takes


class LogPlot(QWidget):
    """Shows lines as they are given, with their names beside them. It can be read out: its description says it all."""

    def __init__(self, name: str, x_name: str) -> None:
        super().__init__()
        small_plot.set_up(self, name)
        self._x_name = x_name
        self._lines: tuple[LogLine, ...] = ()
        self._colours = theme.LIGHT

    def show_lines(self, lines: Sequence[LogLine]) -> None:
        if tuple(lines) != self._lines:
            self._lines = tuple(lines)
            self.setAccessibleDescription("; ".join(map(_said, lines)))
            self.update()

    def set_theme(self, colours: Theme) -> None:
        self._colours = colours
        self.update()

    def sizeHint(self) -> QSize:
        return SIZE

    def minimumSizeHint(self) -> QSize:
        return LEAST

    def paintEvent(self, event: QPaintEvent) -> None:
        bounds = bounds_of(self._lines)
        with small_plot.painting(self, LEFT, LEGEND) as (painter, room):
            self._paint_axes(painter, room, bounds)
            for index, line in enumerate(self._lines):
                self._paint_line(painter, room, bounds, line, index)
            self._paint_legend(painter)

    def _paint_axes(self, painter: QPainter, room: QRectF, bounds: Bounds) -> None:
        rule, words = self._colours.colour("line"), self._colours.colour("muted")
        last = -math.inf
        end = room.right() - QFontMetricsF(painter.font()).horizontalAdvance(self._x_name) / 2
        for count in steps_between(bounds.left, bounds.right):
            x = _at(room, bounds, math.log10(count), bounds.low).x()
            if x - last < TEXT_GAP or x > end:
                continue
            last = x
            painter.setPen(words)
            where = QRectF(x - 30, room.bottom() + 3, 60, BOTTOM)
            painter.drawText(where, Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop, figures.count(count))
        for power in decades(bounds.low, bounds.high, max(int(room.height() / 22), 2)):
            y = _at(room, bounds, bounds.left, power).y()
            painter.setPen(QPen(rule, 1))
            painter.drawLine(QPointF(room.left(), y), QPointF(room.right(), y))
            painter.setPen(words)
            where = QRectF(0, y - 8, LEFT - 5, 16)
            painter.drawText(where, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, _power(power))
        painter.setPen(words)
        below = QRectF(room.right() + 6, room.bottom() + 3, LEGEND - 6, BOTTOM)
        painter.drawText(below, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop, self._x_name)

    def _paint_line(self, painter: QPainter, room: QRectF, bounds: Bounds, line: LogLine, index: int) -> None:
        points = [_at(room, bounds, math.log10(x), math.log10(y)) for x, y in line.points]
        colour = self._colour(index)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(colour, 1.6, self._dash(index, line)))
        painter.drawPolyline(QPolygonF(points))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(colour)
        for point in points:
            painter.drawEllipse(point, 2.4, 2.4)

    def _paint_legend(self, painter: QPainter) -> None:
        left = self.width() - LEGEND + 6
        metrics = QFontMetricsF(theme.font("tick"))
        row = min(ROW, max((self.height() - TOP - BOTTOM) / max(len(self._lines), 1), 9.0))
        for index, line in enumerate(self._lines):
            y = TOP + row * (index + 0.5)
            painter.setPen(QPen(self._colour(index), 2, self._dash(index, line)))
            painter.drawLine(QPointF(left, y), QPointF(left + 12, y))
            painter.setPen(self._colours.colour("text"))
            words = f"{line.name}  {line.note}" if line.note else line.name
            shown = metrics.elidedText(words, Qt.TextElideMode.ElideRight, LEGEND - 26)
            where = QRectF(left + 17, y - 8, LEGEND - 24, 16)
            painter.drawText(where, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, shown)

    def _colour(self, index: int) -> QColor:
        return self._colours.curve(index).colour

    def _dash(self, index: int, line: LogLine) -> Qt.PenStyle:
        is_dashed = line.is_dashed or self._colours.curve(index).is_dashed
        return Qt.PenStyle.DashLine if is_dashed else Qt.PenStyle.SolidLine


def _at(room: QRectF, bounds: Bounds, x: float, y: float) -> QPointF:
    across = (x - bounds.left) / (bounds.right - bounds.left)
    up = (y - bounds.low) / (bounds.high - bounds.low)
    return QPointF(room.left() + across * room.width(), room.bottom() - up * room.height())


def _power(power: int) -> str:
    """10 to this power, as people write it: 1, 0.01, 1e-6."""
    return figures.number(10.0**power, 1) if power > -3 else f"1e{figures.MINUS}{-power}"


def _said(line: LogLine) -> str:
    return f"{line.name}: {', '.join(figures.number(y) for _, y in line.points)} {line.note}"
