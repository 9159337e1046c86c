"""Which run this is, how it stands, and what can be asked of it."""

import math
import time

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QMenu, QPushButton, QSlider, QToolButton, QWidget

from engine.contract.run_dir import RunDir
from engine.contract.status import Status
from workbench import theme
from workbench.state import figures
from workbench.state.run import RunState
from workbench.theme import Theme
from workbench.views.labels import Elided, StateMark, column, label, row, tip

#: The slider's 0…99 as the weight of the smoothed line: finer where it matters, near 1.
SMOOTHING_STEPS = 99
#: The menus of two buttons: what a line says, and its command.
STOPS = {
    "Stop after this step\tCtrl+.": "run.stop",
    "Stop now; the work since the last checkpoint is lost\tCtrl+Shift+.": "run.stop_now",
}
JUDGES = {
    "Judge this run's answers\tCtrl+J": "labels.of_run",
    "Compare it with its base, blind…\tCtrl+Shift+J": "labels.against_base",
    "The same at once, and sit down\tCtrl+Alt+J": "labels.rejudge",
}


def facts(state: RunState, status: Status, parents: list[str], now: float) -> str:
    """Where the run stands, in one line. now: seconds since the epoch."""
    parts: list[str] = []
    if state.phase is not None and status.is_alive:
        done = state.phase.progress
        parts.append(state.phase.what + (f" {figures.share(done)}" if done is not None else ""))
    if state.step or state.steps:
        parts.append(figures.progress(state.step, state.steps or None))
    parts += _pace(state, status, now)
    if parents:
        parts.append(f"from {', '.join(parents)}")
    return "   ·   ".join(part for part in parts if part)


def _pace(state: RunState, status: Status, now: float) -> list[str]:
    """How fast it goes and how long it will take; or how long ago it ended."""
    if not status.is_alive:
        return [] if math.isnan(state.last_time) else [figures.ago(now - state.last_time)]
    if state.phase is not None or math.isnan(state.seconds_per_step):
        return []
    pace = figures.pace(state.seconds_per_step)
    return [pace, figures.left(state.seconds_left)] if status.state == "running" else [pace]


def how_it_ended(status: Status) -> str:
    """One line: how it died or why it waits, and what to do about it."""
    if status.state not in ("failed", "crashed", "stopped", "paused") or not status.sentence:
        return ""
    sentence = status.sentence[:1].upper() + status.sentence[1:]
    remedy = status.remedy[:1].upper() + status.remedy[1:]
    return f"{sentence}. {remedy}." if remedy else f"{sentence}."


class RunHeader(QFrame):
    """Emits `asked` with the id of a command, and `smoothing_changed` with a weight."""

    asked = Signal(str)
    smoothing_changed = Signal(float)

    def __init__(self) -> None:
        super().__init__()
        theme.set_role(self, "card")
        self._name = Elided("title")
        self._method = label(role="muted")
        self._mark = StateMark()
        self._facts = Elided("muted", Qt.TextElideMode.ElideRight)
        self._ended = label(role="fault", wrap=True, selectable=True)
        self._save = self._button("Save now", "run.save", "Ctrl+S")
        self._pause = self._button("Pause", "run.pause", "Ctrl+P")
        self._resume = self._button("Resume", "run.resume", "Ctrl+R")
        self._stop = self._menu_button("Stop…", STOPS)
        self._judge = self._menu_button("Judge…", JUDGES)
        self._smoothing = self._make_smoothing()
        self._of_smoothing = label("smoothing", "muted")
        self._colours = theme.LIGHT
        self._lay_out()

    def show_run(self, run: RunDir) -> None:
        self._name.set_full_text(run.name)
        self._name.setToolTip(tip(run.path.name))
        for widget in (self._mark, self._ended):
            widget.hide()
        self._method.setText("")
        self._facts.set_full_text("reading …")
        self._show_buttons(None)

    def show_state(self, state: RunState, status: Status, parents: list[str]) -> None:
        self._method.setText(state.method.upper().replace("_", " "))
        self._mark.show_state(status.state, self._colours)
        self._mark.show()
        self._facts.set_full_text(facts(state, status, parents, time.time()))
        ended = how_it_ended(status)
        self._ended.setText(ended)
        self._ended.setVisible(bool(ended))
        theme.set_role(self._ended, "muted" if status.state == "stopped" else "fault")
        self._show_buttons(status)

    def show_reading(self, fraction: float) -> None:
        self._facts.set_full_text(f"reading {figures.share(fraction)}")

    @property
    def text(self) -> str:
        """What it says of the run: where it stands, and how it ended."""
        return f"{self._facts.full_text} {self._ended.text()}".strip()

    def set_theme(self, colours: Theme) -> None:
        self._colours = colours

    def show_smoothing(self, is_shown: bool) -> None:
        """Where there is no curve, nothing is to be smoothed."""
        for part in (self._of_smoothing, self._smoothing):
            part.setVisible(is_shown)

    def set_smoothing(self, weight: float) -> None:
        self._smoothing.setValue(round(weight * 100))

    def _button(self, text: str, command: str, keys: str) -> QPushButton:
        button = QPushButton(text)
        button.setToolTip(tip(f"{text}  {keys}"))
        button.clicked.connect(lambda: self.asked.emit(command))
        return button

    def _menu_button(self, text: str, lines: dict[str, str]) -> QToolButton:
        """lines: what each line of its menu says, and the command it asks for."""
        button = QToolButton()
        button.setText(text)
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(button)
        for title, command in lines.items():
            menu.addAction(title).triggered.connect(lambda _=False, command=command: self.asked.emit(command))
        button.setMenu(menu)
        return button

    def _make_smoothing(self) -> QSlider:
        slider = QSlider(Qt.Orientation.Horizontal)
        slider.setRange(0, SMOOTHING_STEPS)
        slider.setFixedSize(96, 20)
        slider.setAccessibleName("Smoothing")
        slider.setToolTip(tip("Weight of the past in the bold line; 0 shows the values as they are"))
        slider.valueChanged.connect(lambda value: self.smoothing_changed.emit(value / 100))
        return slider

    def _lay_out(self) -> None:
        words = row(self._name, self._method, None, space=2)
        top = row(space=2)
        top.addLayout(words, 1)
        for button in (self._judge, self._save, self._pause, self._resume, self._stop):
            top.addWidget(button)
        below = row(self._mark, self._facts, self._of_smoothing, self._smoothing, space=3)
        below.setStretch(1, 1)
        layout = column(space=1)
        layout.setContentsMargins(12, 10, 12, 10)
        layout.addLayout(top)
        layout.addLayout(below)
        layout.addWidget(self._ended)
        self.setLayout(layout)

    def _show_buttons(self, status: Status | None) -> None:
        """Only what can be asked now is there, so no button is ever dead."""
        alive = status is not None and status.is_alive
        paused = status is not None and status.state == "paused"
        ended_early = status is not None and status.state in ("stopped", "failed", "crashed")
        self._set_shown(self._save, alive)
        self._set_shown(self._pause, alive and not paused)
        self._set_shown(self._stop, alive)
        self._set_shown(self._resume, paused or ended_early)
        theme.set_role(self._resume, "primary" if paused or ended_early else "")

    def _set_shown(self, button: QWidget, is_shown: bool) -> None:
        """Hide or show; the keyboard's place moves on rather than getting lost."""
        if not is_shown and button.hasFocus():
            self.focusNextChild()
        button.setVisible(is_shown)
