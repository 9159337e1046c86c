"""Small drawings of the quality page: a share with its interval, and how often each place of the scale was chosen."""

from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from workbench import theme
from workbench.state import figures
from workbench.state.agreement import Share
from workbench.theme import Theme

NAMES = ("1 · A", "2", "3", "4 · tie", "5", "6", "7 · B")
DOT = 4.0


class IntervalStrip(QWidget):
    """From 0 to 1: the interval as a band, the share as a dot, what chance would give as a tick."""

    def __init__(self, share: Share, against: float | None, *, is_warning: bool, colours: Theme) -> None:
        super().__init__()
        self._share, self._against, self._is_warning, self._colours = share, against, is_warning, colours
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMinimumWidth(120)
        interval = f"{figures.share(share.low)} to {figures.share(share.high)}"
        self.setAccessibleName(f"{figures.share(share.value)}, interval {interval}")
        self.setToolTip(f"95% interval: {interval}")

    def sizeHint(self) -> QSize:
        return QSize(200, 20)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        left, width, middle = DOT, self.width() - 2 * DOT, self.height() / 2
        colour = QColor(self._colours.warning if self._is_warning else self._colours.accent)
        painter.setPen(QPen(self._colours.colour("line"), 1))
        painter.drawLine(QPointF(left, middle), QPointF(left + width, middle))
        if self._against is not None:
            painter.setPen(QPen(self._colours.colour("muted"), 1))
            x = left + self._against * width
            painter.drawLine(QPointF(x, middle - 7), QPointF(x, middle + 7))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(theme.mixed(colour.name(), self._colours.surface, 0.35)))
        low, high = (left + edge * width for edge in (self._share.low, self._share.high))
        painter.drawRoundedRect(QRectF(low, middle - 3, max(high - low, 1.0), 6), 3, 3)
        painter.setBrush(colour)
        painter.drawEllipse(QPointF(left + self._share.value * width, middle), DOT, DOT)


class ScaleBars(QWidget):
    """How often each place from 1 to 7 was chosen, with the count above each bar and the key below it."""

    def __init__(self) -> None:
        super().__init__()
        self._counts: Sequence[int] = ()
        self._colours = theme.LIGHT
        self.setMinimumHeight(130)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def show_counts(self, counts: Sequence[int]) -> None:
        self._counts = counts
        told = (f"key {key}: {count}" for key, count in enumerate(counts, start=1))
        self.setAccessibleName("How often each key was pressed; " + ", ".join(told))
        self.update()

    def set_theme(self, colours: Theme) -> None:
        self._colours = colours
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        if not self._counts:
            return
        painter = QPainter(self)
        painter.setFont(theme.font("muted"))
        line = painter.fontMetrics().height()
        room = self.height() - 2 * line - theme.SPACE[2]
        most, width = max(max(self._counts), 1), self.width() / len(self._counts)
        for at, count in enumerate(self._counts):
            cell = QRectF(at * width, 0, width, self.height())
            height = room * count / most
            bar = QRectF(cell.left() + width * 0.18, line + 4 + room - height, width * 0.64, height)
            strength = abs(at - 3) / 3
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(theme.mixed(self._colours.accent, self._colours.surface, 0.4 + 0.6 * strength)))
            painter.drawRect(bar)
            painter.setPen(self._colours.colour("text"))
            above = QRectF(cell.left(), bar.top() - line - 2, width, line)
            painter.drawText(above, Qt.AlignmentFlag.AlignCenter, figures.count(count) if count else "")
            painter.setPen(self._colours.colour("muted"))
            below = QRectF(cell.left(), self.height() - line, width, line)
            painter.drawText(below, Qt.AlignmentFlag.AlignCenter, NAMES[at])
