"""What lies over a chart's lines: cursor and readout, marks, labels at the ends, and the box that zooms.

It is a widget of its own so that a moving cursor repaints a strip of pixels, not the lines.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from PySide6.QtCore import QEvent, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QFontMetricsF, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QWidget

from workbench import theme as themes
from workbench.theme import Theme
from workbench.views.scales import Span, spread

LEAST_DRAG = 6  # px; less is a click with a shaking hand
FLAT_DRAG = 16  # px; a box lower than this zooms x alone
PADDING = 6  # px inside the readout
MARK = 8  # px a mark takes

MarkerKind = Literal["checkpoint", "resume", "command", "warning"]


@dataclass(frozen=True)
class Marker:
    """Something that happened at x: a hairline over all charts, with words when the cursor is on it."""

    x: float
    kind: MarkerKind
    text: str = ""


@dataclass(frozen=True)
class Area:
    """Where the lines are, in pixels of the chart's plot, and which x and heights its edges stand for."""

    rect: QRectF = field(default_factory=QRectF)
    x: Span = (0.0, 1.0)
    y: Span = (0.0, 1.0)

    def left_of(self, x: float) -> float:
        return self.rect.left() + (x - self.x[0]) / (self.x[1] - self.x[0]) * self.rect.width()

    def top_of(self, height: float) -> float:
        return self.rect.bottom() - (height - self.y[0]) / (self.y[1] - self.y[0]) * self.rect.height()

    def x_at(self, left: float) -> float:
        return self.x[0] + (left - self.rect.left()) / self.rect.width() * (self.x[1] - self.x[0])

    def height_at(self, top: float) -> float:
        return self.y[0] + (self.rect.bottom() - top) / self.rect.height() * (self.y[1] - self.y[0])

    def holds_x(self, x: float) -> bool:
        return self.x[0] <= x <= self.x[1]


@dataclass(frozen=True)
class Point:
    """A place on a line, in x and height, with the word that belongs to it."""

    x: float
    height: float
    colour: QColor
    text: str = ""


@dataclass(frozen=True)
class Marks:
    """Everything over the lines that changes only with them."""

    ends: tuple[Point, ...] = ()
    dots: tuple[Point, ...] = ()
    broken: tuple[float, ...] = ()
    markers: tuple[Marker, ...] = ()
    message: str = ""


@dataclass(frozen=True)
class Readout:
    """The cursor's x, its heading, and one point a line; a height of NaN has a word but no dot.

    heights_between: the lowest and highest of the lines between two x, None where there are none.
    """

    x: float
    heading: str
    points: tuple[Point, ...]
    heights_between: Callable[[float, float], Span | None]


class ChartOverlay(QWidget):
    """Paints marks and cursor, and turns the mouse into what the user wants of x and y."""

    hovered = Signal(float)  # x
    left = Signal()
    boxed = Signal(object, object)  # Span of x, Span of heights or None
    reset_wanted = Signal()

    def __init__(self, parent: QWidget, theme: Theme) -> None:
        super().__init__(parent)
        self._theme = theme
        self._area = Area()
        self._marks = Marks()
        self._readout: Readout | None = None
        self._words = QRectF()
        self._drag: tuple[QPointF, QPointF] | None = None
        self.setMouseTracking(True)
        self.setCursor(Qt.CursorShape.CrossCursor)

    @property
    def area(self) -> Area:
        return self._area

    def set_theme(self, theme: Theme) -> None:
        self._theme = theme
        self.update()

    def set_marks(self, area: Area, marks: Marks, readout: Readout | None) -> None:
        """What to show from the next paint on. The lines below changed too, and their repaint is this one's."""
        self._area, self._marks = area, marks
        self._place_readout(readout)

    def set_readout(self, readout: Readout | None) -> None:
        """Move the cursor: only what it covered and what it covers now is painted again."""
        before = self._covered()
        self._place_readout(readout)
        # One rectangle: a clip of several costs the lines below more than the pixels it saves.
        stale = before.united(self._covered())
        if not stale.isEmpty():
            self.update(stale.toAlignedRect())

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self._area.rect.contains(event.position()):
            self._drag = (event.position(), event.position())
        event.ignore()  # the chart takes the focus

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        rect = self._area.rect
        if self._drag is not None:
            inside = QPointF(
                min(max(event.position().x(), rect.left()), rect.right()),
                min(max(event.position().y(), rect.top()), rect.bottom()),
            )
            self._drag = (self._drag[0], inside)
            self.update()
        elif rect.left() <= event.position().x() <= rect.right() and rect.width() > 0:
            self.hovered.emit(self._area.x_at(event.position().x()))
        else:
            self.left.emit()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if self._drag is None or event.button() != Qt.MouseButton.LeftButton:
            return
        box, self._drag = self._box(), None
        self.update()
        if box.width() >= LEAST_DRAG:
            x = (self._area.x_at(box.left()), self._area.x_at(box.right()))
            is_flat = box.height() >= self._area.rect.height()
            y = None if is_flat else (self._area.height_at(box.bottom()), self._area.height_at(box.top()))
            self.boxed.emit(x, y)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self._drag = None
        self.reset_wanted.emit()
        event.accept()

    def leaveEvent(self, event: QEvent) -> None:
        self.left.emit()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(themes.font("tick"))
        if self._marks.message:
            painter.setPen(self._theme.colour("muted"))
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, self._marks.message)
        if self._area.rect.width() > 0:
            self._paint_markers(painter)
            self._paint_dots(painter)
            self._paint_broken(painter)
            self._paint_ends(painter)
            self._paint_readout(painter)
            self._paint_box(painter)
        painter.end()

    def _paint_markers(self, painter: QPainter) -> None:
        """A mark above the hairline of each marker; of those that would overlap only the first."""
        painter.setPen(Qt.PenStyle.NoPen)
        free = -math.inf
        for marker in sorted(self._marks.markers, key=lambda m: m.x):
            left = round(self._area.left_of(marker.x)) + 0.5
            if self._area.holds_x(marker.x) and left >= free:
                free = left + MARK
                painter.setBrush(self._theme.colour("warning" if marker.kind == "warning" else "muted"))
                painter.drawPolygon(_glyph(marker.kind).translated(left, self._area.rect.top()))

    def _paint_dots(self, painter: QPainter) -> None:
        painter.setPen(Qt.PenStyle.NoPen)
        for dot in self._marks.dots:
            if self._area.holds_x(dot.x):
                painter.setBrush(dot.colour)
                painter.drawEllipse(self._place(dot), 2.2, 2.2)

    def _paint_broken(self, painter: QPainter) -> None:
        """A cross on the axis for each step whose value is no number; one cross for those that would overlap."""
        painter.setPen(QPen(self._theme.colour("failed"), 1.6))
        # On whole pixels, as between them a cross this small would be a blur.
        top = round(self._area.rect.bottom()) - 4.5
        free = -math.inf
        for place in sorted(self._area.left_of(x) for x in self._marks.broken if self._area.holds_x(x)):
            left = round(place) + 0.5
            if left >= free:
                free = left + MARK
                painter.drawLine(QPointF(left - 3, top - 3), QPointF(left + 3, top + 3))
                painter.drawLine(QPointF(left - 3, top + 3), QPointF(left + 3, top - 3))

    def _paint_ends(self, painter: QPainter) -> None:
        """Each line's name where it ends: beside the end where there is room, else before it and above."""
        ends, rect = [end for end in self._marks.ends if end.text], self._area.rect
        if len(ends) < 2:
            return  # the title names it
        measure = QFontMetricsF(painter.font())
        height = measure.height()
        wanted = [self._place(end).y() - height / 2 for end in ends]
        lefts = [self._place(end).x() + 6 for end in ends]
        if any(x + measure.horizontalAdvance(e.text) > rect.right() + 8 for x, e in zip(lefts, ends, strict=True)):
            wanted = [top - height * 0.9 for top in wanted]
            lefts = [rect.right() - measure.horizontalAdvance(end.text) for end in ends]
        for end, left, top in zip(ends, lefts, spread(wanted, height, rect.top(), rect.bottom()), strict=True):
            painter.setPen(end.colour)
            painter.drawText(QPointF(left, top + measure.ascent()), end.text)

    def _paint_readout(self, painter: QPainter) -> None:
        readout = self._readout
        if readout is None:
            return
        rect, left = self._area.rect, round(self._area.left_of(readout.x)) + 0.5
        painter.setPen(QPen(self._theme.colour("muted"), 1))
        painter.drawLine(QPointF(left, rect.top()), QPointF(left, rect.bottom()))
        painter.setPen(QPen(self._theme.colour("surface"), 1.5))
        for point in readout.points:
            if self._area.y[0] <= point.height <= self._area.y[1] and self._area.holds_x(point.x):
                painter.setBrush(point.colour)
                painter.drawEllipse(self._place(point), 3.5, 3.5)
        self._paint_words(painter, readout)

    def _paint_words(self, painter: QPainter, readout: Readout) -> None:
        box, measure = self._words, QFontMetricsF(themes.font("muted"))
        painter.setFont(themes.font("muted"))
        painter.setPen(QPen(self._theme.colour("line"), 1))
        painter.setBrush(self._theme.colour("raised"))
        painter.drawRoundedRect(box, 4, 4)
        baseline = box.top() + PADDING / 2 + measure.ascent()
        painter.setPen(self._theme.colour("muted"))
        painter.drawText(QPointF(box.left() + PADDING, baseline), readout.heading)
        for point in readout.points:
            baseline += measure.height()
            painter.setPen(self._theme.colour("text") if len(readout.points) == 1 else point.colour)
            painter.drawText(QPointF(box.left() + PADDING, baseline), point.text)

    def _paint_box(self, painter: QPainter) -> None:
        if self._drag is not None and self._box().width() >= LEAST_DRAG:
            fill = self._theme.colour("accent")
            painter.setPen(QPen(fill, 1))
            fill.setAlphaF(0.12)
            painter.setBrush(fill)
            painter.drawRect(self._box())

    def _place(self, point: Point) -> QPointF:
        return QPointF(self._area.left_of(point.x), self._area.top_of(point.height))

    def _box(self) -> QRectF:
        """What is being dragged over; over the full height while the drag is flat."""
        if self._drag is None:
            return QRectF()
        box = QRectF(*self._drag).normalized()
        if box.height() < FLAT_DRAG:
            box.setTop(self._area.rect.top())
            box.setBottom(self._area.rect.bottom())
        return box

    def _words_box(self, readout: Readout) -> QRectF:
        """Beside the cursor, where it covers no line if there is such a place; always within the chart."""
        measure, rect = QFontMetricsF(themes.font("muted")), self._area.rect
        words = [readout.heading, *(point.text for point in readout.points)]
        width = max(measure.horizontalAdvance(word) for word in words) + 2 * PADDING
        height = measure.height() * len(words) + PADDING
        at = self._area.left_of(readout.x)
        lefts = [left for left in (at + 8, at - 8 - width) if rect.left() <= left <= rect.right() - width]
        places = [
            QRectF(left, top, width, height)
            for left in lefts or [max(min(at + 8, rect.right() - width), 0)]
            for top in (rect.top() + 6, rect.bottom() - height - 6)
        ]
        return next((place for place in places if self._is_free(place, readout)), places[0])

    def _is_free(self, place: QRectF, readout: Readout) -> bool:
        lines = readout.heights_between(self._area.x_at(place.left()), self._area.x_at(place.right()))
        if lines is None:
            return True
        return self._area.top_of(lines[0]) < place.top() or self._area.top_of(lines[1]) > place.bottom()

    def _place_readout(self, readout: Readout | None) -> None:
        is_shown = readout is not None and self._area.rect.width() > 0 and self._area.holds_x(readout.x)
        self._readout = readout if is_shown else None
        self._words = QRectF() if self._readout is None else self._words_box(self._readout)

    def _covered(self) -> QRectF:
        """What the cursor and its words lie on."""
        if self._readout is None:
            return QRectF()
        rect = self._area.rect
        strip = QRectF(self._area.left_of(self._readout.x) - 6, rect.top() - 6, 12, rect.height() + 12)
        return strip.united(self._words.adjusted(-2, -2, 2, 2))


def _glyph(kind: MarkerKind) -> QPolygonF:
    """A mark of 7 px around (0, 0), told apart by its shape."""
    shapes: dict[MarkerKind, list[tuple[float, float]]] = {
        "checkpoint": [(-2.5, -2.5), (2.5, -2.5), (2.5, 2.5), (-2.5, 2.5)],
        "resume": [(-2.5, -3.5), (3.5, 0), (-2.5, 3.5)],
        "command": [(0, -3.5), (3.5, 0), (0, 3.5), (-3.5, 0)],
        "warning": [(0, -3.5), (3.5, 3), (-3.5, 3)],
    }
    return QPolygonF([QPointF(x, y) for x, y in shapes[kind]])
