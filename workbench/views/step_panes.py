"""One trajectory at one step: the noisy pictures and what the model takes them for, side by side."""

from PySide6.QtCore import QSize, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFrame, QWidget

from engine.contract.trajectory import About
from workbench import theme
from workbench.io.track_reader import Shown
from workbench.state.picture_view import View
from workbench.state.trajectory import Sheet, sheet_for
from workbench.views.labels import Elided, card, column, label, row
from workbench.views.picture_pane import PicturePane

NOISY, PREDICTED = "x_t, as it is", "x0, as the model sees it coming"


class StepPanes(QWidget):
    """zoomed and pushed as of a PicturePane; resized: the pictures may fit better in other rows."""

    zoomed = Signal(float, float, float)
    pushed = Signal(float, float)
    resized = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.panes = (PicturePane("Noisy pictures"), PicturePane("Predicted pictures"))
        self._names = (Elided("muted"), Elided("muted"))
        self._figures = (label(role="muted"), label(role="muted"))
        self._cards = [self._make_card(at) for at in range(2)]
        layout = row(*self._cards, space=2)
        for at in range(2):
            layout.setStretch(at, 1)
        self.setLayout(layout)
        for pane in self.panes:
            pane.zoomed.connect(self.zoomed)
            pane.pushed.connect(self.pushed)

    def sheet(self, about: About) -> Sheet:
        """The rows in which its pictures are largest here."""
        return sheet_for(about, self.panes[0].width(), self.panes[0].height())

    def show_step(self, shown: Shown | None) -> None:
        """None: another trajectory comes."""
        pictures = (shown.x, shown.x0) if shown is not None else (None, None)
        for pane, picture in zip(self.panes, pictures, strict=True):
            pane.show_picture(picture)

    def show_words(self, name: str, figures: tuple[str, str]) -> None:
        """name: of the trajectory, where two are on show. figures: of x_t and of x0."""
        for at, what in enumerate((NOISY, PREDICTED)):
            self._names[at].set_full_text(f"{name}   {what.partition(',')[0]}" if name else what)
            self._figures[at].setText(figures[at])

    def set_view(self, view: View) -> None:
        for pane in self.panes:
            pane.set_view(view)

    def sizeHint(self) -> QSize:
        return QSize(480, 240)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.resized.emit()

    def _make_card(self, at: int) -> QFrame:
        made = card()
        head = row(self._names[at], self._figures[at], space=2)
        head.setStretch(0, 1)
        inside = column(space=1)
        inside.setContentsMargins(theme.SPACE[2], theme.SPACE[1], theme.SPACE[2], theme.SPACE[2])
        inside.addLayout(head)
        inside.addWidget(self.panes[at], 1)
        made.setLayout(inside)
        return made
