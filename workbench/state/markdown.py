"""Markdown as blocks of styled text, one at a time: what a model wrote, laid out and nothing more.

Headings, lists, quotes, code, tables and rules as in CommonMark 0.31 and GitHub's tables, read line by line, so that a
million characters are not read before the first is drawn, and no text can make it read twice. Everything else stays as
it was written: HTML, entities, footnotes, underlined headings. Addresses are text, and nothing here leads anywhere.
"""

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from workbench.state.literal_text import literal
from workbench.state.markdown_inline import BOLD, MUTED, PLAIN, Span, spans

Kind = Literal["paragraph", "heading", "item", "code", "rule", "table"]
Cells = tuple[tuple[Span, ...], ...]

#: A longer line goes on as if it were the next, and a longer paragraph or code block in a block of its own.
LONGEST_LINE = 2_000
LONGEST_BLOCK = 4_000
LINES_OF_CODE = 100
MOST_CELLS = 200
MOST_COLUMNS = 16
#: So many spaces further in than the marker above begin a list within the list.
NESTED_BY = 2

_QUOTE = re.compile(r" {0,3}> ?")
_ITEM = re.compile(r"( *)([-*+]|\d{1,9}[.)])(?: +|$)")
_FENCE = re.compile(r"( *)(`{3,}|~{3,})")
_HEADING = re.compile(r" {0,3}(#{1,6})(?: |$)")
_DASHES = re.compile(r" *:?-+:? *")
_BAR = re.compile(r"(?<!\\)\|")


class Block(NamedTuple):
    """What is drawn as one. level: of a heading 1 to 6, otherwise how many lists it stands within. quote: how many
    quotes. marker: what an item begins with. rows: of a table, which has no spans of its own. goes_on: more of the code
    or table before it. end: characters of the source that were read."""

    kind: Kind
    spans: tuple[Span, ...] = ()
    level: int = 0
    quote: int = 0
    marker: str = ""
    rows: tuple[Cells, ...] = ()
    goes_on: bool = False
    end: int = 0


class _Line(NamedTuple):
    """text: with every character visible. is_rest: it goes on with a line that was too long."""

    text: str
    end: int
    is_rest: bool


class _Fence(NamedTuple):
    """What opened a block of code: its marks, how far in it stood, within how many quotes and lists."""

    marks: str
    indent: int
    quote: int
    level: int


def blocks(source: str) -> Iterator[Block]:
    """The blocks of a text in order, each read when it is asked for."""
    reader = _Reader()
    for line in _lines(source):
        yield from reader.take(line)
        reader.end = line.end
    yield from reader.close()


def _lines(source: str) -> Iterator[_Line]:
    start = 0
    while start < len(source):
        found = source.find("\n", start, start + LONGEST_LINE)
        end = found + 1 if found >= 0 else min(start + LONGEST_LINE, len(source))
        is_rest = start > 0 and source[start - 1] != "\n"
        yield _Line(literal(source[start:end]).removesuffix("\n").expandtabs(4), end, is_rest)
        start = end


class _Reader:
    """What is open between two lines: a paragraph or item, a block of code, a table, and the lists around them."""

    def __init__(self) -> None:
        self.end = 0
        self._block = Block("paragraph")
        self._text: list[str] = []
        self._fence: _Fence | None = None
        self._code: list[str] = []
        self._rows: list[Cells] = []
        self._columns = 0
        self._markers: list[int] = []
        self._after_blank = True
        self._goes_on = False

    def take(self, line: _Line) -> Iterator[Block]:
        """The blocks that end with this line or before it."""
        quote, text = _unquoted(line.text)
        if line.is_rest:
            yield from self._go_on(line.text)
        elif self._fence is not None and quote >= self._fence.quote:
            yield from self._take_code(self._fence, line.text)
        else:
            yield from self._close_fence()
            if not text.strip():
                yield from self.close()
                self._after_blank = True
            else:
                yield from self._take_text(text, quote)

    def close(self) -> Iterator[Block]:
        """What is open ends here."""
        yield from self._close_fence()
        yield from self._close_text()
        yield from self._close_table()
        self._block = Block("paragraph", quote=self._block.quote)
        self._goes_on = False

    # ----------------------------------------------------------------------------------------------- kinds of lines

    def _take_text(self, text: str, quote: int) -> Iterator[Block]:
        indent = len(text) - len(text.lstrip(" "))
        is_far_in = indent >= 4 and (self._after_blank or self._goes_on) and not self._markers
        self._after_blank = False
        if self._is_row(text, quote):
            yield from self._take_row(text)
        elif (fence := _FENCE.match(text)) is not None and "`" not in text[fence.end() :]:
            yield from self.close()
            self._fence = _Fence(fence[2], indent, quote, self._level_at(indent))
            self._code = [text[fence.end() :].strip()]
        elif _is_rule(text):
            yield from self._alone(Block("rule", quote=quote))
        elif (heading := _HEADING.match(text)) is not None:
            title = text[heading.end() :].strip()
            yield from self._alone(Block("heading", spans(_without_closing(title)), len(heading[1]), quote))
        elif (item := _ITEM.match(text)) is not None:
            yield from self._begin(Block("item", (), self._list_at(indent), quote, item[2]), text[item.end() :])
        elif self._text and quote == self._block.quote:
            yield from self._go_on(text.strip())
        elif is_far_in:
            code = Block("code", (Span(text[4:], PLAIN),), quote=quote, goes_on=self._goes_on)
            yield from self._alone(code)
            self._goes_on = True
        else:
            yield from self._begin(Block("paragraph", (), self._level_at(indent), quote), text.strip())

    def _take_code(self, fence: _Fence, line: str) -> Iterator[Block]:
        text = _unquoted(line, fence.quote)[1]
        marks = text.strip()
        if len(marks) >= len(fence.marks) and marks == fence.marks[0] * len(marks):
            yield from self._close_fence()
            return
        inside = len(text) - len(text.lstrip(" "))
        self._code.append(text[min(inside, fence.indent) :])
        if len(self._code) >= LINES_OF_CODE or sum(map(len, self._code)) >= LONGEST_BLOCK:
            yield self._code_so_far(fence)

    def _take_row(self, text: str) -> Iterator[Block]:
        if not self._columns:
            header = _cells(self._text.pop())
            yield from self._close_text()
            self._columns = len(header)
            self._rows = [tuple(tuple(Span(of, style | BOLD) for of, style in spans(cell)) for cell in header)]
            return
        cells = (_cells(text) + [""] * self._columns)[: self._columns]
        self._rows.append(tuple(map(spans, cells)))
        if len(self._rows) * self._columns >= MOST_CELLS:
            yield self._rows_so_far()

    def _is_row(self, text: str, quote: int) -> bool:
        """Whether it belongs to a table: a row of an open one, or the dashes under the heading of a new one."""
        if quote != self._block.quote or "|" not in text:
            return False
        if self._columns:
            return True
        return bool(self._text) and self._block.kind == "paragraph" and _are_dashes_under(text, self._text[-1])

    # ------------------------------------------------------------------------------------------------ what is open

    def _begin(self, block: Block, text: str) -> Iterator[Block]:
        yield from self.close()
        self._block, self._text = block, [text]

    def _alone(self, block: Block) -> Iterator[Block]:
        """A block of one line."""
        yield from self.close()
        self._block = Block("paragraph", quote=block.quote)
        self._markers.clear()
        yield block._replace(end=self.end)

    def _go_on(self, text: str) -> Iterator[Block]:
        """More of what is open."""
        if self._fence is not None:
            self._code[-1] += text
            if sum(map(len, self._code)) >= LONGEST_BLOCK:
                yield self._code_so_far(self._fence)
            return
        yield from self._close_table()
        self._text.append(text)
        if sum(map(len, self._text)) >= LONGEST_BLOCK:
            yield from self._close_text()
            self._block = self._block._replace(kind="paragraph", marker="")

    def _close_text(self) -> Iterator[Block]:
        if self._text:
            yield self._block._replace(spans=spans("\n".join(self._text)), end=self.end)
        self._text = []

    def _close_table(self) -> Iterator[Block]:
        if self._rows:
            yield self._rows_so_far()
            self._goes_on = False
        self._columns = 0

    def _rows_so_far(self) -> Block:
        rows, self._rows = tuple(self._rows), []
        goes_on, self._goes_on = self._goes_on, True
        level, quote = len(self._markers), self._block.quote
        return Block("table", level=level, quote=quote, rows=rows, goes_on=goes_on, end=self.end)

    def _close_fence(self) -> Iterator[Block]:
        if self._fence is None:
            return
        if any(self._code):
            yield self._code_so_far(self._fence)
        self._fence, self._code, self._goes_on = None, [], False

    def _code_so_far(self, fence: _Fence) -> Block:
        """The first line says which language it is, and is no code."""
        said, *lines = self._code
        self._code = [""]
        named = (Span(said + "\n" * bool(lines), MUTED),) if said else ()
        code = (Span("\n".join(lines), PLAIN),) if lines else ()
        goes_on, self._goes_on = self._goes_on, True
        return Block("code", named + code, fence.level, fence.quote, goes_on=goes_on, end=self.end)

    # ------------------------------------------------------------------------------------------------------- lists

    def _list_at(self, indent: int) -> int:
        """How deep an item stands whose marker is so far in; it is the newest one from now on."""
        level = self._level_at(indent)
        self._markers.append(indent)
        return level

    def _level_at(self, indent: int) -> int:
        """Within how many lists something stands that is so far in."""
        while self._markers and indent < self._markers[-1] + NESTED_BY:
            self._markers.pop()
        return len(self._markers)


def _unquoted(text: str, most: int | None = None) -> tuple[int, str]:
    """Within how many quotes a line stands, and what stands there."""
    at = depth = 0
    while (most is None or depth < most) and (found := _QUOTE.match(text, at)) is not None:
        at, depth = found.end(), depth + 1
    return depth, text[at:]


def _is_rule(text: str) -> bool:
    marks = text.replace(" ", "")
    return len(marks) >= 3 and marks[0] in "-*_" and marks == marks[0] * len(marks)


def _without_closing(title: str) -> str:
    """A heading may end in the marks that it begins with."""
    bare = title.rstrip("#")
    return bare.rstrip() if not bare or bare.endswith(" ") else title


def _are_dashes_under(text: str, header: str) -> bool:
    dashes = _cells(text)
    if "|" not in header or not all(map(_DASHES.fullmatch, dashes)):
        return False
    return len(dashes) == len(_cells(header)) <= MOST_COLUMNS


def _cells(text: str) -> list[str]:
    inside = text.strip().removeprefix("|")
    if inside.endswith("|") and not inside.endswith("\\|"):
        inside = inside[:-1]
    return [cell.strip().replace("\\|", "|") for cell in _BAR.split(inside)]
