"""What making, importing and exporting a labelling set look like: a form, what would come of it, and one button."""

from PySide6.QtCore import QSize, Qt, QTimer, Signal
from PySide6.QtWidgets import QFrame, QPushButton, QScrollArea, QSplitter, QWidget

from engine.contract.faults import Fault
from workbench import theme
from workbench.theme import Theme
from workbench.views.labels import Elided, card, column, label, row
from workbench.views.preset_style import page_style
from workbench.views.rows_table import RowsTable

#: The engine looks again once typing rests this long.
REST_MS = 500
FORM, PREVIEW = 560, 520


class Desk(QWidget):
    """Emits `left`, `wanted` when the button is pressed, `rested` when nothing was changed for a while, and
    `next_fault` to be taken to what is wrong. `body` takes the form's parts; `touch` starts the wait anew."""

    left = Signal()
    wanted = Signal()
    rested = Signal()
    next_fault = Signal()

    def __init__(self, title: str, action: str, preview: str) -> None:
        super().__init__()
        self._title = label(title, "page-title")
        self._back = QPushButton("Back to the sets")
        theme.set_role(self._back, "quiet")
        self.body = QWidget()
        self._area = QScrollArea()
        self.table = RowsTable(preview)
        self.heading = label(preview, "title")
        self.about = label(role="muted", wrap=True, selectable=True)
        self._says = Elided(mode=Qt.TextElideMode.ElideRight)
        self._faults = QPushButton()
        self.action = QPushButton(action)
        self._told = row(self._says, self._faults, self.action, space=2)
        self._rest = QTimer(self, singleShot=True, interval=REST_MS)
        self._rest.timeout.connect(self.rested)
        self._lay_out()
        self._back.clicked.connect(self.left)
        self.action.clicked.connect(self.wanted)
        self._faults.clicked.connect(self.next_fault)

    def set_title(self, title: str) -> None:
        self._title.setText(title)

    def add_buttons(self, *buttons: QPushButton) -> None:
        """Beside the line that says what happened."""
        for at, button in enumerate(buttons, start=1):
            self._told.insertWidget(at, button)

    def touch(self) -> None:
        """Something was changed: look at it once typing rests."""
        self._rest.start()

    def hold(self) -> None:
        """Nobody is to look any more."""
        self._rest.stop()

    def say(self, text: str) -> None:
        """One line on what will happen, or on what is being waited for."""
        self._says.set_full_text(text)

    @property
    def says(self) -> str:
        return self._says.full_text

    def show_faults(self, faults: list[Fault]) -> None:
        count = len(faults)
        self._faults.setText(f"{count} fault{'s' if count > 1 else ''}")
        self._faults.setAccessibleName(f"{self._faults.text()}; go to the next")
        self._faults.setVisible(count > 0)

    @property
    def form_width(self) -> int:
        return self._area.viewport().width()

    def show_widget(self, part: QWidget) -> None:
        """Scroll the form until the part is in view, once it has its place."""
        QTimer.singleShot(0, part, lambda: self._area.ensureWidgetVisible(part, 0, 48))

    def set_theme(self, colours: Theme) -> None:
        self.setStyleSheet(page_style(colours))
        self._faults.setIcon(theme.icon("warning", colours.colour("failed"), 14))

    def _lay_out(self) -> None:
        theme.set_role(self.action, "primary")
        theme.set_role(self._faults, "faults")
        self._faults.setIconSize(QSize(14, 14))
        self._faults.hide()
        theme.set_role(self.body, "scrolled")
        self._area.setWidgetResizable(True)
        self._area.setFrameShape(QFrame.Shape.NoFrame)
        self._area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._area.setWidget(self.body)
        columns = QSplitter(Qt.Orientation.Horizontal)
        columns.setChildrenCollapsible(False)
        columns.setHandleWidth(theme.SPACE[3])
        columns.addWidget(self._in_card(self._area))
        columns.addWidget(self._preview())
        columns.setSizes([FORM, PREVIEW])
        columns.setStretchFactor(0, 1)
        columns.setStretchFactor(1, 1)
        layout = column(space=3)
        layout.addLayout(row(self._title, None, self._back))
        layout.addWidget(columns, 1)
        layout.addWidget(self._bar())
        self.setLayout(layout)

    def _in_card(self, inner: QWidget) -> QFrame:
        frame = card()
        inside = column(inner, space=0)
        inside.setContentsMargins(1, theme.SPACE[2], 1, 1)
        frame.setLayout(inside)
        frame.setMinimumWidth(420)
        return frame

    def _preview(self) -> QFrame:
        frame = card()
        inside = column(self.heading, self.about, self.table, space=2)
        inside.setContentsMargins(theme.SPACE[4], theme.SPACE[3], 1, 1)
        inside.setStretch(2, 1)
        frame.setLayout(inside)
        frame.setMinimumWidth(260)
        return frame

    def _bar(self) -> QFrame:
        frame = card()
        inside = self._told
        inside.setStretch(0, 1)
        inside.setContentsMargins(theme.SPACE[4], theme.SPACE[2], theme.SPACE[3], theme.SPACE[2])
        self.action.setMinimumWidth(130)
        frame.setLayout(inside)
        return frame
