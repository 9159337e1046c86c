"""A real window on a workspace, as a person would have it, with nothing mocked."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PySide6.QtWidgets import QApplication

from workbench.error_reporting import ErrorReporter
from workbench.io.workspace import Workspace
from workbench.main_window import MainWindow
from workbench.theme import Appearance, Choice

PATIENCE_MS = 10_000


@contextmanager
def opened(
    qtbot: Any, workspace: Path, *, theme: Choice = "light", size: tuple[int, int] = (1280, 720), run: str = ""
) -> Iterator[MainWindow]:
    """The window, once its runs were read and the one on show is drawn."""
    application = QApplication.instance()
    assert isinstance(application, QApplication)
    window = MainWindow(Workspace(workspace), Appearance(application, theme), ErrorReporter(workspace / "logs"), run)
    try:
        window.resize(*size)
        window.start()
        window.show()
        window.resize(*size)
        qtbot.waitUntil(lambda: window.is_settled, timeout=PATIENCE_MS)
        qtbot.waitExposed(window)
        yield window
    finally:
        window.close()
        window.deleteLater()
        qtbot.wait(1)
