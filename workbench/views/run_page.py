"""One run: how it stands, its curves, and below them what it wrote."""

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import QFrame, QSplitter, QStackedWidget, QTabBar, QWidget

from engine.contract.status import Status
from workbench import theme
from workbench.io.run_feed import RunFeed
from workbench.io.run_reader import Frozen, RunReader
from workbench.state.run import RunChanges
from workbench.theme import Theme
from workbench.views.completions_pane import CompletionsPane
from workbench.views.health_pane import HealthPane
from workbench.views.labels import column, row
from workbench.views.metric_board import MetricBoard
from workbench.views.preflight_view import PreflightView
from workbench.views.run_header import RunHeader
from workbench.views.text_panes import FilesPane, LogPane, PresetPane

TABS = ("Completions", "Data", "Health", "Log", "Preset", "Files")
#: Words change more slowly than curves, so that they can be read.
WORDS_MS = 200


class RunPage(QWidget):
    """Emits `asked` with a command's id, `reuse_wanted` with a preset's text, `smoothing_changed`."""

    asked = Signal(str)
    reuse_wanted = Signal(str)
    smoothing_changed = Signal(float)

    def __init__(self) -> None:
        super().__init__()
        self._feed: RunFeed | None = None
        self._reader: RunReader | None = None
        self._parents: list[str] = []
        self.header = RunHeader()
        self.board = MetricBoard()
        self.completions = CompletionsPane()
        self.data = PreflightView()
        self.health = HealthPane()
        self.log = LogPane()
        self.preset = PresetPane()
        self.files = FilesPane()
        self._tabs = QTabBar()
        self._tabs.setAccessibleName("What the run wrote")
        self._stack = QStackedWidget()
        self.split = QSplitter(Qt.Orientation.Vertical)
        self._lay_out()
        self.header.asked.connect(self.asked)
        self.header.smoothing_changed.connect(self.smoothing_changed)
        self.header.smoothing_changed.connect(self.board.set_smoothing)
        self.preset.reuse_wanted.connect(self.reuse_wanted)
        self._tabs.currentChanged.connect(self._show_tab_at)
        self._words = QTimer(self, singleShot=True, interval=WORDS_MS)
        self._words.timeout.connect(self._show_words)

    def show_run(self, feed: RunFeed, reader: RunReader) -> None:
        """Follow another run."""
        if self._reader is not None:
            self._reader.close()
        self._feed, self._reader, self._parents = feed, reader, []
        self.header.show_run(feed.run)
        self.board.forget()
        self.board.show_waiting("")
        self.completions.show_run(reader)
        self.log.show_run(feed.run.log)
        self.files.show_run(reader)
        reader.frozen.connect(self._show_frozen)
        reader.read_frozen()
        feed.updated.connect(self._update)
        feed.judged.connect(lambda _: self._show_words())
        feed.caught_up.connect(self._show_words)

    def show_tab(self, name: str) -> None:
        self._tabs.setCurrentIndex(TABS.index(name))

    @property
    def status(self) -> Status | None:
        return self._feed.status if self._feed is not None else None

    def set_theme(self, colours: Theme) -> None:
        for part in (self.header, self.board, self.completions, self.data, self.health):
            part.set_theme(colours)
        self._show_words()

    def close_down(self) -> None:
        self._words.stop()
        self.log.close_down()
        self.board.close_down()
        if self._reader is not None:
            self._reader.close()

    def _lay_out(self) -> None:
        panes = (self.completions, self.data, self.health, self.log, self.preset, self.files)
        for name, pane in zip(TABS, panes, strict=True):
            self._tabs.addTab(name)
            self._stack.addWidget(pane)
        self._tabs.setTabToolTip(TABS.index("Data"), "Data as the model sees it, before the first step")
        self._tabs.setDrawBase(False)
        lower = QFrame()
        theme.set_role(lower, "card")
        inside = column(space=1)
        inside.setContentsMargins(8, 6, 8, 8)
        inside.addLayout(row(self._tabs, None, self.completions.controls))
        inside.addWidget(self._stack, 1)
        lower.setLayout(inside)
        lower.setMinimumHeight(140)
        self.split.addWidget(self.board)
        self.split.addWidget(lower)
        self.split.setStretchFactor(0, 2)
        self.split.setStretchFactor(1, 1)
        self.split.setSizes([520, 260])
        self.split.setChildrenCollapsible(False)
        self.split.setHandleWidth(theme.SPACE[2])
        self.setLayout(column(self.header, self.split, space=2))

    def _show_tab_at(self, index: int) -> None:
        self._stack.setCurrentIndex(index)
        self.completions.controls.setVisible(index == 0)
        if TABS[index] in ("Data", "Health"):
            self._show_words()

    def _update(self, changes: RunChanges) -> None:
        if self._feed is None:
            return
        self.board.show_state(self._feed.state, changes)
        if changes.samples:
            self.completions.show_samples(self._feed.state.samples)
        if not self._words.isActive():
            self._words.start()

    def _show_words(self) -> None:
        if self._feed is None:
            return
        state, status = self._feed.state, self._feed.status
        if status is not None:
            self.header.show_state(state, status, self._parents)
        elif not self._feed.has_caught_up:
            self.header.show_reading(self._feed.fraction_read)
        is_waiting = not state.series and status is not None and status.is_alive
        self.board.show_waiting("Waiting for the first step." if is_waiting else "")
        match TABS[self._tabs.currentIndex()]:
            case "Data":
                self.data.show_report(state.preflight)
            case "Health":
                self.health.show_state(state)

    def _show_frozen(self, frozen: Frozen) -> None:
        self._parents = frozen.parents
        self.preset.show_frozen(frozen)
        self._show_words()
