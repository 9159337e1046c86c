"""Every action is a row: it has a name and a key, and runs only where it makes sense."""

from pathlib import Path

import pytest
from PySide6.QtGui import QKeySequence

from engine.contract.commands import Ask
from engine.contract.status import State, Status
from workbench.commands import Command, table
from workbench.views.palette import score


class Frame:
    """What commands see of a window, and a note of what they did."""

    def __init__(self, state: State | None = None, page: str = "runs") -> None:
        self.page = page
        self.status = Status(state) if state else None
        self.run_path = Path("runs/1-a") if state else None
        self.is_touring = False
        self.is_judging = page == "judge"
        self.done: list[str] = []

    def __getattr__(self, name: str) -> object:
        return lambda *given: self.done.append(" ".join([name, *map(str, given)]))

    def ask(self, ask: Ask) -> None:
        self.done.append(f"ask {ask}")

    def close(self) -> bool:
        self.done.append("close")
        return True


def commands(frame: Frame) -> dict[str, Command]:
    return {command.id: command for command in table(frame, frame)}  # type: ignore[arg-type]


def enabled(frame: Frame) -> set[str]:
    return {name for name, command in commands(frame).items() if command.enabled()}


def test_no_two_commands_share_an_id_or_a_title() -> None:
    rows = table(Frame(), Frame())  # type: ignore[arg-type]
    assert len({row.id for row in rows}) == len(rows)
    assert len({row.title for row in rows}) == len(rows)


def test_every_shortcut_is_one_that_a_keyboard_has() -> None:
    for command in commands(Frame()).values():
        assert QKeySequence(command.shortcut).toString() == command.shortcut, command.id


@pytest.mark.parametrize("page", ["runs", "presets", "judge", "help"])
@pytest.mark.parametrize("state", [None, "starting", "running", "paused", "finished", "stopped", "failed", "crashed"])
def test_no_key_means_two_things_at_once(state: State | None, page: str) -> None:
    frame = Frame(state, page)
    keys = [command.shortcut for command in commands(frame).values() if command.shortcut and command.enabled()]
    assert len(keys) == len(set(keys))


def test_a_running_run_can_be_paused_saved_and_stopped_but_not_resumed() -> None:
    able = enabled(Frame("running"))
    assert {"run.pause", "run.save", "run.stop", "run.stop_now"} <= able
    assert "run.resume" not in able


def test_a_paused_run_is_asked_to_go_on_and_a_dead_one_gets_a_new_engine() -> None:
    paused, crashed = Frame("paused"), Frame("crashed")
    commands(paused)["run.resume"].run()
    commands(crashed)["run.resume"].run()
    assert paused.done == ["ask resume"]
    assert crashed.done == ["resume"]


def test_a_finished_run_can_neither_be_stopped_nor_resumed() -> None:
    assert not {"run.resume", "run.stop", "run.stop_now", "run.pause", "run.save"} & enabled(Frame("finished"))


def test_without_a_run_no_command_needs_one() -> None:
    assert not {name for name in enabled(Frame()) if name.startswith("run.")}


def test_ctrl_s_saves_the_run_on_its_page_and_the_preset_on_the_other() -> None:
    def saved_by(page: str) -> list[str]:
        rows = commands(Frame("running", page)).values()
        return [row.id for row in rows if row.shortcut == "Ctrl+S" and row.enabled()]

    assert saved_by("runs") == ["run.save"]
    assert saved_by("presets") == ["preset.save"]


def test_letters_in_their_order_find_a_title_and_others_do_not() -> None:
    assert score("sas", "Stop after this step") is not None
    assert score("xyz", "Stop after this step") is None
    assert score("", "anything") is not None


@pytest.mark.parametrize(
    ("query", "better", "worse"),
    [
        ("stop", "Stop now", "Switch to Presets"),
        ("sn", "Save now", "Show completions"),
        ("grpo", "tour-grpo", "Go to Runs or Presets"),
        ("pause", "Pause", "Open this run's preset as a new one, use"),
    ],
)
def test_a_word_and_the_first_letters_of_words_come_first(query: str, better: str, worse: str) -> None:
    there = score(query, better)
    assert there is not None
    assert there > (score(query, worse) or 0)
