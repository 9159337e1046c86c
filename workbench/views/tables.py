"""Tables that look alike: no grid, quiet headings that stand over what they head."""

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QIcon
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QTableWidget, QTableWidgetItem

from workbench.views.labels import tip

ROW_HEIGHT = 26
#: Cells keep these few pixels more free than headings do.
HEADING = "QHeaderView::section { padding-left: 11px; padding-right: 11px; }"
LONG = 40


@dataclass(frozen=True)
class Column:
    """width: in pixels; None takes the room that is left. is_figure: right-aligned."""

    title: str
    width: int | None = None
    is_figure: bool = False

    @property
    def alignment(self) -> Qt.AlignmentFlag:
        side = Qt.AlignmentFlag.AlignRight if self.is_figure else Qt.AlignmentFlag.AlignLeft
        return side | Qt.AlignmentFlag.AlignVCenter


def calm(table: QTableView, name: str, columns: Sequence[Column]) -> None:
    """Make a table look and move like the others. It needs its model first."""
    table.setAccessibleName(name)
    table.setShowGrid(False)
    table.setWordWrap(False)
    table.setTabKeyNavigation(False)
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
    table.verticalHeader().hide()
    table.verticalHeader().setDefaultSectionSize(ROW_HEIGHT)
    header = table.horizontalHeader()
    header.setHighlightSections(False)
    header.setMinimumSectionSize(40)
    header.setStyleSheet(HEADING)
    for at, column in enumerate(columns):
        if column.width is None:
            header.setSectionResizeMode(at, QHeaderView.ResizeMode.Stretch)
        else:
            table.setColumnWidth(at, column.width)


class PlainTable(QTableWidget):
    """A short list of plain words, filled anew as a whole."""

    def __init__(self, name: str, columns: Sequence[Column]) -> None:
        super().__init__(0, len(columns))
        self._columns = columns
        for at, column in enumerate(columns):
            heading = QTableWidgetItem(column.title)
            heading.setTextAlignment(column.alignment)
            self.setHorizontalHeaderItem(at, heading)
        calm(self, name, columns)

    def set_cell(self, row: int, at: int, text: str, colour: QColor | None = None, icon: QIcon | None = None) -> None:
        item = QTableWidgetItem(text)
        item.setTextAlignment(self._columns[at].alignment)
        if colour is not None:
            item.setForeground(colour)
        if icon is not None:
            item.setIcon(icon)
        if len(text) > LONG:
            item.setToolTip(tip(text))
        self.setItem(row, at, item)
