"""Rewards that run code, before and around a run: what is refused unseen, what `check` shows, what the record keeps."""

import gc
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from engine.assembly import accelerator_of, assemble
from engine.contract.faults import PresetError
from engine.contract.online_settings import MathVerify, OwnFunction
from engine.contract.run_dir import read_json
from engine.rehearsal.code import of_code
from engine.reporting import Reporter
from engine.rewards import Answered, RewardSum, Surroundings, told
from engine.starting import launch
from engine.tally import Mean
from tests.engine import running
from tests.tiny import Untouched

GOOD = "def reward(completions, **columns):\n    return [float(len(text)) for text in completions]\n"


def prepare(folder: Path, part: dict[str, Any]) -> launch.Prepared:
    preset = folder / "preset.yaml"
    preset.write_text(
        "method: grpo\nmodel: {path: scratch, scratch: {}}\ndata: {train: {path: task:arithmetic, rows: 9}}\n"
        f"rewards: [{json.dumps({'kind': 'function', **part})}]\n"
    )
    return launch.prepare(preset, [], workspace=folder)


def only_fault(folder: Path, part: dict[str, Any]) -> tuple[str, str, str]:
    with pytest.raises(PresetError) as caught:
        prepare(folder, part)
    [fault] = caught.value.faults
    return fault.dotted, fault.problem, fault.remedy


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(GOOD, "utf-8")
    return path


def test_a_function_beside_its_preset_is_found(tmp_path: Path, mine: Path) -> None:
    prepared = prepare(tmp_path, {"path": "mine.py", "allow_code": True})
    assert prepared.preset.rewards[0].path == str(mine)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("source", "more", "told"),
    [
        (GOOD, {"allow_code": False}, ("allow_code", "is no yes, and mine.py is a program that would run as you")),
        (GOOD, {"function": "grade"}, ("function", "is not in the file")),
        (GOOD, {"sha256": "0" * 64}, ("sha256", "is not that of the file any more")),
        ("def reward(:", {}, ("path", "is no Python: invalid syntax in line 1")),
    ],
    ids=["no yes", "no such function", "another file", "no Python"],
)
def test_what_would_not_run_is_told_without_running_it(
    tmp_path: Path, mine: Path, source: str, more: dict[str, Any], told: tuple[str, str]
) -> None:
    mine.write_text(source)
    key, problem, remedy = only_fault(tmp_path, {"path": "mine.py", "allow_code": True, **more})
    assert (key, problem) == (f"rewards.0.{told[0]}", told[1])
    assert remedy


def test_a_file_that_is_not_there_is_told_with_where_it_was_looked_for(tmp_path: Path) -> None:
    key, problem, remedy = only_fault(tmp_path, {"path": "none.py", "allow_code": True})
    assert (key, problem) == ("rewards.0.path", "does not exist")
    assert str(tmp_path) in remedy


def test_a_function_that_is_imported_or_assigned_may_be_there(tmp_path: Path, mine: Path) -> None:
    mine.write_text("from elsewhere import reward\ndef other(): ...\n")
    prepare(tmp_path, {"path": "mine.py", "allow_code": True})


def test_check_shows_what_code_says_of_the_first_row(tmp_path: Path, mine: Path) -> None:
    mine.write_text(
        "def fine(prompts, completions, answer, **c):\n    return [10.0 + (completions == answer)]\n"
        "def silent(**c):\n    return [None]\n"
        "def broken(completions, gold):\n    return [1.0]\n"
    )
    parts = [
        {"kind": "function", "path": str(mine), "function": name, "allow_code": True}
        for name in ("fine", "silent", "broken")
    ]
    run = running.new_run(tmp_path / "run", running.grpo(rewards=parts, training={"threads": 1}))
    preset, reporter = running.grpo(rewards=parts), Reporter(run)
    found = list(of_code(assemble(run, preset, accelerator_of(preset), reporter, Untouched())))
    assert [(finding.level, finding.key) for finding in found] == [
        *(("info", "rewards.0"), ("warning", "rewards.1"), ("error", "rewards.2"))
    ]
    assert found[0].what.startswith("the reward fine gave 11 to '")
    assert "the reward silent has nothing to say (None)" in found[1].what
    assert "TypeError" in found[2].what
    gc.collect()


def test_the_record_has_the_hash_and_a_resumed_run_tells_that_the_file_has_changed(tmp_path: Path, mine: Path) -> None:
    part = {"kind": "function", "path": str(mine), "allow_code": True}
    run = running.done(tmp_path / "run", running.grpo(rewards=[part], training={"steps": 1}))
    gc.collect()
    noted = read_json(run.environment)["functions"][str(mine)]
    assert noted["sha256"] == hashlib.sha256(GOOD.encode()).hexdigest()
    assert "has changed" not in running.notices(run)
    mine.write_text(GOOD.replace("len(text)", "2 * len(text)"))
    running.run_here(run)
    assert "the reward function mine.py has changed since this run began" in running.notices(run)
    gc.collect()


# -------------------------------------------------------------------------------------------------- math_verify


def test_answers_are_compared_as_mathematics_with_a_column() -> None:
    pytest.importorskip("math_verify")
    reward = RewardSum([MathVerify(kind="math_verify", column="gold")], Surroundings())
    asked = [
        (r"The answer is $\frac{1}{2}$.", "0.5", 1.0),
        (r"So it is \boxed{x^2 + 2x + 1}", "$(x+1)^2$", 1.0),
        ("It must be 1/2", r"\frac{1}{2}", 1.0),
        ("12", "12", 1.0),
        ("21", "12", 0.0),
        ("I do not know", "12", 0.0),
        (r"$\frac{1}{$", "12", 0.0),
        ("12", "???", None),
    ]
    scored = reward.score([Answered({"prompt": "q", "gold": gold}, text, [1]) for text, gold, _ in asked])
    assert [one.total if one.is_known else None for one in scored] == [worth for _, _, worth in asked]
    values = told(scored)
    assert values["rewards/math_verify/failed"] == Mean(1, len(asked))
    with pytest.raises(ValueError, match="math_verify needs the column 'gold'; the rows have prompt"):
        reward.score([Answered({"prompt": "q"}, "1", [1])])
    gc.collect()


def test_the_example_that_ships_pays_for_what_is_right() -> None:
    file = Path(__file__).parents[2] / "assets" / "rewards" / "short_and_sure.py"
    part = OwnFunction(kind="function", path=str(file), function="short_and_sure", allow_code=True)
    rows = [{"prompt": "3+4=", "answer": "7"}] * 3
    scored = RewardSum([part], Surroundings()).score(
        [Answered(row, text, [1]) for row, text in zip(rows, ["7", "71", "x"], strict=True)]
    )
    assert [one.total for one in scored] == [1.0, 0.25, 0.0]
    gc.collect()
