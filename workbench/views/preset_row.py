"""One setting of the preset form: label, control, unit, help, its faults, and a dot where it is not the default."""

from typing import Any

from PySide6.QtCore import QEasingCurve, QSize, Qt, QVariantAnimation, Signal
from PySide6.QtGui import QColor, QIcon, QPainter, QPaintEvent, QPixmap
from PySide6.QtWidgets import QGridLayout, QLabel, QStyle, QToolButton, QWidget

from engine.contract.faults import Fault
from workbench import theme
from workbench.state.preset_draft import Change, Draft
from workbench.state.preset_edit import scalar_text
from workbench.state.preset_schema import Setting
from workbench.theme import Theme
from workbench.views.labels import label, tip
from workbench.views.preset_fields import Control, control_for
from workbench.views.preset_rewards import ItemsField

LABEL_WIDTH = 164
DOT = 14
#: Height of a control of one line.
LINE = 28
#: From this width on the help stands beside the control instead of under it.
WIDE = 700
CONTROL_WIDTH = 340


class SettingRow(QWidget):
    """Shows one setting of a draft. `changed` carries a Change."""

    changed = Signal(object)

    def __init__(self, setting: Setting, methods: tuple[str, ...]) -> None:
        super().__init__()
        self.setting = setting
        self._theme = theme.LIGHT
        self._shown: Any = None
        self._glow = 0.0
        self._fade = QVariantAnimation(self)
        self._name = label(setting.label)
        self._help = label(setting.help, "muted", wrap=True)
        self._fault = label("", "fault", wrap=True, selectable=True)
        self._fault_mark = QLabel()
        self._dot = QToolButton()
        is_items = setting.kind == "items"
        self._control: Control = ItemsField(setting) if is_items else control_for(setting, methods)
        self._control.changed.connect(self.changed)
        self._build()

    # ------------------------------------------------------------------------------------------- what it shows

    def show_draft(self, draft: Draft, *, flash: bool = False) -> None:
        """Follow the draft; costs next to nothing where nothing of this setting changed. flash: light up if so."""
        value, faults = draft.value(self.setting), draft.faults_at(self.setting)
        differs, unmet = draft.differs_from_default(self.setting), draft.unmet_need(self.setting)
        spelling = draft.spelling(self.setting)
        shown = (repr(value), faults, differs, unmet, spelling)
        if shown == self._shown:
            return
        if flash and self._shown is not None and self._shown[0] != shown[0]:
            self.flash()
        self._shown = shown
        self._control.show_value(value, spelling)
        self._show_faults(faults)
        self._dot.setEnabled(differs)
        self._dot.setIcon(self._dot_icon(differs))
        default = scalar_text(self.setting.default) if self.setting.default is not None else "empty"
        self._dot.setToolTip(f"Not the default; click for {default}" if differs else "")
        self._dot.setAccessibleName(f"Reset {self.setting.label.lower()} to {default}" if differs else "")
        self._allow(unmet)

    def has_fault(self) -> bool:
        return bool(self._shown and self._shown[1])

    def entry(self) -> QWidget:
        return self._control.entry()

    @property
    def reset_dot(self) -> QToolButton:
        return self._dot

    @property
    def fault_text(self) -> str:
        return self._fault.text()

    def set_wide(self, is_wide: bool) -> None:
        """Put the help beside the control where there is room, which halves the height of the form."""
        layout = self.layout()
        if not isinstance(layout, QGridLayout) or self.setting.kind == "items":
            return
        layout.removeWidget(self._help)
        control = self.entry_widget()
        control.setMaximumWidth(CONTROL_WIDTH if is_wide else 16_777_215)
        layout.setColumnMinimumWidth(2, CONTROL_WIDTH if is_wide else 0)
        layout.setColumnStretch(2, 0 if is_wide else 1)
        layout.setColumnStretch(3, 1 if is_wide else 0)
        self._help.setContentsMargins(theme.SPACE[3] if is_wide else 0, 0, 0, 0)
        if is_wide:
            layout.addWidget(self._help, 0, 3, Qt.AlignmentFlag.AlignVCenter)
        else:
            layout.addWidget(self._help, 1, 2, 1, 2)

    def entry_widget(self) -> QWidget:
        assert isinstance(self._control, QWidget)  # noqa: S101  every control is one; a protocol cannot say so
        return self._control

    def flash(self) -> None:
        """Light up for a moment: the other side changed this."""
        if self.style().styleHint(QStyle.StyleHint.SH_Widget_Animation_Duration, None, self) <= 0:
            return
        self._fade.stop()
        self._fade.start()

    def apply_theme(self, colours: Theme) -> None:
        self._theme = colours
        self._dot.setIcon(self._dot_icon(self._dot.isEnabled()))
        self._fault_mark.setPixmap(theme.pixmap("warning", colours.colour("failed"), 12, self.devicePixelRatioF()))
        if isinstance(self._control, ItemsField):
            self._control.apply_theme(colours)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        if self._glow > 0:
            painter = QPainter(self)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(Qt.PenStyle.NoPen)
            share = 0.22 * self._glow
            painter.setBrush(QColor(theme.mixed(self._theme.accent, self._theme.surface, share)))
            painter.drawRoundedRect(self.rect(), theme.CORNER, theme.CORNER)
        super().paintEvent(event)

    # -------------------------------------------------------------------------------------------------- within

    def _build(self) -> None:
        setting = self.setting
        self._name.setToolTip(tip(f"{setting.dotted}\n{setting.help}{_bounds_text(setting)}"))
        self._name.setBuddy(self._control.entry())
        self._help.setBuddy(self._control.entry())
        self._dot.setFixedSize(QSize(DOT + 4, LINE))
        self._dot.setEnabled(False)
        theme.set_role(self._dot, "dot")
        self._dot.clicked.connect(lambda: self.changed.emit(Change("reset", setting.key)))
        for part in (self._fault, self._fault_mark):
            part.hide()
        self._fade.setStartValue(1.0)
        self._fade.setEndValue(0.0)
        self._fade.setDuration(theme.FADE_MS)
        self._fade.setEasingCurve(QEasingCurve.Type.InQuad)
        self._fade.valueChanged.connect(self._set_glow)
        self._lay_out()

    def _lay_out(self) -> None:
        layout = QGridLayout(self)
        layout.setContentsMargins(theme.SPACE[1], theme.SPACE[1], theme.SPACE[1], theme.SPACE[1])
        layout.setHorizontalSpacing(theme.SPACE[1])
        layout.setVerticalSpacing(2)
        # On the control's first line, also where a second one says more of the value.
        top = Qt.AlignmentFlag.AlignTop
        layout.addWidget(self._dot, 0, 0, top)
        if self.setting.kind == "items":
            # Its section's heading says its name already; the rows need the room.
            self._name.setParent(self)  # the caption of nothing, as the items name themselves
            self._name.hide()
            layout.addWidget(self._help, 0, 1, 1, 3)
            layout.addWidget(self.entry_widget(), 1, 1, 1, 3)
        else:
            self._name.setMinimumHeight(LINE)
            layout.addWidget(self._name, 0, 1, top)
            layout.addWidget(self.entry_widget(), 0, 2)
            layout.addWidget(self._help, 1, 2, 1, 2)
        self._help.setVisible(bool(self.setting.help))
        layout.addWidget(self._fault_mark, 2, 1, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignTop)
        layout.addWidget(self._fault, 2, 2, 1, 2)
        layout.setColumnMinimumWidth(1, LABEL_WIDTH)
        layout.setColumnStretch(2, 1)

    def _set_glow(self, share: float) -> None:
        self._glow = share
        self.update()

    def _show_faults(self, faults: list[Fault]) -> None:
        self._fault.setText("\n".join(told(fault, self.setting) for fault in faults))
        self._fault.setVisible(bool(faults))
        self._fault_mark.setVisible(bool(faults))
        self._control.show_fault(bool(faults))

    def _allow(self, unmet: str) -> None:
        self.entry_widget().setEnabled(not unmet)
        self._name.setEnabled(not unmet)
        self.entry_widget().setToolTip(tip(unmet))

    def _dot_icon(self, differs: bool) -> QIcon:
        if not differs:
            return QIcon()
        scale = self.devicePixelRatioF()
        drawn = QPixmap(QSize(DOT, DOT) * scale)
        drawn.setDevicePixelRatio(scale)
        drawn.fill(Qt.GlobalColor.transparent)
        painter = QPainter(drawn)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._theme.colour("accent"))
        painter.drawEllipse(4, 4, 6, 6)
        painter.end()
        return QIcon(drawn)


def told(fault: Fault, setting: Setting) -> str:
    """The fault in a sentence; a remedy that only repeats the help above it is left out."""
    inner = fault.key[len(setting.key) :]
    place = ".".join(str(part + 1) if isinstance(part, int) else part for part in inner)
    given = f" (got {fault.given})" if fault.given else ""
    remedy = f"; {fault.remedy}" if fault.remedy and fault.remedy != setting.help else ""
    remedy = "" if setting.help and setting.help in fault.remedy else remedy
    sentence = f"{place} {fault.problem}{given}{remedy}".strip()
    return sentence[:1].upper() + sentence[1:]


def _bounds_text(setting: Setting) -> str:
    unit = f"\nin {setting.unit}" if setting.unit else ""
    bounds = f"\n{setting.bounds}" if str(setting.bounds) else ""
    return bounds + unit
