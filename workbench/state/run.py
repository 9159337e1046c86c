"""What is known of one run: its events folded in the order they were written."""

import math
import statistics
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from engine.contract import events, metrics, status
from engine.contract.findings import Report
from engine.contract.run_dir import RunDir
from workbench.state.series import Series

#: Step times that the pace is taken from: enough to be steady, few enough to follow a change.
RECENT = 31
#: Unreadable lines kept to be shown; the rest are only counted.
KEPT_UNREADABLE = 50
#: Steps beyond this cannot be told apart on an axis of doubles, so such a line is damage.
LAST_STEP = 2**53
#: Methods whose pictures matter as much as their curves.
PICTURED = frozenset(
    {"denoiser", "vae", "diffusion_sample", "diffusion_dpo", "diffusion_grpo", "diffusion_nft", "draft"}
)


@dataclass
class RunChanges:
    """What a fold touched, so that a view redraws only that. metrics: names whose series changed."""

    metrics: set[str] = field(default_factory=set)
    facts: bool = False
    samples: bool = False
    rewound: bool = False

    def __bool__(self) -> bool:
        return bool(self.metrics) or self.facts or self.samples or self.rewound


@dataclass(frozen=True)
class Told:
    """A notice and the step after which it was written."""

    step: int
    notice: events.Notice


class Pace:
    """Seconds a step, from the times at which steps were reported; waits in between do not count."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._last: tuple[int, float] | None = None

    def saw(self, step: int, time: float) -> None:
        if self._last is not None and step > self._last[0] and time >= self._last[1]:
            self._recent.append((time - self._last[1]) / (step - self._last[0]))
        self._last = (step, time)

    def interrupted(self) -> None:
        """The time until the next step says nothing about the pace."""
        self._last = None

    @property
    def seconds_per_step(self) -> float:
        """Median of the recent steps; NaN before the second step."""
        return statistics.median(self._recent) if self._recent else math.nan


class RunState:
    """One run as far as its events were read. `apply` is the only way in."""

    def __init__(self) -> None:
        self.method = ""
        self.steps = 0
        self.processes = 1
        self.step = 0
        self.started_at = math.nan
        self.last_time = math.nan
        self.series: dict[str, Series] = {}
        self.measured: set[str] = set()  # names that came from evaluations, so their points are few
        self.phase: events.Phase | None = None
        self.preflight: Report | None = None
        self.notices: list[Told] = []
        self.checkpoints: list[events.Checkpoint] = []
        self.commands: list[events.CommandDone] = []
        self.samples: list[events.Samples] = []
        self.resumes: list[events.Resumed] = []
        self.images: list[events.Image] = []
        self.finished: events.RunFinished | None = None
        self.pause: events.CommandDone | None = None  # what it waits since
        self.is_newer = False
        self.unreadable_count = 0
        self.unreadable: deque[events.Unreadable] = deque(maxlen=KEPT_UNREADABLE)
        self._pace = Pace()
        self._measured_at = 0  # step of the newest evaluation
        self._pending: dict[str, tuple[list[int], list[float]]] = {}

    @property
    def seconds_per_step(self) -> float:
        return self._pace.seconds_per_step

    @property
    def is_pictured(self) -> bool:
        """Whether it draws pictures, or has drawn some."""
        return self.method in PICTURED or bool(self.images)

    @property
    def is_drawing_only(self) -> bool:
        """Whether pictures are all that it makes: its curves say no more than its header does."""
        return self.method == "diffusion_sample"

    @property
    def seconds_left(self) -> float:
        """NaN while the pace or the plan is not known."""
        return max(self.steps - self.step, 0) * self.seconds_per_step if self.steps else math.nan

    @property
    def fraction(self) -> float | None:
        return min(self.step / self.steps, 1.0) if self.steps else None

    def apply(self, new: Iterable[events.Event | events.Unreadable]) -> RunChanges:
        """Fold events in. Never raises: an event that makes no sense is counted with the unreadable ones."""
        changes = RunChanges()
        for event in new:
            if isinstance(event, events.Step):
                self._add_step(event, changes)
            else:
                self._add_fact(event, changes)
        self._flush(changes)
        return changes

    def status(self, run: RunDir) -> status.Status:
        """How the run stands. Looks at the run directory, so not for a thread that may not wait."""
        return status.judge(run, finished=self.finished, has_steps=self.step > 0, pause=self.pause)

    def charted(self) -> list[str]:
        """Names to chart: the method's board whether or not it was reported, then what was, in reading order."""
        first = metrics.board(self.method) if self.method else []
        then = [name for name in metrics.more(self.method) if name in self.series]
        rest = sorted(name for name in self.series if name not in first and name not in then)
        return [*first, *then, *rest]

    def not_finite(self) -> dict[str, list[int]]:
        """The steps at which a metric was NaN or infinite, by name."""
        found = {name: [int(sample.x) for sample in series.broken()] for name, series in self.series.items()}
        return {name: steps for name, steps in found.items() if steps}

    def _add_step(self, event: events.Step, changes: RunChanges) -> None:
        if not self.step < event.step <= LAST_STEP:
            self._reject(event, "a step that does not follow the one before it", changes)
            return
        self.step = event.step
        self.last_time = event.time
        self._pace.saw(event.step, event.time)
        if self.phase is not None:
            self.phase = None
            changes.facts = True
        self._note(event)

    def _note(self, event: events.Step | events.Evaluation) -> None:
        for name, value in event.values.items():
            pending = self._pending.get(name)
            if pending is None:
                pending = self._pending[name] = ([], [])
            pending[0].append(event.step)
            pending[1].append(value)

    def _add_fact(self, event: events.Event | events.Unreadable, changes: RunChanges) -> None:
        changes.facts = True
        match event:
            case events.RunStarted() | events.Resumed():
                self._begin_life(event, changes)
            case events.Phase():
                self.phase = event
                self._pace.interrupted()
            case events.Preflight():
                self.preflight = event.report
            case events.Evaluation() | events.Samples() | events.Checkpoint() | events.Image():
                self._add_product(event, changes)
            case events.CommandDone():
                self._add_command(event)
            case events.Notice():
                self.notices.append(Told(self.step, event))
            case events.RunFinished():
                self.finished = event
                self.last_time = event.time
                self.phase = None
                self.pause = None
            case events.Unreadable():
                self.unreadable_count += 1
                self.unreadable.append(event)

    def _begin_life(self, event: events.RunStarted | events.Resumed, changes: RunChanges) -> None:
        self.finished = None
        self.pause = None
        self._pace.interrupted()
        if isinstance(event, events.Resumed):
            self.resumes.append(event)
            self._rewind(event.from_step, changes)
            return
        self.method, self.steps, self.processes = event.method, event.steps, event.processes
        self.is_newer = event.contract > events.CONTRACT_VERSION
        if math.isnan(self.started_at):
            self.started_at = event.time

    def _rewind(self, step: int, changes: RunChanges) -> None:
        """Forget what an earlier life wrote after `step`: the new life writes it again."""
        self._flush(changes)
        for series in self.series.values():
            series.truncate_after(step)
        self.samples = [event for event in self.samples if event.step <= step]
        self.images = [event for event in self.images if event.step <= step]
        self.checkpoints = [event for event in self.checkpoints if event.step <= step]
        self.step = min(self.step, step)
        self._measured_at = min(self._measured_at, step)
        changes.rewound = changes.samples = True
        changes.metrics.update(self.series)

    def _add_product(
        self,
        event: events.Evaluation | events.Samples | events.Checkpoint | events.Image,
        changes: RunChanges,
    ) -> None:
        if not 0 <= event.step <= LAST_STEP:
            self._reject(event, "a step that cannot be", changes)
            return
        if isinstance(event, events.Evaluation):
            if event.step < self._measured_at:
                self._reject(event, "an evaluation of an earlier step", changes)
                return
            self._measured_at = event.step
        match event:
            case events.Evaluation():
                self.measured.update(event.values)
                self._note(event)
            case events.Samples():
                self.samples.append(event)
                changes.samples = True
            case events.Checkpoint():
                self.checkpoints = [kept for kept in self.checkpoints if kept.path != event.path] + [event]
            case events.Image():
                self.images.append(event)

    def _add_command(self, event: events.CommandDone) -> None:
        self.commands.append(event)
        self._pace.interrupted()
        if event.ask in ("pause", "resume"):
            self.pause = status.paused_by(event)

    def _reject(self, event: events.Event, reason: str, changes: RunChanges) -> None:
        changes.facts = True
        self.unreadable_count += 1
        self.unreadable.append(events.Unreadable(text=event.model_dump_json()[:200], reason=reason))

    def _flush(self, changes: RunChanges) -> None:
        """Hand the collected values to their series, in one go for each."""
        for name, (steps, values) in self._pending.items():
            series = self.series.setdefault(name, Series())
            try:
                series.extend([float(step) for step in steps], values)
            except ValueError as error:
                self.unreadable_count += 1
                self.unreadable.append(events.Unreadable(text=name, reason=str(error)))
            changes.metrics.add(name)
        self._pending.clear()
