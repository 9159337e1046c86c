"""The latest completions, and any earlier ones; what arrives while somebody reads waits behind a chip."""

from collections.abc import Sequence

from PySide6.QtCore import QModelIndex, Qt, QTimer
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QPushButton, QSlider, QSplitter, QTableView, QWidget

from engine.contract.events import Samples
from engine.contract.rollouts import Completion
from workbench.io.run_reader import RunReader
from workbench.state import figures
from workbench.theme import Theme
from workbench.views.answer_detail import AnswerDetail
from workbench.views.completion_model import (
    ADVANTAGE,
    KL,
    PROMPT,
    REWARD,
    STEP,
    TITLES,
    CompletionModel,
)
from workbench.views.labels import column, label, row
from workbench.views.tables import Column, calm

#: How many steps' completions are listed at once, the newest on top.
STEPS_SHOWN = 6
#: A slider's handle is higher than its groove, and would be cut off.
HANDLE_HEIGHT = 20
#: A fast run writes ten times a second; nobody reads that fast.
REFRESH_MS = 250
#: Narrower than this, in pixels, and the chosen answer stands below the table, if there is the height for it.
NARROW, HIGH = 700, 280
WIDTHS = {STEP: 60, PROMPT: 110, REWARD: 80, ADVANTAGE: 92, KL: 88}


class CompletionsPane(QWidget):
    """Table on the left, the chosen answer on the right or below it. `controls` belongs in the row of the tabs."""

    def __init__(self) -> None:
        super().__init__()
        self._samples: list[Samples] = []
        self._reader: RunReader | None = None
        self._pinned: int | None = None  # index of the newest listed event while somebody reads
        self._model = CompletionModel()
        self._table = self._make_table()
        self._detail = AnswerDetail()
        self._split = QSplitter(Qt.Orientation.Horizontal)
        self._split.addWidget(self._table)
        self._split.addWidget(self._detail)
        self._split.setStretchFactor(0, 3)
        self._split.setStretchFactor(1, 1)
        self._split.setSizes([760, 280])
        self._split.setChildrenCollapsible(False)
        self._empty = label("", "muted", wrap=True)
        self._empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.setLayout(column(self._empty, self._split, space=0))
        self._chip = QPushButton()
        self._chip.clicked.connect(self.follow)
        self._slider = QSlider(Qt.Orientation.Horizontal)
        self._slider.setFixedSize(140, HANDLE_HEIGHT)
        self._slider.setAccessibleName("Step whose completions are listed")
        self._slider.sliderMoved.connect(self.pin)
        self._slider.actionTriggered.connect(lambda _: self.pin(self._slider.sliderPosition()))
        self._where = label(role="muted")
        self.controls = QWidget()
        self.controls.setLayout(row(self._chip, self._where, None, self._slider))
        self._refresh = QTimer(self, singleShot=True, interval=REFRESH_MS)
        self._refresh.timeout.connect(self._ask)
        self._show_emptiness("Completions appear here once the run writes some.")

    def show_run(self, reader: RunReader) -> None:
        self._reader = reader
        reader.answers.connect(self._show_answers)
        self._samples, self._pinned = [], None
        self._model.show_rows([])
        self._detail.show_answer(None)
        self._show_emptiness("Completions appear here once the run writes some.")

    def show_samples(self, samples: Sequence[Samples]) -> None:
        """What the run has written so far. While somebody reads, the list stands still."""
        self._samples = list(samples)
        if self._pinned is not None and self._pinned >= len(self._samples):
            self._pinned = None  # the run was rewound behind it
        self._slider.setRange(0, max(len(self._samples) - 1, 0))
        if self._pinned is None:
            self._schedule()
        self._show_place()

    def pin(self, index: int) -> None:
        """List the completions up to a sampled step, and stay there."""
        self._pinned = index if index < len(self._samples) - 1 else None
        self._schedule()
        self._show_place()

    def follow(self) -> None:
        """Go to the newest and stay with it."""
        self._pinned = None
        self._table.clearSelection()
        self._table.setCurrentIndex(QModelIndex())
        self._table.scrollToTop()
        self._schedule()
        self._show_place()

    def set_theme(self, colours: Theme) -> None:
        self._model.set_theme(colours)
        self._detail.set_theme(colours)

    def showEvent(self, event: object) -> None:
        self._schedule()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        is_narrow = self.width() < NARROW and self.height() >= HIGH
        self._split.setOrientation(Qt.Orientation.Vertical if is_narrow else Qt.Orientation.Horizontal)

    @property
    def rows(self) -> list[Completion]:
        """What is listed now, newest first."""
        return self._model.rows

    @property
    def detail_text(self) -> str:
        return self._detail.text

    def read(self, at: int) -> None:
        """Choose a row, as a click does."""
        self._table.selectRow(at)

    @property
    def waiting(self) -> int:
        """Completions that came since the list stands still."""
        if self._pinned is None:
            return 0
        return sum(event.count for event in self._samples[self._pinned + 1 :])

    def _make_table(self) -> QTableView:
        table = QTableView()
        table.setModel(self._model)
        calm(table, "Completions", [Column(title, WIDTHS.get(at)) for at, title in enumerate(TITLES)])
        table.selectionModel().currentRowChanged.connect(self._row_chosen)
        table.verticalScrollBar().valueChanged.connect(self._scrolled)
        return table

    def _row_chosen(self, current: QModelIndex) -> None:
        if current.isValid():
            self._hold_still()
            self._detail.show_answer(self._model.rows[current.row()])

    def _scrolled(self, value: int) -> None:
        if value > 0:
            self._hold_still()

    def _hold_still(self) -> None:
        if self._pinned is None and self._samples and self._model.rows:
            newest = self._model.rows[0].step
            known = [i for i, event in enumerate(self._samples) if event.step <= newest]
            self._pinned = known[-1] if known else len(self._samples) - 1
            self._show_place()

    def _schedule(self) -> None:
        if self.isVisible() and not self._refresh.isActive():
            self._refresh.start()

    def _ask(self) -> None:
        if self._reader is not None and self._samples:
            newest = len(self._samples) - 1 if self._pinned is None else self._pinned
            wanted = self._samples[max(0, newest - STEPS_SHOWN + 1) : newest + 1]
            self._reader.read_answers(wanted[::-1])
        elif not self._samples:
            self._show_answers([])

    def _show_answers(self, answers: list[Completion]) -> None:
        if answers == self._model.rows:
            return
        chosen = self._table.currentIndex()
        keep = self._model.rows[chosen.row()] if chosen.isValid() else None
        self._model.show_rows(answers)
        for section in range(len(TITLES)):
            self._table.setColumnHidden(section, section not in self._model.columns_with_values())
        self._empty.setVisible(not answers)
        self._split.setVisible(bool(answers))
        if keep is not None and keep in answers:
            self._table.selectRow(answers.index(keep))
        elif answers:
            self._detail.show_answer(answers[0])

    def _show_emptiness(self, text: str) -> None:
        self._empty.setText(text)
        self._empty.setVisible(True)
        self._split.setVisible(False)
        self._show_place()

    def _show_place(self) -> None:
        newest = len(self._samples) - 1 if self._pinned is None else self._pinned
        self._where.setText(f"step {figures.count(self._samples[newest].step)}" if self._samples else "")
        self._slider.setVisible(len(self._samples) > 1)
        if not self._slider.isSliderDown():
            self._slider.setValue(newest)
        self._chip.setText(f"{figures.count(self.waiting)} new ↑" if self.waiting else "Follow newest")
        self._chip.setVisible(self._pinned is not None)
