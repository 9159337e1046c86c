"""What `evaluate` does once it is known what is asked: load, score, sample, and gather it in a report.

Imports torch; the command loads it when nothing is left to refuse.
"""

import argparse
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from engine.command_line import arguments
from engine.command_line.answer_file import AnswerFile
from engine.command_line.progress import Progress
from engine.contract import online_settings, settings
from engine.contract.preset import RewardModelPreset, load_text_preset
from engine.contract.run_dir import RunDir, is_run_dir
from engine.data.chat import ChatEncoder
from engine.data.sources import DataError, Row, Table, load_rows
from engine.evaluation import answers, comparison, material
from engine.evaluation.answers import Graded
from engine.evaluation.figures import Figures, mean_known, right_of
from engine.evaluation.material import Material
from engine.evaluation.pass_at_k import usual_ks
from engine.evaluation.report import report_of
from engine.evaluation.scores import of_reward_model
from engine.models import Policy, gives_scores
from engine.rewards import Answered, RewardError, RewardSum, Surroundings
from engine.sampling import Sample, Sampler, open_here, open_scorer_here, record, usual_length

MEASURES = ("loss", "answers", "preferences")


class Task(NamedTuple):
    """What is asked. rewards: what scores answers, if anything does. answers: where each is written."""

    options: argparse.Namespace
    sources: list[settings.Source]
    rewards: list[online_settings.Reward]
    progress: Progress
    answers: AnswerFile


@dataclass
class Outcome:
    """What has been found so far; an interruption leaves it as it is, and clears `is_whole`. name: as it was given."""

    name: str
    figures: Figures = field(default_factory=dict)
    sampling: dict[str, Any] | None = None
    graded: Graded = field(default_factory=Graded)
    notes: list[str] = field(default_factory=list)
    is_whole: bool = True


def measure(
    task: Task, model: settings.Model, reference: settings.Model | None, other: settings.Model | None
) -> dict[str, Any]:
    """The report on `model`, and beside it on `other`. Raises DataError, ModelError, RewardError, TaskError; and
    KeyboardInterrupt if it was stopped before there was anything to tell."""
    outcome, beside = Outcome(task.options.model), None
    if gives_scores(model.path):
        _of_reward_model(task, model, outcome)
    else:
        beside = _of_language_models(task, model, reference, other, outcome)
    report = report_of(
        outcome.figures,
        model=model.path,
        data=[source.path for source in task.sources],
        sampling=outcome.sampling,
        notes=outcome.notes,
    )
    stopped = not outcome.is_whole or (beside is not None and not beside.is_whole)
    against = None
    if other is not None and beside is not None and beside.figures:
        against = _compared(outcome, beside, _ks(task)) | {"model": other.path}
    return report | {"answers": _kept(outcome.graded), "against": against, "stopped": stopped}


# ---------------------------------------------------------------------------------------------------- reward models


def _of_reward_model(task: Task, model: settings.Model, outcome: Outcome) -> None:
    options, progress = task.options, task.progress
    if others := [name for name in options.measure or [] if name != "scores"]:
        raise DataError(f"a reward model writes nothing, so there is no {others[0]} to measure; use --measure scores")
    if options.against is not None:
        raise DataError("--against compares what models write, and a reward model writes nothing; leave it out")
    progress.phase("reading the data")
    table = load_rows(task.sources, "reward_model")
    progress.phase("loading the model")
    policy = open_scorer_here(model, threads=options.threads)
    outcome.figures, lost = of_reward_model(
        policy,
        table,
        _own_settings(model),
        system_prompt=arguments.system_prompt_of(options, model),
        max_length=options.max_length,
        tell=progress.of_share,
    )
    outcome.notes += filter(None, [table.unusable, lost])


def _own_settings(model: settings.Model) -> settings.RewardModel:
    """What its loss counts: as the run's preset has it, else as usual."""
    run = Path(model.path)
    preset = load_text_preset(RunDir(run).preset) if is_run_dir(run) else None
    return preset.reward_model if isinstance(preset, RewardModelPreset) else settings.RewardModel()


# -------------------------------------------------------------------------------------------------- language models


def _of_language_models(
    task: Task,
    model: settings.Model,
    reference: settings.Model | None,
    other: settings.Model | None,
    outcome: Outcome,
) -> Outcome | None:
    """Fills `outcome`; returns that of the other model, as far as it was measured."""
    task.progress.phase("reading the data")
    found = material.material(task.sources)
    wanted = _wanted(task, model, found)
    tables = {"loss": found.learned, "answers": found.asked, "preferences": found.pairs}
    left = [name for name, table in tables.items() if table is not None and name not in wanted]
    outcome.notes += [f"{name} not measured: it was not asked for" for name in left]
    try:
        _measured(task, model, reference, found, wanted, outcome)
    except KeyboardInterrupt:
        _stopped(outcome)
    if other is None or not outcome.is_whole:
        return None
    beside = Outcome(task.options.against)
    try:
        _measured(task, other, None, found, ["answers"], beside)
    except KeyboardInterrupt:
        _stopped(beside)
    return beside


def _stopped(outcome: Outcome) -> None:
    """Raises KeyboardInterrupt, if there is nothing to keep."""
    outcome.is_whole = False
    if not outcome.figures:
        raise KeyboardInterrupt
    outcome.notes.append(f"stopped after {outcome.graded.prompts:,} prompts; what was done is kept")


def _wanted(task: Task, model: settings.Model, found: Material) -> list[str]:
    """What is measured. Raises DataError if something was asked for that the data does not allow, or nothing can be."""
    options, lacks = task.options, _lacks(task, model, found)
    asked = list(options.measure or []) + (["answers"] if options.against is not None else [])
    for name in asked:
        if lacks[name]:
            raise DataError(lacks[name])
    # Rows of a task make pairs too: of those that can be learned from, pairs are measured for those who ask.
    is_usual = {"preferences": found.learned is None or options.reference is not None}
    usual = [name for name in MEASURES if not lacks[name] and is_usual.get(name, True)]
    if not usual:
        nearest = "preferences" if found.pairs else "answers" if found.asked else "loss"
        raise DataError(lacks[nearest])
    return [name for name in MEASURES if name in (asked if options.measure else usual)]


def _lacks(task: Task, model: settings.Model, found: Material) -> dict[str, str]:
    """Of each measure, why it cannot be taken; empty where it can."""
    options = task.options
    lacks = {"loss": found.lacks.get("learned", ""), "answers": found.lacks.get("asked", "")}
    lacks["preferences"] = found.lacks.get("pairs", "")
    lacks["scores"] = f"{model.path} writes answers and scores none; name a reward model"
    table = _to_answer(task, found)
    if table is not None:
        has_answers = all(answers.reference_of(row) is not None for row in table.rows)
        can_grade = has_answers or task.rewards or answers.grader(table, options.answer)
        lacks["answers"] = "" if can_grade else answers.NOTHING_TO_COMPARE
    if found.pairs is not None and options.reference is None and not _has_adapter(model):
        lacks["preferences"] = "there is no reference to compare with; give --reference MODEL"
    return lacks


def _to_answer(task: Task, found: Material) -> Table | None:
    """The rows whose prompts are answered: with every column that the data has, where a reward may read them."""
    return found.asked if task.rewards else material.to_answer(found, task.options.answer)


def _has_adapter(model: settings.Model) -> bool:
    path = Path(model.path)
    if is_run_dir(path):
        return load_text_preset(RunDir(path).preset).model.adapter is not None
    return (path / "adapter_config.json").is_file()


def _measured(
    task: Task,
    model: settings.Model,
    reference: settings.Model | None,
    found: Material,
    wanted: list[str],
    outcome: Outcome,
) -> None:
    options, progress = task.options, task.progress
    progress.phase(f"loading {model.path}")
    policy = open_here(model, threads=options.threads)
    system = arguments.system_prompt_of(options, model)
    encoder = ChatEncoder(policy.tokenizer, system_prompt=system)
    longest = min(options.max_length, policy.context or options.max_length)
    if "loss" in wanted and found.learned is not None:
        rows = found.learned.rows
        outcome.figures |= material.loss(policy, encoder, rows, max_length=longest, tell=progress.of_share)
    if "answers" in wanted and (table := _to_answer(task, found)) is not None:
        _answers(task, _sampler(task, policy, encoder, system), table, outcome)
    if "preferences" in wanted and found.pairs is not None:
        other = None if reference is None else open_here(reference, threads=options.threads)
        outcome.figures |= material.preferences(
            policy,
            other,
            encoder,
            found.pairs.rows,
            beta=options.beta,
            max_length=longest,
            tell=progress.of_share,
        )


# -------------------------------------------------------------------------------------------------- sampled answers


def _sampler(task: Task, policy: Policy, encoder: ChatEncoder, system: str | None) -> Sampler:
    options = task.options
    how = arguments.rollout_of(options, longest=usual_length(policy))
    return Sampler(policy, encoder, system, how, options.seed, greedy=options.greedy, batch_size=options.batch_size)


def _answers(task: Task, sampler: Sampler, table: Table, outcome: Outcome) -> None:
    """The measures of the prompts that were answered whole, also where it is interrupted."""
    rows, graded = list(table.rows), outcome.graded
    judge = answers.judge_of(table, task.options.answer, _reward(task, sampler, table, outcome))
    outcome.sampling = {**sampler.described(), "count": sampler.how.completions_per_prompt}

    def note(sample: Sample, row: Row) -> None:
        task.answers.write(record(sample, row, model=outcome.name, how=sampler.described()))

    try:
        answers.grade(sampler, rows, judge, graded, tell=task.progress.of_sampling, note=note)
        if sampler.how.completions_per_prompt > 1:
            answers.grade_greedy(sampler, rows, judge, graded, tell=task.progress.of_sampling)
    finally:
        if graded.prompts:
            outcome.figures |= answers.of_graded(graded, rows, _ks(task))


def _reward(task: Task, sampler: Sampler, table: Table, outcome: Outcome) -> RewardSum | None:
    """What scores answers to these rows. Raises RewardError if it cannot, unless it is only the run's own."""
    if not task.rewards:
        return None
    device = next(sampler.policy.model.parameters()).device
    try:
        around = Surroundings(
            table.tasks, sampler.encoder, device, notice=lambda what, advice: outcome.notes.append(f"{what}; {advice}")
        )
        reward = RewardSum(task.rewards, around)
        prompt = sampler.encoder.prompt(table.rows[0])
        reward.try_out(Answered(table.rows[0], "?", prompt[-1:], prompt))  # before hours of sampling
    except RewardError as why:
        if task.options.reward is not None:
            raise
        outcome.notes.append(f"reward not measured: {why}")
        return None
    return reward


def _ks(task: Task) -> list[int]:
    """Of pass@k, beside 1."""
    count = 1 if task.options.greedy else task.options.count
    return [k for k in task.options.pass_at or usual_ks(count) if k > 1]


# ------------------------------------------------------------------------------------------------- beside each other


def _compared(mine: Outcome, theirs: Outcome, ks: list[int]) -> dict[str, Any]:
    """What a report says of the other model. Both are compared on the prompts that both answered whole."""
    names = _names(mine.name, theirs.name)
    told: dict[str, Any] = {
        "measures": {name: figure._asdict() for name, figure in theirs.figures.items()},
        "answers": _kept(theirs.graded),
        "differences": [],
        "differences_of_best": [],
        "verdicts": [],
    }
    prompts = min(mine.graded.prompts, theirs.graded.prompts)
    if mine.graded.scores:
        _compare_scores(told, mine.graded.scores[:prompts], theirs.graded.scores[:prompts], ks, names)
    if mine.graded.rewards:
        _compare_rewards(told, mine.graded.rewards[:prompts], theirs.graded.rewards[:prompts], ks, names)
    return told


def _compare_scores(
    told: dict[str, Any], mine: list[list[float]], theirs: list[list[float]], ks: list[int], names: tuple[str, str]
) -> None:
    """What pass@k says, into `told`."""
    first, second = right_of(mine), right_of(theirs)
    each = len(mine[0])
    found = comparison.differences(first, second, answers=each, ks=[1, *ks])
    match = comparison.asked_to_match(first, second, answers=each)
    told["differences"] = [point._asdict() for point in found]
    told["verdicts"].append(comparison.verdict(found, match, names=names, prompts=len(mine)))


def _compare_rewards(
    told: dict[str, Any], mine: list[list[float]], theirs: list[list[float]], ks: list[int], names: tuple[str, str]
) -> None:
    """What the rewards say, of any answer and of the best of k, into `told`."""
    difference = comparison.of_rewards(mine, theirs)
    told["reward"] = difference._asdict()
    told["verdicts"].append(comparison.verdict_of_reward(difference, names=names, prompts=len(mine)))
    if ks:
        found = comparison.differences_of_best(mine, theirs, ks=[1, *ks])
        match = comparison.asked_to_earn(mine, theirs)
        told["differences_of_best"] = [point._asdict() for point in found]
        told["verdicts"].append(comparison.verdict_of_best(found, match, names=names, prompts=len(mine)))


def _kept(graded: Graded) -> dict[str, Any] | None:
    """What others can compare with later: of each prompt, how many answers were right, and their mean reward."""
    if not graded.scores and not graded.rewards:
        return None
    each = len((graded.scores or graded.rewards)[0])
    rewards = [mean if math.isfinite(mean := mean_known(each)) else None for each in graded.rewards]
    return {"each": each, "right": right_of(graded.scores), "rewards": rewards}


def _names(first: str, second: str) -> tuple[str, str]:
    """What the models are called: the ends of their paths, if those differ."""
    short = Path(first).name, Path(second).name
    return short if short[0] != short[1] else (first, second)
