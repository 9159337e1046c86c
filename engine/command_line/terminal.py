"""What a person sees in a terminal: a live bar where there is one, plain lines where output goes to a file."""

import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from engine.command_line.following import Display, Progress
from engine.contract import events, metrics
from engine.contract.faults import Fault, PresetError
from engine.contract.run_dir import RunDir
from engine.contract.status import Status, Summary

#: Plain lines come no faster than this, so that a log of a long run stays readable.
PLAIN_SECONDS = 5.0
METRICS_SHOWN = 4


def say(text: str = "") -> None:
    """One line on standard output."""
    print(clean(text), flush=True)


def complain(text: str) -> None:
    """One paragraph on standard error."""
    print("\n".join(clean(line) for line in text.split("\n")), file=sys.stderr, flush=True)


def say_json(data: Any) -> None:
    """One JSON value on standard output; NaN and Infinity, which JSON has not, become null."""
    print(json.dumps(_finite(data), ensure_ascii=False), flush=True)


def complain_of(file: str, faults: list[Fault], *, as_json: bool) -> None:
    """All that is wrong: as text on standard error, and for a script as JSON on standard output."""
    if as_json:
        told = [
            {"key": f.dotted, "given": f.given, "problem": f.problem, "remedy": f.remedy, "line": f.line}
            for f in faults
        ]
        say_json({"file": file, "faults": told})
    complain(str(PresetError(file, faults)))


def clean(text: str) -> str:
    """The text on one line, without what would move the cursor: a message may quote a model or a file."""
    return "".join(c if c.isprintable() else " " for c in text)


def _finite(data: Any) -> Any:
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    return [_finite(item) for item in data] if isinstance(data, list | tuple) else data


# ------------------------------------------------------------------------------------------------------- numbers


def figure(value: float) -> str:
    """Three significant digits."""
    return f"{value:.3g}" if math.isfinite(value) else str(value)


def duration(seconds: float | None) -> str:
    """As a person says it: 8 s, 3 min, 2 h 5 min."""
    if seconds is None:
        return ""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def pace(progress: Progress) -> str:
    """Rate and time left, as far as they are known."""
    if progress.seconds_per_step is None:
        return ""
    return f"{figure(progress.seconds_per_step)} s/step  {duration(progress.seconds_left)} left"


def main_metrics(method: str, values: dict[str, float]) -> str:
    """The method's first metrics, by their titles."""
    shown = [name for name in metrics.board(method) if name in values][:METRICS_SHOWN]
    return "  ".join(f"{metrics.describe(name).title.lower()} {figure(values[name])}" for name in shown)


def sentence(event: events.Event | events.Unreadable) -> str:
    """What is worth a line of its own; empty for what the bar or the next line shows anyway."""
    match event:
        case events.Notice():
            mark = "" if event.level == "info" else f"{event.level}: "
            return f"{mark}{event.what}" + (f"; {event.advice}" if event.advice else "")
        case events.Evaluation():
            told = "  ".join(f"{metrics.describe(n).title.lower()} {figure(v)}" for n, v in event.values.items())
            when = f"after step {event.step}" if event.step else "before the first step"
            return f"evaluation {when}: {told}"
        case events.CommandDone():
            return request(event) if event.outcome else ""
        case events.Resumed():
            return f"goes on from step {event.from_step}"
        case _:
            return ""


def request(event: events.CommandDone) -> str:
    """What was asked of a run and came of it; of a pause, how to end it."""
    told = f"{event.ask} asked: {event.outcome}" + (f", as {event.why}" if event.why else "")
    return f"{told}; to go on: python -m engine resume RUN_DIR" if event.outcome == "paused" else told


def farewell(run: RunDir, progress: Progress, status: Status, *, seconds: float) -> str:
    """How it ended and what to do next, in one line."""
    match status.state:
        case "finished":
            return f"finished {progress.step} steps in {duration(seconds)}; {_what_it_made(run)}"
        case "stopped":
            return f"stopped after step {progress.step}; to go on: python -m engine resume {run.path}"
        case _:
            remedy = f"; {status.remedy}" if status.remedy else ""
            return f"{run.path}: {status.state}: {status.sentence}{remedy}. The log is {run.log}"


def _what_it_made(run: RunDir) -> str:
    if run.final.is_dir():
        return f"the model is in {run.final}"
    pictures = len(list(run.images.glob("*.png")))
    return f"{pictures} pictures are in {run.images}" if pictures else f"what it left is in {run.path}"


# ------------------------------------------------------------------------------------------------------ displays


class PlainDisplay:
    """A line for each phase and notice, and one for the steps every few seconds."""

    def __init__(self, write: Any = say) -> None:
        self._write = write
        self._told_at = 0.0
        self._phase = ""

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is held."""

    def say(self, text: str) -> None:
        self._write(text)

    def show(self, event: events.Event | events.Unreadable, progress: Progress) -> None:
        if isinstance(event, events.Step):
            self._show_step(progress)
        elif isinstance(event, events.Phase):
            if event.what != self._phase:
                self._phase = event.what
                self._write(f"{event.what} …")
        elif text := sentence(event):
            self._write(text)

    def _show_step(self, progress: Progress) -> None:
        is_last = progress.step >= progress.steps
        if time.monotonic() - self._told_at < PLAIN_SECONDS and not is_last:
            return
        self._told_at = time.monotonic()
        parts = [f"step {progress.step}/{progress.steps}", main_metrics(progress.method, progress.values)]
        self._write("  ".join(filter(None, [*parts, pace(progress)])))


class LiveDisplay:
    """A bar with rate and time left, the metrics under it, and notices above it."""

    def __init__(self) -> None:
        from rich.console import Group
        from rich.live import Live
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar
        from rich.text import Text

        self._bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[steps]}"),
            TextColumn("{task.fields[pace]}", markup=False),
        )
        self._task = self._bar.add_task("starting", total=None, steps="", pace="")
        self._metrics = Text("", no_wrap=True, overflow="ellipsis")
        self._live = Live(Group(self._bar, self._metrics), refresh_per_second=8)

    def __enter__(self) -> Display:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def say(self, text: str) -> None:
        self._live.console.print(clean(text), markup=False, highlight=False)

    def show(self, event: events.Event | events.Unreadable, progress: Progress) -> None:
        if text := sentence(event):
            self.say(text)
        self._bar.update(
            self._task,
            description=clean(progress.phase or "training"),
            total=progress.steps or None,
            completed=progress.step,
            steps=f"{progress.step}/{progress.steps}" if progress.steps else "",
            pace=pace(progress),
        )
        self._metrics.plain = clean(main_metrics(progress.method, progress.values))


def display(*, to_stderr: bool = False) -> PlainDisplay | LiveDisplay:
    """The display that fits where the output goes. to_stderr: standard output is kept for JSON."""
    if to_stderr:
        return PlainDisplay(complain)
    return LiveDisplay() if sys.stdout.isatty() else PlainDisplay()


# -------------------------------------------------------------------------------------------------------- tables


def show_runs(summaries: list[Summary], now: float) -> None:
    """One line a run, newest first."""
    rows = [("name", "method", "state", "step", "last value", "age", "")]
    for summary in summaries:
        name, value = headline(summary)
        told = "" if value is None else f"{metrics.describe(name).title.lower()} {figure(value)}"
        steps = f"{summary.step}/{summary.steps}" if summary.steps else ""
        age = duration(max(0.0, now - summary.time))
        note = summary.status.sentence
        rows.append((summary.run.path.name, summary.method, summary.status.state, steps, told, age, note))
    show_table(rows)


def show_table(rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def headline(summary: Summary) -> tuple[str, float | None]:
    """The name of the metric that tells most of this method, and its last value."""
    name = metrics.HEADLINE.get(summary.method, "loss")
    return name, summary.values.get(name)


def run_as_json(summary: Summary) -> dict[str, Any]:
    """What `list --json` says of a run."""
    name, value = headline(summary)
    return {
        "name": summary.run.name,
        "run_dir": str(Path(summary.run.path)),
        "method": summary.method,
        "state": summary.status.state,
        "sentence": summary.status.sentence,
        "remedy": summary.status.remedy,
        "step": summary.step,
        "steps": summary.steps,
        "metric": name,
        "value": value,
        "time": summary.time,
    }
