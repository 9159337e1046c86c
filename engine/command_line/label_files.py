"""`export` of a labelling set, and `import`: judgements to and from the forms of the field."""

import argparse
import json
from pathlib import Path

from pydantic import ValidationError

from engine.command_line import terminal
from engine.contract.faults import Fault, PresetError, from_validation, one_of
from engine.contract.labels import LabelDir, LabelSet
from engine.contract.labels_formats import EXPORTS
from engine.contract.labels_log import list_sets
from engine.contract.labels_plan import FilePlan
from engine.contract.labels_use import SCHEME, LabelUse

WORKSPACE_HELP = "its labels/ holds the sets (default: this folder)"


def add_export_options(command: argparse.ArgumentParser) -> None:
    """What `export` takes besides where from, where to and the format, if it exports a labelling set."""
    formats = ", ".join(EXPORTS)
    group = command.add_argument_group("labelling sets", f"SOURCE is labels:<set> or its folder; --format: {formats}")
    group.add_argument("--style", default="as-is", help="of prompts and answers: as-is, plain or conversational")
    group.add_argument("--parquet", action="store_true", help="write Parquet instead of JSON Lines")
    group.add_argument(
        "--held-out", type=float, default=0.0, metavar="SHARE", help="share of the prompts that go into a test split"
    )
    group.add_argument(
        "--pictures", default="embedded", choices=["embedded", "files"], help="of pick_a_pic: in the table or beside it"
    )
    group.add_argument("--ties", default="drop", choices=["drop", "soft"], help="leave ties out, or write both ways")
    group.add_argument("--margin", default="small", choices=["none", "small", "large"], help="what a strength asks")
    group.add_argument("--check", action="store_true", help="show the first rows and how many; writes nothing")
    group.add_argument("--workspace", type=Path, default=Path(), metavar="DIR", help=WORKSPACE_HELP)


def label_set_at(source: Path, workspace: Path) -> LabelDir | None:
    """The set that `labels:<set>` or a folder names; None if it is no set's folder. Raises PresetError."""
    name = str(source)
    if not name.startswith(SCHEME):
        return LabelDir(source.resolve()) if LabelDir(source).settings.is_file() else None
    known = {found.path.name: found for found in list_sets(workspace.resolve() / "labels")}
    if (found := known.get(name.removeprefix(SCHEME))) is not None:
        return found
    remedy = one_of(name.removeprefix(SCHEME), sorted(known)) if known else "name the workspace with --workspace"
    raise PresetError(name, [Fault((), "", "is not a labelling set", remedy)])


def export_labels(options: argparse.Namespace, label_dir: LabelDir) -> int:
    """Raises PresetError before anything is written, OSError."""
    # Imported here: the other commands start quicker without.
    from engine.labelling.exporting import Wish, export_set, look

    if not 0 <= options.held_out < 1:
        fault = Fault(("--held-out",), f"{options.held_out:g}", "should be at least 0 and less than 1", "try 0.1")
        raise PresetError(str(label_dir.path), [fault])
    wish = Wish(
        format=options.format or "preference",
        style=options.style,
        file="parquet" if options.parquet else "jsonl",
        held_out=options.held_out,
        pictures=options.pictures,
        use=LabelUse(ties=options.ties, margin=options.margin),
    )
    if options.check:
        return _tell(look(label_dir, options.dest.resolve(), wish), options)
    made = export_set(label_dir, options.dest.resolve(), wish)
    if options.json:
        terminal.say_json({"dest": str(made.path), "format": wish.format, "rows": made.splits})
    else:
        counts = ", ".join(f"{count} in {split}" for split, count in made.splits.items())
        terminal.say(f"{options.dest} has {label_dir.path.name} as {wish.format}: {counts}")
    return 0


def add_import(command: argparse.ArgumentParser) -> None:
    """The arguments of `import`."""
    command.add_argument("source", type=Path, metavar="SOURCE", help="file of judgements, or the folder of a set")
    command.add_argument("set", metavar="SET", help="name of the new set in labels/")
    command.add_argument(
        "--format",
        default="auto",
        help="preference (also implicit, conversational, HH, OpenRLHF), kto, ranking, argilla, pick_a_pic; usually told"
        " by columns",
    )
    command.add_argument("--question", help="what people were asked")
    command.add_argument("--check", action="store_true", help="show the first rows and how many; writes nothing")
    command.add_argument("--workspace", type=Path, default=Path(), metavar="DIR", help=WORKSPACE_HELP)
    command.set_defaults(command=import_command)


def import_command(options: argparse.Namespace) -> int:
    """Raises PresetError before anything is written, OSError."""
    from engine.labelling.importing import import_set, look

    data = {"name": options.set} | ({"question": options.question} if options.question else {})
    try:
        new = LabelSet.model_validate(data)
    except ValidationError as error:
        raise PresetError("SET", from_validation(error, LabelSet, data)) from error
    label_dir = LabelDir(options.workspace.resolve() / "labels" / options.set)
    if label_dir.path.exists():
        raise PresetError(
            options.set, [Fault(("name",), str(label_dir.path), "is there already", "choose another name")]
        )
    if not options.source.exists():
        raise PresetError(str(options.source), [Fault((), "", "does not exist", "check the path")])
    if options.check:
        return _tell(look(options.source.resolve(), options.format), options)
    label_dir.path.parent.mkdir(parents=True, exist_ok=True)
    items, judgements, left_out = import_set(options.source.resolve(), label_dir, new, format=options.format)
    if options.json:
        terminal.say_json({"set": str(label_dir.path), "items": items, "judgements": judgements, "left_out": left_out})
    else:
        if left_out:
            terminal.say(f"left out: {left_out}")
        terminal.say(f"{label_dir.path} has {items} items and {judgements} judgements")
    return 0


def _tell(plan: FilePlan, options: argparse.Namespace) -> int:
    """What would be read or written."""
    if options.json:
        terminal.say_json(plan.model_dump(mode="json"))
        return 0
    counts = ", ".join(f"{count} {name}" for name, count in plan.counts.items())
    if plan.left_out:
        terminal.say(f"left out: {plan.left_out}")
    terminal.say(f"{plan.format}: {counts}; the first:")
    for row in plan.first:
        terminal.say(json.dumps(row, ensure_ascii=False))
    return 0
