"""Markdown drawn with text formats alone: no address is followed and nothing is loaded, whatever the text says."""

from PySide6.QtGui import (
    QBrush,
    QColor,
    QPainter,
    QTextBlockFormat,
    QTextCharFormat,
    QTextCursor,
    QTextDocument,
    QTextFormat,
    QTextFrame,
    QTextFrameFormat,
    QTextLength,
    QTextOption,
    QTextTable,
    QTextTableFormat,
)

from workbench import theme
from workbench.state.markdown import Block, blocks
from workbench.state.markdown_inline import BOLD, CODE, ITALIC, LINK, MUTED, STRUCK, Span, Style
from workbench.theme import Theme
from workbench.views.text_writers import spaced

#: A piece is smaller than one of plain text, as a block costs more than a line.
CHARACTERS_AT_ONCE = 4_000
BLOCKS_AT_ONCE = 60
INDENT = 28
#: Deeper lists and quotes are drawn no further in, so that there is room left for their words.
DEEPEST_LIST = 6
DEEPEST_QUOTE = 4
QUOTE_STEP = theme.SPACE[4]
BAR_WIDTH = 3
CODE_LINE_HEIGHT = 1.2
HEADINGS = {1: 15.0, 2: 13.0}
#: A frame is laid out anew with each line that it gets, so a long one goes on in another.
LONGEST_FRAME = 200
#: How many quotes a block stands within, for whoever draws the bars beside it.
QUOTE = QTextFormat.Property.UserProperty


class MarkdownWriter:
    """Writes a text's blocks in the colours of a theme."""

    def __init__(self, text: str, colours: Theme) -> None:
        self.read = 0
        self._length = len(text)
        self._colours = colours
        self._blocks = blocks(text)
        self._next = next(self._blocks, None)
        self._is_fresh = True  # the document ends in a block that nothing was written to
        self._is_first = True
        self._inside: QTextFrame | None = None
        self._lines_inside = 0
        self._formats: dict[tuple[Style, int], QTextCharFormat] = {}

    @property
    def is_whole(self) -> bool:
        return self._next is None

    def write(self, cursor: QTextCursor) -> None:
        """Some more blocks."""
        until = self.read + CHARACTERS_AT_ONCE
        for _ in range(BLOCKS_AT_ONCE):
            if self._next is None or self.read >= until:
                break
            self._write(cursor, self._next)
            self.read = max(self.read, self._next.end)
            self._next = next(self._blocks, None)
        if self._next is None:
            self.read = self._length

    # ------------------------------------------------------------------------------------------------------- blocks

    def _write(self, cursor: QTextCursor, block: Block) -> None:
        if block.kind == "code":
            self._write_code(cursor, block)
        elif block.kind == "table":
            self._write_table(cursor, block)
        else:
            self._write_text(cursor, block)
        self._is_first = False

    def _write_text(self, cursor: QTextCursor, block: Block) -> None:
        of_block = self._block_format(block)
        if block.kind == "rule":
            full = QTextLength(QTextLength.Type.PercentageLength, 100)
            of_block.setProperty(QTextFormat.Property.BlockTrailingHorizontalRulerWidth, full)
            of_block.setBackground(self._colours.colour("line"))
            self._is_fresh &= self._inside is None  # an empty block right after a table has no height
        elif block.kind == "item":
            of_block.setTextIndent(-INDENT)
            of_block.setTabPositions([QTextOption.Tab(INDENT, QTextOption.TabType.LeftTab)])
        self._begin(cursor, of_block)
        if block.kind == "item":
            marker = "•" if block.marker in "-*+" else block.marker
            cursor.insertText(f"{marker}\t", self._format(MUTED))
        self._insert(cursor, block.spans, block.level if block.kind == "heading" else 0)

    def _write_code(self, cursor: QTextCursor, block: Block) -> None:
        of_block = spaced(CODE_LINE_HEIGHT)
        of_block.setProperty(QUOTE, block.quote)
        if self._goes_on(block) and self._inside is not None:
            cursor.setPosition(self._inside.lastPosition())
            cursor.insertBlock(of_block)
        else:
            self._begin(cursor, spaced(0.1))
            self._inside = cursor.insertFrame(self._frame_format(block))
            cursor.setBlockFormat(of_block)
        self._lines_inside += sum(1 + span.text.count("\n") for span in block.spans)
        for span in block.spans:
            cursor.insertText(span.text, self._format(CODE | span.style))
        cursor.movePosition(QTextCursor.MoveOperation.End)
        self._is_fresh = True

    def _write_table(self, cursor: QTextCursor, block: Block) -> None:
        if self._goes_on(block) and isinstance(self._inside, QTextTable):
            table, first = self._inside, self._inside.rows()
            table.appendRows(len(block.rows))
        else:
            self._begin(cursor, spaced(0.1))
            of_table = self._table_format(block)
            table, first = cursor.insertTable(len(block.rows), len(block.rows[0]), of_table), 0
            self._inside = table
        self._lines_inside += len(block.rows) * (1 + table.columns() // 2)
        for at, row in enumerate(block.rows, start=first):
            for column, cell in enumerate(row):
                self._insert(table.cellAt(at, column).firstCursorPosition(), cell)
        cursor.movePosition(QTextCursor.MoveOperation.End)
        self._is_fresh = True

    def _goes_on(self, block: Block) -> bool:
        """Whether it belongs into the frame of the one before."""
        if block.goes_on and self._lines_inside < LONGEST_FRAME:
            return True
        self._lines_inside = 0
        return False

    def _begin(self, cursor: QTextCursor, of_block: QTextBlockFormat) -> None:
        """The end of the document is a new block of this kind."""
        if self._is_fresh:
            cursor.setBlockFormat(of_block)
        else:
            cursor.insertBlock(of_block)
        self._is_fresh = False

    def _insert(self, cursor: QTextCursor, spans: tuple[Span, ...], heading: int = 0) -> None:
        for span in spans:
            cursor.insertText(span.text.replace("\n", "\u2028"), self._format(span.style, heading))

    # ------------------------------------------------------------------------------------------------------ formats

    def _block_format(self, block: Block) -> QTextBlockFormat:
        made = spaced(theme.READING_LINE_HEIGHT)
        level = 0 if block.kind == "heading" else min(block.level, DEEPEST_LIST)
        made.setLeftMargin(_indent(level + (block.kind == "item"), block.quote))
        made.setProperty(QUOTE, block.quote)
        if not self._is_first:
            made.setTopMargin({"heading": theme.SPACE[4], "item": theme.SPACE[1]}.get(block.kind, theme.SPACE[2]))
        return made

    def _frame_format(self, block: Block) -> QTextFrameFormat:
        made = QTextFrameFormat()
        made.setBackground(self._colours.colour("raised"))
        made.setPadding(theme.SPACE[2])
        made.setTopMargin(theme.SPACE[2])
        made.setBottomMargin(theme.SPACE[2])
        made.setLeftMargin(_indent(min(block.level, DEEPEST_LIST), block.quote))
        return made

    def _table_format(self, block: Block) -> QTextTableFormat:
        made = QTextTableFormat()
        made.setBorder(1)
        made.setBorderBrush(QBrush(self._colours.colour("line")))
        made.setBorderCollapse(True)
        made.setCellPadding(theme.SPACE[1])
        made.setTopMargin(theme.SPACE[2])
        made.setBottomMargin(theme.SPACE[2])
        made.setLeftMargin(_indent(min(block.level, DEEPEST_LIST), block.quote))
        return made

    def _format(self, style: Style, heading: int = 0) -> QTextCharFormat:
        if (style, heading) not in self._formats:
            self._formats[style, heading] = self._made_format(style, heading)
        return self._formats[style, heading]

    def _made_format(self, style: Style, heading: int) -> QTextCharFormat:
        font = theme.font("mono" if style & CODE else "reading")
        font.setBold(bool(style & BOLD) or heading > 0)
        font.setItalic(bool(style & ITALIC))
        font.setUnderline(bool(style & LINK))
        if heading:
            font.setPointSizeF(HEADINGS.get(heading, theme.font("reading").pointSizeF()))
        made = QTextCharFormat()
        made.setFont(font)
        made.setFontStrikeOut(bool(style & STRUCK))
        made.setForeground(self._colours.colour("muted" if style & MUTED else "text"))
        if style & CODE:
            made.setBackground(self._colours.colour("raised"))
        return made


def _indent(lists: int, quotes: int) -> int:
    return INDENT * lists + QUOTE_STEP * min(quotes, DEEPEST_QUOTE)


def paint_quote_bars(painter: QPainter, document: QTextDocument, first: int, height: float, colour: QColor) -> None:
    """Beside every block of a quote a bar for each quote it stands within. first: position of the first that shows."""
    layout, block = document.documentLayout(), document.findBlock(first)
    while block.isValid() and (room := layout.blockBoundingRect(block)).top() < height:
        for depth in range(min(block.blockFormat().intProperty(QUOTE), DEEPEST_QUOTE)):
            painter.fillRect(round(depth * QUOTE_STEP), round(room.top()), BAR_WIDTH, round(room.height()), colour)
        block = block.next()
