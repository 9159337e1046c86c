"""What a model wrote, to be read: every character visible or, on request, its Markdown drawn; never a stall."""

from bisect import bisect_left
from collections.abc import Sequence

from PySide6.QtCore import QPoint, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFontMetricsF,
    QPainter,
    QPaintEvent,
    QResizeEvent,
    QTextCharFormat,
    QTextCursor,
    QTextOption,
    QWheelEvent,
)
from PySide6.QtWidgets import QFrame, QTextEdit

from workbench import theme
from workbench.state.word_difference import Span
from workbench.theme import Theme
from workbench.views.markdown_writer import MarkdownWriter, paint_quote_bars
from workbench.views.text_writers import PlainWriter, Writer


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
        self._is_markdown = False
        self._writer: Writer = PlainWriter("")
        self._colours = theme.LIGHT
        self._column = reading_width()

    def show_text(self, text: str) -> None:
        """Show another text from its beginning."""
        self._text = text
        self._restart()

    def draw_markdown(self, is_wanted: bool) -> None:
        """Draw the text's Markdown from now on, or show it as it was written."""
        if is_wanted != self._is_markdown:
            self._is_markdown = is_wanted
            self._restart()

    def set_theme(self, colours: Theme) -> None:
        self._colours = colours
        if self._is_markdown:  # its formats have colours of their own
            self._restart()

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
        return self._writer.is_whole

    @property
    def read(self) -> int:
        """Characters of the text that were laid out so far."""
        return self._writer.read

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
        for span in _in_utf16(spans, self.shown):
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

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if self._is_markdown:
            painter = QPainter(self.viewport())
            top = self.verticalScrollBar().value()
            painter.translate(0, -top)
            first = self.cursorForPosition(QPoint(0, 0)).position()
            bottom = top + self.viewport().height()
            paint_quote_bars(painter, self.document(), first, bottom, self._colours.colour("line"))
            painter.end()

    def wheelEvent(self, event: QWheelEvent) -> None:
        self.wheeled.emit(event)

    def _restart(self) -> None:
        """Lay out the beginning anew."""
        self.setExtraSelections([])
        self.document().clear()
        drawn = self._is_markdown
        self._writer = MarkdownWriter(self._text, self._colours) if drawn else PlainWriter(self._text)
        self._grow()
        self.setTextCursor(QTextCursor(self.document()))  # or it stands at the end, and a resize scrolls there
        self.verticalScrollBar().setValue(0)

    def _grow(self) -> None:
        """Lay out the next piece."""
        cursor = QTextCursor(self.document())
        cursor.movePosition(QTextCursor.MoveOperation.End)
        cursor.beginEditBlock()
        self._writer.write(cursor)
        cursor.endEditBlock()
        self.grew.emit()


def _in_utf16(spans: Sequence[Span], text: str) -> Sequence[Span]:
    """The same spans counted as Qt counts, to whom a character beyond the first 65,536 is two."""
    if text.isascii():
        return spans
    wide = [at for at, character in enumerate(text) if character > "\uffff"]
    return [Span(start + bisect_left(wide, start), end + bisect_left(wide, end)) for start, end in spans]
