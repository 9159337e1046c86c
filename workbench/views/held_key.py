"""A key that means: as long as it is held. Pressed for a moment, it stays on until it is pressed again."""

import time

from PySide6.QtCore import QObject, QTimer, Signal

HELD_SECONDS = 0.3
#: A key that repeats may look as if it were let go and pressed again at once.
RELEASED_MS = 80


class HeldKey(QObject):
    """changed: whether it is on."""

    changed = Signal(bool)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.is_on = False
        self._since = 0.0
        self._released = QTimer(self, singleShot=True, interval=RELEASED_MS)
        self._released.timeout.connect(self.turn_off)

    def press(self) -> None:
        if self._released.isActive():
            self._released.stop()
            return
        self._since = time.monotonic()
        self._set(not self.is_on)

    def release(self) -> None:
        if self.is_on and time.monotonic() - self._since > HELD_SECONDS:
            self._released.start()

    def turn_off(self) -> None:
        self._released.stop()
        if self.is_on:
            self._set(False)

    def _set(self, is_on: bool) -> None:
        self.is_on = is_on
        self.changed.emit(is_on)
