"""A card with one answer, whatever it is: its name, its place in a ranking, and how it lights up when it is chosen."""

import string

from PySide6.QtCore import Signal
from PySide6.QtGui import QMouseEvent
from PySide6.QtWidgets import QFrame, QWidget

from workbench import theme
from workbench.views.labels import column, label, row

NAMES = string.ascii_uppercase
LIT_MS = 300
#: More than so many stand in two rows.
MOST_IN_A_ROW = 3


class AnswerCard(QFrame):
    """body: what shows the answer. foot: what may stand under it. Emits `pressed` when it is double-clicked."""

    pressed = Signal()

    def __init__(self, name: str, body: QWidget, foot: QWidget | None = None) -> None:
        super().__init__()
        theme.set_role(self, "card")
        self.setAccessibleName(f"Answer {name}")
        self._head = label(role="muted")
        self._mark = label(role="finished")
        self._foot = foot
        layout = column(space=2)
        layout.setContentsMargins(theme.SPACE[5], theme.SPACE[3], theme.SPACE[5], theme.SPACE[3])
        layout.addLayout(row(self._head, self._mark, None))
        layout.addWidget(body, 1)
        if foot is not None:
            layout.addWidget(foot)
        self.setLayout(layout)

    def show_name(self, name: str) -> None:
        self._head.setText(name)

    def set_mark(self, mark: str) -> None:
        """A word beside the name, as its place in a ranking."""
        self._mark.setText(mark)

    @property
    def mark(self) -> str:
        return self._mark.text()

    def light(self, is_lit: bool) -> None:
        theme.set_role(self, "chosen" if is_lit else "card")

    def extra_height(self) -> int:
        """What the card needs beside its body, in pixels."""
        foot = self._foot
        more = foot.sizeHint().height() + theme.SPACE[2] if foot is not None and foot.isVisibleTo(self) else 0
        return 2 * theme.SPACE[3] + self._head.sizeHint().height() + theme.SPACE[2] + more + 4

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self.pressed.emit()


def name_of(at: int, of: int) -> str:
    """The arrow or digit shows which key prefers it."""
    if of == 2:
        return ("←  A", "B  →")[at]
    return f"{at + 1}  {NAMES[at % len(NAMES)]}"


def columns_of(count: int) -> int:
    """How many answers stand beside each other where there are so many."""
    return count if count <= MOST_IN_A_ROW else (count + 1) // 2
