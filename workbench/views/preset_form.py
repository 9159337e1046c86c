"""The form of a preset, made from the contract's models: sections that open on the few settings that matter."""

from collections.abc import Iterable

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QCheckBox, QFrame, QHBoxLayout, QPushButton, QScrollArea, QVBoxLayout, QWidget

from engine.contract.faults import Fault, Key
from engine.contract.preset import PRESETS
from workbench import theme
from workbench.state.preset_draft import Change, PresetDraft
from workbench.state.preset_schema import Section, Setting
from workbench.theme import Theme
from workbench.views.labels import Elided, label, tip
from workbench.views.preset_row import WIDE, SettingRow

METHODS = tuple(PRESETS)


class SectionGroup(QWidget):
    """A heading, the settings that matter, and the rest behind "more". An optional section has a box that adds it."""

    changed = Signal(object)

    def __init__(self, section: Section, *, is_inner: bool) -> None:
        super().__init__()
        self.section = section
        self.rows = [SettingRow(setting, METHODS) for setting in section.settings]
        self._is_open = False
        self._kept: set[Key] = set()
        self._theme = theme.LIGHT
        self._title = label(section.title, "strong" if is_inner else "title")
        self._switch = QCheckBox()
        self._more = QPushButton()
        self._build(is_inner)

    def show_draft(self, draft: PresetDraft, *, flash: bool = False) -> None:
        switch = self.section.switch
        is_on = draft.is_section_on(self.section)
        if switch is not None:
            self._show_switch(draft, switch, is_on)
        for row in self.rows:
            row.show_draft(draft, flash=flash)
            if row.setting.is_main or row.has_fault() or draft.differs_from_default(row.setting):
                self._kept.add(row.setting.key)
        self._disclose(is_on)

    @property
    def switch_box(self) -> QCheckBox:
        return self._switch

    def forget_shown(self) -> None:
        """Another preset begins with the settings that matter and those that it changes."""
        self._kept = set()

    def set_open(self, is_open: bool) -> None:
        self._is_open = is_open
        self._disclose(self.section.switch is None or self._switch.isChecked())

    def reveal(self, key: Key) -> None:
        self._kept.add(key)
        self._disclose(self.section.switch is None or self._switch.isChecked())

    def apply_theme(self, colours: Theme) -> None:
        self._theme = colours
        for row in self.rows:
            row.apply_theme(colours)
        self._show_more_icon()

    def _build(self, is_inner: bool) -> None:
        self._more.setIconSize(QSize(12, 12))
        self._more.setCheckable(True)
        theme.set_role(self._more, "more")
        self._more.clicked.connect(self.set_open)
        self._switch.setAccessibleName(self.section.title)
        self._switch.clicked.connect(lambda on: self.changed.emit(Change("switch", self.section.key, on)))
        head = QHBoxLayout()
        head.setContentsMargins(theme.SPACE[1] + 22, 0, theme.SPACE[1], 0)
        head.addWidget(self._title)
        if self.section.switch is not None:
            head.addSpacing(theme.SPACE[2])
            head.addWidget(self._switch)
            self._title.setBuddy(self._switch)
            about = Elided("muted", Qt.TextElideMode.ElideRight)
            about.set_full_text(self.section.switch.help)
            head.addWidget(about)
        else:
            self._switch.hide()
        head.addStretch(1)
        head.addWidget(self._more)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, theme.SPACE[1 if is_inner else 3], 0, 0)
        layout.setSpacing(0)
        layout.addLayout(head)
        for row in self.rows:
            row.changed.connect(self.changed)
            layout.addWidget(row)

    def _show_switch(self, draft: PresetDraft, switch: Setting, is_on: bool) -> None:
        unmet = draft.unmet_need(switch)
        self._switch.setChecked(is_on)
        # Off can always be reached: a section that has no effect any more may be taken out.
        self._switch.setEnabled(not unmet or is_on)
        self._switch.setToolTip(tip(unmet))
        self._title.setToolTip(tip(f"{switch.dotted}\n{switch.help}" + (f"\n{unmet}" if unmet else "")))
        self.setVisible(switch.is_main or is_on or not unmet)

    def _disclose(self, is_on: bool) -> None:
        hidden = 0
        for row in self.rows:
            is_shown = is_on and (self._is_open or row.setting.key in self._kept)
            row.setVisible(is_shown)
            hidden += not is_shown
        # The method and the list of rewards have nothing more; neither has a section that is not there.
        self._more.setVisible(is_on and (hidden > 0 or self._is_open) and len(self.rows) > 1)
        self._more.setText("Fewer" if self._is_open else f"{hidden} more")
        self._more.setChecked(self._is_open)
        self._more.setAccessibleName(f"{self.section.title}: {self._more.text()}")
        self._show_more_icon()

    def _show_more_icon(self) -> None:
        name = "chevron-down" if self._is_open else "chevron-right"
        self._more.setIcon(theme.icon(name, self._theme.colour("muted"), 12))


class PresetForm(QScrollArea):
    """All sections of the draft's method. `changed` carries a Change."""

    changed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._theme = theme.LIGHT
        self._schema: type | None = None
        self._is_wide = False
        self.groups: list[SectionGroup] = []

    def show_draft(self, draft: PresetDraft, *, flash: bool = False) -> None:
        """Follow the draft. flash: light up the settings whose value changed."""
        if draft.schema is not self._schema:
            self._rebuild(draft)
        for group in self.groups:
            group.show_draft(draft, flash=flash)
        body = self.widget()
        if body is not None:
            body.setEnabled(draft.is_readable)

    def forget_shown(self) -> None:
        for group in self.groups:
            group.forget_shown()

    def rows(self) -> Iterable[SettingRow]:
        return (row for group in self.groups for row in group.rows)

    def row_at(self, key: Key) -> SettingRow | None:
        """The row of a key, or of what it lies within."""
        fitting = [row for row in self.rows() if key[: len(row.setting.key)] == row.setting.key]
        return max(fitting, key=lambda row: len(row.setting.key), default=None)

    def go_to(self, fault: Fault) -> bool:
        """Bring the field of a fault into view and put the focus in it; False if the form has none."""
        row = self.row_at(fault.key) if fault.key else None
        if row is None:
            return False
        group = next(group for group in self.groups if row in group.rows)
        group.reveal(row.setting.key)
        self.ensureWidgetVisible(row, 0, 48)
        row.entry().setFocus(Qt.FocusReason.ShortcutFocusReason)
        row.flash()
        return True

    def apply_theme(self, colours: Theme) -> None:
        self._theme = colours
        for group in self.groups:
            group.apply_theme(colours)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        is_wide = self.viewport().width() >= WIDE
        if is_wide != self._is_wide:
            self._is_wide = is_wide
            for row in self.rows():
                row.set_wide(is_wide)

    def _rebuild(self, draft: PresetDraft) -> None:
        self._schema = draft.schema
        body = QWidget()
        theme.set_role(body, "scrolled")
        layout = QVBoxLayout(body)
        layout.setContentsMargins(theme.SPACE[1], 0, theme.SPACE[3], theme.SPACE[4])
        layout.setSpacing(0)
        self.groups = []
        for section in draft.sections():
            group = SectionGroup(section, is_inner=len(section.key) > 1)
            group.changed.connect(self.changed)
            group.apply_theme(self._theme)
            self.groups.append(group)
            layout.addWidget(group)
        for row in self.rows():
            row.set_wide(self._is_wide)
        layout.addStretch(1)
        self.setWidget(body)
