"""The two-minute first run: a tiny model learns sums from examples, then from a reward alone."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.contract import events, jsonl
from engine.contract.run_dir import RunDir
from engine.starting import launch
from engine.starting.resolution import APPLICATION

PRESETS = APPLICATION / "presets"
FIRST, SECOND = PRESETS / "tour_sft.yaml", PRESETS / "tour_grpo.yaml"

#: Starts a prepared run, shows it until it ends, and gives its directory and the exit code.
Show = Callable[[launch.Prepared], tuple[RunDir, int]]


@dataclass(frozen=True)
class Summary:
    """Mean reward over the first 5 and the last 20 steps of the second run; None if it had none."""

    first: float | None
    last: float | None
    seconds: float
    run: RunDir

    def lines(self) -> list[str]:
        """Three lines for a person."""
        return [
            f"reward of the first 5 steps: {_shown(self.first)}",
            f"reward of the last 20 steps: {_shown(self.last)}",
            f"the tour took {self.seconds:.0f} s; its second run is in {self.run.path}",
        ]


def check(workspace: Path) -> launch.Prepared:
    """The first run, checked. Raises PresetError."""
    return launch.prepare(FIRST, [], workspace=workspace)


def run(workspace: Path, show: Show) -> tuple[int, Summary | None]:
    """Both runs, one after the other. Returns the exit code of the last, and a summary when both finished.

    Raises PresetError, LaunchError.
    """
    started = time.monotonic()
    sums, code = show(check(workspace))
    if code != 0:
        return code, None
    # The very run, not the newest of its name: another may have been started meanwhile.
    prepared = launch.prepare(SECOND, [f"model.path={sums.path}"], workspace=workspace)
    learned, code = show(prepared)
    if code != 0:
        return code, None
    rewards = rewards_of(learned)
    return 0, Summary(mean(rewards[:5]), mean(rewards[-20:]), time.monotonic() - started, learned)


def rewards_of(run: RunDir) -> list[float]:
    """The reward of each step."""
    read = (events.read_event(line) for line in jsonl.follow(run.events))
    return [e.values["reward"] for e in read if isinstance(e, events.Step) and "reward" in e.values]


def mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _shown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"
