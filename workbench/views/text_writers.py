"""Text put into a document piece by piece, so that a million characters cost what a page costs."""

from typing import Protocol

from PySide6.QtGui import QTextBlockFormat, QTextCursor

from workbench import theme
from workbench.state.literal_text import literal

#: So much is laid out at once: more than two screens of it, in a few milliseconds.
CHARACTERS_AT_ONCE = 8_000
LINES_AT_ONCE = 200
#: Where a piece ends in the middle of a line, a space this near is a better place.
LOOK_BACK = 80


class Writer(Protocol):
    """read: characters of the text that were written so far."""

    @property
    def read(self) -> int: ...
    @property
    def is_whole(self) -> bool: ...
    def write(self, cursor: QTextCursor) -> None:
        """Put the next piece at the cursor, which is the end of the document."""


def spaced(line_height: float) -> QTextBlockFormat:
    """A block whose lines are so many times as high as their letters."""
    made = QTextBlockFormat()
    made.setLineHeight(100 * line_height, QTextBlockFormat.LineHeightTypes.ProportionalHeight.value)
    return made


class PlainWriter:
    """The text as it was written, each character to be seen."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.read = 0

    @property
    def is_whole(self) -> bool:
        return self.read >= len(self._text)

    def write(self, cursor: QTextCursor) -> None:
        end = _piece_end(self._text, self.read)
        if self.read == 0:
            cursor.setBlockFormat(spaced(theme.READING_LINE_HEIGHT))
        elif self._text[self.read - 1] != "\n":
            # A line longer than a piece goes on in a block of its own, as laying out one block takes all its text.
            cursor.insertBlock(spaced(theme.READING_LINE_HEIGHT))
        cursor.insertText(literal(self._text[self.read : end]))
        self.read = end


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
