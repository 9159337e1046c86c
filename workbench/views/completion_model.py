"""Completions as rows of a table."""

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtGui import QBrush, QIcon

from engine.contract.rollouts import Completion
from workbench import theme
from workbench.state import figures
from workbench.theme import Theme
from workbench.views.labels import tip

Index = QModelIndex | QPersistentModelIndex

TITLES = ("step", "prompt", "completion", "reward", "advantage", "KL")
STEP, PROMPT, COMPLETION, REWARD, ADVANTAGE, KL = range(6)
LONGEST_CELL = 300
RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter


def one_line(text: str) -> str:
    """Text for a cell: line breaks shown as marks, and no longer than anyone reads there."""
    cut = text[:LONGEST_CELL] + ("…" if len(text) > LONGEST_CELL else "")
    return cut.replace("\r\n", "⏎").replace("\n", "⏎").replace("\t", " ").replace("\0", "�")


def verdict(reward: float) -> tuple[str, str]:
    """Icon and colour of a reward: a full one, a part of one, none."""
    if reward >= 1:
        return "check", "finished"
    return ("partial", "warning") if reward > 0 else ("close", "failed")


class CompletionModel(QAbstractTableModel):
    """Rows in the order given; `columns_with_values` says which are worth showing."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Completion] = []
        self._colours = theme.LIGHT

    def show_rows(self, rows: list[Completion]) -> None:
        self.beginResetModel()
        self.rows = rows
        self.endResetModel()

    def set_theme(self, colours: Theme) -> None:
        self._colours = colours
        if self.rows:
            self.dataChanged.emit(self.index(0, 0), self.index(len(self.rows) - 1, KL))

    def columns_with_values(self) -> set[int]:
        found = {STEP, PROMPT, COMPLETION}
        found |= {REWARD} if any(row.reward is not None for row in self.rows) else set()
        found |= {ADVANTAGE} if any(row.advantage is not None for row in self.rows) else set()
        return found | ({KL} if any(row.kl is not None for row in self.rows) else set())

    def rowCount(self, parent: Index | None = None) -> int:
        return len(self.rows)

    def columnCount(self, parent: Index | None = None) -> int:
        return len(TITLES)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        if orientation == Qt.Orientation.Vertical:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return TITLES[section]
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return LEFT if section in (PROMPT, COMPLETION) else RIGHT
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        row, column = self.rows[index.row()], index.column()
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return _shown(row, column)
            case Qt.ItemDataRole.TextAlignmentRole:
                return LEFT if column in (PROMPT, COMPLETION) else RIGHT
            case Qt.ItemDataRole.FontRole:
                return theme.font("body" if column in (PROMPT, COMPLETION) else "figures")
            case Qt.ItemDataRole.ForegroundRole:
                return self._brush(row, column)
            case Qt.ItemDataRole.DecorationRole:
                return self._icon(row) if column == REWARD else None
            case Qt.ItemDataRole.ToolTipRole if column in (PROMPT, COMPLETION):
                return tip((row.prompt if column == PROMPT else row.completion)[:2000])
        return None

    def _brush(self, row: Completion, column: int) -> QBrush | None:
        if column == REWARD and row.reward is not None:
            return QBrush(self._colours.colour(verdict(row.reward)[1]))
        return QBrush(self._colours.colour("muted")) if column in (STEP, PROMPT) else None

    def _icon(self, row: Completion) -> QIcon | None:
        if row.reward is None:
            return None
        name, token = verdict(row.reward)
        return theme.icon(name, self._colours.colour(token), 12)


def _shown(row: Completion, column: int) -> str:
    match column:
        case 0:
            return figures.count(row.step)
        case 1:
            return one_line(row.prompt)
        case 2:
            return one_line(row.completion) + ("" if row.finish == "stop" else " …")
        case 3:
            return "" if row.reward is None else figures.fixed(row.reward)
        case 4:
            return "" if row.advantage is None else figures.signed(row.advantage)
        case _:
            return "" if row.kl is None else figures.number(row.kl)
