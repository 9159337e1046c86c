"""A curve in a few pixels: the shape of a metric beside a run's name, without axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import QPointF, QRect, QRectF, QSize
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from workbench.state.pyramid import Floats, Line
from workbench.state.series import Series
from workbench.theme import Theme

EDGE = 2.5  # px kept free, so that the last dot is whole
DOT = 2.0  # px, radius of the dot on the newest value


def paint_sparkline(painter: QPainter, rect: QRect, values: Sequence[float] | Floats, colour: QColor) -> None:
    """Draw the finite values, (n,), at even distances over the whole of `rect`; for delegates."""
    heights = np.asarray(values, dtype=np.float64)
    _paint(painter, QRectF(rect), Line(np.arange(heights.size, dtype=np.float64), heights), colour)


class Sparkline(QWidget):
    """The whole of a series in a strip. It draws at the cost of its width, whatever the length."""

    def __init__(self, theme: Theme, colour_index: int = 0, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._series: Series | None = None
        self._colour_index = colour_index
        self._colour = theme.curve(colour_index).colour
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)

    def show_series(self, series: Series | None) -> None:
        self._series = series
        self.update()

    def set_theme(self, theme: Theme) -> None:
        self._colour = theme.curve(self._colour_index).colour
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(64, 20)

    def paintEvent(self, event: QPaintEvent) -> None:
        if self._series is not None:
            painter = QPainter(self)
            drawn = self._series.draw(-math.inf, math.inf, self.width())
            _paint(painter, QRectF(self.rect()), drawn, self._colour)
            painter.end()


def _paint(painter: QPainter, rect: QRectF, line: Line, colour: QColor) -> None:
    finite = np.isfinite(line.y)
    x, y = line.x[finite], line.y[finite]
    if not x.size:
        return
    inside = rect.adjusted(EDGE, EDGE, -EDGE, -EDGE)
    # A flat line stands in the middle.
    across = (x - x[0]) / (x[-1] - x[0]) if x[-1] > x[0] else np.ones_like(x)
    up = (y - y.min()) / (y.max() - y.min()) if y.max() > y.min() else np.full_like(y, 0.5)
    points = [
        QPointF(inside.left() + a * inside.width(), inside.bottom() - u * inside.height())
        for a, u in zip(across.tolist(), up.tolist(), strict=True)
    ]
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(colour, 1.25))
    painter.drawPolyline(QPolygonF(points))
    painter.setPen(QPen(colour, 0))
    painter.setBrush(colour)
    painter.drawEllipse(points[-1], DOT, DOT)
    painter.restore()
