"""From a recipe to the process that follows it: every path is found before anything is written."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from engine.contract import jsonl, settings
from engine.contract.faults import Fault, Key, PresetError, from_validation
from engine.contract.labels import LabelDir, LabelSet
from engine.contract.labels_log import create_set, read_set, why_read_only
from engine.contract.labels_plan import ItemsPlan, PartPlan
from engine.contract.labels_recipe import (
    KINDS,
    PICTURES_ASKED,
    Artist,
    Drawn,
    Part,
    Recipe,
    Rollouts,
    Writer,
    Written,
    load_recipe,
    recipe_text,
)
from engine.contract.run_dir import RunDir
from engine.contract.status import is_alive
from engine.data.sources import DataError
from engine.labelling import plans
from engine.starting import launch
from engine.starting.resolution import Places, changed, places, resolve_model, resolve_named, resolve_source
from engine.starting.writing_time import seconds_to_write

#: The setting of each kind of part that a fault of its file stands at.
FILE_OF = {
    "drawn": "prompts",
    "written": "prompts",
    "rollouts": "run",
    "completions": "source",
    "preferences": "source",
}


@dataclass(frozen=True)
class PreparedItems:
    """A checked recipe with every path absolute, and the set it fills; `new` where the set is not there yet."""

    recipe: Recipe
    label_dir: LabelDir
    new: LabelSet | None


def prepare(label_dir: LabelDir, recipe: Recipe, *, told_by: Path, workspace: Path, new: LabelSet) -> PreparedItems:
    """Find all that the recipe names. Writes nothing. told_by: the recipe's file, for what is relative and for faults.

    Raises PresetError, which lists every fault; LaunchError if items are being written to the set already.
    """
    where = places(told_by, workspace)
    faults: list[Fault] = []
    parts = [_resolved(part, ("parts", number), where, faults) for number, part in enumerate(recipe.parts)]
    faults += _faults_of_kinds([part.kind for part in recipe.parts], label_dir)
    if faults:
        raise PresetError(str(told_by), faults)
    is_new = not label_dir.settings.exists()
    if not is_new and (reason := why_read_only(label_dir, read_set(label_dir))):
        raise launch.LaunchError(*reason.split("; ", 1))
    if is_alive(RunDir(label_dir.generation)):
        raise launch.LaunchError(f"{label_dir.path.name} is being filled already", "watch it, or `stop` it first")
    if kind_of(parts[0].kind) == "image":
        is_asked = new.question != LabelSet.model_fields["question"].default
        new = new.model_copy(update={"kind": "image", **({} if is_asked else {"question": PICTURES_ASKED})})
    return PreparedItems(Recipe(parts=parts), label_dir, new if is_new else None)


def look(label_dir: LabelDir, data: Any, *, told_by: Path, workspace: Path, new: dict[str, Any]) -> ItemsPlan:
    """What a recipe would make, and what comes first of it. Reads its files, opens no model, writes nothing.

    data: the recipe as it was written. new: settings of the set. Raises PresetError with every fault of the set, the
    recipe and its files at once.
    """
    faults = _faults_of_set(label_dir, new)
    parts = data.get("parts") if isinstance(data, dict) else None
    if not isinstance(parts, list) or not parts or set(data) != {"parts"}:
        faults += _faults_of_recipe(data)
        raise PresetError(str(told_by), faults)
    found = [_looked_at(part, number, places(told_by, workspace)) for number, part in enumerate(parts)]
    faults += [fault for one in found if isinstance(one, list) for fault in one]
    kinds = [str(part.get("kind")) for part in parts if isinstance(part, dict)]
    faults += _faults_of_kinds(kinds, label_dir)
    if faults:
        raise PresetError(str(told_by), faults)
    seconds = [seconds for one in found if not isinstance(one, list) and (seconds := one.seconds) is not None]
    return ItemsPlan(
        name=label_dir.path.name,
        is_new=not label_dir.settings.exists(),
        parts=[one.plan for one in found if not isinstance(one, list)],
        seconds=sum(seconds) if len(seconds) == len(found) else None,
    )


@dataclass(frozen=True)
class _Found:
    """seconds: what writing it may take; 0 where nothing is written, None where nobody knows."""

    plan: PartPlan
    seconds: float | None


def _looked_at(data: Any, number: int, where: Places) -> _Found | list[Fault]:
    """The plan of a part, or all that is wrong with it."""
    alone = {"parts": [data]}
    try:
        [part] = Recipe.model_validate(alone).parts
    except ValidationError as error:
        faults = from_validation(error, Recipe, alone)
        return [replace(fault, key=("parts", number, *fault.key[2:])) for fault in faults]
    faults = []
    part = _resolved(part, ("parts", number), where, faults)
    if faults:
        return faults
    try:
        plan = plans.plan_part(part)
    except DataError as error:
        return [Fault(("parts", number, FILE_OF[part.kind]), "", *_told(str(error)))]
    if isinstance(part, Drawn):
        return _Found(plan, None)
    return _Found(plan, seconds_to_write(part, plan.rows) if isinstance(part, Written) else 0.0)


def _faults_of_set(label_dir: LabelDir, new: dict[str, Any]) -> list[Fault]:
    try:
        LabelSet.model_validate(new)
    except ValidationError as error:
        return from_validation(error, LabelSet, new)
    key: Key = ("name",)
    if label_dir.settings.exists() and (reason := why_read_only(label_dir, read_set(label_dir))):
        return [Fault(key, "", *_told(reason))]
    if is_alive(RunDir(label_dir.generation)):
        return [Fault(key, label_dir.path.name, "is being filled already", "choose another name, or stop that first")]
    return []


def kind_of(part: str) -> Literal["text", "image"]:
    """What people are to judge of a kind of part."""
    return KINDS.get(part, "text")


def _faults_of_kinds(kinds: Sequence[str], label_dir: LabelDir) -> list[Fault]:
    """Texts and pictures are not asked about in one set: the question, and what learns from it, are others."""
    has = kind_of(kinds[0]) if kinds else "text"
    told = f"items of {kinds[0]}" if kinds else ""
    if label_dir.settings.exists():
        has, told = read_set(label_dir).kind, f"the set {label_dir.path.name}"
    wrong = [place for place, kind in enumerate(kinds) if kind_of(kind) != has]
    problem, remedy = f"gives {'texts' if has == 'image' else 'pictures'}", "make a set of its own for it"
    return [Fault(("parts", at, "kind"), kinds[at], f"{problem}, unlike {told}", remedy) for at in wrong[:1]]


def _told(sentence: str) -> tuple[str, str]:
    """What is wrong, and what to do, as our sentences say it: before and after the first semicolon."""
    problem, _, remedy = sentence.partition("; ")
    return problem, remedy or "check the file"


def _faults_of_recipe(data: Any) -> list[Fault]:
    try:
        Recipe.model_validate(data)
    except ValidationError as error:
        return from_validation(error, Recipe, data)
    return []


def start(prepared: PreparedItems, *, guideline: str = "") -> RunDir:
    """Make the set if it is new, put the recipe there, and start the process that follows it. Raises LaunchError.

    guideline: what people are told to look at, of a new set.
    """
    label_dir = prepared.label_dir
    if prepared.new is not None:
        create_set(label_dir.path, prepared.new, guideline=guideline)
    generation = RunDir(label_dir.generation)
    generation.path.mkdir(exist_ok=True)
    jsonl.end_torn_line(generation.events)
    generation.events.touch()
    (generation.path / "recipe.yaml").write_text(recipe_text(prepared.recipe), "utf-8")
    launch.start_supervisor(generation, [sys.executable, "-m", "engine.labelling.generate"], launch.environment())
    return generation


def earlier_recipe(label_dir: LabelDir) -> Recipe:
    """The recipe that the set was last filled by, to go on with. Raises PresetError, LaunchError."""
    path = label_dir.generation / "recipe.yaml"
    if not path.is_file():
        problem = f"{label_dir.path.name} has no recipe to go on with"
        raise launch.LaunchError(problem, "say where items come from: --recipe, --prompts, --rollouts, --completions")
    return load_recipe(path)


def _resolved(part: Part, key: tuple[str | int, ...], where: Places, faults: list[Fault]) -> Part:
    match part:
        case Written():
            writers = [_writer(w, (*key, "writers", n), where, faults) for n, w in enumerate(part.writers)]
            prompts = _sources(part.prompts, (*key, "prompts"), where, faults)
            answers = sum(writer.answers for writer in writers)
            if answers < 2:
                remedy = "name a second writer, or ask the one for answers: 2"
                faults.append(Fault((*key, "writers"), "", "one answer to a prompt leaves nothing to compare", remedy))
            return changed(part, prompts=prompts, writers=writers)
        case Drawn():
            artists = [_artist(a, (*key, "artists", n), where, faults) for n, a in enumerate(part.artists)]
            asked = None if part.prompts is None else _sources(part.prompts, (*key, "prompts"), where, faults)
            if part.prompts is not None and part.classes is not None:
                fault = Fault((*key, "prompts"), "", "stands beside classes", "leave one of them empty")
                faults.append(fault)
            return changed(part, prompts=asked, artists=artists)
        case Rollouts():
            found = resolve_model(settings.Model(path=part.run), where)
            if isinstance(found, Fault) or not RunDir(Path(found.path)).events.is_file():
                told = found if isinstance(found, Fault) else Fault((), part.run, "is no run directory", "check it")
                faults.append(Fault((*key, "run"), told.given, told.problem, told.remedy))
                return part
            return changed(part, run=found.path)
        case _:
            return changed(part, source=_sources(part.source, (*key, "source"), where, faults))


def _artist(artist: Artist, key: tuple[str | int, ...], where: Places, faults: list[Fault]) -> Artist:
    found = resolve_named(artist.model, where, (*key, "model"))
    if isinstance(found, Fault):
        faults.append(found)
        return artist
    if artist.eta and artist.sampler != "ddim":
        remedy = "set it to 0, or choose ddim"
        faults.append(Fault((*key, "eta"), f"{artist.eta:g}", f"has no effect on {artist.sampler}", remedy))
    return changed(artist, model=found)


def _writer(writer: Writer, key: tuple[str | int, ...], where: Places, faults: list[Fault]) -> Writer:
    found = resolve_model(settings.Model(path=writer.model), where)
    if isinstance(found, Fault):
        faults.append(Fault((*key, "model"), found.given, found.problem, found.remedy))
        return writer
    return changed(writer, model=found.path)


def _sources(
    sources: list[settings.Source], key: tuple[str | int, ...], where: Places, faults: list[Fault]
) -> list[settings.Source]:
    found = []
    for source in sources:
        resolved = resolve_source(source, where)
        if isinstance(resolved, Fault):
            faults.append(Fault(key, resolved.given, resolved.problem, resolved.remedy))
        else:
            found.append(resolved)
    return found
