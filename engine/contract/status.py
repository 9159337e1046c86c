"""How a run stands: judged alike by the terminal and the window, from what the run directory holds."""

import math
import socket
from dataclasses import dataclass, field
from typing import Any, Literal

import psutil

from engine.contract import events, jsonl, locks
from engine.contract.run_dir import RunDir, read_json

State = Literal["starting", "running", "paused", "finished", "stopped", "failed", "crashed"]

#: States in which an engine is at work and can be asked for something.
ALIVE = frozenset({"starting", "running", "paused"})
#: Steps that a summary reads all along a run, about what a strip beside its name can show.
SHAPE = 96


@dataclass(frozen=True)
class Status:
    """state, one sentence on how it ended or why it waits (mostly empty until then), and what to do about it."""

    state: State
    sentence: str = ""
    remedy: str = ""

    @property
    def is_alive(self) -> bool:
        return self.state in ALIVE


@dataclass(frozen=True)
class Summary:
    """Where a run stands, read from the two ends of its events, and its shape: the values of steps all along it."""

    run: RunDir
    status: Status
    method: str = ""
    step: int = 0
    steps: int = 0
    time: float = 0.0
    values: dict[str, float] = field(default_factory=dict)
    recent: list[dict[str, float]] = field(default_factory=list)
    shape: list[dict[str, float]] = field(default_factory=list)


def own_identity() -> dict[str, Any]:
    """What process.json says of the process that calls: enough to tell it from a later one with the same pid."""
    me = psutil.Process()
    return {
        "pid": me.pid,
        "started": me.create_time(),
        "booted": psutil.boot_time(),
        "host": socket.gethostname(),
    }


def engine_pid(run: RunDir) -> int | None:
    """The pid of the run's engine if it is alive: the same process, not a later one that got its number."""
    identity = read_json(run.process)
    pid = identity.get("pid")
    if not isinstance(pid, int) or identity.get("host") != socket.gethostname():
        return None
    try:
        process = psutil.Process(pid)
        # A second of slack: the start time is counted from the boot time, which moves when the clock is set.
        same = abs(process.create_time() - float(identity.get("started", 0))) < 1.0
        return pid if same and process.status() != psutil.STATUS_ZOMBIE else None
    except (psutil.Error, ValueError, TypeError):
        return None


def is_alive(run: RunDir) -> bool:
    """Whether anything works on the run: its supervisor holds the lock, or its engine outlived the supervisor."""
    return locks.is_held(run.lock) or engine_pid(run) is not None


def judge(
    run: RunDir, *, finished: events.RunFinished | None, has_steps: bool, pause: events.CommandDone | None
) -> Status:
    """The state of a run, given what its events say.

    finished: the last word of its present life, if any. pause: what it waits since, if it was not told to go on.
    """
    alive = is_alive(run)
    if finished is not None:
        # The engine takes a moment to leave after its last word; only a later start makes that word old. The supervisor
        # takes process.json away first, so until the new engine has said who it is there is none.
        started = read_json(run.process).get("started", math.inf)
        return Status("starting") if alive and float(started) > finished.time else _as_told(finished)
    if alive:
        if pause is not None:
            return Status("paused", pause.why, "Resume goes on all the same" if pause.why else "")
        return Status("running" if has_steps else "starting")
    return _crashed(run)


def _as_told(finished: events.RunFinished) -> Status:
    if finished.reason == "failed":
        first, _, remedy = finished.message.partition("\n")
        return Status("failed", first or "failed without a message", remedy or "engine.log has the details")
    if finished.reason == "stopped":
        return Status("stopped", finished.message or "stopped on request", "Resume goes on from the last checkpoint")
    return Status("finished", finished.message)


def _crashed(run: RunDir) -> Status:
    ended = read_json(run.ended)
    remedy = "Resume goes on from the last checkpoint" if run.saved_steps() else "engine.log has the details"
    if ended.get("requested"):
        return Status("stopped", "ended at once on request", remedy)
    if ended.get("hung"):
        return Status("crashed", "hung: no sign of life from the training loop, so it was ended", remedy)
    if ended.get("out_of_memory"):
        return Status("crashed", "out of memory: the system ended it", "use a smaller micro_batch_size, then Resume")
    if isinstance(number := ended.get("signal"), int):
        return Status("crashed", f"killed (signal {number})", remedy)
    if isinstance(code := ended.get("exit_code"), int):
        return Status("crashed", f"ended without a word (exit code {code})", "engine.log has the details")
    if not run.process.exists() and not run.lock.exists():
        return Status("crashed", "never started", "Resume starts it")
    return Status("crashed", "ended; nobody saw how (the machine may have been switched off)", remedy)


def summarise(run: RunDir) -> Summary:
    """Where the run stands, from the head and the tail of its events; cheap however long it is."""
    head = [events.read_event(line) for line in jsonl.read_lines(run.events, 0, at_most=4096).lines]
    tail = [events.read_event(line) for line in jsonl.last_lines(run.events)]
    started = next((event for event in head if isinstance(event, events.RunStarted)), None)
    steps = [event for event in tail if isinstance(event, events.Step)]
    last_word = next((e for e in reversed(tail) if isinstance(e, events.RunFinished | events.Resumed)), None)
    finished = last_word if isinstance(last_word, events.RunFinished) else None
    waits = [event for event in tail if isinstance(event, events.CommandDone) and event.ask in ("pause", "resume")]
    return Summary(
        run=run,
        status=judge(run, finished=finished, has_steps=bool(steps), pause=paused_by(waits[-1] if waits else None)),
        method=started.method if started else "",
        step=steps[-1].step if steps else 0,
        steps=started.steps if started else 0,
        time=_last_time(run),
        values=steps[-1].values if steps else {},
        recent=[event.values for event in steps],
        shape=_shape(run, steps),
    )


def paused_by(event: events.CommandDone | None) -> events.CommandDone | None:
    """The newest of the requests to wait and to go on, if it is one to wait."""
    return event if event is not None and event.ask == "pause" else None


def _shape(run: RunDir, newest: list[events.Step]) -> list[dict[str, float]]:
    """Steps at even distances, in order; of those that were taken twice, the later telling alone."""
    along = [events.read_event(line) for line in jsonl.lines_throughout(run.events, SHAPE)]
    kept: list[events.Step] = newest[-1:]
    for event in reversed(along):
        if isinstance(event, events.Step) and (not kept or event.step < kept[-1].step):
            kept.append(event)
    return [event.values for event in reversed(kept)]


def _last_time(run: RunDir) -> float:
    try:
        return run.events.stat().st_mtime
    except OSError:
        return 0.0
