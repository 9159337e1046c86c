"""How a run's files reach the window: while they grow, torn, damaged, replaced, very long."""

import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.contract import events
from engine.contract.run_dir import RunDir
from tests.workbench.fake_runs import ANSWERS, FakeEngine
from workbench.io import engine_process, preset_files
from workbench.io.background import Background
from workbench.io.log_tail import readable
from workbench.io.run_feed import RunFeed, sketch
from workbench.io.run_reader import RunReader, list_files, read_completions, read_frozen
from workbench.io.runs_folder import RunsFolder, scan
from workbench.io.workspace import Workspace

pytestmark = pytest.mark.usefixtures("qapp")


@pytest.fixture
def background() -> Iterator[Background]:
    pool = Background(threads=2)
    yield pool
    pool.close()


@pytest.fixture
def feeds(background: Background) -> Iterator[Any]:
    opened: list[RunFeed] = []

    def follow(run: RunDir) -> RunFeed:
        opened.append(RunFeed(run, background))
        opened[-1].start()
        return opened[-1]

    yield follow
    for feed in opened:
        feed.close()


@pytest.fixture
def engine(workspace: Path) -> Iterator[FakeEngine]:
    made = FakeEngine(workspace / "runs", "a", steps=1000).begin()
    yield made
    made.vanish()


def append(run: RunDir, data: bytes) -> None:
    with run.events.open("ab") as file:
        file.write(data)


def test_a_step_is_there_soon_after_it_was_written(qtbot: Any, feeds: Any, engine: FakeEngine) -> None:
    feed = feeds(engine.run)
    with qtbot.waitSignal(feed.caught_up):
        pass
    engine.train(3)
    with qtbot.waitSignal(feed.updated) as told:
        pass
    assert "reward" in told.args[0].metrics
    assert feed.state.step == 3


def test_nothing_is_told_while_nothing_is_written(qtbot: Any, feeds: Any, engine: FakeEngine) -> None:
    feed = feeds(engine.train(1).run)
    qtbot.waitSignal(feed.caught_up).wait()
    with qtbot.assertNotEmitted(feed.updated, wait=150):
        pass


def test_a_torn_line_waits_for_its_end(qtbot: Any, feeds: Any, engine: FakeEngine) -> None:
    feed = feeds(engine.train(1).run)
    line = events.event_line(events.Step(step=2, time=1.0, values={"reward": 0.5})).encode()
    append(engine.run, line[:20])
    qtbot.waitUntil(lambda: feed.state.step == 1)
    append(engine.run, line[20:] + b"\n")
    qtbot.waitUntil(lambda: feed.state.step == 2)
    assert feed.state.unreadable_count == 0


def test_garbage_between_two_steps_costs_neither(qtbot: Any, feeds: Any, engine: FakeEngine) -> None:
    engine.train(1)
    append(engine.run, b"\x00\xff{]\n" + b'{"kind": "telepathy", "time": 1}\n')
    feed = feeds(engine.train(1).run)
    qtbot.waitUntil(lambda: feed.state.step == 2)
    assert feed.state.unreadable_count == 2


def test_a_file_that_shrinks_is_read_anew(qtbot: Any, feeds: Any, engine: FakeEngine) -> None:
    feed = feeds(engine.train(50).run)
    qtbot.waitUntil(lambda: feed.state.step == 50)
    whole = engine.run.events.read_bytes().splitlines(keepends=True)
    engine.run.events.write_bytes(b"".join(whole[:5]))
    qtbot.waitUntil(lambda: feed.has_caught_up and 0 < feed.state.step < 50)


def test_a_long_run_is_sketched_from_end_to_end_at_once(engine: FakeEngine) -> None:
    engine.steps = 20_000
    engine.train(20_000, every=0)
    began = time.thread_time()
    state = sketch(engine.run.events)
    assert time.thread_time() - began < 1
    steps, _ = state.series["reward"].arrays()
    assert state.step == 20_000
    assert len(steps) > 400
    assert max(b - a for a, b in itertools.pairwise(steps.tolist())) < 200
    assert state.unreadable_count == 0


def test_after_a_sketch_comes_every_step(qtbot: Any, feeds: Any, engine: FakeEngine) -> None:
    engine.steps = 12_000
    engine.train(12_000, every=0)
    feed = feeds(engine.run)
    with qtbot.waitSignal(feed.caught_up, timeout=20_000):
        pass
    assert len(feed.state.series["reward"]) == 12_000


def test_a_killed_engine_shows_within_two_seconds(qtbot: Any, feeds: Any, engine: FakeEngine) -> None:
    feed = feeds(engine.train(5).run)
    qtbot.waitUntil(lambda: feed.status is not None and feed.status.state == "running")
    engine.vanish(signal=9)
    with qtbot.waitSignal(feed.judged, timeout=2000):
        pass
    assert feed.status.state == "crashed"
    assert "killed" in feed.status.sentence


def test_a_feed_of_a_finished_run_rests_until_it_is_woken(qtbot: Any, feeds: Any, engine: FakeEngine) -> None:
    feed = feeds(engine.train(5).finish().run)
    qtbot.waitUntil(lambda: feed.status is not None and not feed._timer.isActive())
    engine.say(events.Resumed(time=time.time(), from_step=5))
    feed.wake()
    qtbot.waitUntil(lambda: len(feed.state.resumes) == 1)


def test_a_look_finds_what_is_new_gone_or_alive_and_nothing_else(workspace: Path) -> None:
    runs = workspace / "runs"
    old = FakeEngine(runs, "old", stamp="20250101-000000").begin().train(2).finish()
    alive = FakeEngine(runs, "alive", stamp="20250102-000000").begin().train(2)
    first = scan(runs, {})
    assert {summary.run.name for summary in first.changed} == {"old", "alive"}
    assert {summary.run.name for summary in scan(runs, first.known).changed} == {"alive"}
    alive.vanish(signal=9)
    found = scan(runs, first.known)
    assert [summary.status.state for summary in found.changed] == ["crashed"]
    for path in (old.run.preset, old.run.events):
        path.unlink()
    assert scan(runs, found.known).gone == [old.run.path]


def test_a_thousand_runs_are_looked_at_in_a_blink(workspace: Path) -> None:
    for i in range(1000):
        folder = workspace / "runs" / f"20250101-{i:06d}-x"
        folder.mkdir()
        (folder / "preset.yaml").touch()
        (folder / "events.jsonl").touch()
    known = scan(workspace / "runs", {}).known
    again = scan(workspace / "runs", known)
    assert len(known) == 1000
    assert not again.changed
    assert again.seconds < 1.0


def test_a_folder_that_is_not_there_yet_holds_no_runs(qtbot: Any, background: Background, tmp_path: Path) -> None:
    folder = RunsFolder(tmp_path / "none", background)
    with qtbot.waitSignal(folder.changed) as told:
        folder.start()
    folder.stop()
    assert told.args[0].changed == []


def test_completions_are_read_from_where_their_event_says(engine: FakeEngine) -> None:
    engine.train(20, every=5)
    samples = map(events.read_event, engine.run.events.read_bytes().splitlines())
    wanted = [event for event in samples if isinstance(event, events.Samples)]
    found = read_completions(engine.run.rollouts, [wanted[2], wanted[0]])
    assert [answer.step for answer in found] == [15] * ANSWERS + [5] * ANSWERS


def test_completions_that_are_not_there_are_no_completions(engine: FakeEngine) -> None:
    wanted = [events.Samples(step=1, time=0, offset=10**9, count=5), events.Samples(step=1, time=0, offset=-1, count=9)]
    assert read_completions(engine.run.rollouts, wanted) == []
    engine.run.rollouts.write_bytes(b"\xff\xfe garbage\n" * 20)
    assert read_completions(engine.run.rollouts, wanted) == []


def test_of_several_questions_the_last_is_answered(qtbot: Any, background: Background, engine: FakeEngine) -> None:
    engine.train(10, every=5)
    lines = map(events.read_event, engine.run.events.read_bytes().splitlines())
    samples = [event for event in lines if isinstance(event, events.Samples)]
    reader = RunReader(engine.run, background)
    answers: list[int] = []
    reader.answers.connect(lambda found: answers.append(found[0].step))
    for event in [*samples] * 5:
        reader.read_answers([event])
    qtbot.waitUntil(lambda: bool(answers))
    qtbot.wait(100)
    assert answers[-1] == 10
    assert len(answers) <= 2


def test_the_parent_of_a_run_is_read_from_its_preset(engine: FakeEngine) -> None:
    assert read_frozen(engine.run).parents == ["tour-sft"]


def test_a_run_lists_its_files_with_their_sizes(engine: FakeEngine) -> None:
    (engine.run.checkpoints / "step-000001").mkdir(parents=True)
    (engine.run.checkpoints / "step-000001" / "w").write_bytes(b"x" * 1000)
    files = {file.name: file for file in list_files(engine.run.path)}
    assert files["checkpoints"].size == 1000
    assert files["checkpoints"].is_folder
    assert files["events.jsonl"].size > 0


def test_a_log_is_shown_without_the_escapes_of_a_terminal() -> None:
    assert readable(b"\x1b[31mred\x1b[0m\r\n10%\r20%\n\x07bell\xff") == "red\n10%\n20%\nbell�"


def test_a_second_window_on_a_workspace_knows_of_the_first(tmp_path: Path) -> None:
    first, second = Workspace(tmp_path), Workspace(tmp_path)
    assert first.open()
    assert not second.open()
    first.close()
    assert second.open()
    second.close()


def test_an_error_in_the_background_reaches_who_asked(qtbot: Any, background: Background) -> None:
    told: list[Exception] = []
    background.submit(lambda: 1 // 0, lambda _: None, told.append)
    qtbot.waitUntil(lambda: bool(told))
    assert isinstance(told[0], ZeroDivisionError)


def test_the_answer_of_the_engine_is_a_run_faults_or_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fault = {"key": "training.steps", "given": "0", "problem": "should be at least 1", "remedy": "try 200", "line": 3}
    told = iter(
        [
            (0, 'a library says hello\n{"run_dir": "/x/runs/1-a"}\n', ""),
            (2, json.dumps({"file": "a.yaml", "faults": [fault]}), ""),
            (1, "", "No space is left.\n"),
        ]
    )
    monkeypatch.setattr(engine_process, "_engine", lambda *_, **__: next(told))
    answers = [engine_process.start_run(tmp_path / "a.yaml", tmp_path, tmp_path) for _ in range(3)]
    assert answers[0] == engine_process.Started(Path("/x/runs/1-a"))
    assert isinstance(answers[1], engine_process.Refused)
    assert str(answers[1].faults[0]) == "training.steps: should be at least 1 (got 0); try 200"
    assert answers[2] == engine_process.Failed("No space is left.")


def test_a_preset_is_saved_whole_and_what_was_typed_survives(tmp_path: Path) -> None:
    preset_files.save(tmp_path / "presets" / "a.yaml", "method: sft\n")
    preset_files.keep_unsaved(tmp_path, preset_files.Kept("a", "method: grpo\n"))
    assert (tmp_path / "presets" / "a.yaml").read_text() == "method: sft\n"
    assert preset_files.read_unsaved(tmp_path) == preset_files.Kept("a", "method: grpo\n")
    preset_files.keep_unsaved(tmp_path, None)
    assert preset_files.read_unsaved(tmp_path) is None
