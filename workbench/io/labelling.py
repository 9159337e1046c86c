"""Judging, from the key to the disk: a judgement is written and synced before the next pair is shown."""

import getpass
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from PySide6.QtCore import QObject, QTimer, Signal

from engine.contract import labels_log
from engine.contract.labels import Judgement, LabelDir, Line
from engine.contract.labels_demo import create_demo
from engine.contract.labels_items import ItemLines
from workbench.io import label_sets
from workbench.io.background import Background
from workbench.io.label_sets import Opened, Summary
from workbench.io.picture_store import PictureStore
from workbench.state.active_time import ActiveTime
from workbench.state.label_quality import Quality
from workbench.state.sitting import Choice, RefusedError, Sitting, Taken

#: While items are being written, new ones are looked for so often.
ITEMS_POLL_MS = 1000

Happened = Literal["opened", "judged", "undone", "redone", "grown", "turned", "marked", "closed"]


class Event(NamedTuple):
    """What happened to the sitting; judgement: the one that was said, taken back or restored. revealed: whom it agrees
    with, where it settled a disagreement."""

    what: Happened
    judgement: Judgement | None = None
    revealed: str = ""


def this_person() -> str:
    """The name that judgements are given under unless another is chosen."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no such user, as in a container
        return "me"


class Labelling(QObject):
    """The sets of a workspace, and the one that is open. All that the pages can ask for is a method.

    listed: the summaries of all sets. happened: an Event of the sitting. failed: a sentence; what was asked was not
    done and the pair stays. told: a sentence that is no fault. renamed: who judges now. quality_read: name
    and Quality of a set. busy: what is being waited for, "" when nothing is.
    """

    listed = Signal(object)
    happened = Signal(object)
    failed = Signal(str)
    told = Signal(str)
    renamed = Signal(str)
    quality_read = Signal(str, object)
    busy = Signal(str)

    def __init__(self, folder: Path, background: Background, labeller: str = "") -> None:
        super().__init__()
        self.folder = folder
        self.labeller = labeller or this_person()
        self.sets: list[Summary] = []
        self.opened: Opened | None = None
        self.clock: ActiveTime | None = None
        self._background = background
        self.pictures = PictureStore(background)
        self._known: dict[Path, tuple[object, Summary]] = {}
        self._wanted: LabelDir | None = None
        self._poll = QTimer(self, interval=ITEMS_POLL_MS)
        self._poll.timeout.connect(self._look_for_items)

    @property
    def sitting(self) -> Sitting | None:
        return self.opened.sitting if self.opened is not None else None

    @property
    def can_judge(self) -> bool:
        return self.opened is not None and self.opened.sitting.turn is not None and not self.is_paused

    @property
    def is_paused(self) -> bool:
        return self.clock is not None and self.clock.is_paused

    # --------------------------------------------------------------------------------------------------- the shelf

    def list_sets(self) -> None:
        """Emit `listed` with every set of the workspace; those that did not change are not read again."""
        self._background.submit(self._summaries, self._listed, lambda error: self.failed.emit(str(error)))

    def make_demo(self) -> None:
        """Make the demo set and sit down with it."""
        self._background.submit(lambda: create_demo(self.folder), self.open, self._could_not_open)

    def judge_as(self, labeller: str) -> None:
        """Judge under this name from now on; an empty one is the person who is logged in."""
        labeller = labeller or this_person()
        if labeller != self.labeller:
            self.close_set()
            self.labeller = labeller
            self.list_sets()
            self.renamed.emit(labeller)

    def open(self, label_dir: LabelDir, *, is_settling: bool = False) -> None:
        """Begin or go on with a sitting, with its disagreements if wanted; `happened` says when it is there."""
        if self._wanted is not None or (self.opened is not None and self.opened.label_dir == label_dir):
            return
        self.close_set()
        self._wanted, labeller = label_dir, self.labeller
        self.busy.emit(f"opening {label_dir.path.name}")
        self._background.submit(
            lambda: label_sets.open_set(label_dir, labeller),
            lambda opened: self._take(opened, is_settling=is_settling),
            self._could_not_open,
        )

    def read_quality(self, label_dir: LabelDir, *, at_equal_length: bool = False) -> None:
        """Emit `quality_read` with what can be said of the labels of a set."""
        self.busy.emit(f"reading {label_dir.path.name}")
        self._background.submit(
            lambda: label_sets.read_quality(label_dir, at_equal_length=at_equal_length),
            lambda found: self._assessed(label_dir, found),
            self._could_not_open,
        )

    def close_set(self) -> None:
        """Leave the sitting; everything said is on the disk already."""
        if self.opened is not None:
            self._poll.stop()
            self.opened.close()
            self.opened = self.clock = None
            self.happened.emit(Event("closed"))

    # ------------------------------------------------------------------------------------------------- the sitting

    def judge(self, choice: Choice) -> bool:
        """Say it of the pair on show. False, with a sentence in `failed`, if that could not be kept."""
        return self._say(lambda sitting, taken: sitting.judge(choice, taken))

    def rank(self, groups: Sequence[Sequence[int]]) -> bool:
        """Rank more than two answers: places on the screen, best first."""
        return self._say(lambda sitting, taken: sitting.rank(groups, taken))

    def undo(self) -> bool:
        if self.opened is None or (last := self.opened.sitting.undoable) is None:
            return False
        return self._write(self.opened.sitting.undo(), last, "undone")

    def redo(self) -> bool:
        if self.opened is None or (undone := self.opened.sitting.redoable) is None:
            return False
        return self._write(self.opened.sitting.redo(), undone, "redone")

    def toggle_settling(self) -> None:
        """To the items that two people judged the opposite way, or back to those nobody asked this person about."""
        if self.sitting is not None and not self.is_paused:
            self.sitting.settle(not self.sitting.is_settling)
            self._start_clock()
            self.happened.emit(Event("turned"))

    def mark(self, *, is_flagged: bool | None = None, note: str | None = None) -> None:
        """Flag the pair on show or note something; it is kept with the judgement."""
        if self.sitting is None:
            return
        if is_flagged is not None:
            self.sitting.is_flagged = is_flagged
        if note is not None:
            self.sitting.note = note
        self.happened.emit(Event("marked"))

    def touch(self) -> None:
        """A sign of life."""
        if self.clock is not None:
            self.clock.touch(time.monotonic())

    def toggle_pause(self) -> None:
        if self.clock is not None:
            (self.clock.go_on if self.clock.is_paused else self.clock.pause)(time.monotonic())
            self.happened.emit(Event("marked"))

    # ------------------------------------------------------------------------------------------------------ within

    def _say(self, line: Callable[[Sitting, Taken], Judgement]) -> bool:
        if self.opened is None or self.clock is None or not self.can_judge:
            return False
        try:
            judgement = line(self.opened.sitting, Taken(*self.clock.read(time.monotonic())))
        except RefusedError as error:
            self.failed.emit(str(error))
            return False
        return self._write(judgement, judgement, "judged")

    def _write(self, line: Line | None, concerned: Judgement, what: Happened) -> bool:
        """On the disk first; only then does the sitting go on."""
        if self.opened is None or line is None:
            return False
        if self.opened.log is None:
            self.failed.emit(f"Not saved: {self.opened.why}.")
            return False
        try:
            self.opened.log.say(line)
        except OSError as error:
            where = self.opened.label_dir.judgements
            self.failed.emit(f"Not saved: {where}: {error.strerror or error}. Make room there and press the key again.")
            return False
        revealed = self.opened.sitting.reveal(concerned) if what == "judged" else ""
        self.opened.sitting.follow(concerned)
        self._start_clock()
        self.happened.emit(Event(what, concerned, revealed))
        return True

    def _start_clock(self) -> None:
        if self.sitting is not None:
            self.clock = ActiveTime(self.sitting.settings.protocol, time.monotonic())

    def _assessed(self, label_dir: LabelDir, found: Quality) -> None:
        self.busy.emit("")
        self.quality_read.emit(label_dir.path.name, found)

    def _take(self, opened: Opened, *, is_settling: bool) -> None:
        self._wanted = None
        self.busy.emit("")
        self.opened = opened
        if is_settling:
            opened.sitting.settle(True)
        self._start_clock()
        self._poll.start()
        self._background.submit(opened.items.check, lambda _: None, lambda error: self._found_damage(opened, error))
        self.happened.emit(Event("opened"))
        if opened.why:
            self.failed.emit(f"{opened.why}.")
        elif opened.unreadable:
            lines = "1 line" if opened.unreadable == 1 else f"{opened.unreadable} lines"
            self.told.emit(f"{lines} of {opened.label_dir.judgements} could not be read and count for nothing.")

    def _found_damage(self, opened: Opened, error: Exception) -> None:
        """An item cannot be read: leave the set, as if it had been seen at once."""
        if self.opened is opened:
            self.close_set()
        self._could_not_open(error)

    def _could_not_open(self, error: Exception) -> None:
        self._wanted = None
        self.busy.emit("")
        self.failed.emit(str(error))

    def _look_for_items(self) -> None:
        if self.opened is None or self.opened.label_dir.items.stat().st_size <= self.opened.items.offset:
            return
        try:
            found = ItemLines(self.opened.label_dir, self.opened.items.offset)
            found.check()
        except (OSError, ValueError) as error:
            self._poll.stop()
            self.failed.emit(str(error))
            return
        if found:
            self.opened.items = found
            had_turn = self.opened.sitting.turn is not None
            self.opened.sitting.add_items(found)
            if not had_turn:
                self._start_clock()
            self.happened.emit(Event("grown"))

    def _listed(self, found: list[Summary]) -> None:
        self.sets = found
        self.listed.emit(found)

    def _summaries(self) -> list[Summary]:
        found = []
        for label_dir in labels_log.list_sets(self.folder):
            mark = (self.labeller, label_sets.stamp(label_dir))
            known = self._known.get(label_dir.path)
            if known is None or known[0] != mark:
                known = self._known[label_dir.path] = (mark, label_sets.summarise(label_dir, self.labeller))
            found.append(known[1])
        return found

    def close(self) -> None:
        """The window closes."""
        self._poll.stop()
        if self.opened is not None:
            self.opened.close()
            self.opened = None
