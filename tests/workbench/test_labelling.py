"""From the key to the disk: what is shown as saved is saved, whatever happens next."""

import errno
import os
import random
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.contract import jsonl
from engine.contract.labels import Judgement, LabelDir
from engine.contract.labels_log import read_judgements
from engine.contract.labels_standing import Ledger, standing
from tests.workbench.label_sets import made, pairs
from tests.workbench.lives import lives
from workbench.io.background import Background
from workbench.io.labelling import Event, Labelling

MOMENTS = 20
#: Judges as fast as it can, and names each judgement once it is shown as saved.
JUDGES = """
from pathlib import Path
from PySide6.QtCore import QCoreApplication
from engine.contract.labels import LabelDir
from workbench.io.background import Background
from workbench.io.labelling import Labelling

def live(folder):
    application = QCoreApplication([])
    labelling = Labelling(Path(folder).parent, Background(1), "ada")
    labelling.happened.connect(lambda event: print(event.what, event.judgement and event.judgement.id, flush=True))
    labelling.open(LabelDir(Path(folder)))
    while labelling.opened is None:
        application.processEvents()
    for key in range(10**6):
        if key % 7 == 6:
            labelling.undo()
        elif not labelling.judge(1 + key % 7):
            break
"""


class Desk:
    """Labelling without a window, and what it said."""

    def __init__(self, qtbot: Any, folder: Path, labeller: str = "ada") -> None:
        self._qtbot = qtbot
        self._background = Background(threads=1)
        self.of = Labelling(folder, self._background, labeller)
        self.events: list[Event] = []
        self.failures: list[str] = []
        self.told: list[str] = []
        self.of.happened.connect(self.events.append)
        self.of.failed.connect(self.failures.append)
        self.of.told.connect(self.told.append)

    def open(self, label_dir: LabelDir) -> Labelling:
        self.of.open(label_dir)
        self._qtbot.waitUntil(lambda: self.of.opened is not None or bool(self.failures))
        return self.of

    def close(self) -> None:
        self.of.close()
        self._background.close()


@pytest.fixture
def label_dir(workspace: Path) -> LabelDir:
    return made(workspace)


@pytest.fixture
def desk(qtbot: Any, workspace: Path) -> Iterator[Desk]:
    found = Desk(qtbot, workspace / "labels")
    yield found
    found.close()


def said(label_dir: LabelDir) -> list[Judgement]:
    return standing(read_judgements(label_dir).lines)


def test_a_judgement_is_on_the_disk_before_the_next_pair_is_there(desk: Desk, label_dir: LabelDir) -> None:
    labelling = desk.open(label_dir)
    on_disk_when_told: list[int] = []
    labelling.happened.connect(lambda event: on_disk_when_told.append(len(said(label_dir))))
    for _ in range(3):
        assert labelling.judge(2)
    assert on_disk_when_told == [1, 2, 3]


def test_killed_at_any_moment_nothing_that_was_shown_as_saved_is_missing(workspace: Path) -> None:
    label_dir = made(workspace, items=4000)
    lot = random.Random(0)  # noqa: S311  any moment will do
    shown: set[str] = set()
    with lives(JUDGES) as judging:
        for _ in range(MOMENTS):
            judging.begin(label_dir.path)
            assert judging.line() == "opened None"
            time.sleep(lot.uniform(0, 0.1))
            for line in judging.kill():
                what, _, judgement = line.partition(" ")
                (shown.discard if what == "undone" else shown.add)(judgement)
            there = standing_ids(label_dir)
            # One more key may have reached the disk: said or undone, and not shown yet.
            assert len(shown ^ there) <= 1
            shown = there
    assert len(shown) > MOMENTS


def standing_ids(label_dir: LabelDir) -> set[str]:
    ledger = Ledger(read_judgements(label_dir).lines)
    return {judgement.id for judgement in [*ledger.standing(), *ledger.repeats()]}


def test_on_a_full_disk_the_pair_stays_and_nothing_is_half_saved(
    desk: Desk, label_dir: LabelDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    labelling = desk.open(label_dir)
    labelling.judge(1)
    before, shown = label_dir.judgements.read_bytes(), labelling.opened.sitting.turn  # type: ignore[union-attr]

    def takes_half(descriptor: int, data: bytes) -> int:
        written = real(descriptor, data[: len(data) // 2])
        if written < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return written

    real = os.write
    with monkeypatch.context() as full:
        full.setattr(os, "write", takes_half)
        assert not labelling.judge(7)
    assert label_dir.judgements.read_bytes() == before
    assert labelling.sitting is not None
    assert labelling.sitting.turn == shown
    (failure,) = desk.failures
    assert "Not saved" in failure
    assert "No space left" in failure
    assert labelling.judge(7)
    assert [judgement.strength for judgement in said(label_dir)] == [3, 3]


def test_a_disk_that_is_truly_full_keeps_the_file_whole(desk: Desk, label_dir: LabelDir) -> None:
    """The kernel's own refusal, by a limit on the size of files, in the middle of a line."""
    labelling = desk.open(label_dir)
    labelling.judge(1)
    before = label_dir.judgements.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 40, hard))
    try:
        assert not labelling.judge(1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert label_dir.judgements.read_bytes() == before
    assert len(desk.failures) == 1


def test_a_second_window_on_the_set_reads_and_says_why_it_cannot_judge(
    qtbot: Any, desk: Desk, label_dir: LabelDir
) -> None:
    desk.open(label_dir).judge(1)
    other = Desk(qtbot, label_dir.path.parent, "bob")
    labelling = other.open(label_dir)
    assert labelling.sitting is not None
    shown = labelling.sitting.turn
    assert shown is not None
    assert not labelling.judge(1)
    assert labelling.sitting.turn == shown
    assert all("another window" in sentence for sentence in other.failures)
    assert len(said(label_dir)) == 1
    other.close()


def newer(label_dir: LabelDir, monkeypatch: pytest.MonkeyPatch) -> None:
    label_dir.settings.write_text(label_dir.settings.read_text().replace("version: 1", "version: 2\nshine: true"))


def locked_away(label_dir: LabelDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kernel answers of a folder without the right to write, which it gives to root everywhere."""
    real = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: real(path, mode) and not (Path(path) == label_dir.path and mode & os.W_OK)
    )


@pytest.mark.parametrize(
    ("prevented", "why", "remedy"),
    [
        (newer, "was made by a newer version of the workbench", "update the workbench"),
        (locked_away, "cannot be written to", "change its permissions or copy the set"),
    ],
)
def test_what_cannot_be_written_opens_read_only_with_a_reason_and_a_remedy(
    desk: Desk, label_dir: LabelDir, monkeypatch: pytest.MonkeyPatch, prevented: Any, why: str, remedy: str
) -> None:
    prevented(label_dir, monkeypatch)
    before = label_dir.judgements.read_bytes()
    labelling = desk.open(label_dir)
    assert labelling.sitting is not None
    shown = labelling.sitting.turn
    assert shown is not None
    assert not labelling.judge(1)
    assert not labelling.judge("skip")
    assert labelling.sitting.turn == shown
    assert label_dir.judgements.read_bytes() == before
    assert all(why in sentence and remedy in sentence for sentence in desk.failures)
    assert len(desk.failures) == 3


def test_the_set_is_free_again_once_it_is_left(qtbot: Any, desk: Desk, label_dir: LabelDir) -> None:
    desk.open(label_dir)
    desk.of.close_set()
    other = Desk(qtbot, label_dir.path.parent, "bob")
    assert other.open(label_dir).judge(1)
    other.close()


def test_a_torn_last_line_costs_nothing_but_itself(desk: Desk, label_dir: LabelDir) -> None:
    desk.open(label_dir).judge(1)
    desk.of.close_set()
    with label_dir.judgements.open("ab") as file:
        file.write(b'{"kind":"judgement","id":"torn')
    labelling = desk.open(label_dir)
    assert labelling.sitting is not None
    assert labelling.sitting.progress.done == 1
    assert labelling.judge(7)
    assert len(said(label_dir)) == 2


def test_a_line_that_cannot_be_read_is_told_and_the_rest_counts(desk: Desk, label_dir: LabelDir) -> None:
    jsonl.append_line(label_dir.judgements, "not a judgement")
    labelling = desk.open(label_dir)
    assert labelling.judge(1)
    assert "1 line" in desk.told[0]


def test_a_set_with_an_item_that_is_none_is_left_with_its_line_told(
    qtbot: Any, desk: Desk, label_dir: LabelDir
) -> None:
    jsonl.append_line(label_dir.items, '{"id":"z","prompt":"?","candidates":[]}')
    labelling = desk.open(label_dir)
    qtbot.waitUntil(lambda: labelling.opened is None)
    assert "items.jsonl, line 61" in desk.failures[-1]


def test_items_that_are_written_meanwhile_come_to_the_sitting(
    qtbot: Any, desk: Desk, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.io.labelling.ITEMS_POLL_MS", 20)
    label_dir = made(workspace, "growing", items=[])
    labelling = Desk(qtbot, label_dir.path.parent)
    of = labelling.open(label_dir)
    assert not of.can_judge
    for item in pairs(3):
        jsonl.append_line(label_dir.items, item.model_dump_json())
    qtbot.waitUntil(lambda: of.can_judge)
    assert of.sitting is not None
    sitting = of.sitting
    qtbot.waitUntil(lambda: sitting.progress.total == 3)
    labelling.close()


def test_the_list_tells_how_far_each_set_is_and_what_is_wrong_with_one(
    qtbot: Any, desk: Desk, label_dir: LabelDir, workspace: Path
) -> None:
    broken = made(workspace, "broken", items=2)
    broken.settings.write_text("name: [")
    desk.open(label_dir).judge(1)
    with qtbot.waitSignal(desk.of.listed) as listed:
        desk.of.list_sets()
    first, second = listed.args[0]
    assert (first.name, bool(first.fault)) == ("broken", True)
    assert (second.name, second.items, second.judged, second.fault) == ("demo", 60, 1, "")


def test_time_is_measured_and_a_paused_clock_takes_no_judgement(desk: Desk, label_dir: LabelDir) -> None:
    labelling = desk.open(label_dir)
    labelling.toggle_pause()
    assert not labelling.judge(1)
    labelling.toggle_pause()
    assert labelling.judge(1)
    (judgement,) = said(label_dir)
    assert judgement.seconds is not None
    assert judgement.active_seconds is not None
    assert 0 <= judgement.active_seconds <= judgement.seconds


def test_flag_and_note_are_kept_with_the_judgement(desk: Desk, label_dir: LabelDir) -> None:
    labelling = desk.open(label_dir)
    labelling.mark(is_flagged=True, note="wrong year")
    labelling.judge("both_bad")
    (judgement,) = said(label_dir)
    assert (judgement.flagged, judgement.note, judgement.outcome) == (True, "wrong year", "both_bad")
