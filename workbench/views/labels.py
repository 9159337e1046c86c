"""Words on the screen: always plain text, as what a model wrote may look like markup."""

import html

from PySide6.QtCore import QEvent, QSize, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from workbench import theme
from workbench.state.run_index import WORDS
from workbench.theme import Theme

MARK_SIZE = 14


def label(text: str = "", role: str = "", *, selectable: bool = False, wrap: bool = False) -> QLabel:
    """A label of plain text. role: how it looks, as assets/theme.qss names it."""
    made = QLabel()
    made.setTextFormat(Qt.TextFormat.PlainText)
    made.setText(text)
    made.setWordWrap(wrap)
    if role:
        theme.set_role(made, role)
    if selectable:
        made.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return made


def tip(text: str) -> str:
    """Text for a tooltip, which has no plain mode: escaped, so that nothing in it can act."""
    return f"<p style='white-space:pre-wrap'>{html.escape(text)}</p>" if text else ""


def card() -> QFrame:
    """A quiet surface that holds things that belong together."""
    made = QFrame()
    theme.set_role(made, "card")
    return made


def column(*parts: QWidget | None, space: int = 2, margin: int = 0) -> QVBoxLayout:
    """Widgets one under the other; None is room that grows. space and margin: steps of theme.SPACE."""
    made = QVBoxLayout()
    _fill(made, parts, space, margin)
    return made


def row(*parts: QWidget | None, space: int = 2, margin: int = 0) -> QHBoxLayout:
    """Widgets side by side; None is room that grows."""
    made = QHBoxLayout()
    _fill(made, parts, space, margin)
    return made


def _fill(layout: QVBoxLayout | QHBoxLayout, parts: tuple[QWidget | None, ...], space: int, margin: int) -> None:
    edge = theme.SPACE[margin]
    layout.setContentsMargins(edge, edge, edge, edge)
    layout.setSpacing(theme.SPACE[space])
    for part in parts:
        if part is None:
            layout.addStretch(1)
        else:
            layout.addWidget(part)


class Elided(QLabel):
    """One line that gives up its middle where it is too long, and shows all of it in the tooltip."""

    def __init__(self, role: str = "", mode: Qt.TextElideMode = Qt.TextElideMode.ElideMiddle) -> None:
        super().__init__()
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self._full = ""
        self._mode = mode
        if role:
            theme.set_role(self, role)

    def set_full_text(self, text: str) -> None:
        if text != self._full:
            self._full = text
            self.setAccessibleName(text)
            self._fit()
            self.updateGeometry()

    @property
    def full_text(self) -> str:
        return self._full

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self._fit()

    def sizeHint(self) -> QSize:
        metrics = self.fontMetrics()
        return QSize(metrics.horizontalAdvance(self._full) + 2, metrics.height())

    def minimumSizeHint(self) -> QSize:
        return QSize(24, self.fontMetrics().height())

    def _fit(self) -> None:
        shown = self.fontMetrics().elidedText(self._full, self._mode, self.width())
        if shown != self.text():
            self.setText(shown)
            self.setToolTip(tip(self._full) if shown != self._full else "")


class StateMark(QWidget):
    """A run's state: icon, word and colour, so that none of them has to carry it alone."""

    def __init__(self) -> None:
        super().__init__()
        self._icon = QLabel()
        self._word = label(role="strong")
        self.setLayout(row(self._icon, self._word, space=1))

    def show_state(self, state: str, colours: Theme) -> None:
        colour = colours.state_colour(state)
        self._icon.setPixmap(theme.pixmap(state, colour, MARK_SIZE, self.devicePixelRatioF()))
        self._word.setText(dict(WORDS).get(state, state))  # type: ignore[call-overload]
        known = {"starting": "running", "paused": "warning", "crashed": "failed"}
        theme.set_role(self._word, known.get(state, state))
