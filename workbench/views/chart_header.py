"""The line above a chart: what it means on the left, how it stands on the right, on one baseline."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QPointF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from workbench import theme as themes
from workbench.theme import Theme

SIDE = 12  # px left and right, where the card's content begins
GAP = 12  # px between title and value, and between values


@dataclass(frozen=True)
class Value:
    """A figure in the corner, in the colour of its line where there are several."""

    text: str
    colour: QColor


class ChartHeader(QWidget):
    """Painted, not laid out: two labels of different size would not share a baseline."""

    def __init__(self, title: str, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._title = title
        self._theme = theme
        self._values: tuple[Value, ...] = ()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def set_title(self, title: str) -> None:
        self._title = title
        self.update()

    def set_theme(self, theme: Theme) -> None:
        self._theme = theme
        self.update()

    def set_values(self, values: tuple[Value, ...]) -> None:
        """What stands in the corner; only as many as leave the title half of the width are painted."""
        if values != self._values:
            self._values = values
            self.update()

    def sizeHint(self) -> QSize:
        return QSize(200, round(QFontMetricsF(themes.font("value")).height()) + 10)

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        value_font = self._value_font()
        baseline = 7 + QFontMetricsF(themes.font("value")).ascent()
        right = self.width() - float(SIDE)
        painter.setFont(value_font)
        measure = QFontMetricsF(value_font)
        for value in reversed(self._values):
            width = measure.horizontalAdvance(value.text)
            if right - width < self.width() / 2 and value is not self._values[-1]:
                break
            painter.setPen(value.colour)
            painter.drawText(QPointF(right - width, baseline), value.text)
            right -= width + GAP
        font = themes.font("muted")
        painter.setFont(font)
        painter.setPen(self._theme.colour("muted"))
        title = QFontMetricsF(font).elidedText(self._title, Qt.TextElideMode.ElideRight, right - SIDE)
        painter.drawText(QPointF(SIDE, baseline), title)
        painter.end()

    def _value_font(self) -> QFont:
        font = themes.font("value")
        if len(self._values) > 1:
            font.setPointSizeF(11)
        return font
