"""What a deep check of a preset found, over the bar that asked for it, until it is closed."""

from PySide6.QtWidgets import QFrame, QPushButton

from engine.contract.findings import Report
from workbench import theme
from workbench.theme import Theme
from workbench.views.labels import column, label, row
from workbench.views.preflight_view import PreflightView

HEIGHT = 250
TITLE = "Data as the model sees it"
STALE = "not of the text above as it stands now"


class PresetReport(QFrame):
    """Hidden until there is a report."""

    def __init__(self) -> None:
        super().__init__()
        theme.set_role(self, "card")
        self.view = PreflightView()
        self._of = ""
        self._stale = label(STALE, "muted")
        close = QPushButton("Close")
        theme.set_role(close, "quiet")
        close.clicked.connect(self.hide)
        head = row(label(TITLE, "strong"), self._stale, None, close)
        head.setContentsMargins(theme.SPACE[2], 0, 0, 0)
        layout = column(self.view, space=1)
        layout.insertLayout(0, head)
        layout.setContentsMargins(theme.SPACE[2], theme.SPACE[1], theme.SPACE[1], theme.SPACE[2])
        self.setLayout(layout)
        self.setFixedHeight(HEIGHT)
        self.hide()

    def show_report(self, report: Report, *, of: str, now: str) -> None:
        """of: the text that was checked; now: the one that is open."""
        self._of = of
        self.view.show_report(report)
        self.show_text(now)
        self.show()

    def show_text(self, text: str) -> None:
        """Say whether the report is still of the preset that is open."""
        self._stale.setVisible(text != self._of)

    def set_theme(self, colours: Theme) -> None:
        self.view.set_theme(colours)

    @property
    def is_stale(self) -> bool:
        return not self._stale.isHidden()
