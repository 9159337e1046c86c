"""What the small plots of a proof have in common: their size, how they are set up, and the room that they paint in."""

from collections.abc import Iterator
from contextlib import contextmanager

from PySide6.QtCore import QRectF, QSize
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QSizePolicy, QWidget

from workbench import theme

SIZE, LEAST = QSize(380, 200), QSize(260, 150)
TOP, BOTTOM = 6.0, 20.0  # px; the words of the axis stand below


def set_up(plot: QWidget, name: str) -> None:
    """A plot takes all the room there is. name: for those who hear the screen."""
    plot.setAccessibleName(name)
    plot.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)


@contextmanager
def painting(plot: QWidget, left: float, right: float) -> Iterator[tuple[QPainter, QRectF]]:
    """A painter, and the room within the words. left, right: pixels that these take."""
    painter = QPainter(plot)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setFont(theme.font("tick"))
    try:
        yield painter, QRectF(left, TOP, max(plot.width() - left - right, 1.0), max(plot.height() - TOP - BOTTOM, 1.0))
    finally:
        painter.end()
