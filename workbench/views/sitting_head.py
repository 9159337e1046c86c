"""The line above a pair: what is asked, how far it is, and that the last judgement is on the disk."""

import math

from PySide6.QtWidgets import QWidget

from workbench import theme
from workbench.state import figures
from workbench.state.sitting import Progress
from workbench.theme import Theme
from workbench.views.labels import label, row


class SittingHead(QWidget):
    """saved is true of the disk whenever it shows."""

    def __init__(self) -> None:
        super().__init__()
        self._question = label(role="page-title")
        self._facts = label(role="muted")
        self._icon = label()
        self._word = label(role="finished")
        layout = row(self._question, None, self._facts, space=4)
        layout.addLayout(row(self._icon, self._word, space=1))
        self.setLayout(layout)
        self.show_saved("")

    def show_progress(self, question: str, progress: Progress, *, is_settling: bool = False) -> None:
        self._question.setText(question)
        facts = standing(progress)
        self._facts.setText(f"settling disagreements   ·   {facts}" if is_settling else facts)

    def show_saved(self, word: str) -> None:
        """What became of the last key: icon, word and colour; "" for nothing."""
        self._word.setText(word)
        self._icon.setVisible(bool(word))

    @property
    def facts(self) -> str:
        return self._facts.text()

    @property
    def saved(self) -> str:
        return self._word.text()

    def set_theme(self, colours: Theme) -> None:
        self._icon.setPixmap(theme.pixmap("check", colours.colour("finished"), 14, self.devicePixelRatioF()))


def standing(progress: Progress) -> str:
    """How far it is, how fast it goes and how well the person agrees with themselves, in one line."""
    parts = [f"{figures.count(progress.done)} of {figures.count(progress.total)}"]
    if math.isfinite(progress.pace):
        parts.append(f"{figures.number(progress.pace, 2)} s each")
        if progress.done < progress.total:
            parts.append(figures.left(progress.seconds_left))
    if progress.repeats:
        parts.append(f"consistent in {progress.repeats_alike} of {progress.repeats}")
    return "   ·   ".join(parts)
