"""The preset page: the shelf, the form and the YAML of one preset, each following the other."""

from pathlib import Path

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QHideEvent, QKeyEvent, QKeySequence, QTextCursor
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QSplitter, QVBoxLayout, QWidget

from engine.contract.faults import Fault
from engine.contract.findings import Report
from workbench import theme
from workbench.io.workspace import own_presets
from workbench.state.preset_draft import LARGEST_FILE, CannotEditError, Change, PresetDraft, Unsaved
from workbench.theme import Theme
from workbench.views.labels import Elided, card, label
from workbench.views.preset_bar import PresetBar
from workbench.views.preset_entry import leave_fields
from workbench.views.preset_form import PresetForm
from workbench.views.preset_report import PresetReport
from workbench.views.preset_shelf import PresetShelf, cards
from workbench.views.preset_style import page_style
from workbench.views.preset_text import PresetText

#: The form follows the text once typing rests this long.
REST_MS = 150
SHELF, FORM, TEXT = 200, 520, 460


class PresetPage(QWidget):
    """Edits presets and says what is wanted of them; it writes no file and starts no run.

    run_requested, check_requested, deep_check_requested: (text, path it came from or None).
    save_requested: (text, path to save to).
    draft_changed: there may be something new to autosave; `unsaved()` is what.
    """

    run_requested = Signal(str, object)
    check_requested = Signal(str, object)
    deep_check_requested = Signal(str, object)
    save_requested = Signal(str, object)
    draft_changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._mine = Path()
        self._draft = PresetDraft()
        self._drafts: dict[Path, PresetDraft] = {}
        self._saving: dict[Path, PresetDraft] = {}
        self._fault_at = -1
        self._colours = theme.LIGHT
        self._name = Elided("page-title")
        self._method = label("", "muted")
        self._edited = label("edited", "muted")
        self._place = Elided("muted")
        self._save = QPushButton("Save")
        self._told = label("", "fault", wrap=True, selectable=True)
        self.shelf, self.form, self.text, self.bar = PresetShelf(), PresetForm(), PresetText(), PresetBar()
        self.report = PresetReport()
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(REST_MS)
        self._lay_out()
        self._connect()
        self.setFocusProxy(self.shelf)
        self.apply_theme(theme.LIGHT)

    # -------------------------------------------------------------------------------------------- what it opens

    def set_workspace(self, path: Path) -> None:
        """The person's own presets are those in `path`/presets. Opens the first of the shelf if none is open."""
        self._mine = path / "presets"
        self.refresh_shelf()
        if not self._draft.text and (shelf := cards(own_presets(), self._mine)):
            self.open_preset(shelf[0].path)

    def open_preset(self, path: Path) -> None:
        """Show a preset file; what was typed into it before and not saved is still there."""
        self._take_text()
        if path not in self._drafts:
            text = self._read(path)
            if text is None:
                return
            self._drafts[path] = PresetDraft(text, name=path.stem, origin=path)
        self._show(self._drafts[path])

    def open_text(self, text: str, name: str) -> None:
        """Show a preset that is no file yet, such as that of a run."""
        self._take_text()
        self._show(PresetDraft(_plain_ends(text), name=name))

    def show_report(self, report: Report, text: str) -> None:
        """What a deep check found. text: of the preset that was checked; another may be open by now."""
        self.report.show_report(report, of=text, now=self._draft.text)

    def refresh_shelf(self) -> None:
        self.shelf.show_cards(cards(own_presets(), self._mine))
        self._mark_shelf()

    def show_saved(self, path: Path, text: str) -> None:
        """`text` is on the disk at `path`, as save_requested asked."""
        draft = self._saving.pop(path, self._draft)
        if draft.origin is not None and draft.origin != path:
            self._drafts.pop(draft.origin, None)
        draft.saved_as(path, text)
        self._drafts[path] = draft
        self.refresh_shelf()
        self._show_head()
        self._follow()

    def show_launch_faults(self, faults: list[Fault]) -> None:
        """Faults that the engine found before it started; they stand until the text changes."""
        self._draft.show_launch_faults(faults)
        self._follow()
        if faults:
            self.go_to_next_fault()

    def set_busy(self, message: str) -> None:
        """What is being waited for; '' when nothing is."""
        self.bar.set_busy(message)
        self.bar.show_draft(self._draft)

    def unsaved(self) -> Unsaved | None:
        """What an autosave should keep of the preset that is open."""
        self._take_text()
        return self._draft.unsaved()

    @property
    def draft(self) -> PresetDraft:
        return self._draft

    def apply_theme(self, colours: Theme) -> None:
        self._colours = colours
        self.setStyleSheet(page_style(colours))
        for part in (self.shelf, self.form, self.text, self.bar):
            part.apply_theme(colours)
        self.report.set_theme(colours)

    # ------------------------------------------------------------------------------------------- what it is asked

    def run(self) -> None:
        """Ask for a run, or go to what keeps it from running."""
        if self._is_ready():
            self.run_requested.emit(self._draft.text, self._draft.origin)

    def check(self) -> None:
        if self._is_ready():
            self.check_requested.emit(self._draft.text, self._draft.origin)

    def check_deeply(self) -> None:
        if self._is_ready():
            self.deep_check_requested.emit(self._draft.text, self._draft.origin)

    def save(self) -> None:
        """Ask to save: one's own preset in place, any other as a new one of one's own."""
        leave_fields(self.form)
        self._take_text()
        origin = self._draft.origin
        path = origin if origin is not None and self._is_mine(self._draft) else self._new_path()
        # The disk may be slow: another preset can be open by the time this one is saved.
        self._saving[path] = self._draft
        self.save_requested.emit(self._draft.text, path)

    def undo(self) -> None:
        self._take_text()
        self._draft.undo()
        self._follow(flash_form=True, flash_text=True)

    def redo(self) -> None:
        self._take_text()
        self._draft.redo()
        self._follow(flash_form=True, flash_text=True)

    def go_to_next_fault(self) -> None:
        """Each call goes one further, and round again."""
        faults = self._draft.faults
        if not faults:
            return
        self._fault_at = (self._fault_at + 1) % len(faults)
        fault = faults[self._fault_at]
        in_form = self.form.go_to(fault)
        if fault.line is not None:
            self.text.go_to_line(fault.line, focus=not in_form)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        is_enter = event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter)
        is_ctrl = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
        if is_enter and is_ctrl:
            self.check_deeply() if event.modifiers() & Qt.KeyboardModifier.ShiftModifier else self.run()
        elif event.matches(QKeySequence.StandardKey.Undo):
            self.undo()
        elif event.matches(QKeySequence.StandardKey.Redo):
            self.redo()
        elif event.matches(QKeySequence.StandardKey.Save):
            self.save()
        else:
            super().keyPressEvent(event)

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._take_text()

    # ------------------------------------------------------------------------------------------------- following

    def _apply(self, change: Change) -> None:
        self._take_text()
        try:
            self._draft.apply(change)
        except CannotEditError as error:
            self._say(f"{error}: edit it in the YAML")
            self.form.show_draft(self._draft)
            return
        self._follow(flash_text=True)

    def _take_text(self) -> None:
        """Read what was typed into the YAML. Typing on one line is one step of undo."""
        self._rest.stop()
        text = self.text.text
        if text != self._draft.text:
            self._draft.set_text(text, burst=f"line {self.text.textCursor().blockNumber()}")
            self._follow(flash_form=True)

    def _follow(self, *, flash_form: bool = False, flash_text: bool = False) -> None:
        """Show the draft everywhere."""
        draft = self._draft
        self._fault_at = -1
        self.text.completion.set_schema(draft.schema)
        self.text.show_text(draft.text, flash=flash_text)
        self.text.show_faults(draft.faults)
        self.form.show_draft(draft, flash=flash_form)
        self.bar.show_draft(draft)
        self.report.show_text(draft.text)
        self._say("\n".join(str(fault) for fault in draft.stray_faults()))
        self._method.setText(draft.method.upper().replace("_", " "))
        self._edited.setVisible(draft.is_dirty)
        self._mark_shelf()
        self.draft_changed.emit()

    def _show(self, draft: PresetDraft) -> None:
        self._draft = draft
        self._show_head()
        self.form.forget_shown()
        self.form.verticalScrollBar().setValue(0)
        self._follow()
        self.text.moveCursor(QTextCursor.MoveOperation.Start)

    def _is_mine(self, draft: PresetDraft) -> bool:
        return draft.origin is not None and draft.origin.parent == self._mine

    def _told_place(self, draft: PresetDraft) -> str:
        if draft.origin is None:
            return "not saved yet"
        is_shipped = draft.origin.parent == own_presets()
        return "ships with Plumbline; saving makes a copy of your own" if is_shipped else str(draft.origin)

    def _show_head(self) -> None:
        self._name.set_full_text(self._draft.name)
        self._place.set_full_text(self._told_place(self._draft))
        self._save.setText("Save" if self._is_mine(self._draft) else "Save as mine")

    def _say(self, sentence: str) -> None:
        self._told.setText(sentence)
        self._told.setVisible(bool(sentence))

    def _mark_shelf(self) -> None:
        edited = {path for path, draft in self._drafts.items() if draft.is_dirty}
        self.shelf.mark(self._draft.origin, edited)

    def _is_ready(self) -> bool:
        leave_fields(self.form)
        self._take_text()
        if self._draft.preset is None:
            self.go_to_next_fault()
        return self._draft.preset is not None and self.bar.run_button.isEnabled()

    def _read(self, path: Path) -> str | None:
        try:
            with path.open("rb") as file:
                data = file.read(LARGEST_FILE + 1)
        except OSError as error:
            self._say(f"{path} cannot be read: {error.strerror}")
            return None
        if len(data) > LARGEST_FILE:
            self._say(f"{path} is larger than {LARGEST_FILE:,} bytes; a preset needs a few hundred")
            return None
        return _plain_ends(data.decode("utf-8", "replace"))

    def _new_path(self) -> Path:
        """A name of one's own that no file has yet."""
        stem = str(self._draft.values.get("name") or self._draft.name or "preset")
        names = [stem, *(f"{stem}-{i}" for i in range(2, 1000))]
        free = next(name for name in names if not (self._mine / f"{name}.yaml").exists())
        return self._mine / f"{free}.yaml"

    # -------------------------------------------------------------------------------------------------- building

    def _connect(self) -> None:
        self._rest.timeout.connect(self._take_text)
        self.text.typed.connect(self._rest.start)
        self.shelf.chosen.connect(self.open_preset)
        self.form.changed.connect(self._apply)
        self.bar.run.connect(self.run)
        self.bar.check.connect(self.check)
        self.bar.check_deeply.connect(self.check_deeply)
        self.bar.next_fault.connect(self.go_to_next_fault)
        self._save.clicked.connect(self.save)

    def _lay_out(self) -> None:
        columns = QSplitter(Qt.Orientation.Horizontal)
        columns.setChildrenCollapsible(False)
        columns.setHandleWidth(theme.SPACE[3])
        for part in (self.shelf, self._form_card(), self._text_card()):
            columns.addWidget(part)
        columns.setSizes([SHELF, FORM, TEXT])
        for index, stretch in enumerate((0, 4, 3)):
            columns.setStretchFactor(index, stretch)
        self.shelf.setMinimumWidth(160)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(theme.SPACE[3])
        layout.addWidget(columns, 1)
        layout.addWidget(self.report)
        layout.addWidget(self.bar)

    def _form_card(self) -> QFrame:
        head = QHBoxLayout()
        head.setContentsMargins(theme.SPACE[4], theme.SPACE[3], theme.SPACE[3], 0)
        head.setSpacing(theme.SPACE[2])
        for part in (self._name, self._method, self._edited):
            head.addWidget(part, 0, Qt.AlignmentFlag.AlignBaseline)
        head.addStretch(1)
        head.addWidget(self._save)
        self._place.setContentsMargins(theme.SPACE[4], 0, theme.SPACE[4], 0)
        self._told.setContentsMargins(theme.SPACE[4], theme.SPACE[1], theme.SPACE[4], 0)
        frame = card()
        inside = QVBoxLayout(frame)
        inside.setContentsMargins(1, 0, 1, 1)
        inside.setSpacing(theme.SPACE[1])
        inside.addLayout(head)
        inside.addWidget(self._place)
        inside.addWidget(self._told)
        rule = QFrame()
        theme.set_role(rule, "rule")
        inside.addSpacing(theme.SPACE[1])
        inside.addWidget(rule)
        inside.addWidget(self.form, 1)
        frame.setMinimumWidth(420)
        return frame

    def _text_card(self) -> QFrame:
        frame = card()
        inside = QVBoxLayout(frame)
        inside.setContentsMargins(theme.SPACE[2], theme.SPACE[2], 1, 1)
        inside.setSpacing(theme.SPACE[1])
        head = QHBoxLayout()
        head.setContentsMargins(theme.SPACE[2], 0, theme.SPACE[3], 0)
        head.addWidget(label("YAML", "strong"))
        head.addStretch(1)
        keys = label("Ctrl+Space completes", "muted")
        keys.setToolTip("Tab and Shift+Tab indent; Ctrl+Tab leaves the text")
        head.addWidget(keys)
        inside.addLayout(head)
        inside.addWidget(self.text, 1)
        frame.setMinimumWidth(260)
        return frame


def _plain_ends(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")
