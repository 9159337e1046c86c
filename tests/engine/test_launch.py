"""Starting a run: everything is checked first, then an engine that goes on without whoever started it."""

import json
import sys
import threading
import time
from pathlib import Path

import pytest

from engine.contract import commands, jsonl, locks, run_dir, status
from engine.contract.events import CommandDone, RunFinished, event_line
from engine.contract.faults import PresetError
from engine.contract.preset import load_preset
from engine.contract.run_dir import RunDir
from engine.starting import launch
from tests.engine.supervised import FAKE, wait_until

PRESET = """method: grpo
model: {path: scratch, scratch: {}}
data: {train: "task:arithmetic"}
rewards: [{kind: verifier}]
"""


@pytest.fixture
def preset(tmp_path: Path) -> Path:
    file = tmp_path / "my sums (2).yaml"
    file.write_text(PRESET)
    return file


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is started in place of the engine; the last word is the behaviour."""
    command = [sys.executable, "-S", str(FAKE), "trains_3"]
    monkeypatch.setattr(launch, "engine_command", lambda _preset: command)
    return command


def prepare(preset: Path, *overrides: str, at: Path | None = None) -> launch.Prepared:
    return launch.prepare(preset, list(overrides), workspace=preset.parent, at=at)


def wait_for_end(run: RunDir) -> str:
    wait_until(lambda: not status.is_alive(run))
    return status.summarise(run).status.state


def test_a_run_is_named_after_its_preset_or_the_file(preset, engine):
    assert prepare(preset).name == "my-sums-2"
    assert prepare(preset, "name=mine").name == "mine"


def test_nothing_is_written_before_everything_is_checked(preset, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(PresetError):
        prepare(preset, "training.steps=0")
    prepare(preset)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_started_run_has_its_frozen_preset_and_goes_through(preset, engine):
    prepared = prepare(preset, "training.steps=3")
    run = launch.start(prepared)
    assert load_preset(run.preset) == prepared.preset
    assert prepared.preset.name == "my-sums-2"
    assert run.name == "my-sums-2"
    assert wait_for_end(run) == "finished"
    assert json.loads(run.ended.read_text())["exit_code"] == 0


def test_a_run_directory_may_be_named(preset, engine, tmp_path):
    run = launch.start(prepare(preset, at=tmp_path / "deep" / "er"))
    assert run.path == tmp_path / "deep" / "er"
    assert wait_for_end(run) == "finished"


def test_a_directory_that_is_in_use_for_something_else_is_refused(preset, tmp_path):
    with pytest.raises(PresetError, match=r"is there already .* name a new run directory, or `resume` this one"):
        prepare(preset, at=tmp_path)


def test_an_engine_that_cannot_be_started_is_told(preset, engine, tmp_path):
    engine[:] = [str(tmp_path / "no such program")]
    with pytest.raises(launch.LaunchError, match=r"could not be started .* see .*engine\.log"):
        launch.start(prepare(preset))


def test_an_engine_that_fails_at_once_is_still_a_started_run(preset, engine):
    engine[-1] = "exits_5"
    run = launch.start(prepare(preset))
    assert wait_for_end(run) == "crashed"


def test_resume_starts_the_engine_again(preset, engine):
    engine[-1] = "trains_200"
    run = launch.start(prepare(preset))
    wait_until(lambda: status.summarise(run).step > 2)
    commands.send(run.commands, "stop")
    assert wait_for_end(run) == "stopped"
    engine[-1] = "trains_3"
    launch.resume(run.path)
    assert wait_for_end(run) == "finished"
    assert run.log.read_text().count("ready") == 2


def test_resume_tells_a_paused_run_to_go_on_and_starts_nothing(preset, engine):
    run = launch.create(prepare(preset))
    jsonl.append_line(run.events, event_line(CommandDone(step=1, time=1.0, id="a", ask="pause", outcome="paused")))
    lock = locks.hold(run.lock)
    assert lock is not None
    with lock:
        assert launch.resume(run.path).path == run.path
    (asked,) = map(commands.read_command, jsonl.follow(run.commands))
    assert asked is not None
    assert asked.ask == "resume"
    assert not run.process.exists()


def test_resume_refuses_a_run_that_is_at_work(preset, engine):
    engine[-1] = "trains_500"
    run = launch.start(prepare(preset))
    with pytest.raises(launch.LaunchError, match="is in use"):
        launch.resume(run.path)
    wait_until(lambda: status.summarise(run).step > 0)
    commands.send(run.commands, "stop_now")
    assert wait_for_end(run) == "stopped"


def test_resume_refuses_a_run_whose_engine_outlived_its_supervisor(preset, tmp_path):
    run = run_dir.create(tmp_path / "runs", "orphan", PRESET)
    run_dir.write_json(run.process, status.own_identity())
    with pytest.raises(launch.LaunchError, match="is in use"):
        launch.resume(run.path)


def test_resume_says_when_there_is_nothing_left_to_do(preset, engine):
    run = launch.start(prepare(preset))
    assert wait_for_end(run) == "finished"
    with pytest.raises(launch.LaunchError, match="has finished all its 3 steps"):
        launch.resume(run.path)


def test_resume_wants_a_run_directory(tmp_path):
    with pytest.raises(launch.LaunchError, match="is not a run directory"):
        launch.resume(tmp_path)


def test_of_two_started_at_once_the_second_is_told_it_is_in_use(preset, engine):
    engine[-1] = "trains_500"
    prepared = prepare(preset)
    run = launch.create(prepared)
    launch.supervise(run, prepared.preset)
    with pytest.raises(launch.LaunchError, match="is in use"):
        launch.supervise(run, prepared.preset)
    wait_until(lambda: status.summarise(run).step > 0)
    commands.send(run.commands, "stop")
    assert wait_for_end(run) == "stopped"


def test_a_workspace_that_cannot_be_written_is_told(preset, tmp_path, monkeypatch):
    (tmp_path / "runs").write_text("a file where the folder should be")
    with pytest.raises(launch.LaunchError, match="the run directory cannot be made"):
        launch.start(prepare(preset))


def test_a_file_in_the_current_folder_cannot_pose_as_a_module(preset, engine, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    for name in ("json.py", "engine.py"):
        (tmp_path / "elsewhere" / name).write_text("raise SystemExit('not me')")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert wait_for_end(launch.start(prepare(preset))) == "finished"


def test_one_process_is_started_alone_and_several_by_one_that_ends_them_together(preset):
    one, two = prepare(preset).preset, prepare(preset, "training.processes=2", "model.device=cpu").preset
    assert launch.engine_command(one)[1:] == ["-m", "engine.run"]
    assert launch.engine_command(two)[1:] == ["-m", "engine.several", "2"]
    assert launch.environment(two)["ACCELERATE_USE_CPU"] == "true"
    assert "ACCELERATE_USE_CPU" not in launch.environment(one)


def test_a_run_whose_engine_is_just_leaving_is_resumed_when_it_has_left(preset, engine):
    run = launch.start(prepare(preset))
    wait_for_end(run)
    lock = locks.hold(run.lock)
    assert lock is not None
    run_dir.write_json(run.process, {"started": time.time() - 60})
    jsonl.append_line(run.events, event_line(RunFinished(time=time.time(), reason="stopped")))
    threading.Timer(0.3, lock.close).start()
    assert launch.resumable(run.path).path == run.path
