"""`vote`: a model judges the pairs of a labelling set, as one more labeller."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from engine.command_line import arguments, terminal
from engine.command_line.heavy import heavy
from engine.command_line.label_files import label_set_at
from engine.command_line.progress import Progress
from engine.contract.faults import Fault, PresetError
from engine.contract.labels import MODEL, Item, LabelDir
from engine.contract.labels_log import JudgementLog, ReadOnlyError, read_items, read_set
from engine.contract.settings import Model

if TYPE_CHECKING:
    from engine.judging import Manner


#: Principles for who has not written any.
CONSTITUTION = Path(__file__).resolve().parents[2] / "assets" / "constitution.md"


def add(command: argparse.ArgumentParser) -> None:
    """The arguments of `vote`."""
    command.add_argument("source", type=Path, metavar="SET", help="labels:<set>, or the set's folder")
    arguments.add_model(command)
    command.add_argument(
        "--constitution",
        nargs="?",
        type=Path,
        const=CONSTITUTION,
        metavar="FILE",
        help="principles that the model judges by (alone: those that ship, assets/constitution.md)",
    )
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
    constitution = _constitution(options.constitution)
    try:
        log = JudgementLog.open_votes(label_dir, label_set)
    except ReadOnlyError as error:
        problem, _, remedy = str(error).partition("; ")
        raise PresetError(str(options.source), [Fault((), "", problem, remedy)]) from error
    try:
        items = [item for item in read_items(label_dir) if log.ledger.of(item.id, MODEL + name) is None]
        with Progress() as progress, heavy(options.model):
            manner = _vote(log, items, label_set.question, constitution, name, options, model, progress)
    finally:
        log.close()
    _tell(label_dir, name, manner, as_json=options.json)
    return 0


def _constitution(file: Path | None) -> str:
    """The text to judge by; empty without one. Raises PresetError."""
    if file is None:
        return ""
    try:
        text = file.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        fault = Fault((), "", f"cannot be read: {why}", "name a text file of principles")
        raise PresetError(str(file), [fault]) from error
    if not text.strip():
        raise PresetError(str(file), [Fault((), "", "is empty", "write what makes an answer better, a line each")])
    return text


def _tell(label_dir: LabelDir, name: str, manner: "Manner | None", *, as_json: bool) -> None:
    count = manner.pairs if manner else 0
    if as_json:
        told = {"set": str(label_dir.path), "labeller": MODEL + name, "votes": count}
        terminal.say_json(told | ({"manner": manner._asdict()} if manner else {}))
        return
    terminal.say(f"{MODEL + name} has judged {count} pairs of {label_dir.path.name}")
    if manner:
        terminal.say(
            f"its two orders agree on {manner.consistent} of them; the others count as ties. It preferred what stood "
            f"first in {manner.first_place:.0%} of its answers, a liking of {manner.bias:+.2f} nats"
        )
        if manner.consistent < manner.pairs / 2:
            terminal.complain("it judges places rather than answers, and is of no use; take a larger model")


def _vote(
    log: JudgementLog,
    items: list[Item],
    question: str,
    constitution: str,
    name: str,
    options: argparse.Namespace,
    model: Model,
    progress: Progress,
) -> "Manner | None":
    """How it judged; None if there was nothing to judge."""
    from engine.judging import Judge, manner_of
    from engine.labelling.voting import votes
    from engine.sampling import open_here

    progress.phase("loading the model")
    judge = Judge(open_here(model, threads=options.threads), question, constitution)
    every = []
    guideline = log.under(constitution) if constitution else ""
    for vote, odds in votes(judge, items, name, guideline):
        log.say(vote)
        every.append(odds)
        share = len(every) / len(items)
        progress.tell(f"pair {len(every)} of {len(items)}", share=share, pace="", seconds_left=None)
    return manner_of(every) if every else None
