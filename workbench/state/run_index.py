"""All runs of a workspace, as the list shows them."""

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from engine.contract import metrics
from engine.contract.status import ALIVE, State, Summary
from workbench.state import figures

#: Methods whose runs have a reward to look at.
LEARN_FROM_REWARD = ("grpo", "ppo", "best_of_n", "online_dpo")
#: Methods whose steps are no progress that a curve would show: what they found is said in words.
WITHOUT_CURVE = ("diffusion_sample", "sampler_proof")
#: One word for a state; it always stands beside an icon and a colour.
WORDS: dict[State, str] = {
    "starting": "Starting",
    "running": "Running",
    "paused": "Paused",
    "finished": "Finished",
    "stopped": "Stopped",
    "failed": "Failed",
    "crashed": "Crashed",
}


@dataclass(frozen=True)
class RunRow:
    """A run in one glance. line: where it stands or how it ended. fraction: of its steps, while it is alive.

    headline: the curve of its main metric, empty where no curve says anything.
    """

    path: Path
    name: str
    method: str
    state: State
    line: str
    fraction: float | None
    headline: list[float]

    @property
    def word(self) -> str:
        return WORDS[self.state]


def row_of(summary: Summary, now: float) -> RunRow:
    """now: seconds since the epoch, for "4 min ago"."""
    name = metrics.HEADLINE.get(summary.method, "loss")
    is_drawn = summary.method not in WITHOUT_CURVE
    alive = summary.status.is_alive
    return RunRow(
        path=summary.run.path,
        name=summary.run.name,
        method=summary.method,
        state=summary.status.state,
        line=_standing(summary) if alive else _ending(summary, now),
        fraction=min(summary.step / summary.steps, 1.0) if alive and summary.steps else None,
        headline=[values[name] for values in summary.shape if is_drawn and name in values],
    )


def _standing(summary: Summary) -> str:
    if not summary.step:
        return "getting ready"
    parts = [figures.progress(summary.step, summary.steps or None)]
    if summary.status.state == "running" and (left := figures.left(_seconds_left(summary))):
        parts.append(left)
    return " · ".join(parts)


def _seconds_left(summary: Summary) -> float:
    times = [values["step_time"] for values in summary.recent[-31:] if "step_time" in values]
    return max(summary.steps - summary.step, 0) * statistics.median(times) if times and summary.steps else math.nan


def _ending(summary: Summary, now: float) -> str:
    if summary.status.state in ("failed", "crashed"):
        return summary.status.sentence
    age = figures.ago(now - summary.time)
    if summary.status.state == "stopped" and summary.steps:
        return f"{figures.progress(summary.step, summary.steps)} · {age}"
    outcome = _outcome(summary)
    parts = [outcome, age] if summary.method in WITHOUT_CURVE else [outcome, figures.many(summary.step, "step"), age]
    return " · ".join(part for part in parts if part)


def _outcome(summary: Summary) -> str:
    """What came of the run, in a few words; "" if it told nothing."""
    name = metrics.HEADLINE.get(summary.method, "loss")
    if summary.method == "sampler_proof" and "proof/failed" in summary.values:
        failed = int(summary.values["proof/failed"])
        return f"{figures.many(failed, 'check')} failed" if failed else "all checks hold"
    if name not in summary.values:
        return ""
    value, known = summary.values[name], metrics.describe(name)
    if summary.method == "diffusion_sample":
        return figures.many(int(value), "picture")
    return f"{known.title.lower()} {figures.measured(value, is_count=known.is_count)}"


class RunIndex:
    """Summaries by run directory, newest first."""

    def __init__(self) -> None:
        self._summaries: dict[Path, Summary] = {}

    def __len__(self) -> int:
        return len(self._summaries)

    def __contains__(self, path: Path) -> bool:
        return path in self._summaries

    def update(self, changed: Iterable[Summary], gone: Iterable[Path]) -> None:
        for path in gone:
            self._summaries.pop(path, None)
        for summary in changed:
            self._summaries[summary.run.path] = summary

    def get(self, path: Path) -> Summary | None:
        return self._summaries.get(path)

    def newest_first(self) -> list[Summary]:
        return sorted(self._summaries.values(), key=lambda summary: summary.run.path.name, reverse=True)

    def alive(self) -> list[Summary]:
        return [summary for summary in self._summaries.values() if summary.status.state in ALIVE]

    def find(self, wanted: str) -> Summary | None:
        """The newest run whose name or directory is `wanted`."""
        return next((s for s in self.newest_first() if wanted in (s.run.name, s.run.path.name)), None)

    def first_to_show(self) -> Summary | None:
        """What a window opens on: what is running, else the newest run that learned from reward, else the newest."""
        runs = self.newest_first()
        alive = [summary for summary in runs if summary.status.is_alive]
        rewarded = [summary for summary in runs if summary.method in LEARN_FROM_REWARD]
        return next(iter([*alive, *rewarded, *runs]), None)
