"""The number of threads is measured: another must be worth it, and a resumed run computes with as many as before."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from engine import models, threads
from engine.contract.run_dir import RunDir
from tests.engine import running

pytestmark = pytest.mark.usefixtures("fork_server")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, dict[int, float]], None]:
    """A machine with so many cores that takes so many seconds with so many threads."""

    def of(cores: int, seconds: dict[int, float]) -> None:
        monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: cores)
        monkeypatch.setattr(threads, "_fastest", lambda _: seconds[torch.get_num_threads()])

    return of


@pytest.mark.parametrize(
    ("cores", "seconds", "chosen"),
    [
        (1, {1: 1.0}, 1),
        (2, {1: 1.0, 2: 0.55}, 2),
        (2, {1: 1.0, 2: 0.95}, 1),
        (2, {1: 0.14, 2: 2.8}, 1),
        (8, {1: 1.0, 2: 0.6, 4: 0.35, 8: 0.34}, 4),
        (6, {1: 1.0, 2: 0.6, 4: 0.4, 6: 0.3}, 6),
        (8, {1: 1.0, 2: 2.5}, 1),
    ],
    ids=["one core", "worth it", "hardly faster", "busy host", "levels off", "not a power of two", "gives up early"],
)
def test_the_fewest_threads_that_are_fast_are_chosen(
    machine: Callable[[int, dict[int, float]], None], cores: int, seconds: dict[int, float], chosen: int
) -> None:
    machine(cores, seconds)
    assert threads.calibrate(lambda: None) == chosen
    assert torch.get_num_threads() == chosen


def test_several_processes_share_the_cores(machine: Callable[[int, dict[int, float]], None]) -> None:
    machine(4, {1: 1.0, 2: 0.5})
    assert threads.calibrate(lambda: None, processes=2) == 2
    assert threads.calibrate(lambda: None, processes=8) == 1


def test_measuring_changes_neither_weights_nor_what_is_drawn_later(tmp_path: Path) -> None:
    given = running.done(tmp_path / "given", running.sft(training={"steps": 2}))
    measured = running.new_run(tmp_path / "measured", running.sft(training={"steps": 2, "threads": "auto"}))
    assert running.run_here(measured) == running.FINISHED
    assert running.values_of(measured, "loss") == pytest.approx(running.values_of(given, "loss"), rel=1e-5)


def test_a_resumed_run_computes_with_as_many_threads_as_before(
    tmp_path: Path, machine: Callable[[int, dict[int, float]], None]
) -> None:
    run = running.new_run(tmp_path / "run", running.sft(training={"threads": "auto", "steps": 2}))
    machine(2, {1: 1.0, 2: 0.5})
    assert running.run_here(run) == running.FINISHED
    assert threads_of(run) == 2
    machine(2, {1: 1.0, 2: 9.0})
    assert running.run_here(run) == running.FINISHED
    assert (threads_of(run), torch.get_num_threads()) == (2, 2)


def threads_of(run: RunDir) -> int:
    return int(json.loads(run.environment.read_text())["threads"])


def test_a_number_that_is_given_holds_from_the_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the model is loaded, which computes already, and before anything is measured."""
    load, seen = models.load_policy, []

    def watched(*given: Any, **named: Any) -> Any:
        seen.append(torch.get_num_threads())
        return load(*given, **named)

    monkeypatch.setattr("engine.assembly.load_policy", watched)
    monkeypatch.setattr("engine.assembly.calibrate", lambda *_, **__: pytest.fail("measured all the same"))
    torch.set_num_threads(1)
    running.done(tmp_path / "run", running.sft(training={"steps": 1, "threads": 2}))
    assert seen == [2]
