"""The form of a preset, made from the contract's models: sections that open on the few settings that matter."""

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QCheckBox, QFrame, QHBoxLayout, QPushButton, QScrollArea, QVBoxLayout, QWidget

from engine.contract.faults import Fault, Key
from engine.contract.preset import PRESETS
from workbench import theme
from workbench.state.preset_draft import Change, Draft, PresetDraft
from workbench.state.preset_schema import Section, Setting
from workbench.theme import Theme
from workbench.views.labels import Elided, label, tip
from workbench.views.preset_row import WIDE, SettingRow

METHODS = tuple(PRESETS)


class SectionGroup(QWidget):
    """A heading, the settings that matter, and the rest behind "more". An optional section has a box that adds it.

    A row is built when it is first shown: a method has fifty settings, and most stay closed.
    """

    changed = Signal(object)

    def __init__(self, section: Section, *, is_inner: bool) -> None:
        super().__init__()
        self.section = section
        self._rows: dict[Key, SettingRow] = {}
        self._draft: Draft | None = None
        self._is_open = self._is_wide = False
        self._kept: set[Key] = set()
        self._theme = theme.LIGHT
        self._title = label(section.title, "strong" if is_inner else "title")
        self._switch = QCheckBox(self)
        self._switch.setVisible(section.switch is not None)
        self._more = QPushButton()
        self._build(is_inner)

    @property
    def rows(self) -> list[SettingRow]:
        """The rows built so far, in the order of the section."""
        return [self._rows[setting.key] for setting in self.section.settings if setting.key in self._rows]

    @property
    def switch_box(self) -> QCheckBox:
        return self._switch

    def show_draft(self, draft: Draft, *, flash: bool = False) -> None:
        self._draft = draft
        if self.section.switch is not None:
            self._show_switch(draft, self.section.switch, draft.is_section_on(self.section))
        if self.section.within is not None:
            self.setVisible(isinstance(draft.value(self.section.within), dict))
        for row in self.rows:
            row.show_draft(draft, flash=flash)
        for setting in self.section.settings:
            if setting.is_main or draft.differs_from_default(setting) or draft.faults_at(setting):
                self._kept.add(setting.key)
        self._disclose()

    def forget_shown(self) -> None:
        """Another preset begins with the settings that matter and those that it changes."""
        self._kept = set()

    def set_open(self, is_open: bool) -> None:
        self._is_open = is_open
        self._disclose()

    def reveal(self, setting: Setting) -> SettingRow:
        """The row of a setting, shown."""
        self._kept.add(setting.key)
        self._disclose()
        return self._row(setting)

    def set_wide(self, is_wide: bool) -> None:
        self._is_wide = is_wide
        for row in self.rows:
            row.set_wide(is_wide)

    def apply_theme(self, colours: Theme) -> None:
        self._theme = colours
        for row in self.rows:
            row.apply_theme(colours)
        self._show_more_icon()

    def _row(self, setting: Setting) -> SettingRow:
        if setting.key not in self._rows:
            row = self._rows[setting.key] = SettingRow(setting, METHODS)
            row.apply_theme(self._theme)
            row.set_wide(self._is_wide)
            row.changed.connect(self.changed)
            if self._draft is not None:
                row.show_draft(self._draft)
            self._body.insertWidget(self.rows.index(row), row)
        return self._rows[setting.key]

    def _build(self, is_inner: bool) -> None:
        self._more.setIconSize(QSize(12, 12))
        self._more.setCheckable(True)
        theme.set_role(self._more, "more")
        self._more.clicked.connect(self.set_open)
        self._switch.setAccessibleName(self.section.title)
        self._switch.clicked.connect(lambda on: self.changed.emit(Change("switch", self.section.key, on)))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, theme.SPACE[1 if is_inner else 3], 0, 0)
        layout.setSpacing(0)
        layout.addLayout(self._head())
        self._body = QVBoxLayout()
        self._body.setSpacing(0)
        layout.addLayout(self._body)

    def _head(self) -> QHBoxLayout:
        head = QHBoxLayout()
        head.setContentsMargins(theme.SPACE[1] + 22, 0, theme.SPACE[1], 0)
        head.addWidget(self._title)
        if self.section.switch is None:
            self._switch.hide()
        else:
            about = Elided("muted", Qt.TextElideMode.ElideRight)
            about.set_full_text(self.section.switch.help)
            self._title.setBuddy(self._switch)
            head.addSpacing(theme.SPACE[2])
            head.addWidget(self._switch)
            head.addWidget(about)
        head.addStretch(1)
        head.addWidget(self._more)
        return head

    def _show_switch(self, draft: Draft, switch: Setting, is_on: bool) -> None:
        unmet = draft.unmet_need(switch)
        self._switch.setChecked(is_on)
        # Off can always be reached: a section that has no effect any more may be taken out.
        self._switch.setEnabled(not unmet or is_on)
        self._switch.setToolTip(tip(unmet))
        self._title.setToolTip(tip(f"{switch.dotted}\n{switch.help}" + (f"\n{unmet}" if unmet else "")))
        self.setVisible(switch.is_main or is_on or not unmet)

    def _disclose(self) -> None:
        is_on = self.section.switch is None or self._switch.isChecked()
        shown = [s for s in self.section.settings if is_on and (self._is_open or s.key in self._kept)]
        for row in [*self.rows, *(self._row(setting) for setting in shown)]:
            row.setVisible(row.setting in shown)
        hidden = len(self.section.settings) - len(shown)
        # What has one setting has nothing more; neither has a section that is not there.
        self._more.setVisible(is_on and (hidden > 0 or self._is_open) and len(self.section.settings) > 1)
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

    def row_at(self, key: Key) -> SettingRow | None:
        """The row of a key, or of what it lies within, shown."""
        found = [
            (setting, group)
            for group in self.groups
            for setting in group.section.settings
            if key[: len(setting.key)] == setting.key
        ]
        if not found:
            return None
        setting, group = max(found, key=lambda pair: len(pair[0].key))
        return group.reveal(setting)

    def go_to(self, fault: Fault) -> bool:
        """Bring the field of a fault into view and put the focus in it; False if the form has none."""
        row = self.row_at(fault.key) if fault.key else None
        if row is None:
            return False
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
            for group in self.groups:
                group.set_wide(is_wide)

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
            group.set_wide(self._is_wide)
            self.groups.append(group)
            layout.addWidget(group)
        layout.addStretch(1)
        self.setWidget(body)
