"""The rows of a list of items that each have a kind: rewards, and whatever a later method brings."""

from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from workbench import theme
from workbench.state.preset_draft import Change
from workbench.state.preset_schema import Setting, settings_of, words
from workbench.theme import Theme
from workbench.views import labels
from workbench.views.labels import label, tip
from workbench.views.preset_entry import PlainChoice
from workbench.views.preset_fields import Control, control_for

#: Widths of entries in a line of several, and what fits beside the kind: numbers and units take 1, words 2.
NARROW, MIDDLE = 56, 112
ROOM = 3


class ItemsField(QWidget):
    """One row for each item: its kind, its settings, a button that takes it away; below, one that adds."""

    changed = Signal(object)

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self._setting = setting
        self._kinds: list[str] = []
        self._rows: list[_Row] = []
        self._theme = theme.LIGHT
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(theme.SPACE[1])
        self._add = QPushButton(f"Add {setting.label.lower().removesuffix('s')}")
        self._add.setMenu(self._menu())
        line = QHBoxLayout()
        line.addWidget(self._add)
        line.addStretch(1)
        self._layout.addLayout(line)

    def entry(self) -> QWidget:
        return self._rows[0].entry() if self._rows else self._add

    def show_value(self, value: Any, spelling: str = "") -> None:
        items = value if isinstance(value, list) else []
        known = [item for item in items if isinstance(item, dict) and item.get("kind") in self._setting.variants]
        readable = known if len(known) == len(items) else []
        kinds = [str(item["kind"]) for item in readable]
        if kinds != self._kinds:
            self._rebuild(kinds)
        for row, item in zip(self._rows, readable, strict=True):
            row.show_item(item)
        for row in self._rows:
            row.allow_removal(len(self._rows) > 1)

    def show_fault(self, has_fault: bool) -> None:
        del has_fault  # the words under the rows name the row

    def apply_theme(self, colours: Theme) -> None:
        self._theme = colours
        for row in self._rows:
            row.apply_theme(colours)

    def _menu(self) -> QMenu:
        menu = QMenu(self)
        for kind in self._setting.variants:
            menu.addAction(words(kind)).setData(kind)
        menu.triggered.connect(lambda action: self._ask("add", self._setting.key, action.data()))
        return menu

    def _ask(self, what: Any, key: Any, value: Any = None) -> None:
        self.changed.emit(Change(what, key, value))

    def _rebuild(self, kinds: list[str]) -> None:
        for row in self._rows:
            self._layout.removeWidget(row)
            # Hidden at once, gone later: the change that led here may come from a button of this very row.
            row.hide()
            row.deleteLater()
        self._kinds = kinds
        self._rows = [_Row(self._setting, index, kind) for index, kind in enumerate(kinds)]
        for index, row in enumerate(self._rows):
            row.changed.connect(self.changed)
            row.apply_theme(self._theme)
            self._layout.insertWidget(index, row)


class _Row(QFrame):
    """An item: its kind and short settings in a line; below, one a line, paths, yes or no, and what finds no room."""

    changed = Signal(object)

    def __init__(self, setting: Setting, index: int, kind: str) -> None:
        super().__init__()
        self._key = (*setting.key, index)
        self._fields: dict[str, tuple[Setting, Control]] = {}
        self._choice = PlainChoice(f"{setting.label} {index + 1}: kind", tuple(setting.variants))
        self._choice.setCurrentText(kind)
        self._choice.textActivated.connect(lambda kind: self.changed.emit(Change("kind", self._key, kind)))
        self._choice.setMinimumWidth(116)
        self._remove = QToolButton()
        self._remove.setAccessibleName(f"Remove {setting.label.lower()} {index + 1}")
        self._remove.setToolTip("Remove")
        theme.set_role(self._remove, "quiet")
        self._remove.clicked.connect(lambda: self.changed.emit(Change("reset", self._key)))
        self._lay_out([field for field in settings_of(setting.variants[kind], self._key) if field.name != "kind"])

    def _lay_out(self, fields: list[Setting]) -> None:
        short = _beside_the_kind(fields)
        head = labels.row(self._choice)
        for field in short:
            head.addWidget(self._caption(field))
            control = self._control(field)
            control.entry().setFixedWidth(NARROW if field.kind in ("int", "float") else MIDDLE)
            head.addWidget(_widget(control), 0, Qt.AlignmentFlag.AlignLeft)
        head.addStretch(1)
        head.addWidget(self._remove)
        below = QGridLayout()
        below.setContentsMargins(theme.SPACE[4], 0, 0, 0)
        below.setHorizontalSpacing(theme.SPACE[2])
        below.setVerticalSpacing(2)
        below.setColumnStretch(1, 1)
        for place, field in enumerate(field for field in fields if field not in short):
            self._add_line(field, below, 2 * place)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(theme.SPACE[1])
        layout.addLayout(head)
        layout.addLayout(below)

    def _add_line(self, field: Setting, grid: QGridLayout, line: int) -> None:
        """Caption, control, and under it what it means; a yes or no has that beside it, as it is what is agreed to."""
        control, meaning = _widget(self._control(field)), label(field.help[:1].upper() + field.help[1:], wrap=True)
        grid.addWidget(self._caption(field), line, 0)
        if field.kind == "flag":
            beside = labels.row(control)
            beside.addWidget(meaning, 1)
            grid.addLayout(beside, line, 1)
        else:
            theme.set_role(meaning, "muted")
            grid.addWidget(control, line, 1)
            grid.addWidget(meaning, line + 1, 1)

    def _caption(self, field: Setting) -> QLabel:
        caption = label(field.label.lower(), "muted")
        caption.setToolTip(tip(f"{field.name}: {field.help}"))
        return caption

    def _control(self, field: Setting) -> Control:
        control = control_for(field, ())
        control.changed.connect(self.changed)
        control.entry().setToolTip(tip(f"{field.name}: {field.help}"))
        self._fields[field.name] = (field, control)
        return control

    def entry(self) -> QWidget:
        return self._choice

    def show_item(self, item: dict[str, Any]) -> None:
        for name, (field, control) in self._fields.items():
            control.show_value(item.get(name, field.default))

    def allow_removal(self, is_allowed: bool) -> None:
        self._remove.setEnabled(is_allowed)

    def apply_theme(self, colours: Theme) -> None:
        self._remove.setIcon(theme.icon("close", colours.colour("muted")))


def _beside_the_kind(fields: list[Setting]) -> list[Setting]:
    """The first that fit there. Paths and hashes are long, and what a yes means has to be read before it is given."""
    found, room = [], ROOM
    for field in fields:
        takes = (1 if field.kind in ("int", "float") else 2) + bool(field.unit)
        if field.kind != "flag" and field.name not in ("path", "sha256") and takes <= room:
            found.append(field)
            room -= takes
    return found


def _widget(control: Control) -> QWidget:
    assert isinstance(control, QWidget)  # noqa: S101 - every control is one; a protocol cannot say so
    return control
