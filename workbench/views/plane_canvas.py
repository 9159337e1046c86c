"""The plane of a toy: the data as pale dots, the field as strokes, the particles on top."""

from PySide6.QtCore import QLineF, QPointF, QRectF, QSize
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from engine.contract.toy import Toy
from workbench import theme
from workbench.state.lab import Plane, arrows
from workbench.theme import Theme, mixed

EDGE = 4.0  # px


class PlaneCanvas(QWidget):
    """Square, whatever room it has."""

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName("Particles and field")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self._colours = theme.LIGHT
        self._toy: Toy | None = None
        self._plane: Plane | None = None

    def show_plane(self, toy: Toy | None, plane: Plane | None) -> None:
        self._toy, self._plane = toy, plane
        self.update()

    @property
    def particles(self) -> list[list[float]]:
        return [] if self._plane is None else self._plane.particles.tolist()

    def set_theme(self, colours: Theme) -> None:
        self._colours = colours
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(420, 420)

    def minimumSizeHint(self) -> QSize:
        return QSize(160, 160)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        room = self._room()
        painter.setPen(QPen(self._colours.colour("line"), 1))
        painter.drawRect(room)
        painter.setClipRect(room)
        if self._toy is not None:
            self._paint_points(painter, room, list(self._toy.goal), self._pale(), 3.0)
            if self._plane is not None:
                self._paint_field(painter, room, self._toy, self._plane)
                points = [(x, y) for x, y in self._plane.particles.tolist()]
                self._paint_points(painter, room, points, self._colours.curve(1).colour, 4.0)
        painter.end()

    def _room(self) -> QRectF:
        side = max(min(self.width(), self.height()) - 2 * EDGE, 1.0)
        return QRectF((self.width() - side) / 2, (self.height() - side) / 2, side, side)

    def _paint_points(
        self, painter: QPainter, room: QRectF, points: list[tuple[float, float]], colour: QColor, size: float
    ) -> None:
        pen = QPen(colour, size)
        pen.setCapStyle(pen.capStyle().RoundCap)
        painter.setPen(pen)
        painter.drawPoints(QPolygonF([self._at(room, x, y) for x, y in points]))

    def _paint_field(self, painter: QPainter, room: QRectF, toy: Toy, plane: Plane) -> None:
        strokes, heads = [], []
        for x, y, across, up in arrows(toy, plane.field).tolist():
            end = self._at(room, x + across, y + up)
            strokes.append(QLineF(self._at(room, x, y), end))
            heads.append(end)
        painter.setPen(QPen(self._colours.colour("muted"), 1))
        painter.drawLines(strokes)
        pen = QPen(self._colours.colour("muted"), 3)
        pen.setCapStyle(pen.capStyle().RoundCap)
        painter.setPen(pen)
        painter.drawPoints(QPolygonF(heads))  # a dot where it points to

    def _pale(self) -> QColor:
        return QColor(mixed(self._colours.accent, self._colours.surface, 0.4))

    def _at(self, room: QRectF, x: float, y: float) -> QPointF:
        extent = 1.0 if self._toy is None else self._toy.extent
        across, up = (x / extent + 1) / 2, (y / extent + 1) / 2
        return QPointF(room.left() + across * room.width(), room.bottom() - up * room.height())
