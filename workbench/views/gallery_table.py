"""Pictures in rows, or in a grid by their settings. Only what is to be seen is read and drawn."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QItemSelectionModel, QModelIndex, QRect, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QPainter, QPen, QResizeEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
)

from workbench import theme
from workbench.io.picture_store import Picture, PictureStore
from workbench.state import figures
from workbench.state.gallery import Plot, worded
from workbench.theme import Theme
from workbench.views.picture_pane import SQUARES_FROM

AnyIndex = Any
#: Height of a picture in the grid, in pixels, and of a line of words below it.
SIDE, LINE, FREE = 132, 14, 6
SMALLEST, LARGEST = 56, 480
GAP = 4
NOT_DRAWN = "not drawn yet"
NO_BREAK = "\N{NO-BREAK SPACE}"
MARK = 16
#: What is scrolled past for a shorter time than this is not read.
SETTLE_MS = 40
WIDEST_HEADING = 160


class GalleryModel(QAbstractTableModel):
    """Places of pictures by row and column. label: what stands under one."""

    def __init__(self, label: Callable[[int], str]) -> None:
        super().__init__()
        self.count = 0
        self.columns = 1
        self.plot: Plot | None = None
        self._label = label

    def show_rows(self, count: int, columns: int) -> None:
        """So many pictures, one after the other; what was there stays where it was if only more came."""
        if self.plot is None and columns == self.columns and count >= self.count:
            self._grow(count)
            return
        self.beginResetModel()
        self.count, self.columns, self.plot = count, max(columns, 1), None
        self.endResetModel()

    def show_plot(self, plot: Plot, count: int) -> None:
        """A grid; its cells fill while the run draws."""
        was = self.plot
        if was is not None and (was.columns, was.rows) == (plot.columns, plot.rows):
            self.plot, self.count = plot, count
            self.dataChanged.emit(self.index(0, 0), self.index(len(plot.rows) - 1, self.columns - 1))
            return
        self.beginResetModel()
        self.plot, self.count, self.columns = plot, count, max(len(plot.columns.values), 1)
        self.endResetModel()

    def rowCount(self, parent: AnyIndex = QModelIndex()) -> int:  # noqa: B008  Qt's signature
        if parent.isValid():
            return 0
        return len(self.plot.rows) if self.plot is not None else -(-self.count // self.columns)

    def columnCount(self, parent: AnyIndex = QModelIndex()) -> int:  # noqa: B008  Qt's signature
        return 0 if parent.isValid() else self.columns

    def place(self, index: AnyIndex) -> int | None:
        """Which picture stands there."""
        if not index.isValid():
            return None
        if self.plot is not None:
            return self.plot.cells.get((index.row(), index.column()))
        at = index.row() * self.columns + index.column()
        return int(at) if at < self.count else None

    def index_of(self, place: int) -> QModelIndex:
        if self.plot is not None:
            where = next((cell for cell, at in self.plot.cells.items() if at == place), None)
            return self.index(*where) if where is not None else QModelIndex()
        return self.index(place // self.columns, place % self.columns)

    def data(self, index: AnyIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if role not in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
            return None
        place = self.place(index)
        if place is None:
            return NOT_DRAWN if self.plot is not None else None
        return self._label(place)

    def headerData(self, section: int, side: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if role != Qt.ItemDataRole.DisplayRole or self.plot is None:
            return None
        if side == Qt.Orientation.Horizontal:
            axis = self.plot.columns
            return worded(axis.name, axis.values[section]) or figures.UNKNOWN if section < len(axis.values) else None
        return self.plot.rows[section] if section < len(self.plot.rows) else None

    def _grow(self, count: int) -> None:
        rows, wanted = self.rowCount(), -(-count // self.columns)
        if wanted > rows:
            self.beginInsertRows(QModelIndex(), rows, wanted - 1)
        self.count = count
        if wanted > rows:
            self.endInsertRows()
        if rows:
            self.dataChanged.emit(self.index(rows - 1, 0), self.index(rows - 1, self.columns - 1))


class GalleryTable(QTableView):
    """chosen: the place of a picture that was double-clicked. looked: that of the one the keyboard is at, or None.
    marked: some are marked, or not any more."""

    chosen = Signal(int)
    looked = Signal(object)
    marked = Signal()

    def __init__(self, label: Callable[[int], str]) -> None:
        super().__init__()
        self.pictures = GalleryModel(label)
        self.marks: list[int] = []
        self.side = SIDE
        self.lines = 1  # of words below a picture
        self._aspect = 1.0  # width of a picture to its height, of the first that was read
        self._path: Callable[[int], Path | None] = lambda _: None
        self._store: PictureStore | None = None
        self._colours = theme.LIGHT
        self.setModel(self.pictures)
        self.setItemDelegate(_Cell(self))
        self._settle = QTimer(self, singleShot=True, interval=SETTLE_MS)
        self._settle.timeout.connect(self._want)
        self._set_up()

    def show_run(self, store: PictureStore) -> None:
        self._store, self.marks, self._aspect = store, [], 1.0
        self.pictures.show_rows(0, self.pictures.columns)
        store.arrived.connect(self._arrived)

    def show_pictures(
        self, count: int, path: Callable[[int], Path | None], plot: Plot | None, *, has_only_grown: bool
    ) -> None:
        """So many, in rows or in a grid. path: where the picture of a place is. While more come, nothing moves."""
        if not has_only_grown:
            self.marks = []
        self._path = path
        is_at_end = self.verticalScrollBar().value() == self.verticalScrollBar().maximum()
        has_moved = self.verticalScrollBar().value() > 0
        at = self.current
        self._set_headings(plot is not None)
        if plot is None:
            self.pictures.show_rows(count, self._columns())
        else:
            self.pictures.show_plot(plot, count)
        self._fit()
        self.viewport().update()
        self._go_back_to(at)
        if is_at_end and has_moved:
            self.scrollToBottom()
        self._settle.start()

    @property
    def current(self) -> int | None:
        """The place of the picture where the keyboard is."""
        return self.pictures.place(self.currentIndex())

    @property
    def words_height(self) -> int:
        return FREE + self.lines * LINE

    def picture(self, place: int) -> Picture | None:
        path = self._path(place) if place < self.pictures.count else None
        return self._store.get(path) if path is not None and self._store is not None else Picture(fault="gone")

    def toggle_mark(self) -> None:
        """Mark the current picture, or no longer, to look at it together with others."""
        if (at := self.current) is not None:
            self.marks = [mark for mark in self.marks if mark != at] if at in self.marks else [*self.marks, at]
            self.viewport().update()
            self.marked.emit()

    def resize_pictures(self, factor: float) -> None:
        self.side = round(min(max(self.side * factor, SMALLEST), LARGEST)) if factor else SIDE
        self._refit()

    def go_to(self, place: int) -> None:
        self.setCurrentIndex(self.pictures.index_of(place))

    def set_theme(self, colours: Theme) -> None:
        self._colours = colours
        self.viewport().update()

    @property
    def colours(self) -> Theme:
        return self._colours

    def close_down(self) -> None:
        self._settle.stop()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._refit()

    def currentChanged(self, current: AnyIndex, previous: AnyIndex) -> None:
        super().currentChanged(current, previous)
        self.looked.emit(self.current)

    def mousePressEvent(self, event: Any) -> None:
        super().mousePressEvent(event)
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self.toggle_mark()

    def _set_up(self) -> None:
        self.setAccessibleName("Pictures of the run")
        theme.set_role(self, "gallery")
        self.setShowGrid(False)
        self.setTabKeyNavigation(False)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        for mode in (self.setVerticalScrollMode, self.setHorizontalScrollMode):
            mode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        for header in (self.horizontalHeader(), self.verticalHeader()):
            header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
            header.setMinimumSectionSize(24)
            header.setHighlightSections(False)
            header.setSectionsClickable(False)
            header.setStyleSheet("QHeaderView::section { border: none; padding: 0 8px; }")
        self.horizontalHeader().setDefaultAlignment(Qt.AlignmentFlag.AlignCenter)
        self.verticalHeader().setMaximumWidth(WIDEST_HEADING)
        self.verticalScrollBar().valueChanged.connect(lambda _: self._settle.start())
        self.horizontalScrollBar().valueChanged.connect(lambda _: self._settle.start())
        self.doubleClicked.connect(self._choose)

    def _choose(self, index: QModelIndex) -> None:
        if (place := self.pictures.place(index)) is not None:
            self.chosen.emit(place)

    def _cell_size(self) -> QSize:
        room = self.viewport().width()
        width = min(round(self.side * self._aspect) + 2 * GAP, max(room, 40))
        if self.pictures.plot is not None:  # the whole width of a grid at once, if it is not too small for that
            width = min(width, max(room // self.pictures.columns, SMALLEST))
        height = round((width - 2 * GAP) / self._aspect) + 2 * GAP
        return QSize(width, height + (self.words_height if self.pictures.plot is None else 0))

    def _columns(self) -> int:
        return max(1, self.viewport().width() // self._cell_size().width())

    def _fit(self) -> None:
        size = self._cell_size()
        self.horizontalHeader().setDefaultSectionSize(size.width())
        self.verticalHeader().setDefaultSectionSize(size.height())

    def _refit(self) -> None:
        """The room or the size of a picture is another: lay them out anew, at the picture one was at."""
        at = self.current
        if self.pictures.plot is None:
            self.pictures.show_rows(self.pictures.count, self._columns())
        self._fit()
        self._go_back_to(at)
        self._settle.start()

    def _go_back_to(self, place: int | None) -> None:
        if place is not None and self.current != place and place < self.pictures.count:
            model = self.selectionModel()
            model.setCurrentIndex(self.pictures.index_of(place), QItemSelectionModel.SelectionFlag.NoUpdate)

    def _set_headings(self, are_wanted: bool) -> None:
        self.horizontalHeader().setVisible(are_wanted)
        self.verticalHeader().setVisible(are_wanted)

    def _want(self) -> None:
        """Read what is to be seen, and a screen more on either side."""
        if self._store is None or not self.isVisible():
            return
        height = self.viewport().height()
        now = self._between(0, height)
        self._store.want(now, [path for path in self._between(-height, 2 * height) if path not in set(now)])

    def _between(self, top: int, bottom: int) -> list[Path]:
        first, last = (self.rowAt(y) for y in (max(top, 0), bottom - 1))
        rows = self.pictures.rowCount()
        size = max(self.verticalHeader().defaultSectionSize(), 1)
        first = max((first if first >= 0 else 0) - (-top // size + 1 if top < 0 else 0), 0)
        last = last if last >= 0 else rows - 1
        found = [
            self.pictures.place(self.pictures.index(row, column))
            for row in range(first, min(last, rows - 1) + 1)
            for column in range(self.pictures.columns)
        ]
        return [path for place in found if place is not None and (path := self._path(place)) is not None]

    def _arrived(self, path: Path) -> None:
        picture = self._store.get(path) if self._store is not None else None
        if picture is not None and picture.levels and self.pictures.count and path == self._path(0):
            whole = picture.levels[0]
            aspect = whole.width() / whole.height()
            if abs(aspect - self._aspect) > 0.01:
                self._aspect = min(max(aspect, 0.25), 12.0)
                self._refit()
        self.viewport().update()


class _Cell(QStyledItemDelegate):
    """One picture, what tells it from the others, and whether it is marked."""

    def __init__(self, table: GalleryTable) -> None:
        super().__init__(table)
        self._table = table

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: AnyIndex) -> None:
        table = self._table
        place = table.pictures.place(index)
        room: QRect = option.rect.adjusted(GAP, GAP, -GAP, -GAP)
        has_words = table.pictures.plot is None
        frame = room.adjusted(0, 0, 0, -table.words_height) if has_words else room
        painter.save()
        if place is None:
            if table.pictures.plot is not None:
                painter.setPen(QPen(table.colours.colour("line"), 1, Qt.PenStyle.DotLine))
                painter.drawRect(frame.adjusted(0, 0, -1, -1))
            painter.restore()
            return
        self._paint_picture(painter, frame, table.picture(place))
        is_current = index == table.currentIndex() and table.hasFocus()
        if is_current or place in table.marks:
            self._paint_frame(painter, frame, table.colours.colour("accent" if is_current else "text"))
        if place in table.marks:
            self._paint_mark(painter, frame, table.marks.index(place) + 1)
        if has_words:
            self._paint_words(painter, room, str(index.data() or ""))
        painter.restore()

    def _paint_picture(self, painter: QPainter, frame: QRect, picture: Picture | None) -> None:
        if picture is None or not picture.levels:
            painter.fillRect(frame, self._table.colours.colour("raised"))
            if picture is not None:
                painter.setPen(self._table.colours.colour("muted"))
                painter.drawText(frame, Qt.AlignmentFlag.AlignCenter, picture.fault)
            return
        image = picture.levels[0]
        size = image.size().scaled(frame.size(), Qt.AspectRatioMode.KeepAspectRatio)
        if size.width() >= SQUARES_FROM * image.width():
            size = image.size() * (size.width() // image.width())  # every pixel as large as the next
        target = QStyle.alignedRect(Qt.LayoutDirection.LeftToRight, Qt.AlignmentFlag.AlignCenter, size, frame)
        is_smooth = size.width() < SQUARES_FROM * image.width()
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, is_smooth)
        painter.drawImage(target, image)

    def _paint_frame(self, painter: QPainter, frame: QRect, colour: QColor) -> None:
        painter.setPen(QPen(colour, 2))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRect(frame.adjusted(-1, -1, 0, 0))

    def _paint_mark(self, painter: QPainter, frame: QRect, number: int) -> None:
        spot = QRect(frame.right() - MARK - 2, frame.top() + 3, MARK, MARK)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._table.colours.colour("accent"))
        painter.drawEllipse(spot)
        painter.setPen(self._table.colours.colour("on_accent"))
        painter.setFont(theme.font("tick"))
        painter.drawText(spot, Qt.AlignmentFlag.AlignCenter, str(number))

    def _paint_words(self, painter: QPainter, room: QRect, words: str) -> None:
        painter.setFont(theme.font("tick"))
        painter.setPen(self._table.colours.colour("muted"))
        height = self._table.words_height
        below = QRect(room.left(), room.bottom() - height + 4, room.width(), height - 2)
        # What does not fit into the lines there are is given up at the end.
        room_for = self._table.lines * below.width() - (self._table.lines - 1) * below.width() // 4
        held = "  ".join(part.replace(" ", NO_BREAK) for part in words.split("  "))  # a value stays with its name
        text = painter.fontMetrics().elidedText(held, Qt.TextElideMode.ElideRight, room_for)
        where = Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop | Qt.TextFlag.TextWordWrap
        painter.drawText(below, where, text)
