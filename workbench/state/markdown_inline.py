"""The marks within a line of Markdown: bold, italic, struck out, code and links, in time linear in the text.

As in CommonMark 0.31, with what is written for people to see kept to be seen: the address of a link or image stands
beside its words, and a backslash goes away only before a mark that would have counted.
"""

import re
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntFlag
from typing import NamedTuple


class Style(IntFlag):
    """How a piece of text is drawn."""

    PLAIN = 0
    BOLD = 1
    ITALIC = 2
    STRUCK = 4
    CODE = 8
    LINK = 16
    MUTED = 32


PLAIN, BOLD, ITALIC, STRUCK, CODE, LINK, MUTED = (
    Style.PLAIN, Style.BOLD, Style.ITALIC, Style.STRUCK, Style.CODE, Style.LINK, Style.MUTED,
)  # fmt: skip


class Span(NamedTuple):
    """Text of one style."""

    text: str
    style: Style


#: Each repetition has an end of its own, so that what does not match is given up after a few hundred characters.
_MARK = re.compile(r"\\[*_`~#]|`+|(!?)\[([^\[\]\n]{1,300})\]\(([^()\s]{1,600})\)|\*+|_+|~+")
_BACKTICKS = re.compile("`+")
#: A longer run of asterisks is a line somebody drew.
LONGEST_RUN = 3


@dataclass
class _Piece:
    """Text, or a run of marks of which `count` are not matched yet."""

    text: str
    style: Style = PLAIN
    mark: str = ""
    count: int = 0
    closed: list[Style] = field(default_factory=list)
    opened: list[Style] = field(default_factory=list)


def spans(text: str) -> tuple[Span, ...]:
    """A line or paragraph as pieces of one style each; they say all of the text but the marks that counted."""
    if _MARK.search(text) is None:
        return (Span(text, PLAIN),) if text else ()
    return tuple(_styled(_Inline(text).pieces))


class _Inline:
    """Reads a text once from the left. Openers wait on a stack; a closer throws away those above its own."""

    def __init__(self, text: str) -> None:
        self.pieces: list[_Piece] = []
        self._text = text
        self._waiting: list[_Piece] = []
        self._count: dict[str, int] = defaultdict(int)
        self._backticks: dict[int, deque[int]] = defaultdict(deque)
        for run in _BACKTICKS.finditer(text):
            self._backticks[len(run[0])].append(run.start())
        self._read()

    def _read(self) -> None:
        at = 0
        while (found := _MARK.search(self._text, at)) is not None:
            self.pieces.append(_Piece(self._text[at : found.start()]))
            at = self._take(found)
        self.pieces.append(_Piece(self._text[at:]))

    def _take(self, found: re.Match[str]) -> int:
        """Where to go on."""
        first = found[0][0]
        if first == "\\":
            self.pieces.append(_Piece(found[0][1]))
        elif first == "`":
            return self._take_code(found)
        elif first in "![":
            words = f"image: {found[2]}" if found[1] else found[2]
            self.pieces += [_Piece(words, LINK), _Piece(f" ({found[3]})", MUTED)]
        else:
            self._take_run(found)
        return found.end()

    def _take_code(self, found: re.Match[str]) -> int:
        """To the next run of as many backticks; without one they are only backticks."""
        width = len(found[0])
        ends = self._backticks[width]
        while ends and ends[0] <= found.start():
            ends.popleft()
        if not ends:
            self.pieces.append(_Piece(found[0]))
            return found.end()
        inside = self._text[found.end() : ends[0]]
        is_padded = inside.startswith(" ") and inside.endswith(" ") and bool(inside.strip())
        self.pieces.append(_Piece(inside[1:-1] if is_padded else inside, CODE))
        return ends[0] + width

    def _take_run(self, found: re.Match[str]) -> None:
        mark, count = found[0][0], len(found[0])
        if count > LONGEST_RUN or (mark == "~" and count != 2):
            self.pieces.append(_Piece(found[0]))
            return
        piece = _Piece("", mark=mark, count=count)
        opens, closes = self._leans(found)
        if closes:
            self._close(piece)
        if opens and piece.count:
            self._waiting.append(piece)
            self._count[mark] += 1
        self.pieces.append(piece)

    def _close(self, closer: _Piece) -> None:
        while closer.count and self._count[closer.mark]:
            while (opener := self._waiting[-1]).mark != closer.mark:
                self._count[self._waiting.pop().mark] -= 1
            used = 2 if min(opener.count, closer.count) >= 2 else 1
            style = STRUCK if closer.mark == "~" else BOLD if used == 2 else ITALIC
            opener.opened.append(style)
            closer.closed.append(style)
            opener.count -= used
            closer.count -= used
            if not opener.count:
                self._waiting.pop()
                self._count[closer.mark] -= 1

    def _leans(self, found: re.Match[str]) -> tuple[bool, bool]:
        """(may open, may close) by what stands beside the run; an underscore within a word does neither."""
        start, end = found.span()
        before, after = self._text[max(start - 1, 0) : start] or " ", self._text[end : end + 1] or " "
        opens = not after.isspace() and (after.isalnum() or not before.isalnum())
        closes = not before.isspace() and (before.isalnum() or not after.isalnum())
        if found[0][0] != "_":
            return opens, closes
        return opens and not before.isalnum(), closes and not after.isalnum()


def _styled(pieces: list[_Piece]) -> Iterator[Span]:
    """Neighbours of the same style as one."""
    depth: dict[Style, int] = dict.fromkeys((BOLD, ITALIC, STRUCK), 0)
    held, held_style = "", PLAIN
    for piece in pieces:
        for style in piece.closed:
            depth[style] -= 1
        drawn = piece.text or piece.mark * piece.count
        style = piece.style | sum((style for style, count in depth.items() if count), PLAIN)
        if drawn and style != held_style:
            if held:
                yield Span(held, held_style)
            held, held_style = "", style
        held += drawn
        for opened in piece.opened:
            depth[opened] += 1
    if held:
        yield Span(held, held_style)
