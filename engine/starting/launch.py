"""From a preset to a running engine: everything is checked before anything is written, then the supervisor starts."""

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from engine import processes
from engine.contract import commands, run_dir
from engine.contract.faults import Fault, PresetError
from engine.contract.image_presets import IMAGE_PRESETS
from engine.contract.preset import (
    Preset,
    load_preset,
    model_of,
    preset_file_text,
    preset_text,
    processes_of,
    read_draft,
)
from engine.contract.run_dir import RunDir
from engine.contract.status import is_alive, summarise
from engine.labelling.frozen import LabelsError, freeze
from engine.starting import image_preflight, preflight
from engine.starting.resolution import APPLICATION, changed, places
from engine.supervisor import IN_USE, STARTED

#: How long an engine may take to leave after its last word: PyTorch tears itself down.
LEAVING_SECONDS = 15.0
HOW_TO_NAME_A_RUN = "give the folder that holds preset.yaml and events.jsonl"
#: The processes of one run talk to each other over this; only Linux is known to call it so.
LOOPBACK = {"linux": "lo", "darwin": "lo0"}.get(sys.platform)


class LaunchError(Exception):
    """A run that cannot be started or gone on with: one sentence, and what to do."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem = problem
        self.remedy = remedy


@dataclass(frozen=True)
class Prepared:
    """A checked preset with every path absolute, and where its run will be: `at`, or a new folder in `runs`."""

    preset: Preset
    name: str
    runs: Path
    at: Path | None
    survey: preflight.Survey


def prepare(preset_file: Path, overrides: list[str], *, workspace: Path, at: Path | None = None) -> Prepared:
    """Read, resolve and check. Writes nothing. Raises PresetError, which lists every fault."""
    draft = read_draft(preset_file_text(preset_file), overrides)
    where = places(preset_file, workspace)
    target = at.resolve() if at else where.runs
    is_of_images = draft.data.get("method") in IMAGE_PRESETS
    survey = (image_preflight if is_of_images else preflight).survey(draft, where, target)
    found = [*draft.faults, *(fault.at(draft.lines) for fault in survey.faults)]
    if at is not None and at.exists() and (not at.is_dir() or any(at.iterdir())):
        found.append(Fault((), str(at), "is there already", "name a new run directory, or `resume` this one"))
    if found or draft.preset is None:
        raise PresetError(str(preset_file), found)
    name = draft.preset.name or name_from(preset_file)
    preset = changed(draft.preset, name=name, **survey.sections)
    return Prepared(preset, name, where.runs, target if at else None, survey)


def name_from(preset_file: Path) -> str:
    """A run's name out of a file's: only letters, digits, - and _."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", preset_file.stem).strip("-_")[:64] or "run"


def create(prepared: Prepared) -> RunDir:
    """Make the run directory. Raises LaunchError if it cannot be made."""
    text = preset_text(prepared.preset)
    target = prepared.at or prepared.runs
    made: RunDir | None
    try:
        if prepared.at is None:
            made = run_dir.create(prepared.runs, prepared.name, text)
        else:
            made = run_dir.create_at(prepared.at, text)
        if made is not None:
            freeze(made, prepared.preset, prepared.runs.with_name("labels"))
    except OSError as error:
        raise LaunchError(f"{target}: the run directory cannot be made: {error.strerror}", "choose another") from error
    except LabelsError as error:
        raise LaunchError(error.problem, error.remedy) from error
    if made is None:
        raise LaunchError(f"{target} is there already", "name a new run directory, or `resume` this one")
    return made


def start(prepared: Prepared) -> RunDir:
    """Make the run directory and start its engine, which goes on without us. Raises LaunchError."""
    run = create(prepared)
    supervise(run, prepared.preset)
    return run


def resume(path: Path) -> RunDir:
    """Tell a paused run to go on, or start a run's engine again, which goes on from the last whole checkpoint.

    Raises LaunchError, PresetError, OSError.
    """
    if run_dir.is_run_dir(path) and summarise(RunDir(path)).status.state == "paused":
        run = RunDir(path.resolve())
        commands.send(run.commands, "resume")
        return run
    run = resumable(path)
    supervise(run, load_preset(run.preset))
    return run


def resumable(path: Path) -> RunDir:
    """The run in `path`, if it can be gone on with. Raises LaunchError."""
    if not run_dir.is_run_dir(path):
        raise LaunchError(f"{path} is not a run directory", HOW_TO_NAME_A_RUN)
    run = RunDir(path.resolve())
    _wait_while_leaving(run)
    if is_alive(run):
        raise LaunchError(f"{path} is in use: its engine is at work", "watch it, or `stop` it first")
    summary = summarise(run)
    if summary.status.state == "finished":
        steps = summary.steps or summary.step
        raise LaunchError(
            f"{path} has finished all its {steps} steps",
            "start a new run with model.path set to this directory",
        )
    return run


def _wait_while_leaving(run: RunDir) -> None:
    """An engine that has said its last word takes a moment to leave; whoever resumes at once need not know."""
    deadline = time.monotonic() + LEAVING_SECONDS
    while is_alive(run) and not summarise(run).status.is_alive and time.monotonic() < deadline:
        time.sleep(0.05)


def supervise(run: RunDir, preset: Preset) -> None:
    """Start the run's engine under a supervisor. Raises LaunchError."""
    start_supervisor(run, engine_command(preset), environment(preset))


def start_supervisor(run: RunDir, command: list[str], environment: dict[str, str]) -> None:
    """Start the supervisor in a session of its own and wait until `command` has begun. Raises LaunchError."""
    supervisor = subprocess.Popen(  # noqa: S603 - our own module, by this very interpreter
        [sys.executable, "-S", "-m", "engine.supervisor", str(run.path), "--", *command],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        **processes.detached(),
    )
    assert supervisor.stdout is not None  # noqa: S101 - it was asked for
    with supervisor.stdout:
        said = supervisor.stdout.readline()
    if said == STARTED:
        let_go(supervisor)
        return
    code = supervisor.wait()
    if code == IN_USE:
        raise LaunchError(f"{run.path} is in use: another engine holds it", "watch it, or `stop` it first")
    raise LaunchError(f"{run.path}: its engine could not be started (exit code {code})", f"see {run.log}")


def engine_command(preset: Preset) -> list[str]:
    """What the supervisor starts: one process, or one that starts several."""
    if processes_of(preset) == 1:
        return [sys.executable, "-m", "engine.run"]
    return [sys.executable, "-m", "engine.several", str(processes_of(preset))]


def environment(preset: Preset | None = None) -> dict[str, str]:
    """The environment for our own processes: they find `engine` wherever they are started."""
    path = os.pathsep.join(filter(None, [str(APPLICATION), os.environ.get("PYTHONPATH")]))
    # A safe path: else a file called json.py in the current folder would be taken for the standard library's.
    found = {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}
    found["PYTHONFAULTHANDLER"] = "1"
    section = None if preset is None else model_of(preset)
    device = "auto" if section is None else section.device
    if preset is not None and processes_of(preset) > 1 and not preflight.runs_on_gpu(device):
        found["ACCELERATE_USE_CPU"] = "true"
        if LOOPBACK:
            found.setdefault("GLOO_SOCKET_IFNAME", LOOPBACK)
    return found


def let_go(supervisor: "subprocess.Popen[bytes]") -> None:
    """It is meant to outlive us, so Popen need not warn about that."""
    if supervisor.returncode is None:
        supervisor.returncode = 0
