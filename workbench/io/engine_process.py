"""Starting engines. Each runs in a session of its own, so it outlives the window that started it."""

import json
import os
import subprocess
import sys
import tempfile
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.contract.faults import Fault

#: `--detach` answers as soon as the engine runs; importing what checks a preset takes most of that.
PATIENCE_SECONDS = 120
#: A large model is loaded and reads its longest batch.
DEEP_PATIENCE_SECONDS = 1800


@dataclass(frozen=True)
class Started:
    run: Path


@dataclass(frozen=True)
class Refused:
    """The preset was not accepted."""

    file: str
    faults: list[Fault] = field(default_factory=list)


@dataclass(frozen=True)
class Failed:
    """No engine started, and it is not the preset. message: what the engine said."""

    message: str


Answer = Started | Refused | Failed


def start_run(preset: Path, workspace: Path, home: Path) -> Answer:
    """Start a run of the preset file; paths in it are looked up from `home` first.

    Waits for the engine's answer, so not for the thread that draws.
    """
    return start(["run", str(preset), "--workspace", str(workspace), "--detach"], home)


def resume_run(run: Path, workspace: Path) -> Answer:
    """Go on from the last whole checkpoint. Waits like `start_run`."""
    return start(["resume", str(run), "--detach"], workspace)


def check_preset(preset: Path, workspace: Path, home: Path) -> Answer | dict[str, Any]:
    """The plan the engine has for the preset, or what is wrong with it. Waits like `start_run`."""
    return ask_for_json(["check", str(preset), "--quick", "--workspace", str(workspace)], home)


def check_deeply(preset: Path, workspace: Path, home: Path) -> Answer | dict[str, Any]:
    """As `check_preset`, and under `preflight` what the engine sees in the data; that takes its time."""
    return ask_for_json(["check", str(preset), "--workspace", str(workspace)], home, patience=DEEP_PATIENCE_SECONDS)


def start_tour(workspace: Path) -> subprocess.Popen[bytes]:
    """Start both tour runs, one after the other; they appear among the runs. Its output goes to tour.log."""
    workspace.mkdir(parents=True, exist_ok=True)
    with tour_log(workspace).open("wb") as log:
        return subprocess.Popen(  # noqa: S603  our own interpreter and module
            [sys.executable, "-m", "engine", "tour", str(workspace)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=_environment(),
        )


def tour_log(workspace: Path) -> Path:
    return workspace / "tour.log"


def last_words(log: Path, at_most: int = 2000) -> str:
    """The last paragraph of a log: what went wrong, as the engine told it."""
    try:
        text = log.read_bytes()[-at_most:].decode("utf-8", "replace").strip()
    except OSError:
        return ""
    return text.split("\n\n")[-1]


def keep_draft(text: str, stem: str, workspace: Path) -> Path:
    """Write a preset that is about to run to a file of its own; the run takes its name from `stem`."""
    folder = workspace / ".launched" / uuid.uuid4().hex[:8]
    folder.mkdir(parents=True)
    path = folder / f"{stem}.yaml"
    path.write_text(text, "utf-8")
    return path


def start(arguments: list[str], home: Path) -> Answer:
    """Have an engine command start a process of its own and say which directory tells of it."""
    answer = ask_for_json(arguments, home)
    if not isinstance(answer, dict):
        return answer
    run = answer.get("run_dir")
    return Started(Path(run)) if isinstance(run, str) else Failed("the engine gave no answer")


def ask_for_json(
    arguments: list[str], home: Path, *, patience: float = PATIENCE_SECONDS
) -> dict[str, Any] | Refused | Failed:
    """What an engine command says. Waits, so not for the thread that draws."""
    command, *rest = arguments
    code, out, error = _engine([command, "--json", *rest], home, patience=patience)
    return _json_in(out) if code == 0 else _refusal(code, out, error)


def _refusal(code: int, out: str, error: str) -> Refused | Failed:
    told = _json_in(out)
    if code == 2 and isinstance(told.get("faults"), list):
        return Refused(str(told.get("file", "")), [_fault(one) for one in told["faults"] if isinstance(one, dict)])
    message = told.get("message") or told.get("error") or error.strip() or out.strip()
    return Failed(str(message) or f"the engine ended with exit code {code}")


def _fault(told: dict[str, Any]) -> Fault:
    key = told.get("key") or []
    parts = key.split(".") if isinstance(key, str) else key
    line = told.get("line")
    given, problem, remedy = (str(told.get(name) or "") for name in ("given", "problem", "remedy"))
    place = tuple(int(part) if str(part).isdecimal() else str(part) for part in parts)
    return Fault(place, given, problem, remedy, line if isinstance(line, int) else None)


def _engine(arguments: list[str], home: Path, *, patience: float = PATIENCE_SECONDS) -> tuple[int, str, str]:
    """Exit code and output of an engine command.

    The output goes through files: a pipe would stay open as long as the engine that inherits it runs.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as error:
        process = subprocess.Popen(  # noqa: S603  our own interpreter and module
            [sys.executable, "-m", "engine", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=error,
            start_new_session=True,
            cwd=home,
            env=_environment(),
        )
        try:
            code = process.wait(patience)
        except subprocess.TimeoutExpired:
            return 1, "", f"the engine has not answered for {patience:.0f} s; look at the run list and engine.log"
        out.seek(0)
        error.seek(0)
        return code, out.read().decode("utf-8", "replace"), error.read().decode("utf-8", "replace")


def _environment() -> dict[str, str]:
    """This process's environment, with the packages findable from any folder, and without what Qt put there."""
    here = str(Path(__file__).resolve().parents[2])
    inherited = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{here}{os.pathsep}{inherited}" if inherited else here}


def _json_in(text: str) -> dict[str, Any]:
    """The last JSON object printed; a library may have printed something before it."""
    for line in [text, *reversed(text.splitlines())]:
        try:
            data = json.loads(line)
        except ValueError:
            continue
        if isinstance(data, dict):
            return data
    return {}
