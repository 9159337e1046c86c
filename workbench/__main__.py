"""`python -m workbench [WORKSPACE]`: the window, or a picture of it."""

import argparse
import locale
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication

    from workbench.main_window import MainWindow

SIZE = (1440, 900)
#: A picture is given up if the runs cannot be read and drawn in this time.
PATIENCE_SECONDS = 60.0
#: What was asked for stands still this long before it is drawn: completions and figures come a little after curves.
SETTLED_SECONDS = 0.8


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0, or 1 if the workspace or the picture could not be written, 2 for bad arguments."""
    asked = _parser().parse_args(arguments)
    if asked.screenshot and "QT_QPA_PLATFORM" not in os.environ:
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    try:
        _refuse_broken_qt()
        return _open(asked)
    except OSError as error:
        sys.stderr.write(f"workbench: {error.filename or asked.workspace}: {error.strerror}; choose another folder\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("workbench", description="A window on a workspace: start runs, watch them learn.")
    parser.add_argument("workspace", nargs="?", type=Path, default=Path("~/Plumbline"), help="default: ~/Plumbline")
    parser.add_argument("--theme", choices=["light", "dark", "system"], help="default: as it was left")
    parser.add_argument("--screenshot", type=Path, metavar="FILE", help="draw the window to a PNG file and end")
    parser.add_argument("--size", type=_size, default=SIZE, metavar="WxH", help="size of the picture, as 1440x900")
    parser.add_argument("--page", choices=["runs", "presets", "judge", "help"], default="runs", help="page to open")
    parser.add_argument("--run", default="", metavar="NAME", help="run to show; default: what runs, or learned last")
    return parser


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and 400 <= int(width) <= 8000 and 300 <= int(height) <= 8000):
        raise argparse.ArgumentTypeError(f"{text} is not a size; write it as 1440x900")
    return int(width), int(height)


def _refuse_broken_qt() -> None:
    import PySide6

    if sys.version_info < (3, 12) and PySide6.__version_info__[:2] >= (6, 12):
        sys.exit(
            f"PySide6 {PySide6.__version__} ends the window after seconds on Python 3.10 and 3.11.\n"
            "Install the tested one: pip install 'PySide6-Essentials<6.12'"
        )


def _open(asked: argparse.Namespace) -> int:
    from PySide6.QtWidgets import QApplication

    from workbench.error_reporting import ErrorReporter, log_folder
    from workbench.io.workspace import Workspace
    from workbench.main_window import MainWindow
    from workbench.theme import Appearance, Choice
    from workbench.views.enter_key import EnterPresses
    from workbench.views.wheel_guard import WheelGuard

    application = QApplication(["plumbline"])
    application.setApplicationName("Plumbline")
    # QApplication takes the desktop's number format, under which tokenizers and YAML misread 0.5.
    locale.setlocale(locale.LC_NUMERIC, "C")
    application.installEventFilter(WheelGuard(application))
    application.installEventFilter(EnterPresses(application))
    errors = ErrorReporter(log_folder())
    errors.install()
    workspace = Workspace(asked.workspace.expanduser().absolute())
    kept = str(workspace.settings().value("theme", "system"))
    choices: dict[str, Choice] = {"light": "light", "dark": "dark"}
    chosen = choices.get(asked.theme or kept, "system")
    window = MainWindow(workspace, Appearance(application, chosen), errors, wanted=asked.run)
    try:
        if not asked.screenshot:
            window.start()
            window.show()
            window.show_page(asked.page)
            return application.exec()
        return _take_picture(application, window, asked)
    finally:
        errors.uninstall()


def _take_picture(application: "QApplication", window: "MainWindow", asked: argparse.Namespace) -> int:
    """Draw the window once its runs were read and its curves are there."""
    window.resize(*asked.size)
    window.start()
    window.show()
    window.resize(*asked.size)
    window.show_page(asked.page)
    in_time = _wait(application, lambda: window.is_settled)
    settled = time.monotonic() + SETTLED_SECONDS
    _wait(application, lambda: time.monotonic() > settled)
    is_saved = window.grab().save(str(asked.screenshot), "PNG")
    window.close()
    if not is_saved:
        raise OSError(1, "the picture could not be written", str(asked.screenshot))
    return 0 if in_time else 1


def _wait(application: "QApplication", is_done: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        application.processEvents()
        if is_done():
            return True
        time.sleep(0.005)
    return False


if __name__ == "__main__":
    sys.exit(main())
