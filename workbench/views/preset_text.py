"""The YAML of a preset: line numbers, colours, faults on their line, keys completed. Plain text only."""

from collections.abc import Callable, Sequence

from PySide6.QtCore import QEvent, QMimeData, QRect, QSize, Qt, QTimer, Signal
from PySide6.QtGui import (
    QColor,
    QHideEvent,
    QKeyEvent,
    QPainter,
    QPaintEvent,
    QResizeEvent,
    QTextCharFormat,
    QTextCursor,
    QTextFormat,
)
from PySide6.QtWidgets import QPlainTextEdit, QStyle, QTextEdit, QWidget

from engine.contract.faults import Fault
from workbench import theme
from workbench.theme import Theme
from workbench.views.labels import tip
from workbench.views.preset_completion import Completion
from workbench.views.preset_entry import shared_key
from workbench.views.preset_highlighter import PresetHighlighter

INDENT = "  "


class PresetText(QPlainTextEdit):
    """Shows the text of a draft. `typed` fires for a person's edits only; undo belongs to the draft."""

    typed = Signal()

    _NUMBER = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter

    def __init__(self) -> None:
        super().__init__()
        self._shown = ""
        self._theme = theme.LIGHT
        self._faults: list[Fault] = []
        self._lit: range = range(0)
        self._highlighter = PresetHighlighter(self.document())
        self.completion = Completion(self)
        self._gutter = Gutter(self)
        self._flash = QTimer(self)
        self._flash.setSingleShot(True)
        self._flash.setInterval(theme.FADE_MS)
        self._flash.timeout.connect(self._end_flash)
        self._set_up()

    # ------------------------------------------------------------------------------------------- what it shows

    @property
    def text(self) -> str:
        # Not toPlainText, which turns no-break spaces into spaces.
        return self.document().toRawText().replace("\u2029", "\n").replace("\u2028", "\n")

    def show_text(self, text: str, *, flash: bool = False) -> None:
        """Change what differs and nothing else, so that cursor and scroll stay where they are."""
        old = self.text
        if text == old:
            return
        start = _common(old, text)
        tail = _common(old[start:][::-1], text[start:][::-1])
        self._shown = text
        cursor = QTextCursor(self.document())
        # Qt counts UTF-16 units: a character beyond the first plane is two of them.
        cursor.setPosition(_units(old[:start]))
        cursor.setPosition(_units(old[: len(old) - tail]), QTextCursor.MoveMode.KeepAnchor)
        cursor.insertText(text[start : len(text) - tail])
        # What asks for no motion gets none; a jump to a line still shows which line it is.
        if flash and self.style().styleHint(QStyle.StyleHint.SH_Widget_Animation_Duration, None, self) > 0:
            first = text.count("\n", 0, start)
            self._light(range(first, text.count("\n", 0, max(start, len(text) - tail - 1)) + 1))

    def show_faults(self, faults: Sequence[Fault]) -> None:
        self._faults = [fault for fault in faults if fault.line is not None]
        self._mark_lines()
        self._gutter.update()

    def fault_on(self, line: int) -> str:
        """What is wrong on a line (from 1), in words."""
        return "\n".join(str(fault) for fault in self._faults if fault.line == line)

    def go_to_line(self, line: int, *, focus: bool = True) -> None:
        block = self.document().findBlockByNumber(line - 1)
        if not block.isValid():
            return
        self.setTextCursor(QTextCursor(block))
        self.centerCursor()
        self._light(range(line - 1, line))
        if focus:
            self.setFocus(Qt.FocusReason.ShortcutFocusReason)

    def apply_theme(self, colours: Theme) -> None:
        self._theme = colours
        self.setFont(theme.font("mono"))
        self._highlighter.apply_theme(colours)
        self._mark_lines()
        self._gutter.update()

    # ---------------------------------------------------------------------------------------------------- keys

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ShortcutOverride and isinstance(event, QKeyEvent) and shared_key(event):
            event.ignore()
            return False
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if shared_key(event) or self.completion.takes(event):
            event.ignore()
            return
        key, modifiers = event.key(), event.modifiers()
        if key == Qt.Key.Key_Space and modifiers & Qt.KeyboardModifier.ControlModifier:
            self.completion.open()
        elif key == Qt.Key.Key_Tab and modifiers & Qt.KeyboardModifier.ControlModifier:
            # Tab indents here, so the keyboard needs another way out; Qt refuses while Tab is ours.
            self.setTabChangesFocus(True)
            self.focusNextChild()
            self.setTabChangesFocus(False)
        elif key == Qt.Key.Key_Tab:
            self._indent()
        elif key == Qt.Key.Key_Backtab:
            self._outdent()
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._new_line()
        else:
            super().keyPressEvent(event)
            self.completion.follow()

    def insertFromMimeData(self, source: QMimeData) -> None:
        self.insertPlainText(source.text().replace("\t", INDENT))

    def _new_line(self) -> None:
        cursor = self.textCursor()
        before = cursor.block().text()[: cursor.positionInBlock()]
        indent = before[: len(before) - len(before.lstrip(" "))]
        deeper = INDENT if before.rstrip().endswith(":") else ""
        cursor.insertText("\n" + indent + deeper)
        self.setTextCursor(cursor)
        self.ensureCursorVisible()

    def _indent(self) -> None:
        if self.textCursor().hasSelection():
            self._for_each_line(lambda line: line.insertText(INDENT))
        else:
            self.insertPlainText(INDENT)

    def _outdent(self) -> None:
        self._for_each_line(_take_indent)

    def _for_each_line(self, change: Callable[[QTextCursor], None]) -> None:
        cursor = self.textCursor()
        first = self.document().findBlock(cursor.selectionStart()).blockNumber()
        last = self.document().findBlock(cursor.selectionEnd()).blockNumber()
        cursor.beginEditBlock()
        for number in range(first, last + 1):
            change(QTextCursor(self.document().findBlockByNumber(number)))
        cursor.endEditBlock()

    # ------------------------------------------------------------------------------------------------- drawing

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._place_gutter()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._flash.stop()
        self._end_flash()

    def gutter_width(self) -> int:
        digits = len(str(max(99, self.blockCount())))
        return 20 + digits * self.fontMetrics().horizontalAdvance("9")

    def paint_gutter(self, painter: QPainter, area: QRect) -> None:
        width, height = self._gutter.width(), self.fontMetrics().height()
        painter.fillRect(area, self._theme.colour("surface"))
        wrong = {fault.line for fault in self._faults}
        block, top = self.firstVisibleBlock(), self._top_of_first()
        painter.setFont(theme.font("tick"))
        while block.isValid() and top <= area.bottom():
            line = block.blockNumber() + 1
            bottom = top + int(self.blockBoundingRect(block).height())
            if bottom >= area.top():
                painter.setPen(self._theme.colour("failed" if line in wrong else "muted"))
                painter.drawText(QRect(0, top, width - 8, height), self._NUMBER, str(line))
                if line in wrong:
                    mark = theme.pixmap("warning", self._theme.colour("failed"), 11, self.devicePixelRatioF())
                    painter.drawPixmap(2, top + (height - 11) // 2, mark)
            block, top = block.next(), bottom

    def line_at(self, y: int) -> int:
        """The line (from 1) at a height of the gutter."""
        return self.cursorForPosition(self.viewport().rect().topLeft() + QRect(0, y, 1, 1).topLeft()).blockNumber() + 1

    def _top_of_first(self) -> int:
        return round(self.blockBoundingGeometry(self.firstVisibleBlock()).translated(self.contentOffset()).top())

    def _set_up(self) -> None:
        self.setAccessibleName("Preset as YAML")
        self.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.setUndoRedoEnabled(False)
        self.setTabChangesFocus(False)
        theme.set_role(self, "bare")
        self.setFont(theme.font("mono"))
        self.textChanged.connect(self._changed)
        self.blockCountChanged.connect(lambda _: self._place_gutter())
        self.updateRequest.connect(self._follow_scroll)
        self._place_gutter()

    def _changed(self) -> None:
        text = self.text
        if text != self._shown:
            self._shown = text
            self.typed.emit()

    def _place_gutter(self) -> None:
        self.setViewportMargins(self.gutter_width(), 0, 0, 0)
        inside = self.contentsRect()
        self._gutter.setGeometry(inside.left(), inside.top(), self.gutter_width(), inside.height())

    def _follow_scroll(self, area: QRect, by: int) -> None:
        if by:
            self._gutter.scroll(0, by)
        else:
            self._gutter.update(0, area.y(), self._gutter.width(), area.height())

    def _light(self, lines: range) -> None:
        self._lit = lines
        self._mark_lines()
        self._flash.start()

    def _end_flash(self) -> None:
        self._lit = range(0)
        self._mark_lines()

    def _mark_lines(self) -> None:
        glow = QTextCharFormat()
        glow.setBackground(QColor(theme.mixed(self._theme.accent, self._theme.surface, 0.2)))
        glow.setProperty(QTextFormat.Property.FullWidthSelection, True)
        wavy = QTextCharFormat()
        wavy.setUnderlineStyle(QTextCharFormat.UnderlineStyle.WaveUnderline)
        wavy.setUnderlineColor(self._theme.colour("failed"))
        marks = [self._mark(line, glow, whole=False) for line in self._lit]
        marks += [self._mark(fault.line - 1, wavy, whole=True) for fault in self._faults if fault.line]
        self.setExtraSelections(marks)

    def _mark(self, number: int, look: QTextCharFormat, *, whole: bool) -> QTextEdit.ExtraSelection:
        mark = QTextEdit.ExtraSelection()
        cursor = QTextCursor(self.document().findBlockByNumber(max(0, min(number, self.blockCount() - 1))))
        if whole:
            text = cursor.block().text()
            cursor.setPosition(cursor.position() + len(text) - len(text.lstrip()))
            cursor.movePosition(QTextCursor.MoveOperation.EndOfBlock, QTextCursor.MoveMode.KeepAnchor)
        mark.cursor = cursor
        mark.format = look
        return mark


class Gutter(QWidget):
    """Line numbers left of the text; a fault's line has a mark, with the fault in its tooltip."""

    def __init__(self, editor: PresetText) -> None:
        super().__init__(editor)
        self._editor = editor

    def sizeHint(self) -> QSize:
        return QSize(self._editor.gutter_width(), 0)

    def paintEvent(self, event: QPaintEvent) -> None:
        self._editor.paint_gutter(QPainter(self), event.rect())

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip:
            y = self.mapFromGlobal(self.cursor().pos()).y()
            self.setToolTip(tip(self._editor.fault_on(self._editor.line_at(y))))
        return super().event(event)


def _take_indent(line: QTextCursor) -> None:
    for _ in INDENT:
        if line.block().text().startswith(" "):
            line.deleteChar()


def _common(a: str, b: str) -> int:
    """How many characters the two begin with alike."""
    size = min(len(a), len(b))
    return next((i for i in range(size) if a[i] != b[i]), size)


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
