"""`evaluate`: score a model on data that it did not learn from."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from engine.command_line import arguments, terminal
from engine.command_line.heavy import heavy
from engine.command_line.progress import Progress
from engine.contract import faults, settings
from engine.contract.faults import Fault, PresetError
from engine.contract.preset import RewardModelPreset, load_preset
from engine.contract.run_dir import RunDir, is_run_dir
from engine.contract.strict_yaml import YamlError, load_yaml

if TYPE_CHECKING:
    from engine.data.chat import ChatEncoder
    from engine.evaluation.figures import Figures
    from engine.evaluation.material import Material
    from engine.models import Policy
    from engine.sampling import Sampler

MEASURES = ("loss", "answers", "preferences", "scores")
ROWS = 256


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
        help="held-out loss; sampled answers (accuracy and pass@k, or ROUGE and BLEU); order of preference pairs by"
        " implicit reward; scores of a reward model; may be given again (default: all that model and data allow)",
    )
    command.add_argument("--answer", metavar="COLUMN", help="the right answer, to be met exactly")
    command.add_argument("--pass-at", type=arguments.whole(1), action="append", metavar="K", help="default: 2, 4, 8 …")
    command.add_argument("--reference", metavar="MODEL", help="for preferences (default: the adapter off)")
    beta = arguments.number(above=0, most=1000)
    command.add_argument("--beta", type=beta, default=0.1, help="of the implicit reward (default: 0.1)")
    command.add_argument(
        "--max-length", type=arguments.whole(8), default=1024, metavar="N", help="of a row, in tokens (default: 1024)"
    )
    arguments.add_sampling(command, count=1)
    command.set_defaults(command=evaluate_command)


def evaluate_command(options: argparse.Namespace) -> int:
    """Raises PresetError, before anything is written, for what cannot be measured."""
    model = arguments.model_of(options, options.model)
    reference = None if options.reference is None else arguments.model_of(options, options.reference)
    sources = _sources(options, model)
    if beyond := [k for k in options.pass_at or [] if k > (1 if options.greedy else options.count)]:
        fault = Fault(
            ("--pass-at",), str(beyond[0]), "takes at least as many answers", "raise --count, without --greedy"
        )
        raise PresetError(options.model, [fault])
    named = ", ".join(source.path for source in sources)
    with Progress() as progress, heavy(named):
        from engine.evaluation.report import keep, report_of
        from engine.models import gives_scores

        sampling = None
        if gives_scores(model.path):
            figures, notes = _of_reward_model(options, model, sources, progress)
        else:
            figures, sampling, notes = _of_language_model(options, model, reference, sources, progress)
        paths = [source.path for source in sources]
        report = report_of(figures, model=model.path, data=paths, sampling=sampling, notes=notes)
        kept = keep(report, Path(model.path))
    _tell(options, report, kept)
    return 0


def _of_reward_model(
    options: argparse.Namespace, model: settings.Model, sources: list[settings.Source], progress: Progress
) -> tuple["Figures", list[str]]:
    from engine.data.sources import DataError, load_rows
    from engine.evaluation.scores import of_reward_model
    from engine.sampling import open_scorer_here

    if others := [name for name in options.measure or [] if name != "scores"]:
        raise DataError(f"a reward model writes nothing, so there is no {others[0]} to measure; use --measure scores")
    progress.phase("reading the data")
    table = load_rows(sources, "reward_model")
    progress.phase("loading the model")
    policy = open_scorer_here(model, threads=options.threads)
    figures, lost = of_reward_model(
        policy,
        table,
        _own_settings(model),
        system_prompt=arguments.system_prompt_of(options, model),
        max_length=options.max_length,
        tell=progress.of_share,
    )
    return figures, list(filter(None, [table.unusable, lost]))


def _own_settings(model: settings.Model) -> settings.RewardModel:
    """What its loss counts: as the run's preset has it, else as usual."""
    run = Path(model.path)
    preset = load_preset(RunDir(run).preset) if is_run_dir(run) else None
    return preset.reward_model if isinstance(preset, RewardModelPreset) else settings.RewardModel()


def _of_language_model(
    options: argparse.Namespace,
    model: settings.Model,
    reference: settings.Model | None,
    sources: list[settings.Source],
    progress: Progress,
) -> tuple["Figures", dict[str, Any] | None, list[str]]:
    from engine.evaluation.material import material

    progress.phase("reading the data")
    found = material(sources)
    wanted = _wanted(options, model, found)
    figures, sampling = _measured(options, model, reference, found, wanted, progress)
    return figures, sampling, [f"{name} not measured: {why}" for name, why in _unmeasured(found, wanted).items()]


# ------------------------------------------------------------------------------------------------------- before it


def _sources(options: argparse.Namespace, model: settings.Model) -> list[settings.Source]:
    """Raises PresetError."""
    if options.data:
        return [_source(options, given) for given in options.data]
    preset = load_preset(RunDir(Path(model.path)).preset) if is_run_dir(Path(model.path)) else None
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


def _wanted(options: argparse.Namespace, model: settings.Model, found: "Material") -> list[str]:
    """What is measured. Raises DataError if something was asked for that the data does not allow, or nothing can be."""
    from engine.data.sources import DataError

    lacks = _lacks(options, model, found)
    for name in options.measure or []:
        if lacks[name]:
            raise DataError(lacks[name])
    # Rows of a task make pairs too: of those that can be learned from, pairs are measured for those who ask.
    is_usual = {"preferences": found.learned is None or options.reference is not None}
    usual = [name for name in MEASURES if not lacks[name] and is_usual.get(name, True)]
    if not usual:
        nearest = "preferences" if found.pairs else "answers" if found.asked else "loss"
        raise DataError(lacks[nearest])
    return [name for name in MEASURES if name in (options.measure or usual)]


def _lacks(options: argparse.Namespace, model: settings.Model, found: "Material") -> dict[str, str]:
    """Of each measure, why it cannot be taken; empty where it can."""
    from engine.evaluation.material import NOTHING_TO_COMPARE, grader, reference_of, to_answer

    table = to_answer(found, options.answer)
    lacks = {"loss": found.lacks.get("learned", ""), "answers": found.lacks.get("asked", "")}
    lacks["preferences"] = found.lacks.get("pairs", "")
    lacks["scores"] = f"{model.path} writes answers and scores none; name a reward model"
    if table is not None:
        has_answers = all(reference_of(row) is not None for row in table.rows)
        lacks["answers"] = "" if has_answers or grader(table, options.answer) else NOTHING_TO_COMPARE
    if found.pairs is not None and options.reference is None and not _has_adapter(model):
        lacks["preferences"] = "there is no reference to compare with; give --reference MODEL"
    return lacks


def _has_adapter(model: settings.Model) -> bool:
    path = Path(model.path)
    if is_run_dir(path):
        return load_preset(RunDir(path).preset).model.adapter is not None
    return (path / "adapter_config.json").is_file()


def _unmeasured(found: "Material", wanted: list[str]) -> dict[str, str]:
    tables = {"loss": found.learned, "answers": found.asked, "preferences": found.pairs}
    return {name: "it was not asked for" for name, table in tables.items() if table is not None and name not in wanted}


# ------------------------------------------------------------------------------------------------------------- it


def _measured(
    options: argparse.Namespace,
    model: settings.Model,
    reference: settings.Model | None,
    found: "Material",
    wanted: list[str],
    progress: Progress,
) -> tuple["Figures", dict[str, Any] | None]:
    from engine.data.chat import ChatEncoder
    from engine.evaluation import material
    from engine.sampling import open_here

    progress.phase("loading the model")
    policy = open_here(model, threads=options.threads)
    system = arguments.system_prompt_of(options, model)
    encoder = ChatEncoder(policy.tokenizer, system_prompt=system)
    longest = min(options.max_length, policy.context or options.max_length)
    figures: Figures = {}
    sampling = None

    if "loss" in wanted and found.learned is not None:
        figures |= material.loss(policy, encoder, found.learned.rows, max_length=longest, tell=progress.of_share)
    if "answers" in wanted:
        sampler = _sampler(options, policy, encoder, system)
        figures |= _answers(options, sampler, found, progress)
        sampling = {**sampler.described(), "count": sampler.how.completions_per_prompt}
    if "preferences" in wanted and found.pairs is not None:
        other = None if reference is None else open_here(reference, threads=options.threads)
        figures |= material.preferences(
            policy, other, encoder, found.pairs.rows, beta=options.beta, max_length=longest, tell=progress.of_share
        )
    return figures, sampling


def _sampler(options: argparse.Namespace, policy: "Policy", encoder: "ChatEncoder", system: str | None) -> "Sampler":
    from engine.sampling import Sampler, usual_length

    how = arguments.rollout_of(options, longest=usual_length(policy))
    return Sampler(policy, encoder, system, how, options.seed, greedy=options.greedy, batch_size=options.batch_size)


def _answers(options: argparse.Namespace, sampler: "Sampler", found: "Material", progress: Progress) -> "Figures":
    from engine.evaluation import material
    from engine.evaluation.pass_at_k import usual_ks

    table = material.to_answer(found, options.answer)
    assert table is not None  # noqa: S101 - it was wanted, so it is there
    graded = material.answers(sampler, table, answer_column=options.answer, tell=progress.of_sampling)
    ks = options.pass_at or usual_ks(sampler.how.completions_per_prompt)
    return material.of_graded(graded, ks)


def _tell(options: argparse.Namespace, report: dict[str, Any], kept: Path | None) -> None:
    if options.json:
        terminal.say_json({**report, "file": None if kept is None else str(kept)})
        return
    rows = [("measure", "value", "95% interval", "over", "")]
    for name, figure in report["measures"].items():
        has_interval = figure["low"] is not None
        interval = f"{terminal.figure(figure['low'])} to {terminal.figure(figure['high'])}" if has_interval else ""
        over = f"{figure['over']:,} {figure['of']}"
        rows.append((name, terminal.figure(figure["value"]), interval, over, figure["note"]))
    terminal.show_table(rows)
    if kept is not None:
        terminal.say(f"kept in {kept}")
