"""Where a model comes from: the run that made it, the run that made what it began with, and so on to the first."""

from pathlib import Path
from typing import NamedTuple

from engine.contract.faults import PresetError
from engine.contract.preset import load_preset, model_of, sources_of
from engine.contract.run_dir import RunDir, is_run_dir


class Ancestor(NamedTuple):
    """A run, what it learned from, and the model that it began with, as its preset names it."""

    run: RunDir
    method: str
    data: list[str]
    began_with: str


def run_of(path: Path) -> RunDir | None:
    """The run that a model's path lies in: the run directory itself, its final/, base/ or one of its checkpoints."""
    return next((RunDir(here) for here in (path, path.parent, path.parent.parent) if is_run_dir(here)), None)


def ancestors(run: RunDir) -> list[Ancestor]:
    """The run and those before it, newest first, as far as they are still there."""
    found: list[Ancestor] = []
    here: RunDir | None = run
    while here is not None and here.path not in [ancestor.run.path for ancestor in found]:
        try:
            preset = load_preset(here.preset)
        except PresetError:
            break
        section = model_of(preset)
        model = "" if section is None else section.path
        found.append(Ancestor(here, preset.method, [s.path for s in sources_of(preset, "train")], model))
        here = run_of(Path(model)) if Path(model).is_absolute() else None
    return found
