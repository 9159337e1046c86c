"""The bottom line: where this is kept and what is going on; and above it, when there is one, a sentence to read."""

from typing import Literal

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFrame, QPushButton, QWidget

from workbench import theme
from workbench.views.labels import Elided, label, row

COPIED_MS = 1500
ANOTHER_WINDOW = "Another window shows this workspace too. Both work; each shows what the other starts."
#: What a notice holds for: the workspace's other window, a preset's plan, the page and run on show; "" for what stays.
About = Literal["", "window", "plan", "place"]


class StatusLine(QWidget):
    """Workspace, runs at work, and what is being waited for."""

    def __init__(self) -> None:
        super().__init__()
        self._text = Elided("muted", Qt.TextElideMode.ElideRight)
        self.setLayout(row(self._text))
        self._parts: dict[str, str] = {}

    def show_part(self, name: str, text: str) -> None:
        """Set one of the parts `workspace`, `running`, `filling`, `pulse`, `busy`; empty leaves it out."""
        self._parts[name] = text
        order = ("workspace", "running", "filling", "pulse", "busy")
        self._text.set_full_text("   ·   ".join(p for key in order if (p := self._parts.get(key, ""))))


class NoticeLine(QFrame):
    """One sentence, with details to copy where there are any. A fault stays until it is dismissed; anything else until
    what it holds for is over.
    """

    dismissed = Signal()

    def __init__(self) -> None:
        super().__init__()
        theme.set_role(self, "card")
        self._text = label(selectable=True, wrap=True)
        self._details = ""
        self._about: About = ""
        self._copy = QPushButton("Copy details")
        self._copy.clicked.connect(self._copy_details)
        self._close = QPushButton("Dismiss")
        self._close.clicked.connect(self.dismiss)
        for button in (self._copy, self._close):
            theme.set_role(button, "quiet")
        layout = row(self._text, self._copy, self._close)
        layout.setStretch(0, 1)
        layout.setContentsMargins(theme.SPACE[3], theme.SPACE[1], theme.SPACE[1], theme.SPACE[1])
        self.setLayout(layout)
        self.hide()

    def say(self, text: str, *, details: str = "", is_error: bool = True, about: About = "") -> None:
        theme.set_role(self._text, "fault" if is_error else "muted")
        self._text.setText(text)
        self._details, self._about = details, about
        self._copy.setVisible(bool(details))
        self._copy.setText("Copy details")
        self.show()

    def let_go(self, *over: About) -> None:
        """These are over, so nothing is said of them any more."""
        if self._about in over and not self.isHidden():
            self.dismiss()

    def dismiss(self) -> None:
        self.hide()
        self.dismissed.emit()

    @property
    def sentence(self) -> str:
        return self._text.text() if not self.isHidden() else ""

    def _copy_details(self) -> None:
        QGuiApplication.clipboard().setText(self._details)
        self._copy.setText("Copied")
        QTimer.singleShot(COPIED_MS, self._copy, lambda: self._copy.setText("Copy details"))
