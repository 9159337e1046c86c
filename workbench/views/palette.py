"""The way to every action, run and preset by a few letters."""

from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QObject, QPoint, QSize, Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QFrame, QLineEdit, QListWidget, QListWidgetItem, QWidget

from workbench import theme
from workbench.views.labels import column, label, row

SHOWN = 60
WIDTH = 560
ENTRY_HEIGHT = 34
MOST_VISIBLE = 11


@dataclass(frozen=True)
class Entry:
    """One thing to choose. kind: the word beside it. hint: its shortcut, or what tells it from its namesakes."""

    title: str
    kind: str
    hint: str
    run: Callable[[], None]
    is_enabled: bool = True


def score(query: str, text: str) -> float | None:
    """How well `text` answers the letters of `query`, in their order; None if they are not all there.

    Letters that start a word or follow each other count more, and a shorter text wins over a longer one.
    """
    wanted, there = query.casefold().replace(" ", ""), text.casefold()
    # Jumping to a word's start is what people mean, but it may jump past a letter that is needed.
    found = [points for keen in (True, False) if (points := _points(wanted, there, keen)) is not None]
    bonus = 5 if query and query.casefold() in there else 0
    return max(found) + bonus - len(there) / 200 if found else None


def _points(wanted: str, there: str, prefer_starts: bool) -> float | None:
    total, last = 0.0, -2
    for letter in wanted:
        at = there.find(letter, max(last + 1, 0))
        if at < 0:
            return None
        if prefer_starts and at != last + 1:
            places = (i for i in range(at, len(there)) if there[i] == letter and _starts_word(there, i))
            at = next(places, at)
        total += 3 if at == last + 1 else 2 if _starts_word(there, at) else 1 / (1 + at - last)
        last = at
    return total


def _rank(query: str, entry: Entry) -> float | None:
    """By its title; failing that by its hint too, behind those whose title answers."""
    points = score(query, entry.title)
    if points is None and (points := score(query, f"{entry.title} {entry.hint}")) is not None:
        points -= 100
    return points


def _starts_word(text: str, at: int) -> bool:
    return at == 0 or not text[at - 1].isalnum()


class Palette(QFrame):
    """A field and a list over the window. Return runs the entry, Esc closes."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        theme.set_role(self, "card")
        self._entries: list[Entry] = []
        self._found: list[Entry] = []
        self._back_to: QWidget | None = None
        self._field = QLineEdit(placeholderText="An action, a run or a preset")
        self._field.textChanged.connect(self._search)
        self._field.installEventFilter(self)
        self._list = QListWidget()
        self._list.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._list.itemClicked.connect(lambda _: self._choose())
        self._list.setVerticalScrollMode(QListWidget.ScrollMode.ScrollPerPixel)
        self.setLayout(column(self._field, self._list, margin=2))
        parent.installEventFilter(self)
        self.hide()

    def open(self, entries: list[Entry]) -> None:
        self._back_to = self.window().focusWidget()
        self._entries = entries
        self._field.clear()
        self._search("")
        self._place()
        self.show()
        self.raise_()
        self._field.setFocus()

    def dismiss(self) -> None:
        if self.isVisible():
            self.hide()
            if self._back_to is not None:
                self._back_to.setFocus()

    @property
    def titles(self) -> list[str]:
        """What is listed now, best first."""
        return [entry.title for entry in self._found]

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if watched is self.parent() and event.type() == QEvent.Type.Resize:
            self._place()
        if watched is self._field and isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            return self._key(event.key())
        if watched is self._field and event.type() == QEvent.Type.FocusOut:
            self.hide()
        return False

    def _key(self, key: int) -> bool:
        moves = {Qt.Key.Key_Down: 1, Qt.Key.Key_Up: -1, Qt.Key.Key_PageDown: 10, Qt.Key.Key_PageUp: -10}
        if key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._choose()
        elif key == Qt.Key.Key_Escape:
            self.dismiss()
        elif key in moves:
            wanted = self._list.currentRow() + moves[Qt.Key(key)]
            self._list.setCurrentRow(min(max(wanted, 0), self._list.count() - 1))
        else:
            return False
        return True

    def _search(self, query: str) -> None:
        ranked = [(_rank(query, entry), entry) for entry in self._entries]
        matching = [(points, entry) for points, entry in ranked if points is not None]
        if query:
            matching.sort(key=lambda pair: (pair[1].is_enabled, pair[0]), reverse=True)
        else:
            matching.sort(key=lambda pair: pair[1].is_enabled, reverse=True)
        self._found = [entry for _, entry in matching[:SHOWN]]
        self._list.clear()
        for entry in self._found:
            self._add(entry)
        self._list.setCurrentRow(0)
        self._place()

    def _add(self, entry: Entry) -> None:
        item = QListWidgetItem(self._list)
        item.setData(Qt.ItemDataRole.AccessibleTextRole, f"{entry.title}, {entry.kind}, {entry.hint}")
        face = QWidget()
        title = label(entry.title)
        title.setEnabled(entry.is_enabled)
        face.setLayout(row(title, None, label(entry.hint, "muted"), label(entry.kind, "muted"), space=3, margin=1))
        face.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        item.setSizeHint(QSize(face.sizeHint().width(), ENTRY_HEIGHT))
        self._list.setItemWidget(item, face)

    def _choose(self) -> None:
        at = self._list.currentRow()
        if 0 <= at < len(self._found) and self._found[at].is_enabled:
            self.dismiss()
            self._found[at].run()

    def _place(self) -> None:
        parent = self.parentWidget()
        if parent is not None:
            size = parent.size()
            rows = max(1, min(len(self._found), MOST_VISIBLE))
            height = rows * ENTRY_HEIGHT + self._field.sizeHint().height() + 3 * theme.SPACE[2] + 4
            self.resize(min(WIDTH, size.width() - 40), min(height, size.height() - 80))
            self.move(QPoint((size.width() - self.width()) // 2, 48))
