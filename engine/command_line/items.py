"""`items`: fill a labelling set, by a recipe or by what the command line says."""

import argparse
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engine.command_line import terminal
from engine.command_line.following import Progress
from engine.contract.faults import Fault, PresetError, from_validation
from engine.contract.labels import LabelDir, LabelSet
from engine.contract.labels_demo import NAME, create_demo
from engine.contract.labels_recipe import Recipe, load_recipe, read_recipe
from engine.contract.run_dir import RunDir
from engine.contract.status import Status
from engine.starting import items

#: Options of the command that are settings of an artist, and of a writer.
ARTIST = ("sampler", "steps", "guidance", "eta")
WRITER = ("answers", "max_new_tokens", "temperature", "top_p", "top_k", "seed")


def add_options(command: argparse.ArgumentParser) -> None:
    """The arguments of `items`."""
    command.add_argument("set", metavar="SET", help="name of a set in labels/; it is made if it is not there")
    command.add_argument("--demo", action="store_true", help="the set that ships: 60 pairs of a small model's answers")
    command.add_argument("--recipe", type=Path, metavar="FILE", help="YAML that says where items come from")
    command.add_argument("--prompts", metavar="FILE", help="prompts that --model answers")
    command.add_argument("--model", action="append", default=[], help="a model or run that answers; may be given again")
    command.add_argument("--answers", type=int, metavar="K", help="answers each model writes to a prompt")
    command.add_argument("--max-new-tokens", type=int, metavar="N")
    command.add_argument("--temperature", type=float)
    command.add_argument("--top-p", type=float)
    command.add_argument("--top-k", type=int)
    command.add_argument("--seed", type=int)
    command.add_argument(
        "--draw",
        action="append",
        default=[],
        metavar="MODEL",
        help="an image model that draws pairs; given again, models draw from the same noise",
    )
    command.add_argument("--pairs", type=int, metavar="N", help="with --draw: pairs of each class or prompt")
    command.add_argument("--classes", type=int, nargs="+", metavar="C", help="with --draw: classes; default: all")
    command.add_argument("--sampler", help="with --draw: how noise becomes a picture")
    command.add_argument("--steps", type=int, help="with --draw: sampling steps")
    command.add_argument("--guidance", type=float, help="with --draw: how far to follow the class or prompt")
    command.add_argument("--eta", type=float, help="with --draw: share of DDPM's noise, of ddim")
    command.add_argument("--rollouts", metavar="RUN", help="compare what a run wrote while it trained")
    command.add_argument("--follow", action="store_true", help="with --rollouts: wait for more until the run ends")
    command.add_argument("--completions", metavar="FILE", help="compare the answers in a file")
    command.add_argument("--preferences", metavar="FILE", help="judge the pairs of a file anew")
    command.add_argument("--gold", action="store_true", help="with --preferences: they check the labellers")
    command.add_argument("--ranking", action="store_true", help="all answers to a prompt in one item, to be ranked")
    command.add_argument("--question", help="what people are asked, of a new set")
    command.add_argument("--guideline", type=Path, metavar="FILE", help="what they are told to look at, of a new set")
    command.add_argument(
        "--check", action="store_true", help="say how much there would be and show the first of it; writes nothing"
    )
    command.add_argument(
        "--workspace",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="its labels/ holds the sets (default: this folder)",
    )


def start(options: argparse.Namespace) -> RunDir:
    """Start filling the set; returns the directory to watch. Raises PresetError, LaunchError, OSError."""
    label_dir, data = _label_dir(options), _settings(options)
    try:
        new = LabelSet.model_validate(data)
    except ValidationError as error:
        raise PresetError("SET", from_validation(error, LabelSet, data)) from error
    guideline = _guideline(options)
    recipe, told_by = _recipe(options, label_dir)
    prepared = items.prepare(label_dir, recipe, told_by=told_by, workspace=options.workspace, new=new)
    return items.start(prepared, guideline=guideline)


def check(options: argparse.Namespace) -> int:
    """Say what `start` would make. Raises PresetError with all that is wrong."""
    label_dir = _label_dir(options)
    if options.recipe is not None:
        data, told_by = read_recipe(options.recipe)[0], options.recipe
    else:
        recipe, told_by = _recipe(options, label_dir)
        data = recipe.model_dump(mode="json")
    plan = items.look(label_dir, data, told_by=told_by, workspace=options.workspace, new=_settings(options))
    if options.json:
        terminal.say_json(plan.model_dump(mode="json"))
        return 0
    for part in plan.parts:
        about = "about " if part.is_rough else ""
        terminal.say(f"{part.kind}: {part.rows} rows, {about}{part.items} items at most")
        if part.left_out:
            terminal.say(f"  {part.left_out}")
    time = "" if plan.seconds is None else f", about {terminal.duration(plan.seconds)} on this processor"
    tokens = f", {plan.tokens} tokens at most" if plan.tokens else ""
    terminal.say(f"{plan.name}: {plan.items} items{tokens}{time}")
    return 0


def _label_dir(options: argparse.Namespace) -> LabelDir:
    return LabelDir(options.workspace.resolve() / "labels" / options.set)


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    return {"name": options.set} | ({"question": options.question} if options.question else {})


def _guideline(options: argparse.Namespace) -> str:
    """Raises PresetError if there is no such file."""
    if options.guideline is None:
        return ""
    try:
        return str(options.guideline.read_text("utf-8", "replace"))
    except OSError as error:
        fault = Fault(("--guideline",), "", error.strerror or str(error), "check the path")
        raise PresetError(str(options.guideline), [fault]) from error


def demo(options: argparse.Namespace) -> LabelDir:
    """The set that ships, in the workspace. Raises PresetError for another name, OSError."""
    if options.set != NAME:
        raise PresetError(
            "the command line", [Fault((), options.set, f"the set that ships is called {NAME}", "use it")]
        )
    return create_demo(options.workspace.resolve() / "labels")


def farewell(run: RunDir, progress: Progress, status: Status, *, seconds: float) -> str:
    """How it ended and what to do next, in one line."""
    name = run.path.parent.name
    count = f"{name} has {progress.values.get('items', 0):.0f} items"
    if status.state == "finished":
        return f"{count}, after {terminal.duration(seconds)}; judge them in the window, or export the set"
    if status.state == "stopped":
        return f"{count}; to go on: python -m engine items {name}"
    return terminal.farewell(run, progress, status, seconds=seconds)


def _recipe(options: argparse.Namespace, label_dir: LabelDir) -> tuple[Recipe, Path]:
    if options.recipe is not None:
        return load_recipe(options.recipe), options.recipe
    parts = _parts(options)
    if not parts:
        return items.earlier_recipe(label_dir), label_dir.generation / "recipe.yaml"
    try:
        return Recipe.model_validate({"parts": parts}), Path("the command line")
    except ValidationError as error:
        raise PresetError("the command line", from_validation(error, Recipe, {"parts": parts})) from error


def _parts(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The parts of a recipe that the options ask for. Raises PresetError if one is no use without another."""
    compare = {"compare": "ranking" if options.ranking else "pairs"}
    parts: list[dict[str, Any]] = []
    if options.draw:
        parts.append(_drawn(options))
    elif bool(options.prompts) != bool(options.model):
        missing, given = ("--model", "--prompts") if options.prompts else ("--prompts", "--model")
        raise PresetError("the command line", [Fault((), given, f"needs {missing} too", f"give {missing}")])
    if options.prompts and not options.draw:
        own = {name: value for name in WRITER if (value := getattr(options, name)) is not None}
        if len(options.model) == 1:
            own.setdefault("answers", 2)
        writers = [{"model": model, **own} for model in options.model]
        parts.append({"kind": "written", "prompts": options.prompts, "writers": writers, **compare})
    if options.rollouts:
        parts.append({"kind": "rollouts", "run": options.rollouts, "follow": options.follow, **compare})
    if options.completions:
        parts.append({"kind": "completions", "source": options.completions, **compare})
    if options.preferences:
        parts.append({"kind": "preferences", "source": options.preferences, "gold": options.gold})
    return parts


def _drawn(options: argparse.Namespace) -> dict[str, Any]:
    """The part that --draw asks for."""
    own = {name: value for name in (*ARTIST, "seed") if (value := getattr(options, name)) is not None}
    told = {"pairs": options.pairs, "classes": options.classes, "prompts": options.prompts}
    artists = [{"model": model, **own} for model in options.draw]
    return {"kind": "drawn", "artists": artists, **{name: value for name, value in told.items() if value is not None}}
