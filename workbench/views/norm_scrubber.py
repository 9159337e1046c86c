"""The way from noise to picture as a slider: the norms of each step are its groove, a line marks where one is."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFocusEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QAbstractSlider, QSizePolicy

from engine.contract.trajectory import Point
from workbench import theme
from workbench.state.trajectory import Floats, nearest, norms, places
from workbench.theme import Theme

HEIGHT = 72
EDGE = 8.0  # px free at both ends, so that the mark is whole there
TOP, BOTTOM = 6.0, 18.0  # px; the words stand below
RADIUS = 4.0
#: More points than this are thinned out before they are drawn, as a screen has no more columns.
MOST_DRAWN = 2000


@dataclass
class Curves:
    """The norms of one trajectory over its places, from 0 to 1."""

    places: Floats = field(default_factory=lambda: np.empty(0))
    x: Floats = field(default_factory=lambda: np.empty(0))
    x0: Floats = field(default_factory=lambda: np.empty(0))


class NormScrubber(QAbstractSlider):
    """Its value is the record on show. The arrow keys step, Home and End go to noise and picture."""

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName("Step of the trajectory")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setSingleStep(1)
        self.setPageStep(10)
        self._colours = theme.LIGHT
        self._curves = [Curves(), Curves()]

    def show_points(self, lane: int, points: Sequence[Point], steps: int) -> None:
        """lane: 0 is the trajectory that is stepped, 1 the one beside it."""
        self._curves[lane] = Curves(places(points, steps), *norms(points))
        if lane == 0:
            self.setRange(0, max(len(points) - 1, 0))
        self.update()

    def places(self, lane: int) -> Floats:
        """Where the records of a trajectory stand between noise, 0, and picture, 1."""
        return self._curves[lane].places

    def set_theme(self, colours: Theme) -> None:
        self._colours = colours
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(240, HEIGHT)

    def minimumSizeHint(self) -> QSize:
        return QSize(120, HEIGHT)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self.setSliderDown(True)
            self._go_to(event.position().x())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self.isSliderDown():
            self._go_to(event.position().x())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self.setSliderDown(False)

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        self.update()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self.update()

    def sliderChange(self, change: QAbstractSlider.SliderChange) -> None:
        super().sliderChange(change)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        room = self._room()
        painter.setPen(QPen(self._colours.colour("line"), 1))
        painter.drawLine(QPointF(EDGE, room.bottom()), QPointF(self.width() - EDGE, room.bottom()))
        span = self._span()
        for lane in (1, 0):
            self._paint_lane(painter, room, self._curves[lane], lane, span)
        self._paint_mark(painter, room, span)
        self._paint_words(painter)
        painter.end()

    def _go_to(self, x: float) -> None:
        room = self._room()
        at = nearest(self._curves[0].places, (x - room.left()) / max(room.width(), 1.0))
        if at != self.value():
            self.setSliderPosition(at)

    def _room(self) -> QRectF:
        return QRectF(EDGE, TOP, max(self.width() - 2 * EDGE, 1.0), self.height() - TOP - BOTTOM)

    def _span(self) -> tuple[float, float]:
        """The lowest norm and the highest, with a little room, so that small changes are seen."""
        values = np.concatenate([part for curves in self._curves for part in (curves.x, curves.x0)])
        finite = values[np.isfinite(values)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        margin = 0.08 * (high - low) or 0.5
        return low - margin, high + margin

    def _paint_lane(
        self, painter: QPainter, room: QRectF, curves: Curves, lane: int, span: tuple[float, float]
    ) -> None:
        for values, colour in ((curves.x, self._colour(0)), (curves.x0, self._colour(1))):
            pen = QPen(colour, 1.5, Qt.PenStyle.DashLine if lane else Qt.PenStyle.SolidLine)
            painter.setPen(pen)
            step = -(-values.size // MOST_DRAWN) or 1
            is_finite = np.isfinite(values[::step])
            points = [
                _at(room, place, value, span)
                for place, value in zip(
                    curves.places[::step][is_finite].tolist(), values[::step][is_finite].tolist(), strict=True
                )
            ]
            painter.drawPolyline(QPolygonF(points))

    def _paint_mark(self, painter: QPainter, room: QRectF, span: tuple[float, float]) -> None:
        curves = self._curves[0]
        if self.value() >= curves.places.size:
            return
        place = float(curves.places[self.value()])
        x = round(room.left() + place * room.width())  # a blurred mark would be a pale one
        painter.setPen(QPen(self._colours.colour("accent"), 4 if self.hasFocus() else 2))
        painter.drawLine(QPointF(x, 0), QPointF(x, room.bottom()))
        for values, colour in ((curves.x, self._colour(0)), (curves.x0, self._colour(1))):
            if np.isfinite(values[self.value()]):
                painter.setPen(QPen(self._colours.colour("surface"), 1.5))
                painter.setBrush(colour)
                painter.drawEllipse(_at(room, place, float(values[self.value()]), span), RADIUS, RADIUS)

    def _paint_words(self, painter: QPainter) -> None:
        painter.setFont(theme.font("tick"))
        painter.setPen(self._colours.colour("muted"))
        below = QRectF(EDGE, self.height() - BOTTOM + 3, self.width() - 2 * EDGE, BOTTOM - 3)
        painter.drawText(below, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop, "noise")
        painter.drawText(below, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignTop, "picture")
        middle = below.center().x()
        for text, side, colour in (("norm of x_t", -1, self._colour(0)), ("norm of x0", 1, self._colour(1))):
            painter.setPen(colour)
            half = QRectF(middle if side > 0 else below.left(), below.top(), below.width() / 2, below.height())
            where = Qt.AlignmentFlag.AlignLeft if side > 0 else Qt.AlignmentFlag.AlignRight
            painter.drawText(half.adjusted(6, 0, -6, 0), where | Qt.AlignmentFlag.AlignTop, text)

    def _colour(self, at: int) -> QColor:
        return self._colours.curve(at).colour


def _at(room: QRectF, place: float, value: float, span: tuple[float, float]) -> QPointF:
    up = (value - span[0]) / (span[1] - span[0])
    return QPointF(room.left() + place * room.width(), room.bottom() - up * room.height())
