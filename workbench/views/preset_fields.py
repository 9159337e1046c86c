"""The controls of the preset form, one for each kind of setting: they show a value and say what is wanted.

Signals fire for a person's hand only (textEdited, clicked, activated): showing a value needs no signal blocker.
"""

from decimal import Decimal, InvalidOperation
from typing import Any, Protocol

from PySide6.QtCore import Signal, SignalInstance
from PySide6.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QComboBox,
    QPushButton,
    QWidget,
)

from workbench import theme
from workbench.state.preset_draft import Change
from workbench.state.preset_edit import scalar_text
from workbench.state.preset_schema import Setting
from workbench.views.labels import label
from workbench.views.preset_entry import NUMBER_WIDTH, PlainChoice, PlainEntry, mark_fault, side_by_side
from workbench.views.preset_text_field import TextField

#: Up to so many short words stand side by side; more go into a list.
SIDE_BY_SIDE = 4


class Control(Protocol):
    """What the form asks of any control. `changed` carries a Change. spelling: how the text writes a number."""

    @property
    def changed(self) -> SignalInstance: ...
    def show_value(self, value: Any, spelling: str = "") -> None: ...
    def show_fault(self, has_fault: bool) -> None: ...
    def entry(self) -> QWidget: ...


class NumberField(QWidget):
    """A number as typed: `1e-5` stays `1e-5`. Arrow keys step its last digit. Words such as auto stand beside."""

    changed = Signal(object)

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self._setting = setting
        self._edit = PlainEntry(setting.label)
        self._edit.setFixedWidth(NUMBER_WIDTH)
        self._edit.textEdited.connect(self._typed)
        self._edit.finished.connect(self._left)
        self._edit.stepped.connect(self._step)
        self._words = [QPushButton(word) for word in setting.choices]
        layout = side_by_side(self, [self._edit, *self._words])
        if setting.unit:
            layout.addWidget(label(setting.unit, "muted"))
        layout.addStretch(1)
        for word, button in zip(setting.choices, self._words, strict=True):
            button.setCheckable(True)
            theme.set_role(button, "word")
            button.clicked.connect(lambda _=False, word=word: self._say("set", word))

    def entry(self) -> QWidget:
        return self._edit

    def show_value(self, value: Any, spelling: str = "") -> None:
        for button in self._words:
            button.setChecked(value == button.text())
        if value in self._setting.choices:
            self._edit.show_text("")
            self._edit.setPlaceholderText(str(value))
        elif not _reads_as(self._edit.text(), value):
            self._edit.show_text(spelling or _number_text(value))

    def show_fault(self, has_fault: bool) -> None:
        mark_fault(self._edit, has_fault)

    def _say(self, what: Any, value: Any = None) -> None:
        self.changed.emit(Change(what, self._setting.key, value))

    def _typed(self, text: str) -> None:
        # An empty field is on its way to another number; taking the line out would lose its comment.
        if text.strip():
            self._say("type", text)

    def _left(self, text: str) -> None:
        if not text.strip() and not self._edit.placeholderText():
            self._say("type" if self._setting.can_be_empty else "reset", "")

    def _step(self, by: int) -> None:
        text = stepped(self._edit.text(), by, is_whole=self._setting.kind == "int")
        least, most = self._setting.bounds.least, self._setting.bounds.most
        if text is None or (least is not None and float(text) < least) or (most is not None and float(text) > most):
            return
        self._edit.show_text(text)
        self._typed(text)


def stepped(text: str, by: int, *, is_whole: bool) -> str | None:
    """The number with its last digit changed by `by`, in the same spelling; None if it is no number."""
    mantissa, e, power = text.strip().lower().partition("e")
    try:
        number = Decimal(mantissa)
        step = Decimal(1).scaleb(0 if is_whole else int(number.as_tuple().exponent))
        changed = number + by * step
    except (InvalidOperation, ValueError):
        return None
    return None if not is_whole and number > 0 >= changed else f"{changed:f}{e}{power}"


class ChoiceField(QWidget):
    """One of a few words: side by side where they are few and short, else a list."""

    changed = Signal(object)

    def __init__(self, setting: Setting, choices: tuple[str, ...], what: Any = "set") -> None:
        super().__init__()
        self._setting, self._choices, self._what = setting, choices, what
        self._buttons: list[QPushButton] = []
        self._list: QComboBox | None = None
        is_short = sum(len(choice) for choice in choices) <= 24
        if 1 < len(choices) <= SIDE_BY_SIDE and is_short:
            self._putside_by_side()
        else:
            self._list = PlainChoice(setting.label, choices)
            self._list.textActivated.connect(self._say)
            side_by_side(self, [self._list]).addStretch(1)

    def _putside_by_side(self) -> None:
        group = QButtonGroup(self)
        for choice in self._choices:
            button = QPushButton(choice)
            button.setCheckable(True)
            button.setAccessibleName(f"{self._setting.label}: {choice}")
            theme.set_role(button, "word")
            button.clicked.connect(lambda _=False, word=choice: self._say(word))
            group.addButton(button)
            self._buttons.append(button)
        side_by_side(self, self._buttons, space=1).addStretch(1)

    def entry(self) -> QWidget:
        checked = next((button for button in self._buttons if button.isChecked()), None)
        return self._list or checked or self._buttons[0]

    def show_value(self, value: Any, spelling: str = "") -> None:
        if self._list is not None:
            self._list.setCurrentIndex(self._choices.index(value) if value in self._choices else -1)
            return
        group = self._buttons[0].group()
        # A value that is none of the words leaves no button pressed, which an exclusive group would refuse.
        group.setExclusive(False)
        for button in self._buttons:
            button.setChecked(button.text() == value)
        group.setExclusive(True)

    def show_fault(self, has_fault: bool) -> None:
        if self._list is not None:
            mark_fault(self._list, has_fault)

    def _say(self, word: str) -> None:
        self.changed.emit(Change(self._what, self._setting.key, word))


class FlagField(QWidget):
    """Yes or no."""

    changed = Signal(object)

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self._box = QCheckBox()
        self._box.setAccessibleName(setting.label)
        self._box.clicked.connect(lambda on: self.changed.emit(Change("set", setting.key, on)))
        side_by_side(self, [self._box]).addStretch(1)

    def entry(self) -> QWidget:
        return self._box

    def show_value(self, value: Any, spelling: str = "") -> None:
        self._box.setChecked(value is True)

    def show_fault(self, has_fault: bool) -> None:
        del has_fault  # a box has no wrong state; the words under it say what the text has instead


def control_for(setting: Setting, methods: tuple[str, ...]) -> Control:
    """The control of a setting of one line. Lists of items have a widget of their own."""
    if setting.key == ("method",):
        return ChoiceField(setting, methods, "method")
    match setting.kind:
        case "choice":
            return ChoiceField(setting, setting.choices)
        case "flag":
            return FlagField(setting)
        case "int" | "float":
            return NumberField(setting)
        case _:
            return TextField(setting)


def _reads_as(typed: str, value: Any) -> bool:
    """True where the field already says so in its own spelling, as 1e-5 does for 0.00001."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return typed.strip() == value
    try:
        return float(typed) == value and (isinstance(value, float) or "." not in typed)
    except ValueError:
        return False


def _number_text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else scalar_text(value).replace("e-0", "e-")
