"""`sample`: answers from any model or run, to read, to label, or to train on. `draw.py` has pictures."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.command_line import arguments, best_of, draw, terminal
from engine.command_line.answer_file import AnswerFile, check_new
from engine.command_line.heavy import as_fault, heavy
from engine.command_line.progress import Progress
from engine.contract import settings
from engine.contract.faults import Fault, PresetError
from engine.data.sources import DataError, Row, load_rows
from engine.data.tasks import Task

if TYPE_CHECKING:
    from engine.rewards import RewardSum
    from engine.sampling import Sampler

#: Prompts in a file of plain text: one a line.
PLAIN_TEXT = (".txt",)
#: The column of a prompt that a person typed; whether it becomes a message is the model's matter.
QUESTION = "_question"


def add(command: argparse.ArgumentParser) -> None:
    """The arguments of `sample`."""
    command.add_argument("model", metavar="MODEL", nargs="?", help=f"{arguments.MODEL_HELP}; or a model of images")
    arguments.add_loading(command)
    prompts = command.add_argument_group("prompts", "at least one of these")
    prompts.add_argument("--prompt", action="append", default=[], metavar="TEXT", help="a question; may be given again")
    prompts.add_argument(
        "--prompts", metavar="DATA", help=f"file.txt with one a line, or rows as for training: {arguments.DATA_HELP}"
    )
    prompts.add_argument("--rows", type=arguments.whole(1), metavar="N", help="only the first so many of --prompts")
    prompts.add_argument(
        "--raw", action="store_true", help="let the model go on from the text itself, without its chat template"
    )
    arguments.add_sampling(command, count=1)
    best_of.add(command)
    command.add_argument(
        "--output",
        type=Path,
        metavar="NEW",
        help="a new .jsonl, one answer a line as it is made; for pictures a run dir",
    )
    draw.add(command)


def sample_command(options: argparse.Namespace) -> int:
    """Raises PresetError for what cannot be sampled from or with; then nothing was written."""
    if options.model is None:
        raise PresetError("sample", [Fault((), "", "there is no model to sample from", arguments.MODEL_HELP)])
    model = arguments.model_of(options, options.model)
    parts = best_of.parts(options, model)
    rows, tasks = _rows(options)
    check_new(options.output)
    with Progress() as progress, heavy(options.model):
        progress.phase("loading the model")
        sampler = _sampler(options, model)
        rows = [_as_asked(row, sampler, raw=options.raw) for row in rows]
        prompts, shortened = sampler.prompts(rows)
        if shortened:
            terminal.complain(
                f"{shortened} of {len(prompts)} prompts are too long for the model and keep only their end"
            )
        _write(options, sampler, rows, prompts, progress, best_of.reward_of(parts, sampler, tasks))
    return 0


def _write(
    options: argparse.Namespace,
    sampler: "Sampler",
    rows: list[Row],
    prompts: list[list[int]],
    progress: Progress,
    reward: "RewardSum | None",
) -> None:
    """reward: by which one answer to each prompt is given; without one all are."""
    from engine.sampling import record

    samples, count = sampler.sample(prompts, progress.of_sampling), 0
    given = best_of.all_of(samples) if reward is None else best_of.best_of(samples, rows, prompts, reward)
    with AnswerFile(options.output) as file:
        for sample, worth in given:
            told = record(sample, rows[sample.prompt_id], model=options.model, how=sampler.described()) | worth
            file.write(told)
            count += 1
            if options.json:
                terminal.say_json(told)
            elif options.output is None:
                _show(told, is_first=sample.member == 0 or reward is not None)
    if options.output is not None and not options.json:
        terminal.say(f"{count} answers are in {options.output}")


def _show(told: dict[str, Any], *, is_first: bool) -> None:
    prompt = told["prompt"]
    question = prompt if isinstance(prompt, str) else str(prompt[-1].get("content", ""))
    if is_first:
        for line in question.splitlines() or [""]:
            terminal.say(f"> {line}")
    for line in told["completion"].splitlines() or [""]:
        terminal.say(line)
    if "best_of" in told:
        terminal.say(f"({best_of.described(told)})")
    terminal.say()


# ------------------------------------------------------------------------------------------------------- before it


def _rows(options: argparse.Namespace) -> tuple[list[Row], Mapping[str, Task]]:
    """The prompts as rows, and the tasks that made them. Raises PresetError if there are none."""
    rows: list[Row] = [{QUESTION: text} for text in options.prompt]
    tasks: Mapping[str, Task] = {}
    if options.prompts:
        source = arguments.source_of(options, options.prompts, rows=options.rows)
        try:
            if source.path.endswith(PLAIN_TEXT):
                rows += _plain_text(Path(source.path))
            else:
                table = load_rows([source], "prompt")
                rows, tasks = [*rows, *table.rows], table.tasks
        except ValueError as error:  # DataError, TaskError: ours, and they say what to do
            raise PresetError(options.prompts, [as_fault(error)]) from error
        rows = rows[: len(options.prompt) + options.rows] if options.rows else rows
    if not rows:
        raise PresetError(options.model, [Fault((), "", "there is no prompt", "give --prompt TEXT or --prompts FILE")])
    empty = [
        str(number) for number, row in enumerate(rows, start=1) if row.get("prompt", row.get(QUESTION)) in ("", [])
    ]
    if empty:
        problem = f"prompt {', '.join(empty[:8])} is empty"
        raise PresetError(options.prompts or "--prompt", [Fault((), "", problem, "an answer has to follow something")])
    return rows, tasks


def _plain_text(path: Path) -> list[Row]:
    try:
        lines = path.read_bytes().decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start}); save the file as UTF-8") from error
    rows = [{QUESTION: line} for line in lines if line.strip()]
    if not rows:
        raise DataError(f"{path} has no prompt in it; write one a line")
    return rows


def _sampler(options: argparse.Namespace, model: settings.Model) -> "Sampler":
    from engine.data.chat import ChatEncoder
    from engine.models import ModelError
    from engine.sampling import Sampler, open_here, usual_length

    policy = open_here(model, threads=options.threads)
    if options.system and (options.raw or not policy.tokenizer.chat_template):
        why = "--raw leaves it out" if options.raw else "the model has no chat template"
        raise ModelError(f"a system prompt has no place here, as {why}; write it into the prompt")
    system = arguments.system_prompt_of(options, model)
    encoder = ChatEncoder(policy.tokenizer, system_prompt=system)
    how = arguments.rollout_of(options, longest=usual_length(policy))
    return Sampler(policy, encoder, system, how, options.seed, greedy=options.greedy, batch_size=options.batch_size)


def _as_asked(row: Row, sampler: "Sampler", *, raw: bool) -> Row:
    """What a person typed is a user's message for a model that has a chat template, unless `raw`."""
    if QUESTION not in row:
        return row
    if raw or not sampler.policy.tokenizer.chat_template:
        return {"prompt": row[QUESTION]}
    return {"prompt": [{"role": "user", "content": row[QUESTION]}]}
