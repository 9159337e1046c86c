"""`vote`: a model judges the pairs of a labelling set, as one more labeller."""

import argparse
from pathlib import Path

from engine.command_line import arguments, terminal
from engine.command_line.heavy import heavy
from engine.command_line.label_files import label_set_at
from engine.command_line.progress import Progress
from engine.contract.faults import Fault, PresetError
from engine.contract.labels import MODEL, Item
from engine.contract.labels_log import JudgementLog, ReadOnlyError, read_items, read_set
from engine.contract.settings import Model


def add(command: argparse.ArgumentParser) -> None:
    """The arguments of `vote`."""
    command.add_argument("source", type=Path, metavar="SET", help="labels:<set>, or the set's folder")
    arguments.add_model(command)
    command.add_argument("--name", help="what the labeller is called, after model: (default: as the model's file)")
    command.set_defaults(command=vote_command)


def vote_command(options: argparse.Namespace) -> int:
    """Raises PresetError, before anything is written."""
    label_dir = label_set_at(options.source, options.workspace)
    if label_dir is None:
        raise PresetError(str(options.source), [Fault((), "", "is not a labelling set", "name labels:<set>")])
    label_set = read_set(label_dir)
    if label_set.kind == "image":
        fault = Fault((), "", "holds pictures, which a language model cannot see", "name a set of texts")
        raise PresetError(str(options.source), [fault])
    model = arguments.model_of(options, options.model)
    name = options.name or Path(model.path).name
    try:
        log = JudgementLog.open_votes(label_dir, label_set)
    except ReadOnlyError as error:
        problem, _, remedy = str(error).partition("; ")
        raise PresetError(str(options.source), [Fault((), "", problem, remedy)]) from error
    try:
        items = [item for item in read_items(label_dir) if log.ledger.of(item.id, MODEL + name) is None]
        with Progress() as progress, heavy(options.model):
            count = _vote(log, items, label_set.question, name, options, model, progress)
    finally:
        log.close()
    if options.json:
        terminal.say_json({"set": str(label_dir.path), "labeller": MODEL + name, "votes": count})
    else:
        terminal.say(f"{MODEL + name} has judged {count} pairs of {label_dir.path.name}")
    return 0


def _vote(
    log: JudgementLog,
    items: list[Item],
    question: str,
    name: str,
    options: argparse.Namespace,
    model: Model,
    progress: Progress,
) -> int:
    from engine.labelling.voting import votes
    from engine.sampling import open_here

    progress.phase("loading the model")
    policy = open_here(model, threads=options.threads)
    count = 0
    for vote in votes(policy, items, question, name):
        log.say(vote)
        count += 1
        progress.tell(f"pair {count} of {len(items)}", share=count / len(items), pace="", seconds_left=None)
    return count
