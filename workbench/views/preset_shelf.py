"""The shelf of presets: the tour, those that ship by method, and one's own; each with what it is for."""

import itertools
import re
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, QSize, Qt, Signal
from PySide6.QtGui import QColor, QPainter
from PySide6.QtWidgets import (
    QLineEdit,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from engine.contract.preset import PRESETS
from workbench import theme
from workbench.state.preset_schema import words
from workbench.theme import Theme
from workbench.views.labels import card, tip

PATH, ABOUT, EDITED = Qt.ItemDataRole.UserRole, Qt.ItemDataRole.UserRole + 1, Qt.ItemDataRole.UserRole + 2
#: A preset's method and its first comment stand at its beginning.
HEAD = 4000
#: What runs anywhere comes first.
BY_SIZE = ("tour", "tiny", "smollm2", "gpu")


@dataclass(frozen=True)
class Card:
    """A preset on the shelf. about: its first comment line."""

    path: Path
    group: str
    name: str
    about: str


def read_card(path: Path, *, is_mine: bool) -> Card:
    """What the shelf says of a file, from its first lines alone; an unreadable file still has its name."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD).decode("utf-8", "replace")
    except OSError:
        head = ""
    method = re.search(r"^method:[ ]*([\w-]+)", head, re.MULTILINE)
    about = re.match(r"#[ ]*(.+)", head)
    group = words(method[1]) if method else "Others"
    group = "Tour" if path.stem.startswith("tour_") else group
    return Card(path, "Mine" if is_mine else group, path.stem, about[1].strip() if about else "")


def cards(shipped: Path, mine: Path) -> list[Card]:
    """Every preset at hand in the order of the shelf: the tour, the methods, one's own."""
    own = [read_card(path, is_mine=True) for path in sorted(mine.glob("*.yaml"))]
    ours = [read_card(path, is_mine=False) for path in sorted(shipped.glob("*.yaml"), key=_by_size)]
    tour = sorted((card for card in ours if card.group == "Tour"), key=lambda card: "grpo" in card.name)
    rest = [card for card in ours if card.group != "Tour"]
    known = [words(method) for method in PRESETS]
    groups = sorted({card.group for card in rest}, key=lambda group: (*known, group).index(group))
    return tour + [card for group in groups for card in rest if card.group == group] + own


def _by_size(path: Path) -> tuple[bool, int, str]:
    rank = next((i for i, word in enumerate(BY_SIZE) if word in path.stem), len(BY_SIZE))
    return ("sft" not in path.stem, rank, path.stem)


class PresetShelf(QWidget):
    """`chosen` carries the path of the preset that a person picked."""

    chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._search = QLineEdit()
        self._search.setPlaceholderText("Search presets")
        self._search.setAccessibleName("Search presets")
        self._search.setClearButtonEnabled(True)
        self._search.textChanged.connect(self._filter)
        self._tree = QTreeWidget()
        self._headings: list[QTreeWidgetItem] = []
        self._groups: list[list[QTreeWidgetItem]] = []
        self._delegate = CardDelegate(self._tree)
        self._set_up()

    def show_cards(self, shelf: list[Card]) -> None:
        self._tree.clear()
        self._groups, self._headings = [], []
        for group, entries in itertools.groupby(shelf, key=lambda entry: entry.group):
            heading = QTreeWidgetItem(self._tree, [group])
            heading.setFlags(Qt.ItemFlag.ItemIsEnabled)
            self._headings.append(heading)
            self._groups.append([_item(heading, entry) for entry in entries])
        self._tree.expandAll()
        self._filter(self._search.text())

    def mark(self, current: Path | None, edited: set[Path]) -> None:
        """Select the preset that is open, and dot those with changes that are not saved."""
        for item in self._items():
            path = Path(item.data(0, PATH))
            item.setData(0, EDITED, path in edited)
            if path == current:
                self._tree.setCurrentItem(item)
        if current is None:
            self._tree.clearSelection()

    def apply_theme(self, colours: Theme) -> None:
        self._delegate.apply_theme(colours)
        self._tree.viewport().update()

    def _set_up(self) -> None:
        self._tree.setAccessibleName("Presets")
        self.setFocusProxy(self._tree)
        self._tree.setHeaderHidden(True)
        self._tree.setIndentation(0)
        self._tree.setRootIsDecorated(False)
        self._tree.setItemsExpandable(False)
        self._tree.setItemDelegate(self._delegate)
        self._tree.setVerticalScrollMode(QTreeWidget.ScrollMode.ScrollPerPixel)
        self._tree.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._tree.setMouseTracking(True)
        self._tree.itemClicked.connect(self._pick)
        self._tree.itemActivated.connect(self._pick)
        frame = card()
        inside = QVBoxLayout(frame)
        inside.setContentsMargins(*(theme.SPACE[2],) * 4)
        inside.setSpacing(theme.SPACE[2])
        inside.addWidget(self._search)
        inside.addWidget(self._tree, 1)
        outside = QVBoxLayout(self)
        outside.setContentsMargins(0, 0, 0, 0)
        outside.addWidget(frame)

    def _items(self) -> list[QTreeWidgetItem]:
        return [item for group in self._groups for item in group]

    def _pick(self, item: QTreeWidgetItem) -> None:
        if item.data(0, PATH):
            self.chosen.emit(Path(item.data(0, PATH)))

    def _filter(self, wanted: str) -> None:
        wanted = wanted.strip().lower()
        for item in self._items():
            said = f"{item.text(0)} {item.data(0, ABOUT)}".lower()
            item.setHidden(not all(word in said for word in wanted.split()))
        for heading, items in zip(self._headings, self._groups, strict=True):
            heading.setHidden(all(item.isHidden() for item in items))


def _item(heading: QTreeWidgetItem, entry: Card) -> QTreeWidgetItem:
    item = QTreeWidgetItem(heading, [entry.name])
    item.setData(0, PATH, str(entry.path))
    item.setData(0, ABOUT, entry.about)
    item.setToolTip(0, tip(f"{entry.path}\n{entry.about}".strip()))
    return item


Index = QModelIndex | QPersistentModelIndex


class CardDelegate(QStyledItemDelegate):
    """A heading in muted words; a preset on two lines, its name and what it is for."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme.LIGHT

    def apply_theme(self, colours: Theme) -> None:
        self._theme = colours

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        del option
        if not index.data(PATH):
            return QSize(80, 28)
        return QSize(80, 46 if index.data(ABOUT) else 30)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        area: QRect = option.rect
        state: QStyle.StateFlag = option.state
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        inside = area.adjusted(8, 0, -8, 0)
        if not index.data(PATH):
            painter.setFont(theme.font("muted"))
            painter.setPen(self._theme.colour("muted"))
            painter.drawText(inside.adjusted(0, 0, 0, -4), Qt.AlignmentFlag.AlignBottom, str(index.data()))
        else:
            self._paint_back(painter, area, state)
            self._paint_card(painter, inside, index)
        painter.restore()

    def _paint_back(self, painter: QPainter, area: QRect, state: QStyle.StateFlag) -> None:
        is_selected = bool(state & QStyle.StateFlag.State_Selected)
        if is_selected or state & QStyle.StateFlag.State_MouseOver:
            share = 1.0 if is_selected else 0.5
            painter.setBrush(QColor(theme.mixed(self._theme.raised, self._theme.surface, share)))
            painter.setPen(Qt.PenStyle.NoPen)
            painter.drawRoundedRect(area.adjusted(0, 1, 0, -1), theme.CORNER, theme.CORNER)
        if state & QStyle.StateFlag.State_HasFocus:
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(self._theme.colour("accent"))
            painter.drawRoundedRect(area.adjusted(1, 1, -1, -2), theme.CORNER, theme.CORNER)

    def _paint_card(self, painter: QPainter, inside: QRect, index: Index) -> None:
        about = str(index.data(ABOUT) or "")
        name_area = inside.adjusted(0, 6, 0, -inside.height() // 2 + 2) if about else inside
        if index.data(EDITED):
            painter.setBrush(self._theme.colour("accent"))
            painter.setPen(Qt.PenStyle.NoPen)
            painter.drawEllipse(name_area.right() - 7, name_area.center().y() - 2, 6, 6)
            name_area = name_area.adjusted(0, 0, -12, 0)
        painter.setFont(theme.font("body"))
        painter.setPen(self._theme.colour("text"))
        name = painter.fontMetrics().elidedText(str(index.data()), Qt.TextElideMode.ElideMiddle, name_area.width())
        painter.drawText(name_area, Qt.AlignmentFlag.AlignVCenter, name)
        if about:
            painter.setFont(theme.font("muted"))
            painter.setPen(self._theme.colour("muted"))
            metrics = painter.fontMetrics()
            line = metrics.elidedText(about, Qt.TextElideMode.ElideRight, inside.width())
            painter.drawText(inside.adjusted(0, inside.height() // 2, 0, -5), Qt.AlignmentFlag.AlignVCenter, line)
