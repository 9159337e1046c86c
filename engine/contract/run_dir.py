"""The run directory, which is the only thing engine and window share: the names in it, making one, finding them."""

import json
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKPOINT = re.compile(r"^step-(\d{6,})$")


@dataclass(frozen=True)
class RunDir:
    """Paths within one run directory. Nothing here creates or reads them."""

    path: Path

    @property
    def preset(self) -> Path:
        return self.path / "preset.yaml"

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def rollouts(self) -> Path:
        return self.path / "rollouts.jsonl"

    @property
    def commands(self) -> Path:
        return self.path / "commands.jsonl"

    @property
    def log(self) -> Path:
        return self.path / "engine.log"

    @property
    def lock(self) -> Path:
        return self.path / "engine.lock"

    @property
    def process(self) -> Path:
        return self.path / "process.json"

    @property
    def heartbeat(self) -> Path:
        return self.path / "heartbeat"

    @property
    def ended(self) -> Path:
        return self.path / "ended.json"

    @property
    def images(self) -> Path:
        return self.path / "images"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def final(self) -> Path:
        return self.path / "final"

    @property
    def name(self) -> str:
        """The run's name without the time in front of it."""
        _, _, name = self.path.name.partition("-")
        _, _, name = name.partition("-")
        return name or self.path.name

    def checkpoint(self, step: int) -> Path:
        return self.checkpoints / f"step-{step:06d}"

    def saved_steps(self) -> list[int]:
        """Steps that have a checkpoint in place, oldest first; whether it is whole is for `verify` to say."""
        if not self.checkpoints.is_dir():
            return []
        return sorted(int(m[1]) for entry in self.checkpoints.iterdir() if (m := CHECKPOINT.match(entry.name)))


def is_run_dir(path: Path) -> bool:
    """A run directory is known by its frozen preset beside its events."""
    return (path / "preset.yaml").is_file() and (path / "events.jsonl").exists()


def create(runs: Path, name: str, preset_text: str) -> RunDir:
    """A new directory `<YYYYMMDD-HHMMSS>-<name>` in `runs`, with its preset; it appears whole or not at all."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    runs.mkdir(parents=True, exist_ok=True)
    for attempt in range(1000):
        suffix = f"-{attempt + 1}" if attempt else ""
        final = runs / f"{stamp}-{name}{suffix}"
        if not final.exists() and (made := create_at(final, preset_text)):
            return made
    raise FileExistsError(f"{runs}: a thousand runs called {name} in one second")


def create_at(path: Path, preset_text: str) -> RunDir | None:
    """A new run directory at `path`, or None if something is there already. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.parent / f".new-{os.getpid()}-{path.name}"
    staging.mkdir()
    (staging / "preset.yaml").write_text(preset_text, "utf-8")
    (staging / "events.jsonl").touch()
    try:
        staging.rename(path)
    except OSError:
        for file in staging.iterdir():
            file.unlink()
        staging.rmdir()
        if path.exists():
            return None
        raise
    return RunDir(path)


def list_runs(runs: Path) -> list[RunDir]:
    """Every run directory in a folder, newest first."""
    try:
        entries = [entry for entry in os.scandir(runs) if entry.is_dir() and not entry.name.startswith(".")]
    except FileNotFoundError:
        return []
    found = [Path(entry.path) for entry in entries]
    return [RunDir(path) for path in sorted(found, key=lambda p: p.name, reverse=True) if is_run_dir(path)]


def newest_named(runs: Path, name: str) -> RunDir | None:
    """The newest run of that name that has a model to give."""
    named = (run for run in list_runs(runs) if run.name == name)
    return next((run for run in named if run.final.is_dir() or run.saved_steps()), None)


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Replace a small file whole: temporary name, fsync, rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(data, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """A small file's object; empty if the file is missing or not one."""
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
