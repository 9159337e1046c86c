"""What the engine printed: the end of engine.log, then whatever is added."""

import re
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal

TAIL = 64 * 1024
INTERVAL_MS = 250
#: Colours and cursor moves are for terminals; a progress bar that went back to the line's start becomes lines.
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def readable(data: bytes) -> str:
    """Log bytes as text without control characters."""
    return ESCAPES.sub("", data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n"))


class LogTail(QObject):
    """Emits `started` with the end of the file, then `grown` with each addition; polls only between start and stop."""

    started = Signal(str)
    grown = Signal(str)

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._offset: int | None = None
        self._timer = QTimer(self, interval=INTERVAL_MS)
        self._timer.timeout.connect(self.poll)

    def start(self) -> None:
        self._timer.start()
        self.poll()

    def stop(self) -> None:
        self._timer.stop()

    def poll(self) -> None:
        try:
            size = self._path.stat().st_size
        except OSError:
            size = 0
        if self._offset is None or size < self._offset or size - self._offset > TAIL:
            self._offset = size
            self.started.emit(readable(self._read(max(0, size - TAIL), size)))
        elif size > self._offset:
            start, self._offset = self._offset, size
            self.grown.emit(readable(self._read(start, size)))

    def _read(self, start: int, stop: int) -> bytes:
        try:
            with self._path.open("rb") as file:
                file.seek(start)
                return file.read(stop - start)
        except OSError:
            return b""
