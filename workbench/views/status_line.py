"""The bottom line: where this is kept and what is going on; and above it, when there is one, a sentence to read."""

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFrame, QPushButton, QWidget

from workbench import theme
from workbench.views.labels import Elided, label, row

COPIED_MS = 1500


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
    """One sentence that stays until it is dismissed, with details to copy where there are any."""

    dismissed = Signal()

    def __init__(self) -> None:
        super().__init__()
        theme.set_role(self, "card")
        self._text = label(selectable=True, wrap=True)
        self._details = ""
        self._is_passing = False
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

    def say(self, text: str, *, details: str = "", is_error: bool = True, is_passing: bool = False) -> None:
        """is_passing: true of this moment only, see `pass_on`."""
        self._is_passing = is_passing
        theme.set_role(self._text, "fault" if is_error else "muted")
        self._text.setText(text)
        self._details = details
        self._copy.setVisible(bool(details))
        self._copy.setText("Copy details")
        self.show()

    def pass_on(self) -> None:
        """Something else begins: what was true of the moment before goes by itself."""
        if self._is_passing:
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
