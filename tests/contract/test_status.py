"""How a run stands, judged from its directory alone: who is alive, and how it died."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from engine.contract import events, locks, status
from engine.contract.jsonl import append_line
from engine.contract.run_dir import RunDir, create_at, write_json

STARTED = events.RunStarted(time=1.0, method="sft", steps=10)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    made = create_at(tmp_path / "20250101-000000-mine", "method: sft\n")
    assert made is not None
    return made


def tell(run: RunDir, *said: events.Event) -> None:
    for event in said:
        append_line(run.events, events.event_line(event))


def steps(*numbers: int) -> list[events.Event]:
    return [events.Step(step=number, time=1.0, values={"loss": 1 / number}) for number in numbers]


def state(run: RunDir) -> str:
    return status.summarise(run).status.state


@contextmanager
def supervised(run: RunDir) -> Iterator[None]:
    lock = locks.hold(run.lock)
    assert lock is not None
    with lock:
        yield


def ended(run: RunDir, **record: object) -> None:
    run.lock.touch()
    write_json(run.ended, {"exit_code": None, "signal": None, "out_of_memory": False, "hung": False, **record})


def test_a_run_is_starting_until_its_first_step_and_then_running(run):
    with supervised(run):
        assert state(run) == "starting"
        tell(run, STARTED)
        assert state(run) == "starting"
        tell(run, *steps(1))
        assert state(run) == "running"


def test_a_run_is_paused_between_pause_and_resume(run):
    tell(run, STARTED, *steps(1), events.CommandDone(step=1, time=1.0, id="a", ask="pause"))
    with supervised(run):
        assert state(run) == "paused"
        tell(run, events.CommandDone(step=1, time=1.0, id="b", ask="resume"))
        assert state(run) == "running"


def test_a_run_that_paused_by_a_rule_of_its_own_says_why_and_that_it_can_go_on(run):
    asked = events.CommandDone(step=1, time=1.0, id="a", ask="pause", outcome="paused", why="it looks hacked")
    tell(run, STARTED, *steps(1), asked)
    with supervised(run):
        found = status.summarise(run).status
        assert (found.state, found.sentence) == ("paused", "it looks hacked")
        assert found.remedy == "Resume goes on all the same"
        tell(run, events.CommandDone(step=1, time=1.0, id="b", ask="pause"))  # somebody asked for it, too
        assert status.summarise(run).status == status.Status("paused")


@pytest.mark.parametrize("reason", ["finished", "stopped", "failed"])
def test_the_engines_last_word_is_believed(run, reason):
    tell(run, STARTED, *steps(1), events.RunFinished(time=2.0, reason=reason, message="no rows\ngive some"))
    ended(run, exit_code=0)
    assert state(run) == reason


def test_a_failure_is_told_with_its_remedy(run):
    tell(run, STARTED, events.RunFinished(time=2.0, reason="failed", message="no rows\ngive some"))
    found = status.summarise(run).status
    assert (found.sentence, found.remedy) == ("no rows", "give some")


def test_the_moment_between_last_word_and_leaving_already_counts_as_ended(run):
    tell(run, STARTED, events.RunFinished(time=time.time() + 1, reason="finished"))
    write_json(run.process, status.own_identity())
    with supervised(run):
        assert state(run) == "finished"


def test_a_resumed_run_is_starting_even_before_its_engine_has_said_who_it_is(run):
    tell(run, STARTED, events.RunFinished(time=time.time() - 60, reason="failed"))
    with supervised(run):
        assert state(run) == "starting"
        write_json(run.process, status.own_identity() | {"started": time.time()})
        assert state(run) == "starting"


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"signal": 9}, "killed (signal 9)"),
        ({"signal": 9, "out_of_memory": True}, "out of memory"),
        ({"signal": 15, "hung": True}, "hung"),
        ({"exit_code": 1}, "exit code 1"),
    ],
)
def test_a_crash_says_how(run, record, words):
    tell(run, STARTED, *steps(1, 2))
    ended(run, **record)
    found = status.summarise(run).status
    assert found.state == "crashed"
    assert words in found.sentence
    assert found.remedy


def test_a_run_ended_on_request_is_stopped_and_no_crash(run):
    tell(run, STARTED, *steps(1))
    ended(run, signal=9, requested=True)
    assert state(run) == "stopped"


def test_nobody_alive_and_no_last_word_is_a_crash_nobody_saw(run):
    tell(run, STARTED, *steps(1))
    run.lock.touch()
    assert "nobody saw" in status.summarise(run).status.sentence


def test_a_run_that_was_never_started_says_so(run):
    assert status.summarise(run).status.sentence == "never started"


def test_an_engine_that_outlived_its_supervisor_is_alive(run):
    write_json(run.process, status.own_identity())
    tell(run, STARTED, *steps(1))
    assert status.engine_pid(run) == os.getpid()
    assert state(run) == "running"


def test_a_later_process_with_the_same_number_is_not_taken_for_the_engine(run):
    write_json(run.process, status.own_identity() | {"started": psutil.Process().create_time() - 60})
    assert status.engine_pid(run) is None
    assert not status.is_alive(run)


def test_an_engine_on_another_machine_is_not_looked_for_here(run):
    write_json(run.process, status.own_identity() | {"host": "elsewhere"})
    assert status.engine_pid(run) is None


def test_a_dead_process_nobody_reaped_is_not_alive(run):
    process = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    identity = {"pid": process.pid, "started": psutil.Process(process.pid).create_time()}
    write_json(run.process, status.own_identity() | identity)
    assert status.engine_pid(run) == process.pid
    process.kill()
    deadline = time.monotonic() + 10
    while status.engine_pid(run) is not None:
        assert time.monotonic() < deadline
    process.communicate()


@pytest.mark.parametrize("content", ["", "{", '{"pid": "x"}', '{"pid": -1}', '{"pid": 1, "started": "x"}'])
def test_a_damaged_process_file_names_nobody(run, content):
    run.process.write_text(content)
    assert status.engine_pid(run) is None


def test_the_summary_reads_both_ends_of_a_long_run(run):
    tell(run, STARTED.model_copy(update={"steps": 5000}))
    line = events.event_line(events.Step(step=0, time=1.0, values={"loss": 0.5}))
    with run.events.open("a") as file:
        file.writelines(line.replace('"step":0', f'"step":{n}') + "\n" for n in range(1, 5001))
    found = status.summarise(run)
    assert (found.method, found.step, found.steps, found.values) == ("sft", 5000, 5000, {"loss": 0.5})


def test_garbage_among_the_events_does_not_hide_the_rest(run):
    tell(run, STARTED, *steps(1))
    with run.events.open("ab") as file:
        file.write(b'\xff\x00garbage\n{"kind":"from the future"}\n{"kind":"step","st')
    found = status.summarise(run)
    assert (found.step, found.steps) == (1, 10)


def test_the_shape_of_a_run_spans_it_from_the_first_step_to_the_last(run):
    tell(run, STARTED, *steps(*range(1, 5001)))
    losses = [values["loss"] for values in status.summarise(run).shape]
    assert 90 <= len(losses) <= 97
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > 1 / 100
    assert losses[-1] == 1 / 5000


def test_the_shape_of_a_run_tells_steps_taken_twice_once(run):
    tell(run, STARTED, *steps(*range(1, 9)), events.Resumed(from_step=4, time=2.0), *steps(5, 6))
    assert [round(1 / values["loss"]) for values in status.summarise(run).shape] == [1, 2, 3, 4, 5, 6]
