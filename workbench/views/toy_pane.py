"""Diffusion in two dimensions: particles and field at any time and after any training step, played or scrubbed."""

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QPushButton, QSizePolicy, QSlider, QWidget

from engine.contract.toy import Toy
from workbench.io.lab_reader import Found, LabReader, Seen
from workbench.state import figures
from workbench.state.lab import Plane
from workbench.theme import Theme
from workbench.views.labels import column, label, row
from workbench.views.plane_canvas import PlaneCanvas

#: A moment is on show so long while it plays.
PLAY_MS = 120
WAITING = "Waiting for the first look at the particles."


class ToyPane(QWidget):
    """While a run goes on, the newest record is on show until somebody chooses another."""

    def __init__(self) -> None:
        super().__init__()
        self._reader: LabReader | None = None
        self._toy: Toy | None = None
        self._steps: list[int] = []
        self._canvas = PlaneCanvas()
        self._words = label(WAITING, role="muted", wrap=True)
        self.time, self.record = _slider("Time, from noise to data"), _slider("Training step")
        self._time_words, self._record_words = label(role="muted"), label(role="muted")
        self.play = QPushButton("Play")
        self.play.setCheckable(True)
        self.play.setToolTip("Move the particles from noise to the data")
        self._clock = QTimer(self, interval=PLAY_MS)
        self._lay_out()
        self.time.valueChanged.connect(self._want)
        self.record.valueChanged.connect(self._want)
        self.play.toggled.connect(self._play_or_stop)
        self._clock.timeout.connect(self._advance)

    def show_run(self, reader: LabReader) -> None:
        """Follow another run."""
        self.play.setChecked(False)
        self._reader, self._toy, self._steps = reader, None, []
        self._canvas.show_plane(None, None)
        self._words.setText(WAITING)
        reader.seen.connect(self._show_seen)

    def show_found(self, found: Found) -> None:
        """What there is of the run by now."""
        if found.toy is None or (found.toy == self._toy and found.steps == self._steps):
            return
        was_last = self.record.value() >= len(self._steps) - 1
        is_new = found.toy != self._toy
        self._toy, self._steps = found.toy, found.steps
        self.time.setRange(0, len(found.toy.times) - 1)
        self.record.setRange(0, max(len(self._steps) - 1, 0))
        if is_new:
            self.time.setValue(self.time.maximum())
        if was_last:
            self.record.setValue(self.record.maximum())
        self._words.setText(
            f"{found.toy.data}: {figures.count(found.toy.particles)} particles, moved by {found.toy.sampler}; "
            "pale dots are the data"
        )
        self._want()

    def set_theme(self, colours: Theme) -> None:
        self._canvas.set_theme(colours)

    def close_down(self) -> None:
        self._clock.stop()

    @property
    def shown(self) -> tuple[int, int]:
        """The record and the moment that are chosen."""
        return self.record.value(), self.time.value()

    @property
    def particles(self) -> list[list[float]]:
        """Where they stand on the screen, in the plane's own units."""
        return self._canvas.particles

    def _lay_out(self) -> None:
        self._canvas.setMinimumHeight(120)
        times = row(self.play, label("Time"), self.time, self._time_words, space=2)
        steps = row(label("After step"), self.record, self._record_words, space=2)
        for words in (self._time_words, self._record_words):
            words.setMinimumWidth(words.fontMetrics().horizontalAdvance("t = 0.000"))
            words.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        layout = column(self._words, self._canvas, space=1, margin=1)
        layout.setStretch(1, 1)
        layout.addLayout(times)
        layout.addLayout(steps)
        self.setLayout(layout)

    def _want(self) -> None:
        if self._toy is None or self._reader is None or not self._steps:
            return
        record, moment = self.shown
        self._time_words.setText(f"t = {figures.fixed(self._toy.times[moment], 3)}")
        self._record_words.setText(figures.count(self._steps[min(record, len(self._steps) - 1)]))
        self._reader.want(record, moment)

    def _show_seen(self, seen: Seen) -> None:
        plane: Plane = seen.plane
        self._canvas.show_plane(self._toy, plane)

    def _play_or_stop(self, is_playing: bool) -> None:
        self.play.setText("Pause" if is_playing else "Play")
        if not is_playing:
            self._clock.stop()
            return
        if self.time.value() == self.time.maximum():
            self.time.setValue(0)
        self._clock.start()

    def _advance(self) -> None:
        if self.time.value() >= self.time.maximum():
            self.play.setChecked(False)
        elif self.isVisible():
            self.time.setValue(self.time.value() + 1)


def _slider(name: str) -> QSlider:
    made = QSlider(Qt.Orientation.Horizontal)
    made.setAccessibleName(name)
    made.setToolTip(name)
    made.setPageStep(5)
    made.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    return made
