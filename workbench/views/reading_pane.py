"""What a model wrote, to be read: plain text with every character visible, and no stall however long it is."""

from collections.abc import Sequence

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFontMetricsF,
    QResizeEvent,
    QTextBlockFormat,
    QTextCharFormat,
    QTextCursor,
    QTextOption,
    QWheelEvent,
)
from PySide6.QtWidgets import QFrame, QTextEdit

from workbench import theme
from workbench.state.literal_text import literal
from workbench.state.word_difference import Span
from workbench.theme import Theme

#: So much is laid out at once: more than two screens of it, in a few milliseconds.
CHARACTERS_AT_ONCE = 8_000
LINES_AT_ONCE = 200
#: Where a piece ends in the middle of a line, a space this near is a better place.
LOOK_BACK = 80


def reading_width() -> float:
    """Of a column that is easy to read, in pixels."""
    return QFontMetricsF(theme.font("reading")).averageCharWidth() * theme.READING_COLUMN


class ReadingPane(QTextEdit):
    """A column of text that never scrolls by itself: `scrolled` says that somebody turned the wheel over it.

    grew: there is more text than a moment ago. Only what was scrolled to is laid out, so that a million characters
    cost no more than a page.
    """

    wheeled = Signal(object)  # QWheelEvent
    grew = Signal()

    def __init__(self, name: str) -> None:
        super().__init__(readOnly=True)
        self.setAccessibleName(name)
        self.setAcceptRichText(False)
        self.setUndoRedoEnabled(False)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFont(theme.font("reading"))
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWordWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        self.document().setDocumentMargin(0)
        self.setLineWrapMode(QTextEdit.LineWrapMode.FixedPixelWidth)
        theme.set_role(self, "reading")
        self._text = ""
        self._at = 0
        self._colours = theme.LIGHT
        self._column = reading_width()

    def show_text(self, text: str) -> None:
        """Show another text from its beginning."""
        self._text, self._at = text, 0
        self.setExtraSelections([])
        self.document().clear()
        self._grow()
        self.verticalScrollBar().setValue(0)

    def set_theme(self, colours: Theme) -> None:
        self._colours = colours

    @property
    def shown(self) -> str:
        """What was laid out so far, as it is drawn."""
        return self.toPlainText()

    @property
    def length(self) -> int:
        """Characters of the whole text."""
        return len(self._text)

    @property
    def is_whole(self) -> bool:
        return self._at >= len(self._text)

    @property
    def text_height(self) -> int:
        """In pixels, of what was laid out so far."""
        return round(self.document().size().height())

    def scroll_to(self, pixels: int) -> None:
        """Show the text from here on, and lay out more where it ends."""
        bar = self.verticalScrollBar()
        while not self.is_whole and pixels + 2 * self.viewport().height() > self.text_height:
            self._grow()
        bar.setValue(pixels)

    def mark(self, spans: Sequence[Span]) -> None:
        """Tint and underline these characters of `shown`: a colour alone would not be enough."""
        drawn = QTextCharFormat()
        drawn.setBackground(QColor(theme.mixed(self._colours.accent, self._colours.surface, 0.16)))
        drawn.setUnderlineStyle(QTextCharFormat.UnderlineStyle.SingleUnderline)
        drawn.setUnderlineColor(self._colours.colour("accent"))
        selections = []
        for span in spans:
            selection = QTextEdit.ExtraSelection()
            selection.cursor = QTextCursor(self.document())
            selection.cursor.setPosition(span.start)
            selection.cursor.setPosition(span.end, QTextCursor.MoveMode.KeepAnchor)
            selection.format = drawn
            selections.append(selection)
        self.setExtraSelections(selections)

    def sizeHint(self) -> QSize:
        return QSize(320, 120)

    def minimumSizeHint(self) -> QSize:
        return QSize(200, 40)

    def resizeEvent(self, event: QResizeEvent) -> None:
        self.setLineWrapColumnOrWidth(max(int(min(self.viewport().width(), self._column)), 40))
        super().resizeEvent(event)

    def wheelEvent(self, event: QWheelEvent) -> None:
        self.wheeled.emit(event)

    def _grow(self) -> None:
        """Lay out the next piece."""
        end = _piece_end(self._text, self._at)
        piece = literal(self._text[self._at : end])
        cursor = QTextCursor(self.document())
        cursor.movePosition(QTextCursor.MoveOperation.End)
        cursor.beginEditBlock()
        spacing = QTextBlockFormat()
        spacing.setLineHeight(
            100 * theme.READING_LINE_HEIGHT, QTextBlockFormat.LineHeightTypes.ProportionalHeight.value
        )
        if self._at == 0:
            cursor.setBlockFormat(spacing)
        elif self._text[self._at - 1] != "\n":
            # A line longer than a piece goes on in a block of its own, as laying out one block takes all its text.
            cursor.insertBlock(spacing)
        cursor.insertText(piece)
        cursor.endEditBlock()
        self._at = end
        self.grew.emit()


def _piece_end(text: str, start: int) -> int:
    """Where the piece that begins at `start` ends: after so many characters or lines, at a line's end or a space."""
    end = min(start + CHARACTERS_AT_ONCE, len(text))
    at = start - 1
    for _ in range(LINES_AT_ONCE):
        if (at := text.find("\n", at + 1, end)) < 0:
            break
    else:
        return at + 1
    if end == len(text):
        return end
    last_line = text.rfind("\n", start, end)
    if last_line > start:
        return last_line + 1
    space = text.rfind(" ", end - LOOK_BACK, end)
    return space + 1 if space > start else end
