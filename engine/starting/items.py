"""From a recipe to the process that follows it: every path is found before anything is written."""

import sys
from dataclasses import dataclass
from pathlib import Path

from engine.contract import jsonl, settings
from engine.contract.faults import Fault, PresetError
from engine.contract.labels import LabelDir, LabelSet
from engine.contract.labels_log import create_set, read_set, why_read_only
from engine.contract.labels_recipe import Part, Recipe, Rollouts, Writer, Written, load_recipe, recipe_text
from engine.contract.run_dir import RunDir
from engine.contract.status import is_alive
from engine.starting import launch
from engine.starting.resolution import Places, changed, places, resolve_model, resolve_source


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
    if faults:
        raise PresetError(str(told_by), faults)
    is_new = not label_dir.settings.exists()
    if not is_new and (reason := why_read_only(label_dir, read_set(label_dir))):
        raise launch.LaunchError(*reason.split("; ", 1))
    if is_alive(RunDir(label_dir.generation)):
        raise launch.LaunchError(f"{label_dir.path.name} is being filled already", "watch it, or `stop` it first")
    return PreparedItems(Recipe(parts=parts), label_dir, new if is_new else None)


def start(prepared: PreparedItems) -> RunDir:
    """Make the set if it is new, put the recipe there, and start the process that follows it. Raises LaunchError."""
    label_dir = prepared.label_dir
    if prepared.new is not None:
        create_set(label_dir.path, prepared.new)
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
        case Rollouts():
            found = resolve_model(settings.Model(path=part.run), where)
            if isinstance(found, Fault) or not RunDir(Path(found.path)).events.is_file():
                told = found if isinstance(found, Fault) else Fault((), part.run, "is no run directory", "check it")
                faults.append(Fault((*key, "run"), told.given, told.problem, told.remedy))
                return part
            return changed(part, run=found.path)
        case _:
            return changed(part, source=_sources(part.source, (*key, "source"), where, faults))


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
