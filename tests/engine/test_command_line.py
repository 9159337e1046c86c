"""The commands as a person or a script sees them: what is printed where, and which exit code says what."""

import json
import os
import pty
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine import __main__ as command_line
from engine.command_line import stopping, terminal, tour
from engine.contract import commands, events, run_dir, status
from engine.contract.run_dir import RunDir, write_json
from engine.starting import launch
from tests.engine.supervised import FAKE, ROOT, ended, has_begun, wait_until

PRESET = """method: grpo
name: sums
model: {path: scratch, scratch: {}}
data: {train: "task:arithmetic"}
rewards: [{kind: verifier}]
"""
#: A command line whose engine is the fake one.
WITH_FAKE = """
import sys
from engine import __main__
from engine.starting import launch
launch.engine_command = lambda preset: [sys.executable, "-S", sys.argv[1], sys.argv[2]]
sys.exit(__main__.main(sys.argv[3:]))
"""


@pytest.fixture
def preset(tmp_path: Path) -> Path:
    file = tmp_path / "sums.yaml"
    file.write_text(PRESET)
    return file


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is started in place of the engine; the last word is the behaviour."""
    command = [sys.executable, "-S", str(FAKE), "trains_5"]
    monkeypatch.setattr(launch, "engine_command", lambda _preset: command)
    return command


def call(*arguments: object) -> int:
    try:
        return command_line.main([str(argument) for argument in arguments])
    except SystemExit as left:
        return int(left.code or 0)


def start(behaviour: str, *arguments: object, **more: Any) -> "subprocess.Popen[str]":
    # As in a terminal: under nohup the tests themselves would ignore a hang-up, and pass that on.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    words = [sys.executable, "-c", WITH_FAKE, str(FAKE), behaviour, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **more}
    return subprocess.Popen(words, cwd=ROOT, **pipes)


def the_run(workspace: Path) -> RunDir:
    [run] = run_dir.list_runs(workspace / "runs")
    return run


def wait_for_steps(workspace: Path) -> RunDir:
    runs = workspace / "runs"
    wait_until(lambda: run_dir.list_runs(runs) and status.summarise(the_run(workspace)).step > 0)
    return the_run(workspace)


# --------------------------------------------------------------------------------------------------------- run


def test_a_run_is_shown_until_it_has_finished(preset, engine, tmp_path, capsys):
    assert call("run", preset, "--workspace", tmp_path) == 0
    said = capsys.readouterr().out
    assert f"run directory: {the_run(tmp_path).path}" in said
    assert "loading the model …" in said
    assert "step 5/5  reward 1  kl to reference nan" in said
    assert f"the model is in {the_run(tmp_path).final}" in said


def test_a_failure_is_one_paragraph_with_remedy_and_log(preset, engine, tmp_path, capsys):
    engine[-1] = "fails"
    assert call("run", preset, "--workspace", tmp_path) == 1
    run = the_run(tmp_path)
    expected = f"{run.path}: failed: no such model; name another. The log is {run.log}\n"
    assert capsys.readouterr().err == expected


def test_a_killed_engine_is_a_failure_that_says_how(preset, engine, tmp_path, capsys):
    engine[-1] = "kills_itself"
    assert call("run", preset, "--workspace", tmp_path) == 1
    assert "killed (signal 9)" in capsys.readouterr().err


def test_a_bad_preset_is_told_in_full_and_nothing_is_written(preset, tmp_path, capsys):
    assert call("run", preset, "--workspace", tmp_path / "new", "--set", "training.steps=0", "--set", "seeed=1") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0] == str(preset)
    assert "training.steps: should be at least 1 (got 0)" in err
    assert "seeed: no such setting; did you mean seed?" in err
    assert not (tmp_path / "new").exists()


def test_a_script_gets_the_faults_as_json_and_a_person_the_paragraph(preset, tmp_path, capsys):
    assert call("run", preset, "--workspace", tmp_path, "--detach", "--json", "--set", "training.steps=0") == 2
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert told["file"] == str(preset)
    [fault] = told["faults"]
    assert fault.keys() == {"key", "given", "problem", "remedy", "line"}
    assert (fault["key"], fault["given"]) == ("training.steps", "0")
    assert "training.steps" in err


def test_detached_it_prints_the_run_directory_and_returns(preset, engine, tmp_path, capsys):
    engine[-1] = "trains_100"
    assert call("run", preset, "--workspace", tmp_path, "--detach", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"run_dir": str(the_run(tmp_path).path)}
    assert status.is_alive(the_run(tmp_path))
    assert call("stop", told["run_dir"]) == 0


def test_attached_with_json_the_progress_goes_to_standard_error(preset, engine, tmp_path, capsys):
    assert call("run", preset, "--workspace", tmp_path, "--json") == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert (told["state"], told["exit_code"], told["run_dir"]) == ("finished", 0, str(the_run(tmp_path).path))
    assert "step 5/5" in err


def test_ctrl_c_stops_with_a_checkpoint_and_says_how_to_go_on(preset, tmp_path):
    process = start("trains_500", "run", preset, "--workspace", tmp_path)
    run = wait_for_steps(tmp_path)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 3, err
    assert "asked to stop after this step, with a checkpoint; press Ctrl+C again to stop at once" in out
    assert f"python -m engine resume {run.path}" in out
    assert b'"ask":"stop"' in run.commands.read_bytes()


def test_ctrl_c_twice_stops_at_once(preset, tmp_path):
    environment = {**os.environ, "PLUMBLINE_GRACE_SECONDS": "0.2"}
    process = start("ignores_signals", "run", preset, "--workspace", tmp_path, env=environment)
    wait_until(lambda: run_dir.list_runs(tmp_path / "runs") and has_begun(the_run(tmp_path)))
    process.send_signal(signal.SIGINT)
    wait_until(the_run(tmp_path).commands.exists)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 3, err
    assert ended(the_run(tmp_path))["requested"]


def test_terminating_the_command_stops_the_run(preset, tmp_path):
    process = start("trains_500", "run", preset, "--workspace", tmp_path)
    wait_for_steps(tmp_path)
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode == 3


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL])
def test_a_run_goes_on_when_its_terminal_closes(preset, tmp_path, number):
    process = start("trains_40", "run", preset, "--workspace", tmp_path)
    run = wait_for_steps(tmp_path)
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode == -number
    wait_until(lambda: not status.is_alive(run))
    assert status.summarise(run).status.state == "finished"


def test_a_terminal_gets_a_bar(preset, tmp_path):
    master, terminal = pty.openpty()
    process = start("trains_20", "run", preset, "--workspace", tmp_path, stdin=terminal, stdout=terminal)
    os.close(terminal)
    shown = b""
    try:
        while data := os.read(master, 65536):
            shown += data
    except OSError:
        pass  # how a pseudo-terminal says that its other end is closed
    os.close(master)
    assert process.wait(20) == 0
    process.communicate()
    assert "━".encode() in shown
    assert b"20/20" in shown
    assert b"reward 1" in shown


def test_what_a_run_says_cannot_move_the_cursor(preset, engine, tmp_path, capsys):
    made = run_dir.create(tmp_path / "runs", "evil", PRESET)
    made.events.write_text(json.dumps({"kind": "run_finished", "time": 1, "reason": "failed", "message": "\x1b[2Jx"}))
    assert call("list", tmp_path) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_a_pause_says_why_and_how_to_end_it():
    asked = events.CommandDone(step=4, time=1.0, id="a", ask="pause", outcome="paused", why="it looks hacked")
    told = "pause asked: paused, as it looks hacked; to go on: python -m engine resume RUN_DIR"
    assert terminal.sentence(asked) == told
    assert terminal.sentence(asked.model_copy(update={"ask": "resume", "outcome": "went on", "why": ""})) == (
        "resume asked: went on"
    )


# ------------------------------------------------------------------------------------------ resume, stop, list


def test_resume_follows_only_what_is_new(preset, engine, tmp_path, capsys):
    engine[-1] = "fails"
    call("run", preset, "--workspace", tmp_path)
    engine[-1] = "trains_5"
    capsys.readouterr()
    assert call("resume", the_run(tmp_path).path) == 0
    assert "no such model" not in capsys.readouterr().out


def test_resume_of_what_cannot_be_resumed_is_one_sentence(preset, engine, tmp_path, capsys):
    call("run", preset, "--workspace", tmp_path)
    capsys.readouterr()
    assert call("resume", the_run(tmp_path).path, "--detach", "--json") == 2
    out, err = capsys.readouterr()
    [fault] = json.loads(out)["faults"]
    assert "has finished all its 5 steps" in fault["problem"]
    assert fault["remedy"]
    assert "has finished all its 5 steps" in err


def test_stop_waits_until_the_run_has_ended(preset, tmp_path, capsys):
    process = start("trains_500", "run", preset, "--workspace", tmp_path)
    run = wait_for_steps(tmp_path)
    assert call("stop", run.path) == 0
    assert not status.is_alive(run)
    assert "stopped" in capsys.readouterr().out
    process.communicate(timeout=20)
    assert process.returncode == 3


def test_stopping_what_is_not_running_says_so(preset, engine, tmp_path, capsys):
    call("run", preset, "--workspace", tmp_path)
    assert call("stop", the_run(tmp_path).path) == 0
    assert "nothing to stop" in capsys.readouterr().out
    assert call("stop", tmp_path) == 2


@pytest.mark.parametrize("behaviour", ["sleeps", "ignores_signals"])
def test_stop_now_ends_an_engine_whose_supervisor_is_gone(tmp_path, monkeypatch, capsys, behaviour):
    monkeypatch.setenv("PLUMBLINE_GRACE_SECONDS", "0.2")
    run = run_dir.create(tmp_path / "runs", "orphan", PRESET)
    words = [sys.executable, "-S", str(FAKE), behaviour, str(run.path), "--commands-from", "0"]
    with run.log.open("wb") as log, subprocess.Popen(words, stdout=log, start_new_session=True) as process:
        wait_until(lambda: has_begun(run))
        identity = {"pid": process.pid, "started": psutil.Process(process.pid).create_time()}
        write_json(run.process, status.own_identity() | identity)
        assert call("stop", run.path, "--now") == 0
        assert process.wait(5) == (-signal.SIGTERM if behaviour == "sleeps" else -signal.SIGKILL)


def test_without_now_an_engine_is_only_ever_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("PLUMBLINE_GRACE_SECONDS", "0")
    run = run_dir.create(tmp_path / "runs", "mine", PRESET)
    alive = iter([True, True, True, False])
    monkeypatch.setattr(stopping, "is_alive", lambda _run: next(alive))
    monkeypatch.setattr(stopping.Escalation, "look", lambda *_: pytest.fail("more than asked"))
    assert stopping.stop(run, now=False, say=lambda _text: None)
    assert commands.read_command(run.commands.read_bytes()).ask == "stop"  # type: ignore[union-attr]


def test_the_list_tells_name_state_progress_and_how_it_died(preset, engine, tmp_path, capsys):
    call("run", preset, "--workspace", tmp_path)
    engine[-1] = "kills_itself"
    call("run", preset, "--workspace", tmp_path)
    capsys.readouterr()
    assert call("list", tmp_path) == 0
    header, second, first = capsys.readouterr().out.splitlines()
    assert header.split() == ["name", "method", "state", "step", "last", "value", "age"]
    assert "crashed" in second
    assert "killed (signal 9)" in second
    assert first.split()[1:6] == ["grpo", "finished", "5/5", "reward", "1"]


def test_the_list_for_scripts_is_strict_json(preset, engine, tmp_path, capsys):
    call("run", preset, "--workspace", tmp_path)
    capsys.readouterr()
    assert call("list", tmp_path, "--json") == 0
    [told] = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(name))
    assert (told["name"], told["state"], told["step"], told["steps"]) == ("sums", "finished", 5, 5)
    assert (told["metric"], told["value"], told["run_dir"]) == ("reward", 1.0, str(the_run(tmp_path).path))


def test_an_empty_workspace_has_no_runs(tmp_path, capsys):
    assert call("list", tmp_path) == 0
    assert "no runs" in capsys.readouterr().out
    assert call("list", tmp_path, "--json") == 0
    assert capsys.readouterr().out == "[]\n"
    assert list(tmp_path.iterdir()) == []


# -------------------------------------------------------------------------------------------------- check, tour


def test_check_shows_the_plan_and_writes_nothing(preset, tmp_path, capsys):
    assert call("check", preset, "--quick", "--workspace", tmp_path / "new") == 0
    said = capsys.readouterr().out
    assert "grpo, run name sums" in said
    assert "0.656 M parameters" in said
    assert "200 steps of 16" in said
    assert not (tmp_path / "new").exists()


def test_check_for_scripts_gives_the_whole_preset(preset, tmp_path, capsys):
    assert call("check", preset, "--quick", "--json", "--set", "training.steps=7") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["method"], told["steps"], told["parameters"]) == ("grpo", 7, 655_872)
    assert told["preset"]["training"]["steps"] == 7


def test_check_tells_every_fault(preset, capsys):
    assert call("check", preset, "--set", "data.train=none.jsonl", "--set", "training.steps=0") == 2
    err = capsys.readouterr().err
    assert "data.train: does not exist" in err
    assert "training.steps" in err


@pytest.mark.parametrize("preset_name", ["tour_sft.yaml", "sft_smollm2.yaml"])
def test_shipped_presets_are_found_faultless_from_anywhere(tmp_path, monkeypatch, capsys, preset_name):
    monkeypatch.chdir(tmp_path)
    if not (tour.PRESETS / preset_name).exists():
        pytest.skip("not shipped yet")
    assert call("check", tour.PRESETS / preset_name, "--quick") == 0, capsys.readouterr().err


def test_the_tour_trains_the_second_run_on_the_first_and_sums_up(engine, tmp_path, capsys):
    engine[-1] = "trains_30"
    assert call("tour", tmp_path) == 0
    runs = {run.name: run for run in run_dir.list_runs(tmp_path / "runs")}  # both may begin in the same second
    first, second = runs.pop("tour-sft"), runs.pop("tour-grpo")
    assert not runs
    assert str(first.path) in second.preset.read_text()
    last_three = capsys.readouterr().out.splitlines()[-3:]
    assert last_three[0] == f"reward of the first 5 steps: {sum(range(1, 6)) / 5 / 30:.3f}"
    assert last_three[1] == f"reward of the last 20 steps: {sum(range(11, 31)) / 20 / 30:.3f}"
    assert "the tour took" in last_three[2]


def test_a_tour_whose_first_run_fails_ends_there(engine, tmp_path):
    engine[-1] = "fails"
    assert call("tour", tmp_path) == 1
    assert the_run(tmp_path).name == "tour-sft"


def test_a_stopped_tour_ends_there(tmp_path):
    process = start("trains_500", "tour", tmp_path)
    wait_for_steps(tmp_path)
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode == 3
    assert status.summarise(the_run(tmp_path)).status.state == "stopped"


# ------------------------------------------------------------------------------------------------ the command line


COMMANDS = ["run", "resume", "check", "stop", "list", "tour", "sample", "evaluate", "export"]


def test_a_command_that_does_not_exist_lists_those_that_do(capsys):
    assert call("fly") == 2
    err = capsys.readouterr().err
    assert all(
        name in err for name in ("run", "resume", "check", "stop", "list", "tour", "sample", "evaluate", "export")
    )


@pytest.mark.parametrize(
    "command", ["", "run", "resume", "check", "stop", "list", "tour", "sample", "evaluate", "export"]
)
def test_every_command_has_help(command, capsys):
    assert call(*filter(None, [command]), "--help") == 0
    assert "usage: python -m engine" in capsys.readouterr().out


def test_a_full_disk_or_a_forbidden_folder_is_one_paragraph(monkeypatch, capsys):
    def no_space(*_arguments: object) -> None:
        raise OSError(28, "No space left on device", "somewhere")

    monkeypatch.setattr(run_dir, "list_runs", no_space)
    assert call("list") == 1
    err = capsys.readouterr().err
    assert err.startswith("somewhere: No space left on device")
    assert "Traceback" not in err


def test_no_command_waits_for_torch():
    code = (
        "import sys, engine.__main__; print(sorted(sys.modules.keys() & {'torch', 'transformers', 'datasets', 'rich'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_list_and_check_answer_within_a_moment(preset, tmp_path):
    for words in (["list", str(tmp_path)], ["check", str(preset), "--quick"]):
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        subprocess.run([sys.executable, "-m", "engine", *words], cwd=ROOT, capture_output=True, check=True)
        took = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
        assert took < 2  # of the processor's time: 0.3 s, and 1 s on a busy machine; torch alone takes more than 2
