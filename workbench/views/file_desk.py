"""A form of one section with its preview: what import and export have in common."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pydantic import BaseModel
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QWidget

from engine.contract.faults import Fault, Key
from engine.contract.labels_plan import FilePlan
from workbench.state.form_draft import FormDraft
from workbench.state.items_words import said_of_file
from workbench.state.preset_draft import Change
from workbench.state.preset_schema import Section, settings_of
from workbench.theme import Theme
from workbench.views.desk import Desk
from workbench.views.labels import column
from workbench.views.preset_entry import leave_fields
from workbench.views.preset_form import SectionGroup
from workbench.views.preset_row import WIDE

LOOKING = "Reading …"


class FileDesk(QWidget):
    """look_wanted, wanted: the form as an instance of its model, once nothing is wrong with it. edited: the key of a
    field that a person changed."""

    left = Signal()
    look_wanted = Signal(object)
    wanted = Signal(object)
    edited = Signal(object)

    def __init__(self, model: type[BaseModel], desk: Desk, usual: Key) -> None:
        """usual: the field at which a fault of no field is told."""
        super().__init__()
        self._model = model
        self._usual = usual
        self._wants_it = False
        self._fault_at = -1
        self.desk = desk
        self.draft = FormDraft(model, {})
        settings = tuple(replace(setting, is_main=True) for setting in settings_of(model))
        self.group = SectionGroup(Section((), settings, heading=" "), is_inner=True)
        self.body = column(self.group, space=1)
        self.body.setContentsMargins(4, 0, 12, 0)
        self.body.addStretch(1)
        desk.body.setLayout(self.body)
        self.setLayout(column(desk))
        self.setFocusProxy(self.group)
        self._connect()

    def begin(self, values: dict[str, Any]) -> None:
        self.draft = FormDraft(self._model, values)
        self._wants_it = False
        self.desk.table.show_rows([])
        self.desk.about.setText("")
        self.desk.say("")
        self.follow()
        self.setFocusProxy(self.group.rows[0].entry())
        self.desk.touch()

    def set(self, key: Key, value: Any) -> None:
        """Enter something for the person."""
        self.draft.apply(Change("set", key, value))
        self.changed()

    def press(self) -> None:
        """Do it, once the engine has looked; all that is wrong is told first."""
        leave_fields(self)
        self.draft.is_pressed = True
        self.desk.hold()
        self._wants_it = True
        self.follow()
        self._look()
        if not self.draft.is_whole:
            self._wants_it = False
            self.go_to_next_fault()

    def show_plan(self, plan: FilePlan) -> None:
        self.desk.table.show_rows(plan.first)
        self.desk.about.setText(said_of_file(plan))
        self.desk.say("Nothing is written yet" if not self._wants_it else "")
        self.follow()
        if self._wants_it and self.draft.is_whole:
            self._wants_it = False
            self.wanted.emit(self._model.model_validate(self.draft.values))

    def show_faults(self, faults: list[Fault]) -> None:
        """What the engine refused; the preview of what was wrong goes."""
        self._wants_it = False
        self.draft.tell([replace(fault, key=self._key_of(fault)) for fault in faults])
        self.desk.table.show_rows([])
        self.desk.about.setText("")
        self.desk.say("Nothing was written")
        self.follow()

    def show_failure(self, message: str) -> None:
        self._wants_it = False
        self.desk.say(message)

    def follow(self) -> None:
        self.group.show_draft(self.draft)
        self.desk.show_faults(self.draft.faults)

    def changed(self) -> None:
        self._wants_it = False
        self._fault_at = -1
        self.follow()
        self.desk.touch()

    def go_to_next_fault(self) -> None:
        faults = self.draft.faults
        if faults:
            self._fault_at = (self._fault_at + 1) % len(faults)
            setting = next((s for s in self.group.section.settings if s.key == faults[self._fault_at].key[:1]), None)
            if setting is not None:
                self.group.reveal(setting).entry().setFocus(Qt.FocusReason.ShortcutFocusReason)

    def set_theme(self, colours: Theme) -> None:
        self.desk.set_theme(colours)
        self.group.apply_theme(colours)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.group.set_wide(self.desk.form_width >= WIDE)

    def _connect(self) -> None:
        self.desk.left.connect(self.left)
        self.desk.wanted.connect(self.press)
        self.desk.rested.connect(self._look)
        self.desk.next_fault.connect(self.go_to_next_fault)
        self.group.changed.connect(self._apply)

    def _apply(self, change: Change) -> None:
        self.draft.apply(change)
        self.edited.emit(change.key)
        self.changed()

    def _look(self) -> None:
        if self.draft.is_whole:
            self.desk.say(LOOKING)
            self.look_wanted.emit(self._model.model_validate(self.draft.values))

    def _key_of(self, fault: Fault) -> Key:
        """The field that a fault of the command line belongs to: `--held-out` is held_out."""
        name = str(fault.key[0]).lstrip("-").replace("-", "_") if fault.key else ""
        return (name,) if name in self._model.model_fields else self._usual


def joined(io_signal: Any, desk: str, do: Callable[[Any], None]) -> None:
    """Hear what the engine says to one of the desks."""
    io_signal.connect(lambda which, told: do(told) if which == desk else None)
