"""What stands in place of the answers for a while: the guideline, a pause, the end."""

from typing import Literal

from PySide6.QtCore import QUrl, Signal
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QApplication, QFrame, QPushButton, QWidget

from workbench import theme
from workbench.io.label_sets import Opened
from workbench.state.filling import Filling, in_full
from workbench.views.labels import column, label, row

What = Literal["", "guideline", "pause", "done"]

TITLES: dict[What, str] = {"guideline": "Guideline", "pause": "Paused", "done": "Done"}
PAUSED = "The clock stands still and the answers are covered. The same key goes on."
DONE = "Every pair is judged. Undo still goes back as far as you like."
NO_DISAGREEMENT = "No two people say the opposite of an item, or all of that is settled. The same key goes back."
SO_FAR = "Every pair that is there is judged. More are being made and appear by themselves."
FIRST = "It appears here by itself."
EMPTY = "This set has no pair, and nothing is making any."


class SittingAside(QFrame):
    """quality_wanted, training_wanted: the person wants to see how good the labels are, or to train on them.
    going_on_wanted: the items that the set still lacks are to be made."""

    quality_wanted = Signal()
    training_wanted = Signal()
    going_on_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        theme.set_role(self, "card")
        self.what: What = ""
        self._opened: Opened | None = None
        self._filling: Filling | None = None
        self._lent_by: QWidget | None = None
        self._title = label(role="title")
        self._text = label(wrap=True, selectable=True)
        self._file = QPushButton("Open its file")
        self._quality = QPushButton("How good are these labels?")
        self._train = QPushButton("Train on these")
        self.go_on = QPushButton("Go on making pairs")
        theme.set_role(self._quality, "primary")
        layout = column(self._title, self._text, space=3)
        layout.addLayout(row(self._quality, self._train, self.go_on, self._file, None))
        layout.addStretch(1)
        layout.setContentsMargins(theme.SPACE[5], theme.SPACE[4], theme.SPACE[5], theme.SPACE[4])
        self.setLayout(layout)
        self._guideline = QUrl()
        self._file.clicked.connect(lambda: QDesktopServices.openUrl(self._guideline))
        self._quality.clicked.connect(self.quality_wanted)
        self._train.clicked.connect(self.training_wanted)
        self.go_on.clicked.connect(self.going_on_wanted)

    def show_what(self, what: What, opened: Opened) -> None:
        if what != "done":
            self._give_keyboard_back()
        self.what, self._opened = what, opened
        self._guideline = QUrl.fromLocalFile(str(opened.label_dir.guideline))
        is_done = what == "done" and opened.sitting.progress.done > 0
        self._file.setVisible(what == "guideline")
        self._quality.setVisible(is_done)
        self._train.setVisible(is_done)
        self.go_on.setVisible(what == "done" and self._has_ended)
        self._title.setText(self._what_is_done(opened) if what == "done" else TITLES.get(what, ""))
        self._text.setText(_words(what, opened, self._filling))

    def show_filling(self, filling: Filling | None) -> None:
        """How the set is being filled, so that what is done now is not all there will be; None once it is whole."""
        self._filling = filling
        if self.what == "done" and self._opened is not None:
            self.show_what("done", self._opened)

    @property
    def _has_ended(self) -> bool:
        """Whether something ended the making of items before the set was whole."""
        return self._filling is not None and not self._filling.status.is_alive

    def _what_is_done(self, opened: Opened) -> str:
        done = opened.sitting.progress.done
        if opened.sitting.is_settling and not done:
            return "No disagreement is left"
        if self._has_ended:
            return "Not all pairs were made" if opened.sitting.progress.total else "No pair was made"
        if self._filling is not None:
            return "More pairs are on their way" if done else "The first pair is on its way"
        return TITLES["done"] if done else "Nothing to judge"

    def take_keyboard(self, *, of: QWidget) -> None:
        """Let Enter do what comes next, if anything does, where the keyboard's place is within `of`."""
        focus = QApplication.focusWidget()
        if focus is not None and (focus is of or of.isAncestorOf(focus)):
            for button in (self._quality, self.go_on):
                if not button.isHidden():
                    self._lent_by = of
                    button.setFocus()

    def _give_keyboard_back(self) -> None:
        """Or else it would go to whatever is next, such as Undo, which Enter would then press."""
        focus = QApplication.focusWidget()
        if self._lent_by is not None and focus is not None and self.isAncestorOf(focus):
            self._lent_by.setFocus()
        self._lent_by = None

    @property
    def title(self) -> str:
        return self._title.text()

    @property
    def text(self) -> str:
        return self._text.text()


def _words(what: What, opened: Opened, filling: Filling | None) -> str:
    if what == "guideline":
        return opened.guideline or f"Nothing was written down yet; {opened.label_dir.guideline} is the place for it."
    if what == "pause":
        return PAUSED
    if opened.sitting.is_settling:
        return NO_DISAGREEMENT
    if filling is not None:
        told = in_full(filling)
        said = "" if not filling.status.is_alive else SO_FAR if opened.sitting.progress.done else FIRST
        return "\n".join(part for part in (said, told) if part)
    return DONE if opened.sitting.progress.done else EMPTY
