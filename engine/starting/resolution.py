"""From what a preset names to where it is: relative paths, `run:<name>`, and what is left for the hub."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from engine.contract import run_dir, settings
from engine.contract.faults import Fault, Key, one_of
from engine.contract.image_settings import ASSETS, ImageSource

#: The folder that holds `engine/`, where the data that ships with the application lies.
APPLICATION = Path(__file__).resolve().parents[2]
#: Where the models of images lie that ship with it.
SHIPPED = APPLICATION / "assets" / "diffusion"

HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?$")
FILE_SUFFIXES = frozenset({".jsonl", ".json", ".csv", ".tsv", ".parquet", ".txt", ".gguf", ".safetensors", ".bin"})
#: Folders of a workspace: what the window writes down begins with them, and a run may have been deleted since.
OWN_FOLDERS = frozenset({"runs", "labels"})
#: Prefixes of sources that are no files.
SCHEMES = ("task:", "labels:")

Section = TypeVar("Section", bound=BaseModel)
SomeSource = TypeVar("SomeSource", settings.Source, ImageSource)


@dataclass(frozen=True)
class Places:
    """Where relative paths are looked up, in this order; and the workspace that `run:` and `labels:` mean."""

    folders: tuple[Path, ...]
    workspace: Path

    @property
    def runs(self) -> Path:
        return self.workspace / "runs"

    @property
    def labels(self) -> Path:
        return self.workspace / "labels"


def places(preset_file: Path, workspace: Path) -> Places:
    """The current folder, the workspace, the preset's own folder, the application's."""
    folders = (Path.cwd(), workspace.resolve(), preset_file.resolve().parent, APPLICATION)
    return Places(tuple(dict.fromkeys(folders)), workspace.resolve())


def resolve_model(model: settings.Model, where: Places) -> settings.Model | Fault:
    """The model section with absolute paths, or why there are none. `scratch` and hub ids stay as they are."""
    found = _find_model(model.path, where)
    compared = None if model.reference is None else _find_model(model.reference, where)
    if isinstance(found, Fault):
        return found
    if isinstance(compared, Fault):
        return replace(compared, key=("model", "reference"))
    return changed(model, path=found, reference=compared)


def resolve_named(path: str, where: Places, key: Key) -> str | Fault:
    """A model that another section than `model` names, as resolve_model; key: where it stands."""
    found = _find_model(path, where)
    return replace(found, key=key) if isinstance(found, Fault) else found


def resolve_image_model(model: Section, where: Places) -> Section | Fault:
    """As resolve_model, for a model of images, which may name a VAE and a folder of configurations, too."""
    found: dict[str, str] = {}
    for name in ("path", "vae", "config"):
        given = getattr(model, name, None)
        place = None if given is None else _find_model(given, where)
        if isinstance(place, Fault):
            return replace(place, key=("model", name))
        if place is not None:
            found[name] = place
    wish = getattr(getattr(model, "scratch", None), "text", None)
    if wish is not None:
        place = _find_model(wish.path, where)
        if isinstance(place, Fault):
            return replace(place, key=("model", "scratch", "text", "path"))
        text = changed(wish, path=place)
        return changed(model, **found, scratch=changed(model.scratch, text=text))  # type: ignore[attr-defined]
    return changed(model, **found)


def resolve_file(path: str, where: Places, key: Key) -> str | Fault:
    """Somebody's file, Python or text, or why there is none; key: where it stands."""
    candidates = _candidates(path, where)
    found = next((candidate for candidate in candidates if candidate.is_file()), None)
    return _missing(path, candidates, key) if found is None else str(found.resolve())


def resolve_source(source: SomeSource, where: Places) -> SomeSource | Fault:
    """The source with an absolute path, or why there is none. Tasks, label sets and hub ids stay as they are."""
    if source.path.startswith(SCHEMES):
        return source
    found = _find(source.path, where, "data")
    return found if isinstance(found, Fault) else changed(source, path=found)


def changed(section: Section, **values: object) -> Section:
    """A copy with some settings replaced; unlike model_copy it leaves a section alone that is already so."""
    if all(getattr(section, name) == value for name, value in values.items()):
        return section
    return section.model_copy(update=values)


def _find_model(given: str, where: Places) -> str | Fault:
    if given.startswith("run:"):
        return _newest_run(given.removeprefix("run:"), where)
    if given.startswith(ASSETS):
        return _asset(given.removeprefix(ASSETS))
    return given if given == "scratch" else _find(given, where, "model")


def _asset(name: str) -> str | Fault:
    """A model that ships with the application."""
    known = sorted(folder.name for folder in SHIPPED.iterdir() if folder.is_dir())
    if name in known:
        return str(SHIPPED / name)
    return Fault(("model", "path"), f"{ASSETS}{name}", "does not ship with Plumbline", one_of(name, known))


def _newest_run(name: str, where: Places) -> str | Fault:
    run = run_dir.newest_named(where.runs, name)
    if run is not None:
        return str(run.path)
    names = sorted({run.name for run in run_dir.list_runs(where.runs)})
    remedy = f"start that run first; {where.runs} has none"
    if name in names:
        remedy = "let that run save a checkpoint first"
    elif names:
        remedy = one_of(name, names)
    return Fault(("model", "path"), f"run:{name}", "is not a run that has a model", remedy)


def _find(given: str, where: Places, what: str) -> str | Fault:
    candidates = _candidates(given, where)
    for candidate in candidates:
        if candidate.exists():
            return str(candidate.resolve())
    if not looks_like_a_path(given) and Path(given).parts[0] not in OWN_FOLDERS:
        return given
    return _missing(given, candidates, ("model", "path") if what == "model" else ())


def _candidates(given: str, where: Places) -> list[Path]:
    """Where a path may be meant to be, the likeliest first."""
    path = Path(given).expanduser()
    return [path] if path.is_absolute() else [folder / path for folder in where.folders]


def _missing(given: str, candidates: list[Path], key: Key) -> Fault:
    looked = ", ".join(str(folder) for folder in dict.fromkeys(c.parent for c in candidates))
    return Fault(key, given, "does not exist", f"check the path; looked in {looked}")


def looks_like_a_path(given: str) -> bool:
    """Whether a name that exists nowhere was meant as a file or folder rather than as a hub id."""
    return not HUB_ID.match(given) or Path(given).suffix.lower() in FILE_SUFFIXES
