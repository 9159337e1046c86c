"""One run: how it stands, its curves, and below them what it wrote."""

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QBoxLayout, QFrame, QStackedWidget, QTabBar, QWidget

from engine.contract.status import Status
from workbench import theme
from workbench.io.run_feed import RunFeed
from workbench.io.run_reader import Frozen, RunReader
from workbench.state.lab import LABS
from workbench.state.run import RunChanges, RunState
from workbench.theme import Theme
from workbench.views.completions_pane import CompletionsPane
from workbench.views.gallery_pane import GalleryPane
from workbench.views.health_pane import HealthPane
from workbench.views.lab_pane import LabPane
from workbench.views.labels import column, row
from workbench.views.metric_board import MetricBoard
from workbench.views.preflight_view import PreflightView
from workbench.views.run_header import RunHeader
from workbench.views.text_panes import FilesPane, LogPane, PresetPane
from workbench.views.trajectory_pane import TrajectoryPane
from workbench.views.two_way_split import UNDER, TwoWaySplit

TABS = ("Curves", "Completions", "Trajectory", "Gallery", "Lab", "Data", "Health", "Log", "Preset", "Files")
OF_PICTURES = {"Trajectory", "Gallery"}
#: What a run opens on: the first of these that it has.
FIRST = ("Lab", "Curves", "Gallery", "Completions")
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
        self._has_chosen_tab = False
        self._is_folded = False  # the curves under a tab
        self._nothing = QWidget()  # stands where the curves are not
        self.header = RunHeader()
        self.board = MetricBoard()
        self.completions = CompletionsPane()
        self.trajectory = TrajectoryPane()
        self.gallery = GalleryPane()
        self.lab = LabPane()
        self.data = PreflightView()
        self.health = HealthPane()
        self.log = LogPane()
        self.preset = PresetPane()
        self.files = FilesPane()
        self._tabs = QTabBar()
        self._tabs.setAccessibleName("What the run wrote")
        self._head = row(self._tabs, self.completions.controls)
        self._stack = QStackedWidget()
        self.split = TwoWaySplit()
        self._lay_out()
        self.header.asked.connect(self.asked)
        self.header.smoothing_changed.connect(self.smoothing_changed)
        self.header.smoothing_changed.connect(self.board.set_smoothing)
        self.preset.reuse_wanted.connect(self.reuse_wanted)
        self._tabs.currentChanged.connect(self._show_tab_at)
        self._tabs.tabBarClicked.connect(self._tab_clicked)
        self.trajectory.filmed.connect(self._show_film)
        self.split.resized.connect(self._fold_or_not)
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
        self.trajectory.show_run(reader.pictures)
        self.gallery.show_run(reader.pictures)
        self.lab.show_run(reader.lab)
        self.log.show_run(feed.run.log)
        self.files.show_run(reader)
        reader.frozen.connect(self._show_frozen)
        reader.read_frozen()
        feed.updated.connect(self._update)
        feed.judged.connect(lambda _: self._show_words())
        feed.caught_up.connect(self._show_words)

    def show_tab(self, name: str) -> None:
        """Show a tab, if this run has it; where pictures are, the keys go there too."""
        if self.has_tab(name):
            self._has_chosen_tab = True
            self._tabs.setCurrentIndex(TABS.index(name))
            if name in OF_PICTURES:
                (self.trajectory if name == "Trajectory" else self.gallery).setFocus()

    def has_tab(self, name: str) -> bool:
        return self._tabs.isTabVisible(TABS.index(name))

    @property
    def tab(self) -> str:
        return TABS[self._tabs.currentIndex()]

    def let_go(self) -> bool:
        """Give up what is looked at closely, a cursor or a zoom; False if there was none of it."""
        return (self.tab == "Gallery" and self.gallery.let_go()) or self.board.let_go()

    @property
    def status(self) -> Status | None:
        return self._feed.status if self._feed is not None else None

    def set_theme(self, colours: Theme) -> None:
        panes = (self.completions, self.trajectory, self.gallery, self.lab, self.data, self.health)
        for part in (self.header, self.board, *panes):
            part.set_theme(colours)
        self._show_words()

    def close_down(self) -> None:
        self._words.stop()
        for part in (self.log, self.board, self.trajectory, self.gallery, self.lab):
            part.close_down()
        if self._reader is not None:
            self._reader.close()

    def _lay_out(self) -> None:
        of_some = (self.completions, self.trajectory, self.gallery, self.lab)
        panes = (self._nothing, *of_some, self.data, self.health, self.log, self.preset, self.files)
        for name, pane in zip(TABS, panes, strict=True):
            self._tabs.addTab(name)
            self._stack.addWidget(pane)
        self._tabs.setTabToolTip(TABS.index("Data"), "Data as the model sees it, before the first step")
        self._tabs.setDrawBase(False)
        self._tabs.setExpanding(False)
        self._tabs.setUsesScrollButtons(False)  # the one on show is bold, so the bar is never quite as wide as it says
        lower = QFrame()
        theme.set_role(lower, "card")
        inside = column(space=1)
        inside.setContentsMargins(8, 6, 8, 8)
        self._head.setStretch(0, 1)
        inside.addLayout(self._head)
        inside.addWidget(self._stack, 1)
        lower.setLayout(inside)
        lower.setMinimumHeight(140)
        self.split.addWidget(self.board)
        self.split.addWidget(lower)
        self.split.setStretchFactor(0, 2)
        self.split.setStretchFactor(1, 1)
        self.split.setSizes(UNDER)
        layout = column(self.header, space=2)
        layout.addWidget(self.split, 1)
        self.setLayout(layout)
        self._tabs.setCurrentIndex(TABS.index("Completions"))
        self._stack.setCurrentIndex(TABS.index("Completions"))
        for name in OF_PICTURES | {"Lab", "Curves"}:
            self._tabs.setTabVisible(TABS.index(name), False)

    def _show_tab_at(self, index: int) -> None:
        self._stack.setCurrentIndex(index)
        self.completions.controls.setVisible(TABS[index] == "Completions")
        if TABS[index] in ("Data", "Health"):
            self._show_words()

    def _update(self, changes: RunChanges) -> None:
        if self._feed is None:
            return
        self._arrange_for(self._feed.state)
        self.board.show_state(self._feed.state, changes)
        if changes.samples:
            self.completions.show_samples(self._feed.state.samples)
        if not self._words.isActive():
            self._words.start()

    def _arrange_for(self, state: RunState) -> None:
        """Curves over what the run wrote; where it draws, beside that, as it wants the room; of a proof, none."""
        if not state.method:
            return  # not read yet
        shows_curves = not state.is_pictured or (bool(state.series) and not state.is_drawing_only)
        has_curves = state.method != "sampler_proof" and shows_curves
        self.header.show_smoothing(has_curves)
        shown = self._tabs_for(state)
        self.split.set_beside(not shown["Completions"])
        is_folded = has_curves and not self.split.has_room
        self._show_tabs(shown | {"Curves": is_folded}, is_anew=is_folded != self._is_folded)
        self._fold(is_folded)
        if not is_folded:  # else the tab says whether they are to be seen
            self.board.setVisible(has_curves)

    def _show_tabs(self, shown: dict[str, bool], *, is_anew: bool) -> None:
        """is_anew: whoever has not chosen a tab gets the first of those that there are now."""
        changed = {name: is_shown for name, is_shown in shown.items() if is_shown != self.has_tab(name)}
        # Only tabs that change: Qt forgets to lay the bar out anew when the last of several calls changes nothing.
        for name in [name for name, is_shown in changed.items() if is_shown]:
            self._tabs.setTabVisible(TABS.index(name), True)
        is_lost = not shown.get(self.tab, True)
        if is_lost or (is_anew and not self._has_chosen_tab):
            self._has_chosen_tab = False
            self._tabs.setCurrentIndex(TABS.index(next(name for name in FIRST if shown[name])))
        for name in [name for name, is_shown in changed.items() if not is_shown]:
            self._tabs.setTabVisible(TABS.index(name), False)
        if changed:
            self._tabs.updateGeometry()

    def _fold(self, is_folded: bool) -> None:
        """Put the curves under the first tab, or back beside the tabs."""
        if is_folded == self._is_folded:
            return
        self._is_folded = is_folded
        at = self._stack.currentIndex()
        if is_folded:
            self.split.put_first(self._nothing)
            self._nothing.hide()
            self._stack.insertWidget(0, self.board)
        else:
            self.split.put_first(self.board)
            self._stack.insertWidget(0, self._nothing)
        self._stack.setCurrentIndex(at)
        # A row of their own for the controls of completions, as the tabs take all of theirs.
        self._head.setDirection(QBoxLayout.Direction.TopToBottom if is_folded else QBoxLayout.Direction.LeftToRight)

    def _fold_or_not(self) -> None:
        """There is more room than before, or less."""
        if self._feed is not None:
            self._arrange_for(self._feed.state)

    def _tabs_for(self, state: RunState) -> dict[str, bool]:
        """Which of the tabs there are that not every run has."""
        has_film = state.is_drawing_only or (state.is_pictured and not self.trajectory.is_empty)
        is_lab = state.method in LABS
        is_of_texts = not is_lab and not state.is_pictured
        return {
            "Completions": is_of_texts,
            "Trajectory": has_film,
            "Gallery": state.is_pictured and not is_lab,
            "Lab": is_lab,
            "Data": is_of_texts or state.preflight is not None,
        }

    def _tab_clicked(self, at: int) -> None:
        if at >= 0:  # not beside the tabs
            self.show_tab(TABS[at])

    def _show_film(self) -> None:
        """Noise is becoming a picture right now: that is what one wants to see first."""
        if self._feed is not None:
            self._arrange_for(self._feed.state)
        if not self._has_chosen_tab and self.has_tab("Trajectory") and self.tab != "Curves":
            self._tabs.setCurrentIndex(TABS.index("Trajectory"))

    def _show_words(self) -> None:
        if self._feed is None:
            return
        state, status = self._feed.state, self._feed.status
        if state.is_pictured:
            self.gallery.show_images(state.images)
            self.trajectory.show_alive(status is not None and status.is_alive)
        if state.method in LABS:
            self.lab.show_method(state.method)
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
        self.gallery.expect(frozen.planned, frozen.across)
        self._show_words()
