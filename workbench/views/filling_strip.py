"""The one line on a set whose items are being written: how far, how fast, and what can be done about it."""

from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QProgressBar, QPushButton

from workbench import theme
from workbench.state.filling import Filling, in_full
from workbench.theme import Theme
from workbench.views.labels import Elided, StateMark, column, row, tip

#: Steps of the bar, so that a long answer moves it too.
FINE = 1000


class FillingStrip(QFrame):
    """stopped, went_on: as pressed. run_asked: the run whose answers are judged, and `pause` or `resume`."""

    stopped = Signal()
    went_on = Signal()
    run_asked = Signal(object, str)

    def __init__(self) -> None:
        super().__init__()
        theme.set_role(self, "card")
        self._source: Path | None = None
        self._colours = theme.LIGHT
        self._shown: Filling | None = None
        self._mark = StateMark()
        self._facts = Elided(mode=Qt.TextElideMode.ElideRight)
        self._bar = QProgressBar()
        self._bar.setRange(0, FINE)
        self._bar.setTextVisible(False)
        self._bar.setAccessibleName("Items written")
        self.stop = QPushButton("Stop")
        self.stop.setToolTip(tip("Stop after the prompt that is being answered; what is written stays"))
        self.go_on = QPushButton("Go on")
        self.go_on.setToolTip(tip("Write what the recipe still lacks"))
        self.pause_run = QPushButton("Pause the run")
        self.pause_run.setToolTip(tip("The run waits while you judge what it wrote until now"))
        self.resume_run = QPushButton("Let the run go on")
        self._lay_out()
        self._connect()
        self.hide()

    def show_filling(self, filling: Filling | None) -> None:
        """None hides the strip: nothing is being written to the set."""
        self._shown = filling
        self.setVisible(filling is not None)
        if filling is None:
            return
        is_alive = filling.status.is_alive
        self._mark.show_state(filling.status.state, self._colours)
        self._facts.set_full_text(in_full(filling))
        self._bar.setValue(round(FINE * filling.fraction))
        self._bar.setVisible(bool(filling.steps) and not filling.is_following)
        self._source = filling.source
        source = filling.source_status
        self.stop.setVisible(is_alive)
        self.go_on.setVisible(not is_alive)
        self.pause_run.setVisible(source is not None and source.state == "running")
        self.resume_run.setVisible(source is not None and source.state == "paused")

    @property
    def text(self) -> str:
        return self._facts.full_text

    def set_theme(self, colours: Theme) -> None:
        self._colours = colours
        self.show_filling(self._shown)

    def _connect(self) -> None:
        self.stop.clicked.connect(self.stopped)
        self.go_on.clicked.connect(self.went_on)
        self.pause_run.clicked.connect(lambda: self.run_asked.emit(self._source, "pause"))
        self.resume_run.clicked.connect(lambda: self.run_asked.emit(self._source, "resume"))

    def _lay_out(self) -> None:
        line = row(self._mark, self._facts, self.pause_run, self.resume_run, self.stop, self.go_on, space=3)
        line.setStretch(1, 1)
        layout = column(space=1)
        layout.setContentsMargins(theme.SPACE[3], theme.SPACE[2], theme.SPACE[2], theme.SPACE[2])
        layout.addLayout(line)
        layout.addWidget(self._bar)
        self.setLayout(layout)
