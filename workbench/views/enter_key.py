"""Enter presses the button that has the focus, as it does elsewhere; Qt leaves that to Space outside dialogs."""

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QAbstractButton, QCheckBox, QRadioButton, QToolButton

ENTER = (Qt.Key.Key_Return, Qt.Key.Key_Enter)
PLAIN = (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.KeypadModifier)


class EnterPresses(QObject):
    """An event filter for the application. Boxes to tick are left to Space."""

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() != QEvent.Type.KeyPress or not isinstance(watched, QAbstractButton):
            return False
        if isinstance(watched, QCheckBox | QRadioButton) or not _is_enter(event):
            return False
        if isinstance(watched, QToolButton) and watched.menu() is not None:
            watched.showMenu()
        else:
            watched.click()
        return True


def _is_enter(event: QEvent) -> bool:
    if not isinstance(event, QKeyEvent) or event.isAutoRepeat():
        return False
    return event.key() in ENTER and event.modifiers() in PLAIN
