"""Keys and words completed in the YAML, with their help; what fits is read from the contract's models."""

import re
from collections.abc import Sequence

from PySide6.QtCore import QModelIndex, QObject, Qt
from PySide6.QtGui import QKeyEvent, QStandardItem, QStandardItemModel, QTextCursor
from PySide6.QtWidgets import QCompleter, QListView, QPlainTextEdit

from engine.contract import faults
from engine.contract.faults import Key
from engine.contract.preset import PRESETS
from workbench.state.preset_schema import Setting, sections_of

KEY = re.compile(r"^(?P<indent>[ ]*)(?P<dash>-[ ]+)?(?P<name>[\w.-]+)[ ]*:")
TAKEN = (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Tab, Qt.Key.Key_Escape, Qt.Key.Key_Backtab)
NAME, HELP = Qt.ItemDataRole.UserRole, Qt.ItemDataRole.ToolTipRole


class Completion(QObject):
    """The list under the cursor: opened by Ctrl+Space, narrowed by typing, taken by Enter or Tab."""

    def __init__(self, editor: QPlainTextEdit) -> None:
        super().__init__(editor)
        self._editor = editor
        self._schema: type = next(iter(PRESETS.values()))
        self._words = QStandardItemModel(self)
        self._completer = QCompleter(self._words, self)
        self._list = QListView()
        self._list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._list.setTextElideMode(Qt.TextElideMode.ElideRight)
        self._completer.setPopup(self._list)
        self._completer.setWidget(editor)
        self._completer.setCompletionRole(NAME)
        self._completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self._completer.activated[QModelIndex].connect(self._take)  # type: ignore[index]  # an overload, chosen by type

    def set_schema(self, schema: type) -> None:
        self._schema = schema

    @property
    def words(self) -> list[str]:
        """What the list offers now."""
        return [self._words.item(row).data(NAME) for row in range(self._words.rowCount())]

    @property
    def popup(self) -> QListView:
        return self._list

    def open(self) -> None:
        """Offer what may stand at the cursor; with nothing to offer, nothing opens."""
        cursor = self._editor.textCursor()
        lines = self._editor.toPlainText().split("\n")
        offers = offers_at(lines, cursor.blockNumber(), cursor.positionInBlock(), self._schema)
        self._words.clear()
        for name, help_text in offers:
            item = QStandardItem(f"{name}   {help_text}" if help_text else name)
            item.setData(name, NAME)
            item.setData(help_text, HELP)
            self._words.appendRow(item)
        self._completer.setCompletionPrefix(self._begun())
        if self._completer.completionCount():
            self._show()

    def follow(self) -> None:
        """Narrow the list while it is open."""
        popup = self._list
        if popup.isVisible():
            self._completer.setCompletionPrefix(self._begun())
            if self._completer.completionCount():
                self._show()
            else:
                popup.hide()

    def takes(self, event: QKeyEvent) -> bool:
        """True for the keys that belong to the open list."""
        return self._list.isVisible() and event.key() in TAKEN

    def _show(self) -> None:
        popup = self._list
        area = self._editor.cursorRect()
        area.setWidth(min(460, popup.sizeHintForColumn(0) + popup.verticalScrollBar().sizeHint().width() + 12))
        area.translate(self._editor.viewport().geometry().left(), 0)
        self._completer.complete(area)
        popup.setCurrentIndex(self._completer.completionModel().index(0, 0))

    def _begun(self) -> str:
        cursor = self._editor.textCursor()
        before = cursor.block().text()[: cursor.positionInBlock()]
        found = re.search(r"[\w.-]*$", before)
        return found[0] if found else ""

    def _take(self, index: QModelIndex) -> None:
        name = str(index.data(NAME))
        cursor = self._editor.textCursor()
        for _ in self._begun():
            cursor.deletePreviousChar()
        is_key = ":" not in cursor.block().text()[: cursor.positionInBlock()]
        rest = cursor.block().text()[cursor.positionInBlock() :].lstrip()
        cursor.insertText(f"{name}: " if is_key and not rest.startswith(":") else name)
        cursor.movePosition(QTextCursor.MoveOperation.NoMove)
        self._editor.setTextCursor(cursor)


def offers_at(lines: Sequence[str], row: int, column: int, schema: type) -> list[tuple[str, str]]:
    """What may stand there, with its help: keys that the section lacks, or the words of a choice after its key."""
    line = lines[row]
    found = KEY.match(line)
    if found and column > found.end():
        setting = _setting(schema, (*path_at(lines, row), found["name"]))
        return [(word, "") for word in _words_of(setting)]
    path = path_at(lines, row)
    present = {match["name"] for i, match in _siblings(lines, row) if i != row}
    names = [name for name in faults.settings_at(schema, path) if name not in present]
    return [(name, _help(schema, (*path, name))) for name in names]


def path_at(lines: Sequence[str], row: int) -> Key:
    """The keys of the sections around a line, by indentation; the items of a list have no name."""
    path: list[str | int] = []
    depth = _depth(lines[row])
    for line in reversed(lines[:row]):
        match = KEY.match(line)
        if match and len(match["indent"]) < depth and not match["dash"]:
            path.insert(0, match["name"])
            depth = len(match["indent"])
        if depth == 0:
            break
    return tuple(path)


def _depth(line: str) -> int:
    match = KEY.match(line)
    if match and match["dash"]:
        return len(match["indent"]) + len(match["dash"])
    return len(line) - len(line.lstrip(" "))


def _siblings(lines: Sequence[str], row: int) -> list[tuple[int, re.Match[str]]]:
    path, depth = path_at(lines, row), _depth(lines[row])
    matches = [(i, match) for i, line in enumerate(lines) if (match := KEY.match(line)) and _depth(line) == depth]
    return [(i, match) for i, match in matches if path_at(lines, i) == path]


def _setting(schema: type, key: Key) -> Setting | None:
    settings = [setting for section in sections_of(schema) for setting in section.settings]
    return next((setting for setting in settings if setting.key == key), None)


def _words_of(setting: Setting | None) -> Sequence[str]:
    if setting is None:
        return ()
    if setting.key == ("method",):
        return tuple(PRESETS)
    return ("true", "false") if setting.kind == "flag" else setting.choices


def _help(schema: type, key: Key) -> str:
    field = faults.field_at(schema, key)
    return (field.description or "") if field is not None else ""
