"""A line of text in the preset form: a word, a path, the brief form of a source."""

from pathlib import Path
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFileDialog, QGridLayout, QPushButton, QWidget

from workbench import theme
from workbench.state.preset_draft import Change
from workbench.state.preset_edit import scalar_text
from workbench.state.preset_schema import Setting
from workbench.views.labels import label
from workbench.views.preset_entry import PlainEntry, mark_fault

IN_THE_YAML = "edit this in the YAML"


class TextField(QWidget):
    """A line of text; where the setting may be a file or folder, with a button to look for one.

    What a line cannot hold (several lines, several sources, options) is summed up and left to the YAML.
    """

    changed = Signal(object)

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self._setting = setting
        self._inner: str | None = None
        self._edit = PlainEntry(setting.label)
        self._edit.textEdited.connect(self._typed)
        self._edit.finished.connect(self._left)
        parts: list[QWidget] = [self._edit]
        if "file" in setting.help or "folder" in setting.help or setting.kind == "sources":
            browse = QPushButton("Browse…")
            browse.setAccessibleName(f"Browse for {setting.label.lower()}")
            browse.clicked.connect(self._browse)
            parts.append(browse)
        self._summary = label("", "muted", wrap=True)
        self._summary.hide()
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setHorizontalSpacing(theme.SPACE[2])
        layout.setVerticalSpacing(2)
        for column, part in enumerate(parts):
            layout.addWidget(part, 0, column)
        layout.addWidget(self._summary, 1, 0, 1, 2)
        layout.setColumnStretch(0, 1)

    def entry(self) -> QWidget:
        return self._edit

    def show_value(self, value: Any, spelling: str = "") -> None:
        text, rest, can_edit = line_of(self._setting, value)
        self._inner = "path" if isinstance(value, dict) and self._setting.kind == "sources" else None
        self._edit.setReadOnly(not can_edit)
        self._edit.setToolTip("" if can_edit else f"Not one line: {IN_THE_YAML}")
        self._edit.show_text(text)
        self._summary.setText(rest)
        self._summary.setVisible(bool(rest))

    def show_fault(self, has_fault: bool) -> None:
        mark_fault(self._edit, has_fault)

    def _typed(self, text: str) -> None:
        key = (*self._setting.key, self._inner) if self._inner else self._setting.key
        value: Any = text
        if self._setting.kind == "names" and "," in text:
            value = [name.strip() for name in text.split(",") if name.strip()]
        if not text and self._setting.can_be_empty:
            value = None
        self.changed.emit(Change("set", key, value))

    def _left(self, text: str) -> None:
        if not text and not self._setting.required and not self._edit.isReadOnly():
            self.changed.emit(Change("reset", self._setting.key))

    def _browse(self) -> None:
        start = str(Path(self._edit.text() or ".").parent)
        path, _ = QFileDialog.getOpenFileName(self, f"Choose {self._setting.label.lower()}", start)
        if path:
            self._edit.show_text(path)
            self._typed(path)


def line_of(setting: Setting, value: Any) -> tuple[str, str, bool]:
    """A value as a line of text, what else there is to say of it, and whether the line may be edited."""
    if value is None:
        return "", "", True
    if setting.kind == "names" and isinstance(value, list):
        return ", ".join(str(name) for name in value), "", True
    if setting.kind == "sources" and isinstance(value, list):
        paths = [str(item.get("path", "")) if isinstance(item, dict) else str(item) for item in value]
        return ", ".join(paths), f"{len(value)} sources, {IN_THE_YAML}", False
    if setting.kind == "sources" and isinstance(value, dict):
        rest = [f"{name} {_brief(part)}" for name, part in value.items() if name != "path"]
        return str(value.get("path", "")), " · ".join(rest), True
    if isinstance(value, str) and "\n" not in value:
        return value, "", True
    if isinstance(value, str):
        return value.strip().replace("\n", " ⏎ "), "several lines", False
    return scalar_text(value), "", setting.kind == "text"


def _brief(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {scalar_text(part)}" for name, part in value.items())
    return scalar_text(value)
