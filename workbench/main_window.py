"""The window: places the pages, and joins what they ask for to the commands. It owns no behaviour of its own."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QByteArray, QTimer, QUrl
from PySide6.QtGui import QCloseEvent, QDesktopServices, QPaintEvent
from PySide6.QtWidgets import QMainWindow, QWidget

from engine.contract.findings import Report
from engine.contract.labels import LabelDir
from engine.contract.status import Status
from workbench import theme
from workbench.commands import Keys, remapped, shown_key, table
from workbench.error_reporting import ErrorReporter
from workbench.io import engine_process, key_file, preset_files
from workbench.io.session import Session
from workbench.io.workspace import Workspace, list_presets
from workbench.pages import HELP, PAGES, TITLES, Pages
from workbench.state import figures
from workbench.state.filling import in_one_line
from workbench.state.preset_plan import worded
from workbench.theme import Appearance, Theme
from workbench.views import palette_entries
from workbench.views.header import Header
from workbench.views.labels import column, row
from workbench.views.palette import Entry, Palette
from workbench.views.picture_drop import PictureDrop
from workbench.views.rail import Rail
from workbench.views.status_line import ANOTHER_WINDOW, NoticeLine, StatusLine

if TYPE_CHECKING:
    from workbench.views.judge_page import JudgePage
    from workbench.views.preset_page import PresetPage
    from workbench.views.run_page import RunPage

SIZE = (1440, 900)
PULSE_MS = 1000
AUTOSAVE_MS = 2000
SMOOTHING = 0.9


class MainWindow(QMainWindow):
    """One window on one workspace. wanted: name of the run to open on, "" to choose."""

    def __init__(self, workspace: Workspace, appearance: Appearance, errors: ErrorReporter, wanted: str = "") -> None:
        super().__init__()
        self.session = Session(workspace)
        self.page = "runs"
        self._before = "runs"
        self._wanted = wanted
        self._is_painted = False
        self.appearance = appearance
        self.errors = errors
        self._settings = workspace.settings()
        keys, self._key_fault = key_file.read_keys(workspace.path)
        self.commands, faults = remapped(table(self, self.session), keys)
        self._key_fault = "\n".join([self._key_fault, *faults]).strip()
        self._by_id = {command.id: command for command in self.commands}
        self.keys = Keys(self, self.commands)
        self.rail = Rail(PAGES, HELP)
        self.header = Header()
        self.notice = NoticeLine()
        self.pages = Pages(self.session, self.commands, self.keys)
        self.runs = self.pages.runs
        self.status_line = StatusLine()
        self._place()
        self.palette_box = Palette(self)
        self._autosave = QTimer(self, singleShot=True, interval=AUTOSAVE_MS)
        self._autosave.timeout.connect(self._keep_unsaved)
        self._join()
        errors.happened.connect(lambda text, details: self.notice.say(text, details=details))
        self._pulse = QTimer(self, interval=PULSE_MS)
        self._pulse.timeout.connect(self._show_pulse)
        self._set_theme(appearance.theme)
        self._restore()

    # ------------------------------------------------------------------------------------------ what commands ask

    @property
    def presets(self) -> "PresetPage | None":
        return self.pages.presets

    @property
    def judging(self) -> "JudgePage | None":
        return self.pages.judging

    @property
    def status(self) -> Status | None:
        return self.session.feed.status if self.session.feed is not None else None

    @property
    def run_path(self) -> Path | None:
        return self.session.feed.run.path if self.session.feed is not None else None

    def show_page(self, name: str) -> None:
        if name != self.page:
            self._before, self.page = self.page, name
            self.notice.let_go("plan", "place")
        page = self.pages.show_page(name)
        self.rail.show_page(name)
        self.header.show_title(TITLES[name])
        page.setFocus()

    def go_back(self) -> None:
        """Out of what is open: the palette, a zoom or cursor, a page."""
        if self.palette_box.isVisible():
            self.palette_box.dismiss()
        elif self.page == "judge" and self.judging is not None and self.judging.let_go():
            self.judging.setFocus()
        elif self.page != "runs":
            self.show_page(self._before if self._before != self.page else "runs")
        elif self.runs.run is None or not self.runs.run.let_go():
            self.runs.list.view.setFocus()

    def open_palette(self) -> None:
        if self.palette_box.isVisible():
            self.palette_box.dismiss()
        else:
            self.palette_box.open(self._entries())

    def toggle_theme(self) -> None:
        self.appearance.choose("light" if self.appearance.theme.name == "dark" else "dark")

    def open_as_preset(self) -> None:
        if self.runs.run is not None:
            self.runs.run.preset.reuse()

    def open_folder(self) -> None:
        if self.runs.run is not None:
            self.runs.run.files.open_folder()

    def show_tab(self, name: str) -> None:
        self.show_page("runs")
        self.runs.build_run_page().show_tab(name)

    def has_tab(self, name: str) -> bool:
        return self.runs.run is not None and self.runs.run.has_tab(name)

    @property
    def pictures(self) -> str:
        """Which pictures of a run are on show: "trajectory", "gallery", or ""."""
        page = self.runs.run if self.page == "runs" else None
        return page.tab.lower() if page is not None and page.tab in ("Trajectory", "Gallery") else ""

    def picture(self, action: str) -> None:
        if self.runs.run is not None:
            (self.runs.run.gallery if self.pictures == "gallery" else self.runs.run.trajectory).act(action)

    def open_picture(self) -> None:
        self.pages.choose_picture()

    def step_run(self, by: int) -> None:
        self.runs.list.step(by)

    def reset_zoom(self) -> None:
        if self.runs.run is not None:
            self.runs.run.board.link.reset()

    def preset_command(self, name: str) -> None:
        page = self.pages.preset_page()
        {"run": page.run, "check": page.check, "check_deeply": page.check_deeply, "save": page.save}[name]()

    @property
    def is_judging(self) -> bool:
        return self.page == "judge" and self.judging is not None and self.judging.is_judging

    def judge(self, action: str) -> None:
        if self.judging is not None:
            self.judging.act(action)

    @property
    def is_at_desk(self) -> bool:
        return self.judging is not None and self.judging.is_at_desk

    @property
    def label_state(self) -> str:
        """Of the set that is judged or chosen: "filling", "unfinished" or "there"; "" without one."""
        return self.judging.label_state if self.page == "judge" and self.judging is not None else ""

    def label_set(self, action: str) -> None:
        self.show_page("judge")
        self.pages.judge_page().label_set(action)

    def judge_run(self, *, compare: bool) -> None:
        if (run := self.run_path) is not None:
            self.session.labelling.close_set()  # its keys must not judge one set while another is on its way
            self.show_page("judge")
            self.session.desk.suggest(run, compare=compare)

    def rejudge_run(self) -> None:
        if (run := self.run_path) is not None:
            self.session.labelling.close_set()
            self.show_page("judge")
            self.session.desk.rejudge(run)

    def edit_keys(self) -> None:
        self.session.write_key_file({command.id: command.shortcut for command in self.commands})

    def run_command(self, command_id: str) -> None:
        command = self._by_id[command_id]
        if command.enabled():
            command.run()

    @property
    def is_settled(self) -> bool:
        """Whether what was asked for is there to be seen: the runs listed, the shown one read and judged."""
        if not self.session.has_looked:
            return False
        feed = self.session.feed
        return not len(self.session.index) or (feed is not None and feed.has_caught_up and feed.status is not None)

    # ------------------------------------------------------------------------------------------ its life

    def start(self) -> None:
        """Begin to look at the workspace. Raises OSError if its folder cannot be made."""
        self.session.start()
        if not self.session.is_alone:
            self.notice.say(ANOTHER_WINDOW, is_error=False, about="window")
        self.status_line.show_part("workspace", f"workspace {self.session.workspace.shown}")
        if self._key_fault:
            self.notice.say(self._key_fault)
        self._pulse.start()

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if not self._is_painted:
            self._is_painted = True
            QTimer.singleShot(0, self, self._complete)

    def _complete(self) -> None:
        """What may come after the first paint, as charts take their time to import."""
        self.runs.build_run_page()
        self._runs_changed()

    def closeEvent(self, event: QCloseEvent) -> None:
        """Runs go on; only the looking ends."""
        self._save()
        self._keep_unsaved()
        for timer in (self._pulse, self._autosave):
            timer.stop()
        self.runs.close_down()
        self.session.close()
        super().closeEvent(event)

    # ------------------------------------------------------------------------------------------ placing and joining

    def _place(self) -> None:
        self.setWindowTitle("Plumbline")
        self.setMinimumSize(1000, 600)
        room = self.screen().availableSize()
        self.resize(min(SIZE[0], room.width()), min(SIZE[1], room.height()))
        inner = column(self.header, self.notice, self.pages, self.status_line, space=2)
        inner.setContentsMargins(theme.SPACE[4], theme.SPACE[3], theme.SPACE[4], theme.SPACE[2])
        inner.setStretch(2, 1)
        frame = row(self.rail, space=0)
        frame.addLayout(inner, 1)
        ground = QWidget()
        theme.set_role(ground, "page")
        ground.setLayout(frame)
        self.setCentralWidget(ground)
        self.rail.show_page("runs")
        self.header.show_title(TITLES["runs"])

    def _join(self) -> None:
        self.rail.chosen.connect(self.show_page)
        self.header.search_wanted.connect(self.open_palette)
        self.pages.said.connect(lambda text: self.notice.say(text, about="place"))
        self.pages.preset_wanted.connect(self._open_text)
        self.pages.typed.connect(self._autosave.start)
        self.pages.typed.connect(lambda: self.notice.let_go("plan"))
        PictureDrop(self).dropped.connect(self.session.read_picture)
        self.runs.run_chosen.connect(self.session.show)
        self.runs.run_chosen.connect(lambda _: self.notice.let_go("place"))
        self.runs.preset_wanted.connect(lambda: self.show_page("presets"))
        self.runs.tour_wanted.connect(lambda: self.run_command("tour.start"))
        self.runs.run_page_built.connect(self._join_run_page)
        session = self.session
        session.runs_changed.connect(self._runs_changed)
        session.shown.connect(self.runs.show_run)
        session.arrived.connect(lambda: self.show_page("runs"))
        session.refused.connect(self._refused)
        session.planned.connect(self._show_plan)
        session.became_alone.connect(lambda: self.notice.let_go("window"))
        session.said.connect(lambda text: self.notice.say(text, details=text))
        session.busy.connect(self._show_busy)
        session.key_file_ready.connect(self._open_key_file)
        session.fillings.changed.connect(lambda found: self.status_line.show_part("filling", in_one_line(found)))
        session.readings.read.connect(self.header.show_readings)
        self.appearance.changed.connect(self._set_theme)

    def _join_run_page(self, page: "RunPage") -> None:
        page.asked.connect(self.run_command)
        page.reuse_wanted.connect(self._reuse)
        page.set_theme(self.appearance.theme)
        page.header.set_smoothing(float(str(self._settings.value("smoothing", SMOOTHING))))
        page.smoothing_changed.connect(lambda weight: self._settings.setValue("smoothing", weight))
        state = self._settings.value("split/run")
        if isinstance(state, QByteArray):
            page.split.restoreState(state)

    # ------------------------------------------------------------------------------------------ what is new

    def _runs_changed(self) -> None:
        if not self.session.has_looked:
            return
        index = self.session.index
        self.runs.show_index(index, is_touring=self.session.is_touring)
        running = len(index.alive())
        self.status_line.show_part("running", f"{figures.count(running)} running" if running else "nothing running")
        if self._is_painted and self.session.feed is None and (first := self._first_run()) is not None:
            self.session.show(first)

    def _first_run(self) -> Path | None:
        index = self.session.index
        found = index.find(self._wanted) if self._wanted else None
        if self._wanted and found is None and len(index):
            self.notice.say(f"There is no run called {self._wanted} here; the latest is shown instead.", about="place")
        first = found or index.first_to_show()
        return first.run.path if first is not None else None

    def _refused(self, refused: engine_process.Refused) -> None:
        self.show_page("presets")
        self.pages.preset_page().show_launch_faults(refused.faults)

    def _show_plan(self, plan: dict[str, Any], text: str) -> None:
        self.notice.say(worded(plan), is_error=False, about="plan")
        if plan.get("preflight") and self.presets is not None:
            self.presets.show_report(Report.model_validate(plan["preflight"]), text)

    def _reuse(self, text: str) -> None:
        self._open_text(text, f"{self.session.feed.run.name}-again" if self.session.feed else "new")

    def _open_text(self, text: str, name: str) -> None:
        self.pages.preset_page().open_text(self.session.workspace.text_as_written(text), name)
        self.show_page("presets")

    def _open_key_file(self, path: Path) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(path)))
        self.notice.say(f"Keys are in {path}; they count when the window opens again.", is_error=False, about="place")

    def _keep_unsaved(self) -> None:
        if self.presets is not None:
            left = self.presets.unsaved()
            self.session.keep_unsaved(preset_files.Kept(left.name, left.text) if left else None)

    def _show_busy(self, what: str) -> None:
        self.status_line.show_part("busy", f"{what} …" if what else "")
        if self.presets is not None:
            self.presets.set_busy(what)

    def _show_pulse(self) -> None:
        feed = self.session.feed
        alive = feed is not None and feed.status is not None and feed.status.is_alive
        age = time.time() - feed.heartbeat if feed is not None and feed.heartbeat else 0.0
        self.status_line.show_part("pulse", f"engine heartbeat {figures.ago(age)}" if alive and age else "")

    def _set_theme(self, colours: Theme) -> None:
        self.rail.set_theme(colours)
        self.pages.set_theme(colours)
        self.setWindowIcon(theme.icon("plumb", colours.colour("accent"), 32))

    # ------------------------------------------------------------------------------------------ palette

    def _entries(self) -> list[Entry]:
        commands = (c for c in self.commands if c.id != "window.palette")
        actions = [Entry(c.title, "action", shown_key(c.shortcut), c.run, c.enabled()) for c in commands]
        runs = palette_entries.of_runs(self.session.index, self._open_run)
        presets = palette_entries.of_presets(list_presets(self.session.workspace), self._open_preset)
        sets = palette_entries.of_sets(self.session.labelling.sets, self._open_set)
        return [*actions, *runs, *presets, *sets]

    def _open_run(self, path: Path) -> None:
        self.show_page("runs")
        self.session.show(path)

    def _open_set(self, label_dir: LabelDir) -> None:
        self.show_page("judge")
        self.session.labelling.open(label_dir)

    def _open_preset(self, path: Path) -> None:
        self.show_page("presets")
        self.pages.preset_page().open_preset(path)

    # ------------------------------------------------------------------------------------------ arrangement

    def _save(self) -> None:
        self._settings.setValue("geometry", self.saveGeometry())
        self._settings.setValue("theme", self.appearance.choice)
        self._settings.setValue("split/runs", self.runs.split.saveState())
        if self.runs.run is not None:
            self._settings.setValue("split/run", self.runs.run.split.saveState())
        self._settings.sync()

    def _restore(self) -> None:
        for key, restore in (("geometry", self.restoreGeometry), ("split/runs", self.runs.split.restoreState)):
            state = self._settings.value(key)
            if isinstance(state, QByteArray):
                restore(state)
