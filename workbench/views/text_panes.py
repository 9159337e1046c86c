"""The run's words: what its engine printed, the preset as it ran, and the files it wrote."""

import time
from pathlib import Path

from PySide6.QtCore import Qt, QUrl, Signal
from PySide6.QtGui import QDesktopServices, QHideEvent, QShowEvent, QTextCursor
from PySide6.QtWidgets import QHBoxLayout, QPlainTextEdit, QPushButton, QWidget

from workbench import theme
from workbench.io.log_tail import LogTail
from workbench.io.run_reader import Frozen, RunFile, RunReader
from workbench.state import figures
from workbench.views.labels import Elided, column, label, row
from workbench.views.tables import Column, PlainTable

LOG_LINES = 5000


def _text_view(name: str) -> QPlainTextEdit:
    made = QPlainTextEdit(readOnly=True)
    made.setFont(theme.font("mono"))
    made.setAccessibleName(name)
    made.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
    made.setUndoRedoEnabled(False)
    theme.set_role(made, "bare")
    return made


def _line(*parts: QWidget | None) -> QHBoxLayout:
    """A row over a text, its words above the text's."""
    made = row(*parts)
    made.setContentsMargins(theme.SPACE[2], 0, 0, 0)
    return made


class LogPane(QWidget):
    """The end of engine.log. It follows while its end is in view, and stands still while somebody reads above."""

    def __init__(self) -> None:
        super().__init__()
        self._text = _text_view("Engine log")
        self._text.setMaximumBlockCount(LOG_LINES)
        self.setLayout(column(self._text))
        self._tail: LogTail | None = None

    def show_run(self, log: Path) -> None:
        self.close_down()
        self._text.clear()
        self._tail = LogTail(log)
        self._tail.started.connect(self._begin)
        self._tail.grown.connect(self._add)
        if self.isVisible():
            self._tail.start()

    def close_down(self) -> None:
        if self._tail is not None:
            self._tail.stop()

    def showEvent(self, event: QShowEvent) -> None:
        if self._tail is not None:
            self._tail.start()

    def hideEvent(self, event: QHideEvent) -> None:
        self.close_down()

    @property
    def text(self) -> str:
        return self._text.toPlainText()

    def _begin(self, text: str) -> None:
        self._text.setPlainText(text or "Nothing was printed yet.")
        self._text.verticalScrollBar().setValue(self._text.verticalScrollBar().maximum())

    def _add(self, text: str) -> None:
        bar = self._text.verticalScrollBar()
        is_following = bar.value() >= bar.maximum() - 2
        cursor = QTextCursor(self._text.document())
        cursor.movePosition(QTextCursor.MoveOperation.End)
        cursor.insertText(text)
        if is_following:
            bar.setValue(bar.maximum())


class PresetPane(QWidget):
    """The frozen preset. `reuse_wanted` carries its text."""

    reuse_wanted = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._text = _text_view("Preset as it ran")
        reuse = QPushButton("Open as new preset")
        reuse.clicked.connect(self.reuse)
        note = label("As it ran, every default written out. It never changes.", "muted")
        layout = column(self._text, space=1)
        layout.insertLayout(0, _line(note, None, reuse))
        self.setLayout(layout)

    def show_frozen(self, frozen: Frozen) -> None:
        self._text.setPlainText(frozen.preset)

    def reuse(self) -> None:
        self.reuse_wanted.emit(self._text.toPlainText())

    @property
    def text(self) -> str:
        return self._text.toPlainText()


class FilesPane(QWidget):
    """Where the run is kept and what takes the room."""

    def __init__(self) -> None:
        super().__init__()
        self._path = Elided("muted")
        self._path.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._total = label(role="muted")
        self._folder = Path()
        self._reader: RunReader | None = None
        button = QPushButton("Open folder")
        button.clicked.connect(self.open_folder)
        self._table = PlainTable("Files", (Column("name"), Column("size", 100, True), Column("changed", 140, True)))
        layout = column(self._table, space=1)
        top = _line(self._path, self._total, button)
        top.setStretch(0, 1)
        layout.insertLayout(0, top)
        self.setLayout(layout)

    def show_run(self, reader: RunReader) -> None:
        self._reader, self._folder = reader, reader.run.path
        self._path.set_full_text(str(reader.run.path))
        self._table.setRowCount(0)
        reader.files.connect(self._fill)
        if self.isVisible():
            reader.read_files()

    def showEvent(self, event: QShowEvent) -> None:
        if self._reader is not None:
            self._reader.read_files()

    def open_folder(self) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._folder)))

    def _fill(self, files: list[RunFile]) -> None:
        self._total.setText(figures.size(sum(file.size for file in files)))
        self._table.setRowCount(len(files))
        now = time.time()
        for at, file in enumerate(files):
            name = file.name + ("/" if file.is_folder else "")
            for section, text in enumerate((name, figures.size(file.size), figures.ago(now - file.changed))):
                self._table.set_cell(at, section, text)
