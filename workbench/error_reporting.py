"""When something of ours breaks: it is written down, told in one line, and the window goes on."""

import faulthandler
import platform
import sys
import threading
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import IO

import platformdirs
from PySide6.QtCore import QMessageLogContext, QObject, QtMsgType, Signal, qInstallMessageHandler, qVersion

LONGEST_LOG = 1_000_000
#: What Qt says about platforms without a desktop, which no person can do anything about.
IDLE_TALK = ("propagateSizeHints", "This plugin does not support", "could not connect to display")


def log_folder() -> Path:
    return Path(platformdirs.user_log_dir("Plumbline", appauthor=False))


class ErrorReporter(QObject):
    """Catches what nobody caught. `happened` carries a sentence and the details to copy."""

    happened = Signal(str, str)

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._crash_file: IO[str] | None = None

    def install(self) -> None:
        """From now on every uncaught error of this process ends here. Without a writable folder it is only told."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._crash_file = (self._folder / "crash.log").open("w", encoding="utf-8")
            faulthandler.enable(self._crash_file)
        except OSError:
            faulthandler.enable()
        sys.excepthook = self.report
        threading.excepthook = self._report_thread
        qInstallMessageHandler(self._qt_message)

    def uninstall(self) -> None:
        sys.excepthook = sys.__excepthook__
        threading.excepthook = threading.__excepthook__
        qInstallMessageHandler(None)
        faulthandler.disable()
        if self._crash_file is not None:
            self._crash_file.close()
            self._crash_file = None

    def report(self, kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
        if isinstance(error, KeyboardInterrupt):
            sys.__excepthook__(kind, error, where)
            return
        details = "".join([_system(), *traceback.format_exception(kind, error, where)])
        self._write(details)
        sys.__excepthook__(kind, error, where)
        sentence = f"Something in the window broke ({kind.__name__}). Your runs go on; details are in {self._folder}."
        self.happened.emit(sentence, details)

    def _report_thread(self, caught: threading.ExceptHookArgs) -> None:
        if caught.exc_value is not None:
            self.report(caught.exc_type, caught.exc_value, caught.exc_traceback)

    def _qt_message(self, kind: QtMsgType, context: QMessageLogContext, message: str) -> None:
        if not any(idle in message for idle in IDLE_TALK):
            self._write(f"Qt {kind.name}: {message}\n")
            sys.stderr.write(f"Qt: {message}\n")

    def _write(self, text: str) -> None:
        path = self._folder / "window.log"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if path.exists() and path.stat().st_size > LONGEST_LOG:
                path.replace(path.with_suffix(".old.log"))
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
        except OSError:
            return


def _system() -> str:
    return f"Plumbline, Python {platform.python_version()}, Qt {qVersion()}, {platform.platform()}\n"
