"""Where and with what a run ran: versions, hardware, code, data and model fingerprints, parents."""

import hashlib
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import torch

from engine.contract.online_settings import OwnFunction
from engine.contract.preset import Preset, model_of, sources_of
from engine.contract.run_dir import is_run_dir

PACKAGES = (
    "plumbline-workbench",
    "torch",
    "transformers",
    "tokenizers",
    "peft",
    "accelerate",
    "diffusers",
    "datasets",
    "numpy",
)
#: Larger files are known by size and time alone: hashing them would hold up the start.
HASH_AT_MOST = 256 * 1024 * 1024


def describe(preset: Preset, *, threads: int, processes: int, device: torch.device) -> dict[str, Any]:
    """What environment.json says."""
    sources = [*sources_of(preset, "train"), *sources_of(preset, "eval")]
    section = model_of(preset)
    model = None if section is None else Path(section.path)
    return {
        "versions": {name: version_of(name) for name in PACKAGES} | {"python": platform.python_version()},
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": psutil.cpu_count(logical=False),
        "memory": psutil.virtual_memory().total,
        "device": str(device),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "threads": threads,
        "processes": processes,
        "command": [Path(sys.executable).name, *sys.argv],
        "revision": _revision(),
        "data": {source.path: fingerprint(Path(source.path)) for source in sources},
        "model": {} if model is None else {str(model): fingerprint(model)},
        "functions": {str(file): fingerprint(file) for file in own_functions(preset)},
        "parents": [str(model)] if model is not None and model.is_dir() and is_run_dir(model) else [],
    }


def own_functions(preset: Any) -> list[Path]:
    """The files of functions that the preset's rewards name."""
    return [Path(part.path) for part in getattr(preset, "rewards", []) if isinstance(part, OwnFunction)]


def changed_functions(preset: Preset, earlier: dict[str, Any]) -> list[str]:
    """Names of those files that are others than when the run began. earlier: what environment.json said then."""
    before = earlier.get("functions", {})
    return [file.name for file in own_functions(preset) if before.get(str(file), now := fingerprint(file)) != now]


def fingerprint(path: Path) -> dict[str, Any]:
    """Size, and sha256 where the file is not too large; of a folder, of the files in it. Empty for what is not here."""
    if path.is_file():
        stat = path.stat()
        found: dict[str, Any] = {"size": stat.st_size}
        if stat.st_size > HASH_AT_MOST:
            return {**found, "modified": stat.st_mtime}
        with path.open("rb") as file:
            return {**found, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    if path.is_dir():
        files = sorted(file for file in path.glob("*.*") if file.is_file())
        listing = "\n".join(f"{file.name} {file.stat().st_size}" for file in files)
        return {"files": len(files), "sha256_of_listing": hashlib.sha256(listing.encode()).hexdigest()}
    return {}


def version_of(package: str) -> str | None:
    """The installed version; None if a package is not there, as ourselves in a plain checkout."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _revision() -> str | None:
    """The commit this code is at, if it runs from a checkout."""
    command = ["git", "-C", os.fspath(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip() or None
