"""The bar under a preset: what will happen, what is wrong, Check and Run."""

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton

from workbench import theme
from workbench.state.preset_draft import PresetDraft
from workbench.state.preset_plan import plan_of
from workbench.theme import Theme
from workbench.views.labels import Elided, tip

DEEPLY = "See the data as the model sees it, and what a step takes, without learning (Ctrl+Shift+Enter)"


class PresetBar(QFrame):
    """`run`, `check` and `check_deeply` as pressed; `next_fault` asks to be taken to the next thing that is wrong."""

    run = Signal()
    check = Signal()
    check_deeply = Signal()
    next_fault = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._busy = ""
        self._says = Elided(mode=Qt.TextElideMode.ElideRight)
        self._faults = QPushButton()
        self._check = QPushButton("Check")
        self._deeply = QPushButton("Check deeply")
        self._run = QPushButton("Run")
        self._set_up()

    def show_draft(self, draft: PresetDraft) -> None:
        count = len(draft.faults)
        self._faults.setText(f"{count} fault{'s' if count > 1 else ''}")
        self._faults.setAccessibleName(f"{self._faults.text()}; go to the next")
        self._faults.setVisible(count > 0)
        self._says.set_full_text(self._busy or said_of(draft))
        can_start = not self._busy and draft.preset is not None
        self._run.setEnabled(can_start)
        self._check.setEnabled(can_start)
        self._deeply.setEnabled(can_start)
        self._deeply.setToolTip(tip(DEEPLY) if can_start else "")
        self._run.setToolTip("Run this preset (Ctrl+Enter)" if can_start else "")
        self._check.setToolTip(tip("See whether the engine can run it, without running it") if can_start else "")

    def set_busy(self, message: str) -> None:
        self._busy = message

    def apply_theme(self, colours: Theme) -> None:
        self._faults.setIcon(theme.icon("warning", colours.colour("failed"), 14))

    @property
    def run_button(self) -> QPushButton:
        return self._run

    @property
    def fault_button(self) -> QPushButton:
        return self._faults

    @property
    def says(self) -> str:
        return self._says.accessibleName()

    def _set_up(self) -> None:
        theme.set_role(self, "card")
        theme.set_role(self._run, "primary")
        theme.set_role(self._faults, "faults")
        self._faults.setIconSize(QSize(14, 14))
        self._run.setMinimumWidth(96)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(theme.SPACE[4], theme.SPACE[2], theme.SPACE[3], theme.SPACE[2])
        layout.setSpacing(theme.SPACE[2])
        layout.addWidget(self._says, 1)
        for button in (self._faults, self._check, self._deeply, self._run):
            layout.addWidget(button)
        self._faults.clicked.connect(self.next_fault)
        self._check.clicked.connect(self.check)
        self._deeply.clicked.connect(self.check_deeply)
        self._run.clicked.connect(self.run)


def said_of(draft: PresetDraft) -> str:
    """One line on what will happen, or on what stands in its way."""
    if draft.preset is not None:
        return "  ·  ".join(plan_of(draft.preset).parts)
    if not draft.is_readable:
        return "The YAML cannot be read yet; the form waits for it"
    return "Mend what is marked, then it can run"
