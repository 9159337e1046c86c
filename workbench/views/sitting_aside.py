"""What stands in place of the answers for a while: the guideline, a pause, the end."""

from typing import Literal

from PySide6.QtCore import QUrl, Signal
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFrame, QPushButton

from workbench import theme
from workbench.io.label_sets import Opened
from workbench.views.labels import column, label, row

What = Literal["", "guideline", "pause", "done"]

TITLES: dict[What, str] = {"guideline": "Guideline", "pause": "Paused", "done": "Done"}
PAUSED = "The clock stands still and the answers are covered. The same key goes on."
DONE = "Every pair is judged. Undo still goes back as far as you like."
NO_DISAGREEMENT = "No two people say the opposite of an item, or all of that is settled. The same key goes back."
MORE = "More pairs are being written"
EMPTY = "There is no pair yet."
SO_FAR = "Every pair that is there is judged."
WAITING = "Those that are being written will appear by themselves."
STILL = "Nothing is being written now; the list of sets says how that ended."


class SittingAside(QFrame):
    """quality_wanted, training_wanted: the person wants to see how good the labels are, or to train on them."""

    quality_wanted = Signal()
    training_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        theme.set_role(self, "card")
        self.what: What = ""
        self._opened: Opened | None = None
        self._is_growing = False
        self._title = label(role="title")
        self._text = label(wrap=True, selectable=True)
        self._file = QPushButton("Open its file")
        self._quality = QPushButton("How good are these labels?")
        self._train = QPushButton("Train on these")
        theme.set_role(self._quality, "primary")
        layout = column(self._title, self._text, space=3)
        layout.addLayout(row(self._quality, self._train, self._file, None))
        layout.addStretch(1)
        layout.setContentsMargins(theme.SPACE[5], theme.SPACE[4], theme.SPACE[5], theme.SPACE[4])
        self.setLayout(layout)
        self._guideline = QUrl()
        self._file.clicked.connect(lambda: QDesktopServices.openUrl(self._guideline))
        self._quality.clicked.connect(self.quality_wanted)
        self._train.clicked.connect(self.training_wanted)

    def show_what(self, what: What, opened: Opened) -> None:
        self.what, self._opened = what, opened
        self._guideline = QUrl.fromLocalFile(str(opened.label_dir.guideline))
        is_done = what == "done" and opened.sitting.progress.done > 0
        self._file.setVisible(what == "guideline")
        self._quality.setVisible(is_done)
        self._train.setVisible(is_done)
        self._title.setText(self._what_is_done(opened) if what == "done" else TITLES.get(what, ""))
        self._text.setText(_words(what, opened, is_growing=self._is_growing))

    def set_growing(self, is_growing: bool) -> None:
        """Whether more items are being written, so that what is done now is not all there will be."""
        self._is_growing = is_growing
        if self.what == "done" and self._opened is not None:
            self.show_what("done", self._opened)

    def _what_is_done(self, opened: Opened) -> str:
        if opened.sitting.is_settling and not opened.sitting.progress.done:
            return "No disagreement is left"
        if self._is_growing:
            return MORE
        return TITLES["done"] if opened.sitting.progress.done else "Nothing to judge yet"

    @property
    def text(self) -> str:
        return self._text.text()


def _words(what: What, opened: Opened, *, is_growing: bool) -> str:
    if what == "guideline":
        return opened.guideline or f"Nothing was written down yet; {opened.label_dir.guideline} is the place for it."
    if what == "pause":
        return PAUSED
    if opened.sitting.is_settling:
        return NO_DISAGREEMENT
    if is_growing and opened.sitting.progress.done:
        return f"{SO_FAR} {WAITING}"
    return DONE if opened.sitting.progress.done else f"{EMPTY} {WAITING if is_growing else STILL}"
