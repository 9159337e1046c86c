"""What is alive behind a window: the runs of its workspace, the one on show, and the engines it starts."""

import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal

from engine.contract import commands
from engine.contract.commands import Ask
from engine.contract.image_record import read_picture
from engine.contract.run_dir import RunDir
from workbench.io import engine_process, key_file, preset_files
from workbench.io.background import Background
from workbench.io.engine_process import Answer, Failed, Refused, Started
from workbench.io.fillings import Fillings
from workbench.io.label_desk import LabelDesk
from workbench.io.labelling import Labelling
from workbench.io.run_feed import RunFeed
from workbench.io.run_reader import RunReader
from workbench.io.runs_folder import RunsFolder, Scan
from workbench.io.system_readings import SystemReadings
from workbench.io.workspace import Workspace
from workbench.state.run_index import RunIndex

TOUR_POLL_MS = 500
#: How often a window that shares its workspace looks whether it still does.
OTHERS_MS = 1000
#: How the names of the tour's runs begin.
TOUR = "tour-"


class Session(QObject):
    """Emits what changed; its methods are all that a window can ask for. Nothing here waits.

    runs_changed: the index differs. shown: feed and reader of another run. arrived: a run started here is on show.
    refused: a preset's faults. planned: what the engine would do, and the text of the preset it would do it with.
    picture_read: a PNG's path, and what it says of itself. said: a sentence for the person. busy: what is being
    waited for, "" when nothing is. became_alone: the other window on the workspace is gone.
    """

    runs_changed = Signal()
    shown = Signal(object, object)
    arrived = Signal()
    refused = Signal(object)
    planned = Signal(object, str)
    preset_saved = Signal(object, str)
    picture_read = Signal(object, object)
    said = Signal(str)
    busy = Signal(str)
    key_file_ready = Signal(object)
    became_alone = Signal()

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self.workspace = workspace
        self.index = RunIndex()
        self.feed: RunFeed | None = None
        self.background = Background(threads=3)
        self.readings = SystemReadings(self.background)
        self.labelling = Labelling(workspace.labels, self.background)
        self.desk = LabelDesk(workspace, self.background)
        self.fillings = Fillings(workspace.labels, self.background)
        for part in (self.labelling, self.desk):
            part.busy.connect(self.busy)
        self.is_alone = True
        self.has_looked = False
        self._folder = RunsFolder(workspace.runs, self.background)
        self._folder.changed.connect(self._scanned)
        self._wanted: Path | None = None
        self._tour: subprocess.Popen[bytes] | None = None
        self._tour_timer = QTimer(self, interval=TOUR_POLL_MS)
        self._tour_timer.timeout.connect(self._look_at_tour)
        self._others_timer = QTimer(self, interval=OTHERS_MS)
        self._others_timer.timeout.connect(self._look_for_others)

    @property
    def is_touring(self) -> bool:
        return self._tour is not None

    def start(self) -> None:
        """Take the workspace and begin to look. Raises OSError if the folder cannot be made."""
        self.is_alone = self.workspace.open()
        if not self.is_alone:
            self._others_timer.start()
        self._folder.start()
        self.fillings.start()
        self.readings.start()

    def close(self) -> None:
        """Stop looking. Engines go on."""
        for timer in (self._folder, self._tour_timer, self._others_timer, self.readings, self.fillings):
            timer.stop()
        if self.feed is not None:
            self.feed.close()
        self.labelling.close()
        self.background.close()
        self.workspace.close()

    def show(self, path: Path) -> None:
        """Put a run on show: read it and follow it."""
        if self.feed is not None and self.feed.run.path == path:
            return
        if self.feed is not None:
            self.feed.close()
            self.feed.deleteLater()
        run = RunDir(path)
        self.feed = RunFeed(run, self.background)
        self.shown.emit(self.feed, RunReader(run, self.background))
        self.feed.start()

    def show_when_there(self, wanted: Path) -> None:
        """Put a run on show as soon as the folder lists it."""
        self._wanted = wanted
        self._folder.look()

    def ask(self, ask: Ask) -> None:
        """Write a request beside the run on show; its engine obeys between two steps."""
        if self.feed is None:
            return
        file = self.feed.run.commands
        self.background.submit(lambda: commands.send(file, ask), lambda _: None, self._could_not_ask)

    def resume(self) -> None:
        """Start an engine that goes on with the run on show."""
        if self.feed is None:
            return
        run, workspace = self.feed.run.path, self.workspace.path
        self._start(lambda: _in_words(engine_process.resume_run(run, workspace)), "resuming the run")

    def launch(self, text: str, origin: Path | None) -> None:
        """Start a run of a preset's text. origin: the file it came from, whose name the run takes by default."""
        workspace, home = self.workspace.path, self._home(origin)
        self._start(
            lambda: engine_process.start_run(_file_of(text, origin, workspace), workspace, home), "starting a run"
        )

    def check(self, text: str, origin: Path | None, *, deeply: bool = False) -> None:
        """Ask the engine for the plan of a preset's text. deeply: it looks at the data and tries a step as well."""
        workspace, home = self.workspace.path, self._home(origin)
        self.busy.emit("looking at the data and trying a step" if deeply else "checking the preset")
        look = engine_process.check_deeply if deeply else engine_process.check_preset
        self.background.submit(
            lambda: look(_file_of(text, origin, workspace), workspace, home),
            lambda answer: self._checked(answer, text),
            lambda error: self._answered(Failed(str(error))),
        )

    def save_preset(self, text: str, path: Path) -> None:
        """Write a preset; `preset_saved` says when it is on the disk."""
        self.background.submit(
            lambda: preset_files.save(path, text), lambda _: self.preset_saved.emit(path, text), self._could_not_save
        )

    def read_picture(self, path: Path) -> None:
        """See what a PNG says of how it was drawn; one that says nothing readable is told of in a sentence."""
        self.background.submit(
            lambda: read_picture(path), lambda found: self.picture_read.emit(path, found), self._could_not_read
        )

    def keep_unsaved(self, kept: preset_files.Kept | None) -> None:
        """Remember what is typed and not saved, over a crash or a closed window."""
        workspace = self.workspace.path
        self.background.submit(lambda: preset_files.keep_unsaved(workspace, kept), lambda _: None, self._could_not_save)

    def write_key_file(self, usual: Mapping[str, str]) -> None:
        """Make the file for a person's own keys, if there is none; `key_file_ready` says where it is."""
        workspace = self.workspace.path
        self.background.submit(
            lambda: key_file.write_template(workspace, usual), self.key_file_ready.emit, self._could_not_save
        )

    def start_tour(self) -> None:
        """Start both tour runs; each is put on show as it appears."""
        if self._tour is not None:
            return
        try:
            self._tour = engine_process.start_tour(self.workspace.path)
        except OSError as error:
            self.said.emit(f"The tour could not start: {error.strerror}.")
            return
        self.busy.emit("starting the tour")
        self._tour_timer.start()
        self.runs_changed.emit()

    def _home(self, origin: Path | None) -> Path:
        """The folder from which a preset's relative paths are looked up first."""
        return origin.parent if origin is not None and origin.parent.is_dir() else self.workspace.path

    def _start(self, job: Callable[[], Answer], what: str) -> None:
        self.busy.emit(what)
        self.background.submit(job, self._answered, lambda error: self._answered(Failed(str(error))))

    def _answered(self, answer: Answer) -> None:
        self.busy.emit("")
        match answer:
            case Started(run):
                if self.feed is not None and self.feed.run.path == run:
                    self.feed.wake()
                self.show_when_there(run)
            case Refused():
                self.refused.emit(answer)
            case Failed(message):
                self.said.emit(message)

    def _checked(self, answer: Answer | dict[str, object], text: str) -> None:
        if isinstance(answer, dict):
            self.busy.emit("")
            self.planned.emit(answer, text)
        else:
            self._answered(answer)

    def _scanned(self, scan: Scan) -> None:
        fresh = [summary for summary in scan.changed if summary.run.path not in self.index]
        is_first, self.has_looked = not self.has_looked, True
        self.index.update(scan.changed, scan.gone)
        self.runs_changed.emit()
        if self.feed is not None and any(summary.run.path == self.feed.run.path for summary in scan.changed):
            self.feed.wake()
        if self._wanted is not None and self._wanted in self.index:
            wanted, self._wanted = self._wanted, None
            self.show(wanted)
            self.arrived.emit()
        elif fresh and self.is_touring and not is_first:
            self.busy.emit("")
            if self.feed is None or self.feed.run.name.startswith(TOUR):  # else somebody reads another run
                self.show(max(fresh, key=lambda summary: summary.run.path.name).run.path)

    def _look_for_others(self) -> None:
        with suppress(OSError):  # the folder is gone; others tell that
            self.is_alone = self.workspace.take()
        if self.is_alone:
            self._others_timer.stop()
            self.became_alone.emit()

    def _look_at_tour(self) -> None:
        if self._tour is None or (code := self._tour.poll()) is None:
            return
        self._tour = None
        self._tour_timer.stop()
        self.busy.emit("")
        if code == 1:
            words = engine_process.last_words(engine_process.tour_log(self.workspace.path))
            self.said.emit(words or "The tour ended early; tour.log in the workspace has the details.")
        self.runs_changed.emit()

    def _could_not_ask(self, error: Exception) -> None:
        self.said.emit(f"The request could not be written: {error}. Is the disk full?")

    def _could_not_read(self, error: Exception) -> None:
        self.said.emit(f"{error}.")

    def _could_not_save(self, error: Exception) -> None:
        self.said.emit(f"The preset could not be saved: {error}. Save it to another folder.")


def _in_words(answer: Answer) -> Answer:
    """A refusal as a sentence, where no form is open in which its faults could stand."""
    return Failed("\n".join(map(str, answer.faults))) if isinstance(answer, Refused) else answer


def _file_of(text: str, origin: Path | None, workspace: Path) -> Path:
    """A file with this text: the origin itself if it says the same, so that paths in it stay relative to it."""
    if origin is not None and origin.is_file() and origin.read_text("utf-8", "replace") == text:
        return origin
    stem = origin.stem if origin is not None else f"run-{time.strftime('%H%M%S')}"
    return engine_process.keep_draft(text, stem, workspace)
