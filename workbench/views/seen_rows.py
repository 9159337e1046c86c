"""Rows of the data token by token: what counts in the loss is underlined on a tint, the rest is muted."""

import bisect
from collections.abc import Sequence

from PySide6.QtCore import QEvent, QObject
from PySide6.QtGui import QColor, QMouseEvent, QTextCharFormat, QTextCursor
from PySide6.QtWidgets import QPlainTextEdit, QWidget

from engine.contract.findings import SeenRow, SeenText
from workbench import theme
from workbench.state import figures
from workbench.state.preflight import literal, text_told
from workbench.views.labels import column, label

EXPLAINED = "underlined on a tint: counts in the loss; point at a token to read it"
TINT = 0.22


class SeenRows(QWidget):
    """Plain text only, with formats behind it: nothing that the data holds can act here."""

    def __init__(self) -> None:
        super().__init__()
        self._text = QPlainTextEdit(readOnly=True)
        self._text.setFont(theme.font("mono"))
        self._text.setAccessibleName("The first rows as the model sees them")
        self._text.setUndoRedoEnabled(False)
        theme.set_role(self._text, "bare")
        self._text.viewport().setMouseTracking(True)
        self._text.viewport().installEventFilter(self)
        self._readout = label(EXPLAINED, "muted")
        self._readout.setContentsMargins(theme.SPACE[2], 0, 0, 0)
        self.setLayout(column(self._text, self._readout, space=1))
        self._colours = theme.LIGHT
        self._rows: list[SeenRow] = []
        self._starts: list[int] = []
        self._tokens: list[str] = []

    def show_rows(self, rows: Sequence[SeenRow]) -> None:
        self._rows = list(rows)
        self._draw()

    def set_theme(self, colours: theme.Theme) -> None:
        self._colours = colours
        self._draw()

    @property
    def text(self) -> str:
        return self._text.toPlainText()

    def format_of(self, shown: str) -> QTextCharFormat:
        """How the first place is drawn at which this text stands."""
        cursor = self._text.document().find(shown)
        cursor.setPosition(cursor.selectionStart() + 1)
        return cursor.charFormat()

    def told_at(self, position: int) -> str:
        """What is said of the token at a character of the text."""
        at = bisect.bisect_right(self._starts, position) - 1
        return self._tokens[at] if 0 <= at < len(self._tokens) else EXPLAINED

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.MouseMove and isinstance(event, QMouseEvent):
            self._readout.setText(self.told_at(self._text.cursorForPosition(event.position().toPoint()).position()))
        elif event.type() == QEvent.Type.Leave:
            self._readout.setText(EXPLAINED)
        return False

    def _draw(self) -> None:
        self._text.clear()
        self._starts, self._tokens = [], []
        cursor = self._text.textCursor()
        cursor.beginEditBlock()
        for row in self._rows:
            for text in row.texts:
                self._write_text(cursor, row.place, text)
        cursor.endEditBlock()
        self._text.moveCursor(QTextCursor.MoveOperation.Start)

    def _write_text(self, cursor: QTextCursor, place: str, text: SeenText) -> None:
        if cursor.position():
            cursor.insertText("\n\n", self._format(is_counted=False))
        self._note(cursor, EXPLAINED)
        cursor.insertText(f"{text_told(place, text)}\n", self._caption())
        counted = {at for start, end in text.counted for at in range(start, end)}
        for at, token in enumerate(text.tokens):
            if text.skipped and at == text.skipped_at:
                self._note(cursor, EXPLAINED)
                cursor.insertText(f"  … {figures.count(text.skipped)} tokens …  ", self._caption())
            self._note(cursor, _token_told(text, at, is_counted=at in counted))
            cursor.insertText(literal(token), self._format(is_counted=at in counted))
        if text.is_cut:
            self._note(cursor, EXPLAINED)
            cursor.insertText("  … cut here", self._caption())

    def _note(self, cursor: QTextCursor, told: str) -> None:
        self._starts.append(cursor.position())
        self._tokens.append(told)

    def _format(self, *, is_counted: bool) -> QTextCharFormat:
        made = QTextCharFormat()
        made.setForeground(self._colours.colour("text" if is_counted else "muted"))
        if is_counted:
            made.setBackground(QColor(theme.mixed(self._colours.accent, self._colours.surface, TINT)))
            made.setUnderlineStyle(QTextCharFormat.UnderlineStyle.SingleUnderline)
            made.setUnderlineColor(self._colours.colour("accent"))
        return made

    def _caption(self) -> QTextCharFormat:
        made = QTextCharFormat()
        made.setFont(theme.font("muted"))
        made.setForeground(self._colours.colour("muted"))
        return made


def _token_told(text: SeenText, at: int, *, is_counted: bool) -> str:
    place = at + 1 if not text.skipped or at < text.skipped_at else at + 1 + text.skipped
    says = "counts in the loss" if is_counted else "is read, and does not count"
    return f"token {figures.count(place)}  ·  {says}  ·  id {text.ids[at]}"
