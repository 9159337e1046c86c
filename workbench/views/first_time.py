"""What a new workspace shows: what this is for, and one thing to do that works at once."""

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QPushButton, QWidget

from workbench import theme
from workbench.views.labels import column, label, row

PURPOSE = (
    "Plumbline aligns language models on your own machine. You edit a preset, press Run, and watch reward, KL and "
    "loss move while you read what the model writes."
)
TOUR = (
    "On the tour a tiny model learns two-digit addition, first from examples, then from reward. It needs no download "
    "and no GPU, and takes about two minutes."
)


class FirstTime(QWidget):
    """Emits `tour_wanted` and `preset_wanted`."""

    tour_wanted = Signal()
    preset_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        box = QFrame()
        theme.set_role(box, "card")
        box.setFixedWidth(520)
        self._tour = QPushButton("Run the two-minute tour")
        theme.set_role(self._tour, "primary")
        self._tour.setMinimumHeight(40)
        self._tour.clicked.connect(self.tour_wanted)
        self._preset = QPushButton("Start from a preset")
        theme.set_role(self._preset, "quiet")
        self._preset.clicked.connect(self.preset_wanted)
        self._said = label(role="muted", wrap=True)
        words = [label("Watch a model learn", "page-title"), label(PURPOSE, wrap=True), label(TOUR, wrap=True)]
        inner = column(*words, self._tour, self._preset, self._said, space=3)
        inner.setContentsMargins(32, 32, 32, 24)
        box.setLayout(inner)
        # Room on both sides, not an alignment: that would forget how high wrapped words get.
        outer = column(None, None, space=0)
        outer.insertLayout(1, row(None, box, None))
        self.setLayout(outer)
        self.setFocusProxy(self._tour)

    def show_tour(self, is_running: bool) -> None:
        self._tour.setEnabled(not is_running)
        self._tour.setText("Starting the tour …" if is_running else "Run the two-minute tour")
        self._said.setText("The first curves come in a few seconds." if is_running else "")
