"""What a watcher asks in commands.jsonl is obeyed between steps, once, and is on the record."""

import importlib
import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.contract import commands, events
from engine.contract.run_dir import RunDir
from tests.engine import running

pytestmark = pytest.mark.usefixtures("fork_server")


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return running.new_run(tmp_path / "run", running.sft(training={"steps": 5, "checkpoint_every": 0}))


def asking(run: RunDir, at: dict[int, list[commands.Ask]]) -> int:
    """Let the run go through; within step n it is asked for what `at` says."""

    def ask(step: int) -> None:
        for each in at.get(step, []):
            commands.send(run.commands, each)

    return running.run_here_watched(run, ask)


def record(run: RunDir) -> list[tuple[int, str, str]]:
    return [(event.step, event.ask, event.outcome) for event in running.of_kind(run, events.CommandDone)]


@contextmanager
def later(run: RunDir, asks: list[commands.Ask]) -> Iterator[None]:
    """Ask one after the other, each once the record says that the one before was heard; the first once it is paused."""

    def ask_in_turn() -> None:
        for count, each in enumerate(asks, start=1):
            running.wait_for(lambda count=count: len(record(run)) >= count)  # type: ignore[misc]
            commands.send(run.commands, each)

    thread = threading.Thread(target=ask_in_turn)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def test_stop_ends_after_the_step_with_a_checkpoint(run: RunDir) -> None:
    assert asking(run, {2: ["stop"]}) == running.STOPPED
    assert (running.steps_of(run), run.saved_steps()) == ([1, 2], [2])
    assert record(run) == [(2, "stop", "stopped")]
    assert running.last_word(run).reason == "stopped"
    assert not run.final.exists()


def test_stop_within_the_last_step_lets_the_run_finish(run: RunDir) -> None:
    assert asking(run, {5: ["stop"]}) == running.FINISHED
    assert run.final.is_dir()


def test_stop_now_ends_without_a_checkpoint(run: RunDir) -> None:
    assert asking(run, {2: ["stop_now"]}) == running.STOPPED
    assert (running.steps_of(run), run.saved_steps()) == ([1, 2], [])
    assert [ask for _, ask, _ in record(run)] == ["stop_now"]
    assert running.last_word(run).reason == "stopped"


def test_stop_now_does_not_wait_for_the_end_of_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = running.new_run(tmp_path / "slow", running.sft(training={"micro_batch_size": 1}))
    sft = importlib.import_module("engine.methods.sft")
    losses, sft_loss = itertools.count(), sft.sft_loss

    def slow_loss(logps, *, normaliser):
        if next(losses) == 2:
            commands.send(run.commands, "stop_now")
        time.sleep(0.06)
        return sft_loss(logps, normaliser=normaliser)

    monkeypatch.setattr(sft, "sft_loss", slow_loss)
    assert running.run_here(run) == running.STOPPED
    assert running.steps_of(run) == []
    assert record(run) == [(0, "stop_now", "stopped within a step")]


def test_save_writes_a_checkpoint_and_the_run_goes_on(run: RunDir) -> None:
    assert asking(run, {3: ["save"]}) == running.FINISHED
    saved = [event.step for event in running.of_kind(run, events.Checkpoint)]
    assert saved == [3, 5]
    assert record(run) == [(3, "save", "saved")]


def test_pause_waits_and_resume_goes_on(run: RunDir) -> None:
    with later(run, ["resume"]):
        assert asking(run, {2: ["pause"]}) == running.FINISHED
    assert record(run) == [(2, "pause", "paused"), (2, "resume", "went on")]
    assert running.steps_of(run) == [1, 2, 3, 4, 5]


def test_a_paused_run_shows_a_pulse(run: RunDir) -> None:
    def watch() -> None:
        running.wait_for(lambda: record(run))
        for _ in range(2):
            before = run.heartbeat.stat().st_mtime_ns
            running.wait_for(lambda before=before: run.heartbeat.stat().st_mtime_ns > before)  # type: ignore[misc]
        commands.send(run.commands, "resume")

    thread = threading.Thread(target=watch)
    thread.start()
    assert asking(run, {2: ["pause"]}) == running.FINISHED
    thread.join()


def test_a_paused_run_can_be_stopped_with_a_checkpoint(run: RunDir) -> None:
    with later(run, ["stop"]):
        assert asking(run, {2: ["pause"]}) == running.STOPPED
    assert (running.steps_of(run), run.saved_steps()) == ([1, 2], [2])


def test_a_paused_run_can_be_stopped_at_once(run: RunDir) -> None:
    with later(run, ["stop_now"]):
        assert asking(run, {2: ["pause"]}) == running.STOPPED
    assert run.saved_steps() == []


def test_a_save_asked_of_a_paused_run_is_not_forgotten(run: RunDir) -> None:
    with later(run, ["save", "resume"]):
        assert asking(run, {2: ["pause"]}) == running.FINISHED
    assert [event.step for event in running.of_kind(run, events.Checkpoint)] == [2, 5]


def test_a_pause_taken_back_at_once_does_not_hold_the_run_for_ever(run: RunDir) -> None:
    assert asking(run, {2: ["pause", "resume"]}) == running.FINISHED
    assert [ask for _, ask, _ in record(run)] == ["pause", "resume"]


def test_what_was_asked_together_with_a_pause_is_obeyed_too(run: RunDir) -> None:
    with later(run, ["resume"]):
        assert asking(run, {2: ["save", "pause"]}) == running.FINISHED
    assert [event.step for event in running.of_kind(run, events.Checkpoint)] == [2, 5]


def test_a_stop_is_not_undone_by_a_pause_after_it(run: RunDir) -> None:
    assert asking(run, {2: ["stop", "pause"]}) == running.STOPPED
    assert run.saved_steps() == [2]


def test_every_command_is_answered_on_the_record_by_its_id(run: RunDir) -> None:
    asking(run, {1: ["save", "resume"], 3: ["save", "stop"]})
    sent = [read.id for line in run.commands.read_bytes().splitlines() if (read := commands.read_command(line))]
    assert [event.id for event in running.of_kind(run, events.CommandDone)] == sent


def test_what_an_earlier_life_was_asked_is_not_obeyed_again(run: RunDir) -> None:
    asking(run, {2: ["stop"]})
    commands.send(run.commands, "stop_now")  # too late for that life
    assert running.run_here(run, commands_from=run.commands.stat().st_size) == running.FINISHED
    assert [ask for _, ask, _ in record(run)] == ["stop"]


def test_garbage_among_the_commands_is_passed_over(run: RunDir) -> None:
    run.commands.write_bytes(
        b'\xff\x00{"ask":"fly"}\n[1]\nnull\n{"ask": "stop"\n\n{"ask":"stop","id":"mine"}\n{"ask":"sto'
    )
    assert running.run_here(run) == running.STOPPED
    assert [event.id for event in running.of_kind(run, events.CommandDone)] == ["mine"]


def test_a_stop_sent_while_the_model_is_loaded_is_heard_after_the_first_step(run: RunDir) -> None:
    commands.send(run.commands, "stop")
    assert running.run_here(run) == running.STOPPED
    assert (running.steps_of(run), run.saved_steps()) == ([1], [1])


def test_a_stop_now_sent_while_the_model_is_loaded_is_heard_before_the_first_step(run: RunDir) -> None:
    commands.send(run.commands, "stop_now")
    assert running.run_here(run) == running.STOPPED
    assert running.steps_of(run) == []
    assert running.last_word(run).reason == "stopped"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_polite_signal_is_a_stop_with_a_checkpoint(run: RunDir, number: signal.Signals) -> None:
    def tell(step: int) -> None:
        if step == 2:
            os.kill(os.getpid(), number)

    assert running.run_here_watched(run, tell) == running.STOPPED
    assert (running.steps_of(run), run.saved_steps()) == ([1, 2], [2])
    assert [(step, ask) for step, ask, _ in record(run)] == [(2, "stop")]


@pytest.mark.slow
def test_a_process_that_gets_sigterm_within_its_steps_leaves_a_checkpoint(tmp_path: Path) -> None:
    run = running.new_run(tmp_path / "run", running.sft(training={"steps": 100_000, "checkpoint_every": 0}))
    life = running.begin(run)
    running.wait_for(lambda: len(running.steps_of(run)) >= 2)
    life.terminate()
    assert running.end_of(life) == running.STOPPED
    assert run.saved_steps() == running.steps_of(run)[-1:]
