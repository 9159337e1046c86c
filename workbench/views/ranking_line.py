"""While more than two answers are ranked: what was keyed so far, and a line that says what the next key does."""

from collections.abc import Mapping

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from workbench.state.ranking_draft import Draft, Groups
from workbench.views.labels import label, row


class RankingLine(QWidget):
    """keys: how the key of each action is written. changed: other places, or ranking begins or ends."""

    changed = Signal()

    def __init__(self, keys: Mapping[str, str]) -> None:
        super().__init__()
        self.is_on = False
        self.draft = Draft()
        self._keys = keys
        self._words = label(role="muted", wrap=True)
        self.setLayout(row(self._words))
        self.hide()

    def toggle(self) -> None:
        """Rank all answers from now on, or say only which is best."""
        self.is_on = not self.is_on
        self.restart()

    def restart(self) -> None:
        self._set(Draft())

    def pick(self, place: int, answers: int) -> Groups:
        """The next in the order. The whole ranking once all have their place, else nothing yet.

        Only then does it go on by itself: one digit more, and a tie at the end is never cut off.
        """
        self._set(self.draft.picked(place))
        return self.draft.groups if self.draft.ranks_all(answers) else ()

    def join(self) -> None:
        if self.is_on:
            self._set(self.draft.joined())

    def take_back(self) -> bool:
        """Undo within a ranking that is not complete; False if there is none."""
        if not self.draft.groups:
            return False
        self._set(self.draft.taken_back())
        return True

    @property
    def text(self) -> str:
        return self._words.text()

    def _set(self, draft: Draft) -> None:
        self.draft = draft
        first = "Press the next best" if draft.groups else "Press the best first"
        if draft.joins:
            first = "Press the one that is as good as the last"
        same, rest, undo = (self._keys.get(action, "") for action in ("same_place", "finish", "undo"))
        then = f"{same} puts the next beside the last, {rest} leaves the rest last and alike, {undo} takes one back."
        self._words.setText(f"{first}.   {then}" if draft.groups else f"{first}.")
        self.setVisible(self.is_on)
        self.changed.emit()
