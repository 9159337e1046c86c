"""Rows of any columns as a table to look at: the first of a file that is read or written."""

from collections.abc import Mapping, Sequence, Set

from pydantic import JsonValue
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QTableWidget, QTableWidgetItem

from workbench.state.literal_text import literal
from workbench.views.labels import tip
from workbench.views.tables import Column, calm

#: What is shown of a text in its cell, and in the tooltip over it.
IN_CELL, IN_TIP = 160, 2000
#: Pixels: what a column of text has at least, and any other at least and at most.
LEAST_TEXT, NARROWEST, OTHERS = 150, 70, 160
#: Columns that hold what is read, not a figure or a name.
FIRST = ("prompt", "chosen", "rejected", "completion", "answers")


class RowsTable(QTableWidget):
    """Shows rows whose columns are known only when they come."""

    def __init__(self, name: str) -> None:
        super().__init__(0, 0)
        self._needs: list[int] = []
        self._texts: set[int] = set()
        calm(self, name, ())
        self.setHorizontalScrollMode(self.verticalScrollMode())

    def show_rows(self, rows: Sequence[Mapping[str, JsonValue]]) -> None:
        names = list(dict.fromkeys(name for row in rows for name in row))
        names.sort(key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
        self.setColumnCount(len(names))
        for at, name in enumerate(names):
            heading = QTableWidgetItem(literal(name))
            heading.setTextAlignment(Column("").alignment)
            self.setHorizontalHeaderItem(at, heading)
        self.setRowCount(len(rows))
        for place, row in enumerate(rows):
            for at, name in enumerate(names):
                self._set_cell(place, at, row.get(name))
        self._texts = {at for at, name in enumerate(names) if name in FIRST or name.startswith("answer")}
        self.resizeColumnsToContents()
        self._needs = [self.columnWidth(at) for at in range(len(names))]
        self._share_width()

    def _set_cell(self, place: int, at: int, value: JsonValue) -> None:
        text = as_text(value)
        item = QTableWidgetItem(literal(text[:IN_CELL]).replace("\n", " ⏎ "))
        if len(text) > 24:
            item.setToolTip(tip(literal(text[:IN_TIP])))
        self.setItem(place, at, item)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._share_width()

    def _share_width(self) -> None:
        for at, width in enumerate(shared(self._needs, self._texts, self.viewport().width())):
            self.setColumnWidth(at, width)


def shared(needs: Sequence[int], texts: Set[int], room: int) -> list[int]:
    """What each column gets of the room, in pixels: all that it needs where there is so much. Where there is not,
    columns of text, or without any the last, share what the others leave. needs: of each; texts: which hold text.
    """
    takers = texts or set(range(len(needs))[-1:])
    widths = [max(need, NARROWEST) for need in needs]
    if (spare := room - sum(widths)) >= 0:
        return [width + spare // len(takers) if at in takers else width for at, width in enumerate(widths)]
    left = room - sum(min(width, OTHERS) for at, width in enumerate(widths) if at not in takers)
    each = max(left // max(len(takers), 1), LEAST_TEXT)
    return [each if at in takers else min(width, OTHERS) for at, width in enumerate(widths)]


def as_text(value: JsonValue) -> str:
    """A cell in words: a conversation as who says what, a list as its parts."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "\n".join(as_text(one) for one in value)
    if isinstance(value, dict):
        if "content" in value:
            return f"{value.get('role', '')}: {as_text(value['content'])}"
        return as_text(value["text"]) if "text" in value else ", ".join(f"{k}: {as_text(v)}" for k, v in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
