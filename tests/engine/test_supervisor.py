"""The supervisor records how an engine ended, ends what hangs, and is missed by nobody when it is killed itself."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from engine import supervisor as supervising
from engine.contract import commands, locks
from engine.contract.run_dir import RunDir
from tests.engine.supervised import (
    command,
    ended,
    engine_of,
    environment,
    new_run,
    supervise,
    supervisor,
    wait_until,
)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return new_run(tmp_path)


@pytest.mark.parametrize("code", [0, 5])
def test_the_exit_code_is_on_the_record(run, code):
    record = supervise(run, f"exits_{code}")
    assert (record["exit_code"], record["signal"]) == (code, None)
    assert not record["hung"]
    assert not record["out_of_memory"]
    assert time.time() - record["time"] < 30


def test_a_killed_engine_is_told_by_its_signal(run):
    record = supervise(run, "kills_itself")
    assert (record["exit_code"], record["signal"], record["hung"]) == (None, signal.SIGKILL, False)


def test_an_engine_that_cannot_be_started_is_on_the_record_too(run, tmp_path):
    words = [*command(run, "exits_0")[:6], str(tmp_path / "no such program")]
    done = subprocess.run(words, env=environment(), capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
    assert ended(run)["exit_code"] == 127
    assert "no such program" in run.log.read_text()


def test_an_engine_without_a_sign_of_life_is_ended_as_hung(run):
    started = time.monotonic()
    record = supervise(run, "sleeps", hang=0.4, grace=0.3)
    assert record["hung"]
    assert record["signal"] == signal.SIGTERM
    assert time.monotonic() - started < 5


def test_an_engine_that_ignores_the_polite_signal_is_killed(run):
    record = supervise(run, "ignores_signals", hang=0.3, grace=0.3)
    assert record["hung"]
    assert record["signal"] == signal.SIGKILL
    assert not record["out_of_memory"]  # we killed it, so its memory is not to blame


def test_a_stopped_process_counts_as_hung(run):
    with supervisor(run, "beats", hang=0.5, grace=0.2) as process:
        engine_of(run).suspend()
        process.wait(10)
    assert ended(run)["hung"]
    assert ended(run)["signal"] == signal.SIGKILL


def test_a_beating_heart_keeps_a_long_run_alive(run):
    record = supervise(run, "beats", hang=0.6)
    assert (record["exit_code"], record["hung"]) == (0, False)


def test_stop_now_is_enforced_when_the_engine_does_not_obey(run):
    with supervisor(run, "ignores_signals", grace=0.3) as process:
        commands.send(run.commands, "stop_now")
        process.wait(10)
    assert ended(run)["requested"]
    assert ended(run)["signal"] == signal.SIGKILL
    assert not ended(run)["hung"]


def test_stop_now_leaves_an_engine_that_obeys_alone(run):
    with supervisor(run, "obeys", grace=5) as process:
        commands.send(run.commands, "stop_now")
        process.wait(10)
    assert (ended(run)["exit_code"], ended(run)["signal"]) == (3, None)


def test_a_request_of_an_earlier_life_is_not_obeyed_again(run):
    commands.send(run.commands, "stop_now")
    assert supervise(run, "works_a_while", grace=0.1)["exit_code"] == 0


def test_terminating_the_supervisor_asks_the_engine_to_stop_with_a_checkpoint(run):
    with supervisor(run, "obeys") as process:
        process.terminate()
        process.wait(10)
    request = commands.read_command(run.commands.read_bytes().splitlines()[0])
    assert request is not None
    assert request.ask == "stop"
    assert ended(run)["exit_code"] == 3


def test_terminating_it_twice_does_not_wait(run):
    with supervisor(run, "ignores_signals", grace=0.2) as process:
        process.terminate()
        wait_until(run.commands.exists)
        process.terminate()
        process.wait(10)
    assert ended(run)["requested"]


def test_a_closing_terminal_and_ctrl_c_do_not_reach_it(run):
    with supervisor(run, "works_a_while") as process:
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    assert ended(run)["exit_code"] == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux hands orphans to a subreaper")
def test_no_orphan_outlives_its_engine(run):
    supervise(run, "leaves_an_orphan")
    orphan = int((run.path / "orphan").read_text())
    assert not psutil.pid_exists(orphan) or str(run.path) not in psutil.Process(orphan).cmdline()


def test_a_second_supervisor_is_refused_and_touches_nothing(run):
    with supervisor(run, "sleeps"):
        before = {file.name: file.stat().st_mtime_ns for file in run.path.iterdir()}
        second = subprocess.run(command(run, "exits_0"), env=environment(), capture_output=True, check=False)
        assert {file.name: file.stat().st_mtime_ns for file in run.path.iterdir()} == before
    assert second.returncode == supervising.IN_USE == 75
    assert b"in use" in second.stderr


def test_of_many_supervisors_started_at_once_exactly_one_wins(run):
    started = [
        subprocess.Popen(command(run, "works_a_while"), env=environment(), stderr=subprocess.DEVNULL) for _ in range(6)
    ]
    assert sorted(process.wait(20) for process in started) == [0] + [75] * 5
    assert run.log.read_text().count("ready") == 1


def test_an_engine_does_not_notice_that_its_supervisor_is_killed(run):
    with supervisor(run, "works_a_while") as process:
        process.kill()
        process.wait()
        assert not locks.is_held(run.lock)  # the engine did not inherit it
        wait_until((run.path / "done").exists)
    assert not run.ended.exists()


def test_what_an_earlier_life_left_is_put_away_first(run):
    run.ended.write_text("{}")
    run.process.write_text("{}")
    run.events.write_bytes(b'{"kind":"phase","ti')
    with supervisor(run, "works_a_while"):
        assert not run.ended.exists()
        assert not run.process.exists()
        assert run.events.read_bytes() == b'{"kind":"phase","ti\n'


def test_what_a_run_writes_is_nobody_elses_business(run):
    supervise(run, "leaves_an_orphan")
    assert stat.S_IMODE((run.path / "orphan").stat().st_mode) & 0o007 == 0


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells it")
def test_the_engine_goes_before_the_desktop_when_memory_runs_out(run):
    with supervisor(run, "works_a_while") as process:
        assert int(Path(f"/proc/{engine_of(run).pid}/oom_score_adj").read_text()) == 500
        assert int(Path(f"/proc/{process.pid}/oom_score_adj").read_text()) < 500


@pytest.mark.parametrize(("rise", "told"), [(1, True), (0, False)])
def test_a_kill_the_system_counts_as_out_of_memory_is_told_as_such(run, tmp_path, rise, told):
    fake = f"""
import sys
from engine import processes, supervisor
counts = iter([3, {3 + rise}])
processes.out_of_memory_kills = lambda: next(counts)
sys.exit(supervisor.main(sys.argv[1:]))
"""
    words = [sys.executable, "-S", "-c", fake, *command(run, "kills_itself")[4:]]
    subprocess.run(words, env=environment(), check=True)
    assert ended(run)["out_of_memory"] is told


def test_it_needs_nothing_but_the_standard_library():
    code = "import sys, engine.supervisor; print('yaml' in sys.modules, 'site' in sys.modules)"
    words = [sys.executable, "-S", "-c", code]
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_without_a_run_directory_it_says_what_it_needs(tmp_path):
    words = [sys.executable, "-S", "-m", "engine.supervisor", str(tmp_path / "none")]
    done = subprocess.run(words, env=environment(), capture_output=True, check=False)
    assert done.returncode == 2
    assert b"run directory" in done.stderr
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - the plainest way to say that nothing is there
