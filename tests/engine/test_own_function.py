"""A function of somebody's file as a part of the reward: what it is given, what it may say, and how it may fail."""

import gc
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine.contract.metrics import describe
from engine.contract.online_settings import Length, OwnFunction
from engine.contract.preset import Preset
from engine.helpers.helper import Helper, HelperError
from engine.rewards import Answered, RewardError, RewardSum, Surroundings, told
from engine.rewards.own_function import by_column
from engine.tally import Mean
from tests.engine import running

#: One file for all: the process that runs it is started once for the tests that share it.
SOURCE = """
import asyncio, os, subprocess, sys, time
from fractions import Fraction

def length(prompts, completions, **columns):
    return [len(completion) for completion in completions]

def by_gold(completions, gold, **columns):
    print("said on the way")
    return [float(text == right) if right is not None else None for text, right in zip(completions, gold)]

async def later(completions, **columns):
    await asyncio.sleep(0.001)
    return [1.0] * len(completions)

def odd(completions, **columns):
    known = {"nan": float("nan"), "inf": float("inf"), "none": None, "word": "1.0", "half": Fraction(1, 2)}
    known["raise"] = ValueError("no")
    return [known.get(text, True) for text in completions]

def stumbles(completions, **columns):
    values = []
    for text in completions:
        values.append(1 / (len(text) - 3))
    return values

def short(completions, **columns):
    return [1.0]

def scalar(completions, **columns):
    return 1.0

def hangs(completions, **columns):
    subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
    time.sleep(600 if completions[0] == "hang" else 0)
    return [float(os.getpid())] * len(completions)

def dies(completions, **columns):
    os._exit(7)
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "mine.py"
    path.write_text(SOURCE, "utf-8")
    return path


class Told(list[str]):
    """What was told of a reward, sentence by sentence."""

    def notice(self, what: str, advice: str) -> None:
        self.append(what)


Opener = Callable[..., RewardSum]


@pytest.fixture
def notices() -> Told:
    return Told()


@pytest.fixture
def opened(file: Path, notices: Told) -> Iterator[Opener]:
    """Rewards of functions of the file."""

    def open_one(function: str, **more: Any) -> RewardSum:
        part = OwnFunction(kind="function", path=str(file), function=function, allow_code=True, **more)
        return RewardSum([part], Surroundings(notice=notices.notice))

    yield open_one
    gc.collect()  # a helper goes with the last reference to it, and errors that psutil caught hold frames


def answers(*texts: str, **columns: Any) -> list[Answered]:
    return [
        Answered({"prompt": "p", **{name: values[at] for name, values in columns.items()}}, text, [1])
        for at, text in enumerate(texts)
    ]


def totals(reward: RewardSum, *texts: str, **columns: Any) -> list[float]:
    return [one.total for one in reward.score(answers(*texts, **columns))]


def test_a_function_is_given_what_trl_gives() -> None:
    talk = [{"role": "user", "content": "Hi"}]
    given = by_column(
        [
            Answered({"prompt": "2+2=", "gold": 4, "completion": "4", "_task": "t"}, "5", [5, 1]),
            Answered({"prompt": talk, "level": "easy"}, "Yo", [7]),
        ]
    )
    assert given == {
        "prompts": ["2+2=", talk],
        "completions": ["5", [{"role": "assistant", "content": "Yo"}]],
        "completion_ids": [[5, 1], [7]],
        "gold": [4, None],
        "level": [None, "easy"],
    }


def test_its_values_are_a_part_under_its_own_name(opened: Opener) -> None:
    [one, two] = opened("length", weight=2.0).score(answers("abc", ""))
    assert (one.total, one.parts) == (6.0, {"length": 3.0})
    assert two.total == 0.0


def test_none_means_not_scored_by_this_part_and_the_others_stand(file: Path) -> None:
    mine = OwnFunction(kind="function", path=str(file), function="by_gold", allow_code=True)
    reward = RewardSum([mine, Length(kind="length", target=1, weight=0.5)], Surroundings())
    scored = reward.score(answers("a", "b", "c", gold=["a", "a", None]))
    assert [one.total for one in scored] == [1.5, 0.5, 0.5]
    assert scored[2].parts == {"length": 1.0}


def test_an_async_function_is_awaited(opened: Opener) -> None:
    assert totals(opened("later"), "a", "b") == [1.0, 1.0]


def test_what_is_no_number_costs_its_answer_and_is_told_and_counted(opened: Opener, notices: Told) -> None:
    reward = opened("odd")
    scored = reward.score(answers("yes", "nan", "inf", "none", "word", "raise", "half"))
    assert [one.is_known for one in scored] == [True, False, False, False, False, False, True]
    assert (scored[0].total, scored[6].total) == (1.0, 0.5)
    assert scored[3].parts == {}  # nothing to say is no failure
    assert notices == ["the reward odd failed on 4 of 7 answers: mine.py: it returned nan"]
    values = told(scored)
    assert values["rewards/odd/failed"] == Mean(4, 7)
    assert values["rewards/odd/unscored"] == Mean(1, 7)
    assert values["rewards/odd/mean"] == Mean(1.5, 2)
    assert values["frac_reward_missing"] == Mean(5, 7)
    assert describe("rewards/odd/failed").title == "Reward: odd, failed"
    assert {describe(name).direction for name in ("rewards/odd/failed", "frac_reward_missing")} == {"down"}


def test_an_exception_costs_its_batch_and_names_its_line(opened: Opener, notices: Told) -> None:
    reward = opened("stumbles")
    assert totals(reward, "abcd") == [1.0]
    assert not any(one.is_known for one in reward.score(answers("abcd", "abc")))
    line = SOURCE.split("\n").index("        values.append(1 / (len(text) - 3))") + 1
    assert notices == [
        f"the reward stumbles failed on 2 of 2 answers: mine.py, line {line}: ZeroDivisionError: division by zero"
    ]
    assert totals(reward, "abcd") == [1.0]  # the same process goes on


def test_a_run_goes_on_after_a_lost_batch_and_ends_after_three_in_a_row(opened: Opener) -> None:
    reward = opened("stumbles")
    assert totals(reward, "abcd") == [1.0]
    for _ in range(2):
        reward.score(answers("abc"))
    with pytest.raises(
        RewardError, match=r"none of 1 answers has a reward, 3 times in a row: stumbles: mine\.py, line"
    ):
        reward.score(answers("abc"))


@pytest.mark.parametrize(
    ("function", "why"),
    [
        ("short", "ValueError: it returned 1 values for 2 answers; it should return one for each"),
        ("scalar", r"TypeError: it should return a list of numbers, and returned 1.0 \(float\)"),
        ("dies", r"mine.py: its process ended by itself \(exit code 7\)"),
    ],
)
def test_a_first_batch_without_a_reward_ends_the_run_and_says_why(opened: Opener, function: str, why: str) -> None:
    with pytest.raises(RewardError, match=f"already in the first batch: {function}: .*{why}"):
        opened(function).score(answers("a", "b"))


def test_a_function_that_hangs_is_ended_with_all_it_started_and_asked_again(opened: Opener, notices: Told) -> None:
    reward = opened("hangs", timeout=0.5)
    [before] = totals(reward, "go")
    process = psutil.Process(int(before))
    [child] = process.children()
    [lost] = reward.score(answers("hang"))
    assert not lost.is_known
    assert notices == [
        "the reward hangs failed on 1 of 1 answers: mine.py: no reply within 0.5 s for 1 answers; it was ended"
    ]
    psutil.wait_procs([process, child], timeout=10)
    assert not is_running(process)
    assert not is_running(child)
    assert totals(reward, "go") != [before]


def is_running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_whoever_stops_a_run_waits_for_no_function(file: Path) -> None:
    """`breathe` raises when a run is to stop at once."""
    breaths = iter([None, None, None])

    class StopError(Exception): ...

    def breathe() -> None:
        if next(breaths, StopError) is StopError:
            raise StopError

    helper = Helper(file, "hangs", timeout=60, breathe=breathe)
    with pytest.raises(StopError):
        helper.ask(1, {"completions": ["hang"]})
    assert helper.pid is None


def test_a_helper_leaves_with_the_process_that_started_it_however_that_ends(file: Path, tmp_path: Path) -> None:
    """Killed at once while the function holds Python's lock, as a pattern without end does."""
    busy = tmp_path / "busy.py"
    busy.write_text("import re\ndef reward(completions, **c):\n    return [re.match('(a+)+$', 'a' * 60 + 'b')]\n")
    code = (
        "import sys; from pathlib import Path; from engine.helpers.helper import Helper\n"
        f"helper = Helper(Path({str(busy)!r}), 'reward', timeout=60); helper.start(); print(helper.pid, flush=True)\n"
        "helper.ask(1, {'completions': ['a']})"
    )
    starter = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    with starter.stdout:
        helper = psutil.Process(int(starter.stdout.readline()))
    spent = helper.cpu_times().user
    while helper.cpu_times().user < spent + 0.05:  # it is at work
        time.sleep(0.01)
    starter.kill()
    starter.wait()
    deadline = time.monotonic() + 10
    while is_running(helper) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_running(helper)


def test_what_runs_is_what_was_read_whatever_is_saved_over_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def reward(completions, **columns):\n    return [1.0] * len(completions)\n")
    helper = Helper(path, "reward", timeout=60)
    path.write_text("raise SystemExit\n")
    assert helper.ask(2, {"completions": ["a", "b"]}) == [1.0, 1.0]
    helper.close()


@pytest.mark.parametrize("preset_of", [running.grpo, running.ppo], ids=["grpo", "ppo"])
def test_a_run_learns_from_the_answers_that_have_a_reward_and_tells_of_the_others(
    tmp_path: Path, preset_of: Callable[..., Preset]
) -> None:
    """Of the first step all but one answer of a prompt have one, of the second none."""
    path = tmp_path / "mine.py"
    path.write_text(
        "calls = 0\n"
        "def lengths(completion_ids, answer, **columns):\n"
        "    global calls; calls += 1\n"
        "    assert calls != LOST, 'the judge is away'\n"
        "    return [float('nan')] + [float(len(ids)) for ids in completion_ids[1:]]\n"
        "LOST = 2\n"
    )
    part = {"kind": "function", "path": str(path), "function": "lengths", "allow_code": True}
    run = running.done(tmp_path / "run", preset_of(rewards=[part], training={"steps": 3}))
    each = 16 if preset_of is running.grpo else 8
    assert running.values_of(run, "rewards/lengths/failed") == [1 / each, 1.0, 1 / each]
    assert running.values_of(run, "frac_reward_missing") == [1 / each, 1.0, 1 / each]
    assert [step for kind, step, values in running.curve(run) if kind == "step" and "reward" in values] == [1, 3]
    assert f"the reward lengths failed on 1 of {each} answers: mine.py: it returned nan" in running.notices(run)
    why = "mine.py, line 4: AssertionError: the judge is away"
    assert f"the reward lengths failed on {each} of {each} answers: {why}" in running.notices(run)
    gc.collect()


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("def other(): ...\n", "there is no function 'reward' in it (it has other)"),
        ("def reward(:\n", "line 1: SyntaxError"),
        ("import nothing_of_that_name\n", "line 1: ModuleNotFoundError: No module named 'nothing_of_that_name'"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_told_before_the_first_step(tmp_path: Path, source: str, why: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(source)
    helper = Helper(path, "reward", timeout=60)
    with pytest.raises(HelperError) as told:
        helper.start()
    assert why in str(told.value)
    assert helper.pid is None


def test_no_file_runs_that_nobody_has_allowed(file: Path) -> None:
    with pytest.raises(RewardError, match=r"mine.py is code that nobody has allowed; set allow_code to true"):
        RewardSum([OwnFunction(kind="function", path=str(file))], Surroundings())


def test_a_file_that_is_not_the_one_that_was_allowed_does_not_run(file: Path) -> None:
    part = OwnFunction(kind="function", path=str(file), allow_code=True, sha256="0" * 64)
    with pytest.raises(RewardError, match=r"is not the file that was allowed \(its sha256 is [0-9a-f]{64}\)"):
        RewardSum([part], Surroundings())
