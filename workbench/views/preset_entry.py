"""The entries that the controls of the preset form are made of: they leave the page's keys to the page."""

from typing import Any

from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtGui import QKeyEvent, QKeySequence, QWheelEvent
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLineEdit, QWidget

from workbench import theme

NUMBER_WIDTH = 132


def shared_key(event: QKeyEvent) -> bool:
    """Keys that mean the whole page, not one field: undo and redo have one history, Ctrl+Enter runs."""
    if event.matches(QKeySequence.StandardKey.Undo) or event.matches(QKeySequence.StandardKey.Redo):
        return True
    is_enter = event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter)
    return is_enter and bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)


class PlainEntry(QLineEdit):
    """A line edit that leaves the page's keys to the page. finished: left, or Enter, with its text."""

    finished = Signal(str)
    stepped = Signal(int)

    def __init__(self, name: str) -> None:
        super().__init__()
        self.setAccessibleName(name)
        self.editingFinished.connect(lambda: self.finished.emit(self.text()))

    def show_text(self, text: str) -> None:
        """Show `text`, unless it is what a person is typing in another spelling."""
        if text != self.text():
            self.setText(text)
            self.setCursorPosition(0 if not self.hasFocus() else len(text))

    def event(self, event: QEvent) -> bool:
        is_override = event.type() == QEvent.Type.ShortcutOverride
        if is_override and isinstance(event, QKeyEvent) and shared_key(event):
            event.ignore()
            return False
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if shared_key(event):
            event.ignore()
            return
        steps = {Qt.Key.Key_Up: 1, Qt.Key.Key_Down: -1, Qt.Key.Key_PageUp: 10, Qt.Key.Key_PageDown: -10}
        if event.key() in steps:
            self.stepped.emit(steps[Qt.Key(event.key())])
            return
        super().keyPressEvent(event)

    def wheelEvent(self, event: QWheelEvent) -> None:
        # A wheel over a field that is not in use scrolls the form; it must never change a number on the way.
        if not self.hasFocus():
            event.ignore()
            return
        self.stepped.emit(1 if event.angleDelta().y() > 0 else -1)
        event.accept()


class PlainChoice(QComboBox):
    """A list that the wheel turns only while it has the focus."""

    def __init__(self, name: str, choices: tuple[str, ...]) -> None:
        super().__init__()
        self.addItems(list(choices))
        self.setAccessibleName(name)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumWidth(NUMBER_WIDTH)

    def wheelEvent(self, event: QWheelEvent) -> None:
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()


def leave_fields(parent: QObject) -> None:
    """Let the field in use say its last word before something is done with the whole preset."""
    for edit in parent.findChildren(PlainEntry):
        if edit.hasFocus() and edit.isModified():
            edit.finished.emit(edit.text())


def side_by_side(parent: QWidget, parts: list[Any], space: int = 2) -> QHBoxLayout:
    layout = QHBoxLayout(parent)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(theme.SPACE[space])
    for part in parts:
        layout.addWidget(part)
    return layout


def mark_fault(entry: QWidget, has_fault: bool) -> None:
    if bool(entry.property("fault")) != has_fault:
        entry.setProperty("fault", has_fault)
        entry.style().unpolish(entry)
        entry.style().polish(entry)
