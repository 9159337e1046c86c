"""`evaluate`: score a model on data that it did not learn from, by itself or beside another."""

import argparse
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engine.command_line import arguments, given_rewards, terminal
from engine.command_line.answer_file import AnswerFile, check_new
from engine.command_line.given_rewards import rewards_of
from engine.command_line.heavy import heavy
from engine.command_line.progress import Progress
from engine.contract import faults, settings
from engine.contract.faults import Fault, PresetError
from engine.contract.preset import load_text_preset
from engine.contract.run_dir import RunDir, is_run_dir
from engine.contract.strict_yaml import YamlError, load_yaml

MEASURES = ("loss", "answers", "preferences", "scores")
ROWS = 256
#: Answers to each prompt where two models are compared by how often they have to be asked.
ASKED = 128
OF_SEVERAL = "of how many answers one is right, and by --reward the best is told (default: 2, 4, 8 …)"
FINISHED, STOPPED = 0, 3


def add(command: argparse.ArgumentParser) -> None:
    """The arguments of `evaluate`."""
    arguments.add_model(command)
    command.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="DATA",
        help=f"{arguments.DATA_HELP}, or a source as a preset writes it, e.g. '{{path: task:arithmetic, seed: 9}}';"
        " may be given again (default: data.eval of the run's preset)",
    )
    command.add_argument(
        "--rows", type=arguments.whole(1), default=ROWS, metavar="N", help=f"of each source (default: {ROWS})"
    )
    command.add_argument(
        "--measure",
        action="append",
        choices=MEASURES,
        help="held-out loss; sampled answers (accuracy, pass@k, reward and that of the best of k, or ROUGE and BLEU);"
        " order of preference pairs by implicit reward; scores of a reward model; may be given again (default: all that"
        " model and data allow)",
    )
    command.add_argument(
        "--against",
        metavar="MODEL",
        help=f"answer the same prompts with this model too, {ASKED} times unless --count says, and tell whether asking"
        " it more often makes up for the difference",
    )
    command.add_argument("--answer", metavar="COLUMN", help="the right answer, to be met exactly")
    command.add_argument("--reward", metavar="PRESET", help=given_rewards.HELP)
    command.add_argument("--pass-at", type=arguments.whole(1), action="append", metavar="K", help=OF_SEVERAL)
    command.add_argument("--reference", metavar="MODEL", help="for preferences (default: the adapter off)")
    beta = arguments.number(above=0, most=1000)
    command.add_argument("--beta", type=beta, default=0.1, help="of the implicit reward (default: 0.1)")
    command.add_argument(
        "--max-length", type=arguments.whole(8), default=1024, metavar="N", help="of a row, in tokens (default: 1024)"
    )
    arguments.add_sampling(command, count=1)
    command.add_argument("--output", type=Path, metavar="FILE.jsonl", help="a new file for the answers, one a line")
    command.set_defaults(command=evaluate_command, count=None)


def evaluate_command(options: argparse.Namespace) -> int:
    """Raises PresetError, before anything is written, for what cannot be measured; KeyboardInterrupt if it was stopped
    before anything was."""
    options.count = options.count or (ASKED if options.against else 1)
    model, reference, other = (
        None if given is None else arguments.model_of(options, given)
        for given in (options.model, options.reference, options.against)
    )
    assert model is not None  # noqa: S101 - argparse asks for it
    sources = _sources(options, model)
    rewards = rewards_of(options, model)
    _check_counts(options)
    check_new(options.output)
    named = ", ".join(source.path for source in sources)
    with Progress() as progress, heavy(named), AnswerFile(options.output) as answers:
        from engine.command_line import measuring
        from engine.evaluation.report import keep

        task = measuring.Task(options, sources, rewards, progress, answers)
        report = measuring.measure(task, model, reference, other)
        kept = keep(report, Path(model.path))
    _tell(options, report, kept)
    return STOPPED if report["stopped"] else FINISHED


# ------------------------------------------------------------------------------------------------------- before it


def _sources(options: argparse.Namespace, model: settings.Model) -> list[settings.Source]:
    """Raises PresetError."""
    if options.data:
        return [_source(options, given) for given in options.data]
    preset = load_text_preset(RunDir(Path(model.path)).preset) if is_run_dir(Path(model.path)) else None
    if preset is None or preset.data.eval is None:
        why = "there is no data" if preset is None else "the run's preset has no data.eval"
        raise PresetError(options.model, [Fault((), "", why, "give --data")])
    return [
        source.model_copy(update={"rows": min(source.rows or options.rows, options.rows)})
        for source in preset.data.eval
    ]


def _source(options: argparse.Namespace, given: str) -> settings.Source:
    if not given.startswith("{"):
        return arguments.source_of(options, given, rows=options.rows)
    try:
        values, _ = load_yaml(given)
        written = settings.Source.model_validate({"rows": options.rows, **values})
    except ValidationError as error:
        raise PresetError("--data", faults.from_validation(error, settings.Source, values)) from error
    except YamlError as fault:
        raise PresetError("--data", [Fault((), given, fault.problem, "write it as YAML")]) from fault
    found = arguments.source_of(options, written.path, rows=written.rows)
    return written.model_copy(update={"path": found.path})


def _check_counts(options: argparse.Namespace) -> None:
    """Raises PresetError."""
    most = 1 if options.greedy else options.count
    if beyond := [k for k in options.pass_at or [] if k > most]:
        remedy = "raise --count, without --greedy"
        raise PresetError(
            options.model, [Fault(("--pass-at",), str(beyond[0]), "takes at least as many answers", remedy)]
        )


# ------------------------------------------------------------------------------------------------------- after it


def _tell(options: argparse.Namespace, report: dict[str, Any], kept: Path | None) -> None:
    if options.json:
        terminal.say_json({**report, "file": None if kept is None else str(kept)})
        return
    terminal.show_table([("measure", "value", "95% interval", "over", ""), *_rows(report["measures"])])
    if (against := report["against"]) is not None:
        terminal.say()
        terminal.say(f"against {against['model']}")
        terminal.show_table([("measure", "value", "95% interval", "over", ""), *_rows(against["measures"])])
        terminal.say()
        for what, name in (("answers", "differences"), ("best of", "differences_of_best")):
            if found := against[name]:
                terminal.show_table([(what, "this", "that", "difference, 95%"), *map(_compared, found)])
        for sentence in against["verdicts"]:
            terminal.say(sentence)
    for note in report["notes"]:
        terminal.complain(note)
    if kept is not None:
        terminal.say(f"kept in {kept}")


def _rows(measures: dict[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for name, found in measures.items():
        over = f"{found['over']:,} {found['of']}"
        rows.append((name, terminal.figure(found["value"]), _interval(found), over, found["note"]))
    return rows


def _interval(found: dict[str, Any]) -> str:
    return "" if found["low"] is None else f"{terminal.figure(found['low'])} to {terminal.figure(found['high'])}"


def _compared(found: dict[str, Any]) -> tuple[str, ...]:
    return (str(found["k"]), terminal.figure(found["first"]), terminal.figure(found["second"]), _interval(found))
