"""The runs of the workspace, newest first: what each is, how it stands, and where its curve goes."""

import time
from pathlib import Path

from PySide6.QtCore import (
    QAbstractListModel,
    QItemSelectionModel,
    QModelIndex,
    QPersistentModelIndex,
    QRect,
    QSize,
    Qt,
    QTimer,
    Signal,
)
from PySide6.QtGui import QColor, QFont, QFontMetrics, QPainter, QPen
from PySide6.QtWidgets import QFrame, QListView, QPushButton, QStyle, QStyledItemDelegate, QStyleOptionViewItem

from engine.contract.status import Summary
from workbench import theme
from workbench.state.run_index import RunIndex, RunRow, row_of
from workbench.theme import Theme
from workbench.views.labels import column, tip
from workbench.views.sparkline import paint_sparkline

Index = QModelIndex | QPersistentModelIndex

ROW = Qt.ItemDataRole.UserRole
MARGIN = 12
ROW_HEIGHT = 72
LEAST_METHOD = 48  # px; in less, a method's name says nothing
SPARK = QSize(72, 18)
#: "4 min ago" grows old by itself.
AGE_MS = 20_000


class RunListModel(QAbstractListModel):
    """Rows by summary; a row is worded when it is drawn, so that thousands cost nothing."""

    def __init__(self) -> None:
        super().__init__()
        self._summaries: list[Summary] = []

    def show_index(self, index: RunIndex) -> None:
        new = index.newest_first()
        if [s.run.path for s in new] == [s.run.path for s in self._summaries]:
            self._summaries = new
            self.refresh()
            return
        self.beginResetModel()
        self._summaries = new
        self.endResetModel()

    def refresh(self) -> None:
        if self._summaries:
            self.dataChanged.emit(self.index(0), self.index(len(self._summaries) - 1))

    def rowCount(self, parent: Index | None = None) -> int:
        return len(self._summaries)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        if not index.isValid():
            return None
        row = row_of(self._summaries[index.row()], time.time())
        if role == ROW:
            return row
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
            return f"{row.name}, {row.method}, {row.word}, {row.line}"
        if role == Qt.ItemDataRole.ToolTipRole:
            summary = self._summaries[index.row()]
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(summary.time))
            return tip(f"{summary.run.path.name}\nlast written {when}\n{row.line}")
        return None

    def path(self, row: int) -> Path | None:
        return self._summaries[row].run.path if 0 <= row < len(self._summaries) else None

    def row_of_path(self, path: Path) -> int:
        return next((i for i, s in enumerate(self._summaries) if s.run.path == path), -1)


class RunDelegate(QStyledItemDelegate):
    """Draws a row: name and method, state and line, the headline metric's curve, progress while it is alive."""

    def __init__(self, parent: QListView) -> None:
        super().__init__(parent)
        self.colours: Theme = theme.LIGHT
        self._name = theme.font("body")
        self._name.setWeight(QFont.Weight.DemiBold)
        self._muted = theme.font("muted")
        self._word = theme.font("muted")
        self._word.setWeight(QFont.Weight.DemiBold)

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        return QSize(200, ROW_HEIGHT)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        row = index.data(ROW)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._draw_ground(painter, option)
        space: QRect = option.rect.adjusted(MARGIN, 9, -MARGIN, -9)
        has_curve = len(row.headline) > 1
        self._text(painter, space, row.name, self._name, "text")
        beside_name = space.adjusted(QFontMetrics(self._name).horizontalAdvance(row.name) + 8, 0, 0, 0)
        if beside_name.width() >= LEAST_METHOD:  # the name says more, so it has the room first
            self._text(painter, beside_name, row.method.upper().replace("_", " "), self._muted, "muted", right=True)
        self._draw_state(painter, space.adjusted(0, 19, 0, 0), row)
        if has_curve:
            self._draw_curve(painter, space, row)
        if row.fraction is not None:
            self._draw_progress(painter, space, row.fraction)
        painter.restore()

    def _draw_ground(self, painter: QPainter, option: QStyleOptionViewItem) -> None:
        state: QStyle.StateFlag = option.state
        area: QRect = option.rect.adjusted(4, 2, -4, -2)
        if state & QStyle.StateFlag.State_Selected:
            painter.setBrush(self.colours.colour("raised"))
        elif state & QStyle.StateFlag.State_MouseOver:
            painter.setBrush(QColor(theme.mixed(self.colours.raised, self.colours.surface, 0.5)))
        else:
            return
        is_focused = bool(state & QStyle.StateFlag.State_HasFocus)
        painter.setPen(QPen(self.colours.colour("accent"), 1.5) if is_focused else Qt.PenStyle.NoPen)
        painter.drawRoundedRect(area, theme.CORNER, theme.CORNER)

    def _draw_state(self, painter: QPainter, space: QRect, row: RunRow) -> None:
        colour = self.colours.state_colour(row.state)
        scale = painter.device().devicePixelRatioF()
        painter.drawPixmap(space.left() - 1, space.top() + 2, theme.pixmap(row.state, colour, 12, scale))
        word = space.adjusted(16, 0, 0, 0)
        painter.setFont(self._word)
        painter.setPen(colour)
        painter.drawText(word, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop, row.word)
        self._text(painter, space.adjusted(0, 17, 0, 2), row.line, self._muted, "muted")

    def _draw_curve(self, painter: QPainter, space: QRect, row: RunRow) -> None:
        area = QRect(space.right() - SPARK.width() + 1, space.top() + 17, SPARK.width(), SPARK.height())
        paint_sparkline(painter, area, row.headline, self.colours.curve(0).colour)

    def _draw_progress(self, painter: QPainter, space: QRect, fraction: float) -> None:
        bar = QRect(space.left(), space.bottom() + 2, space.width(), 3)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self.colours.colour("line"))
        painter.drawRoundedRect(bar, 1.5, 1.5)
        bar.setWidth(round(bar.width() * fraction))
        painter.setBrush(self.colours.colour("running"))
        painter.drawRoundedRect(bar, 1.5, 1.5)

    def _text(
        self, painter: QPainter, space: QRect, text: str, font: QFont, token: str, *, right: bool = False
    ) -> None:
        painter.setFont(font)
        painter.setPen(self.colours.colour(token))
        shown = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, space.width())
        side = Qt.AlignmentFlag.AlignRight if right else Qt.AlignmentFlag.AlignLeft
        painter.drawText(space, side | Qt.AlignmentFlag.AlignTop, shown)


class RunList(QFrame):
    """Emits `chosen` with a run's path, and `preset_wanted` for a new run."""

    chosen = Signal(object)
    preset_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        theme.set_role(self, "card")
        self._model = RunListModel()
        self.view = QListView()
        self.view.setAccessibleName("Runs")
        self.view.setStyleSheet("QListView { border: none; }")  # the row shows the focus
        self.view.setModel(self._model)
        self.view.setUniformItemSizes(True)
        self.view.setMouseTracking(True)
        self.view.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.view.setVerticalScrollMode(QListView.ScrollMode.ScrollPerPixel)
        self._delegate = RunDelegate(self.view)
        self.view.setItemDelegate(self._delegate)
        self.view.selectionModel().currentChanged.connect(self._current_changed)
        new = QPushButton("New run from a preset")
        new.clicked.connect(self.preset_wanted)
        self.setLayout(column(self.view, new, space=2, margin=2))
        self.shown: Path | None = None
        self._ages = QTimer(self, interval=AGE_MS)
        self._ages.timeout.connect(self._model.refresh)
        self._ages.start()

    def show_index(self, index: RunIndex) -> None:
        self._model.show_index(index)
        if self.shown is not None:
            self._mark(self.shown)

    def show_run(self, path: Path) -> None:
        """Mark the run that is on show."""
        self.shown = path
        self._mark(path)

    def step(self, by: int) -> None:
        """Choose a neighbour of the run on show."""
        path = self._model.path(self.view.currentIndex().row() + by)
        if path is not None:
            self.chosen.emit(path)

    def set_theme(self, colours: Theme) -> None:
        self._delegate.colours = colours
        self.view.viewport().update()

    def close_down(self) -> None:
        self._ages.stop()

    def _mark(self, path: Path) -> None:
        at = self._model.index(self._model.row_of_path(path))
        # The current row is not always selected: a list that gets the focus takes its first row for current.
        if at.isValid() and not self.view.selectionModel().isSelected(at):
            self.view.setCurrentIndex(at)
            self.view.selectionModel().select(at, QItemSelectionModel.SelectionFlag.ClearAndSelect)

    def _current_changed(self, current: QModelIndex) -> None:
        # A list that gets the focus takes its first row for current, which nobody chose.
        path = self._model.path(current.row()) if self.shown is not None else None
        if path is not None and path != self.shown:
            self.chosen.emit(path)
