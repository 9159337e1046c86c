"""What the engine tells reaches the disk whole and in order, also when the disk was full for a while."""

import contextlib
import errno
import math
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.contract import events, jsonl
from engine.contract.rollouts import Completion, read_completion
from engine.contract.run_dir import RunDir
from engine.reporting import Reporter
from tests.engine import running

pytestmark = pytest.mark.usefixtures("fork_server")


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path)


def step(number: int, **values: float) -> events.Step:
    return events.Step(step=number, time=0.0, values=values)


class Disk:
    """Stands for os.write: takes `room` bytes more and then only parts of lines and errors, as a full disk does."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.room: int | None = None
        self._write = os.write
        patch.setattr(os, "write", self)

    def __call__(self, descriptor: int, data: bytes) -> int:
        if self.room is None:
            return self._write(descriptor, data)
        if self.room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = self._write(descriptor, data[: self.room])
        self.room -= taken
        return taken


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


# ------------------------------------------------------------------------------------------------- a full disk


@pytest.mark.parametrize("room", [0, 1, 40, 200])
def test_events_wait_in_memory_while_the_disk_is_full_and_are_written_when_there_is_room(
    run: RunDir, disk: Disk, room: int
) -> None:
    reporter = Reporter(run)
    reporter.event(step(1))
    disk.room = room
    for number in range(2, 8):
        reporter.event(step(number))
    disk.room = None
    reporter.event(step(8))
    assert running.steps_of(run) == list(range(1, 9))


def test_a_line_that_the_disk_took_half_of_is_not_joined_with_the_next(run: RunDir, disk: Disk) -> None:
    reporter = Reporter(run)
    disk.room = 10
    reporter.event(step(1))
    disk.room = None
    reporter.event(step(2))
    unreadable = [line for line in running.events_of(run) if isinstance(line, events.Unreadable)]
    assert [len(line.text) for line in unreadable] == [10]
    assert running.steps_of(run) == [1, 2]


def test_answers_that_the_disk_took_half_of_are_not_joined_with_the_next(run: RunDir, disk: Disk) -> None:
    reporter = Reporter(run)
    answers = [Completion(step=1, prompt="2+2=", completion="4"), Completion(step=1, prompt="2+3=", completion="5")]
    disk.room = 30
    reporter.completions(1, answers)
    disk.room = None
    reporter.completions(2, answers)
    assert "the answers of step 1 could not be kept" in running.notices(run)
    assert running.answers_of(run) == answers
    whole = [read_completion(line) for line in jsonl.follow(run.rollouts)]
    assert whole == [None, *answers]


def test_events_that_do_not_fit_into_memory_either_are_counted_and_told(
    run: RunDir, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Reporter, "WAITING_AT_MOST", 5)
    reporter = Reporter(run)
    disk.room = 0
    for number in range(1, 9):
        reporter.event(step(number))
    disk.room = None
    reporter.event(step(9))
    assert running.steps_of(run)[-5:] == [5, 6, 7, 8, 9]
    lost = 9 - len(running.steps_of(run))
    assert f"{lost} events were lost while the disk was full" in running.notices(run)


def test_an_error_that_is_not_want_of_space_is_not_hidden(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "write", broken)
    with pytest.raises(OSError, match="Input/output error"):
        Reporter(run).event(step(1))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 2 MB."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.parametrize("adapter", [None, running.LORA], ids=["full", "adapter"])
def test_a_checkpoint_that_finds_no_room_is_a_notice_and_the_run_goes_on(small_disk: Path, adapter: Any) -> None:
    run = running.new_run(
        small_disk / "run", running.sft(model={"adapter": adapter}, training={"steps": 6, "checkpoint_every": 2})
    )
    ballast = small_disk / "ballast"

    def fill(step: int) -> None:
        if step == 3:
            ballast.write_bytes(bytes(max(0, os.statvfs(small_disk).f_bavail * 4096 - 20_000)))
        if step == 5:
            ballast.unlink()

    assert running.run_here_watched(run, fill) == running.FINISHED, running.last_word(run)
    assert "error: no room for the checkpoint of step 4" in running.notices(run)
    assert running.steps_of(run) == [1, 2, 3, 4, 5, 6]
    assert [event.step for event in running.of_kind(run, events.Checkpoint)] == [2, 6]
    assert [entry.name for entry in run.checkpoints.iterdir() if entry.name.startswith(".")] == []


def test_a_run_on_a_disk_with_no_room_at_all_loses_no_step(small_disk: Path) -> None:
    run = running.new_run(small_disk / "run", running.sft(training={"steps": 6, "checkpoint_every": 0}))
    ballast = small_disk / "ballast"

    def fill(step: int) -> None:
        if step == 2:
            with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
                while file.write(bytes(512)):
                    pass
            assert os.statvfs(small_disk).f_bavail == 0
        if step == 5:
            ballast.unlink()

    assert running.run_here_watched(run, fill) == running.FINISHED, running.last_word(run)
    assert running.steps_of(run) == [1, 2, 3, 4, 5, 6]


def test_a_finished_model_that_finds_no_room_says_so_and_what_to_do(small_disk: Path) -> None:
    run = running.new_run(small_disk / "run", running.sft(training={"steps": 2, "checkpoint_every": 0}))

    def fill(step: int) -> None:
        if step == 2:
            (small_disk / "ballast").write_bytes(bytes(max(0, os.statvfs(small_disk).f_bavail * 4096 - 20_000)))

    assert running.run_here_watched(run, fill) == running.FAILED
    assert running.last_word(run).message == "the disk is full\nfree some space, then Resume"
    (small_disk / "ballast").unlink()
    assert running.run_here(run) == running.FINISHED


# -------------------------------------------------------------------------------------------- values and pulse


def test_values_that_are_no_numbers_survive(run: RunDir) -> None:
    Reporter(run).event(step(1, loss=math.nan, grad_norm=math.inf, reward=-math.inf, tiny=5e-324))
    (event,) = running.of_kind(run, events.Step)
    assert math.isnan(event.values["loss"])
    assert (event.values["grad_norm"], event.values["reward"]) == (math.inf, -math.inf)
    assert event.values["tiny"] == 5e-324


def test_a_step_is_one_line_in_one_write(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    write = os.write

    def noted(descriptor: int, data: bytes) -> int:
        written.append(data)
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", noted)
    Reporter(run).event(step(1, loss=1.0))
    assert [data.count(b"\n") for data in written] == [1]
    assert written[0].endswith(b"}\n")


def test_the_pulse_moves_with_the_loop_and_costs_at_most_two_touches_a_second(run: RunDir) -> None:
    reporter = Reporter(run)
    reporter.beat()
    first = run.heartbeat.stat().st_mtime_ns
    for _ in range(100):
        reporter.beat()
    assert run.heartbeat.stat().st_mtime_ns == first
    time.sleep(0.55)
    reporter.beat()
    assert run.heartbeat.stat().st_mtime_ns > first


def test_only_the_first_process_writes(run: RunDir) -> None:
    other = Reporter(run, is_writer=False)
    other.event(step(1))
    other.phase("reading")
    other.notice("info", "something")
    other.completions(1, [Completion(step=1, prompt="a", completion="b")])
    other.beat(force=True)
    assert list(run.path.iterdir()) == []
