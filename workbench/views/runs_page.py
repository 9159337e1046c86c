"""All runs on the left, one of them on the right; or, in a new workspace, what to do first."""

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QFocusEvent
from PySide6.QtWidgets import QSplitter, QStackedWidget, QWidget

from workbench import theme
from workbench.io.run_feed import RunFeed
from workbench.io.run_reader import RunReader
from workbench.state.run_index import RunIndex
from workbench.theme import Theme
from workbench.views.first_time import FirstTime
from workbench.views.labels import column
from workbench.views.run_list import RunList

if TYPE_CHECKING:
    from workbench.views.run_page import RunPage


class RunsPage(QStackedWidget):
    """Emits `run_chosen` with a path, and what its parts ask for. `run` is there after `build_run_page`."""

    run_chosen = Signal(object)
    run_page_built = Signal(object)
    preset_wanted = Signal()
    tour_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.list = RunList()
        self.run: RunPage | None = None
        self.first_time = FirstTime()
        self.split = QSplitter(Qt.Orientation.Horizontal)
        self.split.addWidget(self.list)
        self.split.addWidget(QWidget())  # room for the page of a run
        self.split.setStretchFactor(1, 1)
        self.split.setSizes([276, 1000])
        self.split.setChildrenCollapsible(False)
        self.split.setHandleWidth(theme.SPACE[2])
        self.list.setMinimumWidth(190)
        blank = QWidget()  # nothing to say until the folder was read
        blank.setLayout(column())
        for page in (blank, self.split, self.first_time):
            self.addWidget(page)
        self.list.chosen.connect(self.run_chosen)
        self.list.preset_wanted.connect(self.preset_wanted)
        self.first_time.preset_wanted.connect(self.preset_wanted)
        self.first_time.tour_wanted.connect(self.tour_wanted)

    def show_index(self, index: RunIndex, *, is_touring: bool) -> None:
        self.list.show_index(index)
        self.first_time.show_tour(is_touring)
        page = self.split if len(index) else self.first_time
        if self.currentWidget() is not page:
            self.setCurrentWidget(page)
            if self.isVisible():
                self.setFocus()

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Hand the keyboard on. A focus proxy would do so too, but would turn Tab back before it gets to the run."""
        (self.list.view if self.currentWidget() is self.split else self.first_time).setFocus()

    def build_run_page(self) -> "RunPage":
        """Make the page of one run, once. Charts take half a second to import, so the window is painted first."""
        if self.run is None:
            from workbench.views.run_page import RunPage

            self.run = RunPage()
            sizes = self.split.sizes()
            replaced = self.split.replaceWidget(1, self.run)
            if replaced is not None:  # nobody else would delete it
                replaced.deleteLater()
            self.split.setStretchFactor(1, 1)
            self.split.setSizes(sizes)
            self.run_page_built.emit(self.run)
        return self.run

    def show_run(self, feed: RunFeed, reader: RunReader) -> None:
        self.list.show_run(feed.run.path)
        self.build_run_page().show_run(feed, reader)

    @property
    def run_path(self) -> Path | None:
        return self.list.shown

    def set_theme(self, colours: Theme) -> None:
        self.list.set_theme(colours)
        if self.run is not None:
            self.run.set_theme(colours)

    def close_down(self) -> None:
        self.list.close_down()
        if self.run is not None:
            self.run.close_down()
