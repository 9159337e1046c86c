"""One picture, or a part of it: draws what the view says and tells what the mouse wants."""

import math

from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QImage, QMouseEvent, QPainter, QPaintEvent, QWheelEvent
from PySide6.QtWidgets import QWidget

from workbench.io.picture_store import Picture
from workbench.state.picture_view import WHOLE, Frame, View, held

#: One notch of the wheel.
NOTCH = 1.25
#: From here on pixels are drawn as squares, as somebody looks at them one by one.
SQUARES_FROM = 3.0
SAID = {
    "gone": "This picture is not there any more.",
    "broken": "This picture cannot be read.",
    "too large": "This picture is too large to be shown.",
}
READING = "Reading the picture …"


class PicturePane(QWidget):
    """zoomed: factor, and where of the middle the mouse is, right and down. pushed: right and down, in pixels."""

    zoomed = Signal(float, float, float)
    pushed = Signal(float, float)

    def __init__(self, name: str) -> None:
        super().__init__()
        self.setAccessibleName(name)
        self.setMinimumSize(80, 80)
        self.setCursor(Qt.CursorShape.OpenHandCursor)
        self._picture: Picture | None = None
        self._is_late = False
        self._view = WHOLE
        self._grip: QPointF | None = None

    @property
    def said(self) -> str:
        """What stands in place of the picture."""
        if self._picture is None:
            return READING if self._is_late else ""
        return SAID.get(self._picture.fault, "")

    @property
    def picture(self) -> Picture | None:
        return self._picture

    @property
    def frame(self) -> Frame | None:
        """The picture in the pane; None where there is none."""
        if self._picture is None or not self._picture.levels:
            return None
        whole = self._picture.levels[0]
        return Frame(max(self.width(), 1), max(self.height(), 1), whole.width(), whole.height())

    def show_picture(self, picture: Picture | None, *, is_late: bool = False) -> None:
        """The picture; None while it is being read, of which is told once it is late."""
        self._picture, self._is_late = picture, is_late
        self.update()

    @property
    def view(self) -> View:
        return self._view

    def set_view(self, view: View) -> None:
        self._view = view
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        if (frame := self.frame) is not None and self._picture is not None:
            _draw(painter, self._picture.levels, held(self._view, frame), frame, self.devicePixelRatioF())
        else:
            painter.setPen(self.palette().placeholderText().color())
            wrapped = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(self.rect(), wrapped, self.said)
        painter.end()

    def wheelEvent(self, event: QWheelEvent) -> None:
        off = event.position() - QPointF(self.rect().center())
        self.zoomed.emit(NOTCH ** (event.angleDelta().y() / 120), off.x(), off.y())
        event.accept()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._grip = event.position() if event.button() == Qt.MouseButton.LeftButton else None
        self.setCursor(Qt.CursorShape.ClosedHandCursor)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._grip is not None:
            by = event.position() - self._grip
            self._grip = event.position()
            self.pushed.emit(by.x(), by.y())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._grip = None
        self.setCursor(Qt.CursorShape.OpenHandCursor)


def _draw(painter: QPainter, levels: tuple[QImage, ...], view: View, frame: Frame, ratio: float) -> None:
    """Only what shows is looked at, in the smallest level that has enough pixels for it."""
    scale = frame.scale(view)
    level = min(max(int(math.log2(1 / (scale * ratio))), 0), len(levels) - 1) if scale * ratio < 1 else 0
    image = levels[level]
    to_level = QPointF(image.width() / frame.width, image.height() / frame.height)
    width, height = min(frame.pane_width, frame.width * scale), min(frame.pane_height, frame.height * scale)
    target = QRectF((frame.pane_width - width) / 2, (frame.pane_height - height) / 2, width, height)
    left, top = view.x * frame.width - width / scale / 2, view.y * frame.height - height / scale / 2
    source = QRectF(
        left * to_level.x(), top * to_level.y(), width / scale * to_level.x(), height / scale * to_level.y()
    )
    painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, scale < SQUARES_FROM)
    painter.drawImage(target, image, source)
