"""`order`: reward models choose which items of a labelling set are judged first; a share is drawn by lot always."""

import argparse
import time
from pathlib import Path

from engine.command_line import arguments, terminal
from engine.command_line.heavy import heavy
from engine.command_line.label_files import label_set_at
from engine.command_line.progress import Progress
from engine.contract.faults import Fault, PresetError
from engine.contract.labels import Item, LabelDir
from engine.contract.labels_log import read_items, read_set, why_read_only
from engine.contract.labels_order import ABOUT, Order, write_order


def add(command: argparse.ArgumentParser) -> None:
    """The arguments of `order`."""
    command.add_argument("source", type=Path, metavar="SET", help="labels:<set>, or the set's folder")
    command.add_argument(
        "models",
        nargs="*",
        metavar="MODEL",
        help="reward models: run directories or folders; none to let the lot decide",
    )
    told = "; ".join(f"{name}: {about}" for name, about in ABOUT.items())
    command.add_argument("--by", choices=list(ABOUT), default="disagreement", help=f"what comes first. {told}")
    command.add_argument("--system", metavar="TEXT", help="system prompt, where the models learned with one")
    arguments.add_loading(command)
    command.set_defaults(command=order_command)


def order_command(options: argparse.Namespace) -> int:
    """Raises PresetError, before anything is written, and OSError."""
    label_dir = label_set_at(options.source, options.workspace)
    if label_dir is None:
        raise PresetError(str(options.source), [Fault((), "", "is not a labelling set", "name labels:<set>")])
    if reason := why_read_only(label_dir, read_set(label_dir)):
        problem, _, remedy = reason.partition("; ")
        raise PresetError(str(options.source), [Fault((), "", problem, remedy)])
    if not options.models:
        label_dir.order.unlink(missing_ok=True)
        return _tell(options, label_dir, 0, 0)
    items = [item for item in read_items(label_dir) if item.gold is None]
    with Progress() as progress:
        scores = _scores(options, items, progress)
    if not scores:
        fault = Fault((), "", "has no item whose answers the models can read", "choose other models")
        raise PresetError(str(options.source), [fault])
    write_order(label_dir, Order(by=options.by, models=tuple(options.models), time=time.time(), scores=scores))
    return _tell(options, label_dir, len(scores), len(items))


def _scores(
    options: argparse.Namespace, items: list[Item], progress: Progress
) -> dict[str, tuple[tuple[float, ...], ...]]:
    """Of items that every model can score: for each model, the score of each candidate."""
    found = [_scores_of(path, options, items, progress) for path in options.models]
    shared = [item for item in found[0] if all(item in of_model for of_model in found)]
    return {item: tuple(of_model[item] for of_model in found) for item in shared}


def _scores_of(
    path: str, options: argparse.Namespace, items: list[Item], progress: Progress
) -> dict[str, tuple[float, ...]]:
    name = Path(path).name

    def tell(what: str, share: float) -> None:
        progress.tell(f"{what} of {name}", share=share, pace="", seconds_left=None)

    with heavy(path):
        from engine.labelling.choosing import item_scores
        from engine.sampling import open_scorer_here

        progress.phase(f"loading {name}")
        policy = open_scorer_here(arguments.model_of(options, path), threads=options.threads)
        return item_scores(policy, items, system_prompt=options.system, tell=tell)


def _tell(options: argparse.Namespace, label_dir: LabelDir, scored: int, items: int) -> int:
    if options.json:
        by = options.by if scored else None
        terminal.say_json({"set": str(label_dir.path), "by": by, "scored": scored, "items": items})
    elif scored:
        terminal.say(f"{label_dir.path.name}: {scored} of {items} items come by {options.by}; the others by lot")
    else:
        terminal.say(f"{label_dir.path.name}: the lot decides")
    return 0
