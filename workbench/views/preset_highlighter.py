"""Colours of YAML: keys, strings, numbers and words that mean something, comments."""

import re

from PySide6.QtGui import QColor, QFont, QSyntaxHighlighter, QTextCharFormat, QTextDocument

from workbench import theme
from workbench.theme import Theme

#: Tried at each place in this order; what fits none is plain.
TOKENS = re.compile(
    r"""(?P<comment>(?:(?<=\s)|^)\#.*$)
      | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^']|'')*')
      | (?P<key>[\w.-]+(?=\s*:(?:\s|$)))
      | (?P<number>(?<![\w.:/-])[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w./:-]))
      | (?P<word>(?<![\w.:/-])(?:true|false|null|auto)(?![\w./:-]))""",
    re.VERBOSE,
)


class PresetHighlighter(QSyntaxHighlighter):
    """Line by line, so that a keystroke costs one line."""

    def __init__(self, document: QTextDocument) -> None:
        super().__init__(document)
        self._formats: dict[str, QTextCharFormat] = {}
        self.apply_theme(theme.LIGHT)

    def apply_theme(self, colours: Theme) -> None:
        self._formats = {
            "comment": _format(colours.muted, italic=True),
            "key": _format(colours.accent),
            "string": _format(colours.text),
            "number": _format(colours.running),
            "word": _format(colours.running),
        }
        self.rehighlight()

    def highlightBlock(self, text: str) -> None:
        for match in TOKENS.finditer(text):
            kind = match.lastgroup or ""
            self.setFormat(match.start(), match.end() - match.start(), self._formats[kind])


def _format(colour: str, *, italic: bool = False) -> QTextCharFormat:
    made = QTextCharFormat()
    made.setForeground(QColor(colour))
    made.setFontItalic(italic)
    made.setFontWeight(QFont.Weight.Normal)
    return made
