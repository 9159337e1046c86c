"""The buttons under a pair: what can be said of it, each with its key."""

from collections.abc import Iterable, Mapping

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QWidget

from workbench import theme
from workbench.views.labels import column, row, tip

SCALE = {"1": "A much better", "2": "better", "3": "slightly", "4": "tie", "5": "slightly", "6": "better"}
GRADED = {**SCALE, "7": "B much better"}
BINARY = {"left": "A is better", "tie": "tie", "right": "B is better"}
OTHERWISE = {"both_bad": "both bad", "skip": "skip"}
BACK = {"undo": "undo", "redo": "redo"}
RANK = {"rank": "rank all"}
WHILE_RANKING = {"same_place": "beside the last", "finish": "rest last"}
MARKS = {"flag": "flag", "note": "note"}
OF_TWO_TEXTS = {"difference": "difference"}
OF_TEXTS = {"markdown": "Markdown"}
OF_PICTURES = {"blink": "blink", "zoom_in": "closer", "zoom_out": "further", "zoom_whole": "whole"}
ASIDE = {"guideline": "guideline", "pause": "pause"}


class ChoiceBar(QWidget):
    """Emits `asked` with an action. keys: how the key of each action is written."""

    asked = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._keys: Mapping[str, str] = {}
        self._buttons: dict[str, QPushButton] = {}
        self._scale = row(space=1)
        self._rest = row(space=1)
        layout = column(space=2)
        for part in (self._scale, self._rest):
            layout.addLayout(part)
        self.setLayout(layout)
        self._asked: object = None

    def show_choices(
        self, keys: Mapping[str, str], *, answers: int, is_graded: bool, are_pictures: bool = False
    ) -> None:
        """Offer what fits the answers on show; nothing moves where nothing changed."""
        if (asked := (dict(keys), answers, is_graded, are_pictures)) == self._asked:
            return
        self._asked, self._keys = asked, keys
        self._buttons.clear()
        for layout in (self._scale, self._rest):
            _empty(layout)
        for action, title in self._choices(answers, is_graded=is_graded).items():
            self._scale.addWidget(self._button(action, title), 1)
        # Beside the strengths there is room for one; in the row below, it would cut words in the smallest window.
        for action, title in OTHERWISE.items():
            place = self._scale if answers == 2 and action == "both_bad" else self._rest
            place.addWidget(self._button(action, title))
        for action, title in (RANK if answers > 2 else {}).items():
            self._rest.addWidget(self._button(action, title))
        self._rest.addStretch(1)
        looks = OF_PICTURES if are_pictures else OF_TEXTS if answers > 2 else {**OF_TWO_TEXTS, **OF_TEXTS}
        for action, title in {**BACK, **MARKS, **looks, **ASIDE}.items():
            self._rest.addWidget(self._button(action, title, is_quiet=True))

    def light(self, action: str, *, is_lit: bool) -> None:
        """Mark the button that was chosen; or that was chosen before it was undone."""
        if (button := self._buttons.get(action)) is not None:
            theme.set_role(button, "lit" if is_lit else "")

    def put_out(self) -> None:
        for action in self._buttons:
            if self._buttons[action].property("role") == "lit":
                theme.set_role(self._buttons[action], "")

    def set_down(self, actions: Mapping[str, bool]) -> None:
        """Show what is on: flagged, noted, differences shown, paused, ranking."""
        for action, is_down in actions.items():
            if (button := self._buttons.get(action)) is not None:
                theme.set_role(button, "on" if is_down else "" if action in RANK else "quiet")

    def offer(self, actions: Iterable[str], *, is_offered: bool) -> None:
        """Show these buttons, or take them away while they mean nothing."""
        for action in actions:
            if (button := self._buttons.get(action)) is not None:
                button.setVisible(is_offered)

    def enable(self, actions: Mapping[str, bool]) -> None:
        for action, is_enabled in actions.items():
            if (button := self._buttons.get(action)) is not None:
                button.setEnabled(is_enabled)

    @property
    def of_a_pair(self) -> list[str]:
        """Actions that mean nothing while no pair is there."""
        return [action for action in self._buttons if action not in (*BACK, *ASIDE)]

    def button(self, action: str) -> QPushButton | None:
        return self._buttons.get(action)

    def _choices(self, answers: int, *, is_graded: bool) -> dict[str, str]:
        if answers == 2:
            return GRADED if is_graded else BINARY
        return {**{str(at): f"answer {at}" for at in range(1, answers + 1)}, **WHILE_RANKING}

    def _button(self, action: str, title: str, *, is_quiet: bool = False) -> QPushButton:
        key = self._keys.get(action, "")
        button = QPushButton(f"{key}   {title}" if key else title)
        button.setToolTip(tip(f"{title}  {key}".strip()))
        button.clicked.connect(lambda: self.asked.emit(action))
        if is_quiet:
            theme.set_role(button, "quiet")
        self._buttons[action] = button
        return button


def _empty(layout: QHBoxLayout) -> None:
    while (item := layout.takeAt(0)) is not None:
        if (widget := item.widget()) is not None:
            widget.hide()
            widget.deleteLater()
