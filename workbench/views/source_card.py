"""One source of a new labelling set: its files or run, and the models that write, each with its settings."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QMenu, QPushButton, QToolButton, QVBoxLayout, QWidget

from engine.contract.faults import Key
from workbench import theme
from workbench.io.label_desk import Model
from workbench.state.form_draft import FormDraft
from workbench.state.new_set import BY_MODELS, SOURCES, part_section, writer_section, writers_of
from workbench.state.preset_draft import Change
from workbench.theme import Theme
from workbench.views.labels import column, label, row
from workbench.views.preset_form import SectionGroup
from workbench.views.preset_row import SettingRow

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class SourceCard(QFrame):
    """changed: a Change. writer_added, removed: as pressed. writer_removed: its number from 0."""

    changed = Signal(object)
    writer_added = Signal()
    writer_removed = Signal(int)
    removed = Signal()

    def __init__(self, draft: FormDraft, number: int) -> None:
        super().__init__()
        self._number = number
        self._kind = draft.values["parts"][number]["kind"]
        title, purpose = SOURCES[self._kind]
        self._models: Sequence[Model] = ()
        section = replace(part_section(draft, number), heading=f"{number + 1}   {title}")
        self.source = SectionGroup(section, is_inner=False)
        self.writers = [self._writer(draft, number, writer) for writer in range(writers_of(draft, number))]
        self._groups = [self.source, *self.writers]
        self._choosers: list[QToolButton] = []
        for group in self._groups:
            group.changed.connect(self.changed)
        self._lay_out(purpose)

    @property
    def shape(self) -> tuple[str, int]:
        """What it was built for; a draft of another shape needs another card."""
        return self._kind, len(self.writers)

    def show_draft(self, draft: FormDraft) -> None:
        for group in self._groups:
            group.show_draft(draft)

    def row_at(self, key: Key) -> SettingRow | None:
        """The row of a key, or of what it lies within, shown."""
        for group in reversed(self._groups):
            for setting in group.section.settings:
                if key[: len(setting.key)] == setting.key:
                    return group.reveal(setting)
        return self.source.reveal(self.source.section.settings[0]) if key[:2] == ("parts", self._number) else None

    def set_models(self, models: Sequence[Model]) -> None:
        """What the choosers offer beside a file or an id that is typed."""
        for chooser in self._choosers:
            menu = chooser.menu()
            menu.clear()
            for model in models:
                menu.addAction(model.title).setData(model.path)
            chooser.setEnabled(bool(models))
            chooser.setToolTip("" if models else "No run of this workspace has a model yet")

    def set_wide(self, is_wide: bool) -> None:
        for group in self._groups:
            group.set_wide(is_wide)

    def set_theme(self, colours: Theme) -> None:
        for group in self._groups:
            group.apply_theme(colours)

    def _writer(self, draft: FormDraft, number: int, writer: int) -> SectionGroup:
        letter = LETTERS[writer] if writer < len(LETTERS) else str(writer + 1)
        return SectionGroup(replace(writer_section(draft, number, writer), heading=f"Model {letter}"), is_inner=True)

    def _lay_out(self, purpose: str) -> None:
        layout = column(self.source, space=1)
        layout.setContentsMargins(0, 0, 0, theme.SPACE[2])
        about = label(purpose[:1].upper() + purpose[1:], "muted", wrap=True)
        about.setContentsMargins(26, 0, theme.SPACE[2], 0)
        layout.insertWidget(0, self._rule())
        self._say_under_heading(about)
        for at, group in enumerate(self.writers):
            layout.addWidget(group)
            layout.addLayout(self._under_writer(at))
        add = QPushButton("Add a model")
        add.clicked.connect(self.writer_added)
        add.setVisible(self._kind in BY_MODELS)
        remove = QPushButton("Remove this source")
        theme.set_role(remove, "quiet")
        remove.clicked.connect(self.removed)
        below = row(add, None, remove)
        if self._kind == "rollouts":
            below.insertWidget(0, self._chooser("Choose a run", ("parts", self._number, "run")))
        below.setContentsMargins(26, theme.SPACE[1], theme.SPACE[2], 0)
        layout.addLayout(below)
        self.setLayout(layout)

    def _say_under_heading(self, about: QWidget) -> None:
        inner = self.source.layout()
        if isinstance(inner, QVBoxLayout):
            inner.insertWidget(1, about)

    def _rule(self) -> QFrame:
        rule = QFrame()
        theme.set_role(rule, "rule")
        return rule

    def _under_writer(self, at: int) -> QVBoxLayout:
        chooser = self._chooser("Choose a run's model", ("parts", self._number, BY_MODELS[self._kind][0], at, "model"))
        remove = QPushButton("Remove this model")
        theme.set_role(remove, "quiet")
        remove.setVisible(len(self.writers) > 1)
        remove.clicked.connect(partial(self.writer_removed.emit, at))
        buttons = column(space=0)
        line = row(chooser, None, remove)
        line.setContentsMargins(26, 0, theme.SPACE[2], theme.SPACE[1])
        buttons.addLayout(line)
        return buttons

    def _chooser(self, title: str, key: Key) -> QToolButton:
        chooser = QToolButton()
        chooser.setText(title)
        chooser.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(chooser)
        menu.triggered.connect(lambda action: self.changed.emit(Change("set", key, action.data())))
        chooser.setMenu(menu)
        self._choosers.append(chooser)
        return chooser
