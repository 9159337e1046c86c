"""How long the rows are: a bar for each span of lengths, and a line at the longest that is allowed."""

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from engine.contract.findings import Lengths
from workbench import theme
from workbench.state import figures
from workbench.state.preflight import lengths_told

HEIGHT = 56
#: px: the least that a bar with rows in it is drawn high, and the gap between two.
LEAST, GAP = 2.0, 1.0
TEXT_HEIGHT = 14


class LengthBars(QWidget):
    """A picture for the eye; the words beside it and the accessible name say the same."""

    def __init__(self) -> None:
        super().__init__()
        self._lengths: Lengths | None = None
        self._colours = theme.LIGHT
        self.setFixedHeight(HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_lengths(self, lengths: Lengths) -> None:
        self._lengths = lengths
        self.setAccessibleName(f"Tokens of a text: {lengths_told(lengths)}")
        self.update()

    def set_theme(self, colours: theme.Theme) -> None:
        self._colours = colours
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(200, HEIGHT)

    def paintEvent(self, event: QPaintEvent) -> None:
        if self._lengths is None:
            return
        painter = QPainter(self)
        painter.setFont(theme.font("tick"))
        base = self.height() - TEXT_HEIGHT
        span = len(self._lengths.bars) * self._lengths.width
        # The limit is in the picture where rows come near it; else it would squeeze them into a corner.
        limit = self._lengths.limit
        end = max(span, limit + 1) if limit <= 2 * span else span
        self._paint_bars(painter, self._lengths, base, end)
        painter.setPen(QPen(self._colours.colour("line"), 1))
        painter.drawLine(0, base, self.width(), base)
        if limit < end:
            x = round(self.width() * limit / end)
            painter.setPen(QPen(self._colours.colour("warning"), 1, Qt.PenStyle.DashLine))
            painter.drawLine(x, 0, x, base)
        self._paint_ends(painter, base, end)
        painter.end()

    def _paint_bars(self, painter: QPainter, lengths: Lengths, base: int, end: int) -> None:
        tallest = max(lengths.bars)
        step = self.width() * lengths.width / end
        for at, bar in enumerate(lengths.bars):
            if bar:
                height = max(LEAST, (base - 2) * bar / tallest)
                left = QRectF(at * step, base - height, max(1.0, step - GAP), height)
                painter.fillRect(left, self._colours.curve(0).colour)

    def _paint_ends(self, painter: QPainter, base: int, end: int) -> None:
        painter.setPen(self._colours.colour("muted"))
        below = QRectF(0, base, self.width(), TEXT_HEIGHT)
        painter.drawText(below, Qt.AlignmentFlag.AlignLeft, "0")
        painter.drawText(below, Qt.AlignmentFlag.AlignRight, f"{figures.count(end)} tokens")
