"""A part of a reward that somebody wrote: a Python function in a file, as TRL's trainers take them.

    def reward(prompts, completions, **columns) -> list[float | None]:

prompts and completions are strings, or where the prompt is a conversation lists of messages, a completion one of the
assistant's. completion_ids are the tokens that were written. Every column of the data comes by its name, one entry an
answer, None where a row has it not; so the function names those it needs and takes the others as `**columns`. It may be
`async`. It returns a number for each answer, or None for one that it has nothing to say of: the sum of the other parts
then stands. What TRL passes besides (trainer_state, log_extra, log_metric) there is not.

The function runs only after an explicit yes in the preset (`allow_code`), in a process of its own: see engine/helpers.
An exception, or no reply in time, costs the whole batch its value, as nobody can tell what the function would have said
of its parts: it may compare the answers with each other.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from engine.contract import online_settings
from engine.data.conversations import before_last_answer
from engine.helpers.helper import Helper, HelperError
from engine.rewards.parts import Answered, Failure, Part, RewardError, Score, Surroundings

#: Columns that are given under other names, or that are the answer that somebody else gave.
GIVEN = frozenset({"prompt", "completion", "completion_ids"})


def own_function(part: online_settings.OwnFunction, around: Surroundings) -> Part:
    """Raises RewardError if the file was not allowed, is another than was, or cannot be loaded."""
    file = Path(part.path)
    if not part.allow_code:
        raise RewardError(f"rewards: {file.name} is code that nobody has allowed; set allow_code to true to run it")
    helper = opened(file, part.function, part.timeout, around)
    if part.sha256 is not None and part.sha256 != helper.sha256:
        raise RewardError(
            f"rewards: {file.name} is not the file that was allowed (its sha256 is {helper.sha256}); read what has"
            " changed, then set sha256 to that"
        )
    started(helper)
    return partial(asked, helper, arguments=by_column)


def opened(file: Path, function: str, timeout: float, around: Surroundings) -> Helper:
    """Raises RewardError if the file cannot be read."""
    try:
        return Helper(file, function, timeout=timeout, breathe=around.breathe)
    except OSError as error:
        raise RewardError(f"rewards: {file} cannot be read: {error.strerror}") from error


def started(helper: Helper) -> None:
    """Load the file before the first step needs it. Raises RewardError."""
    try:
        helper.start()
    except HelperError as error:
        raise RewardError(
            f"rewards: {helper.file.name} cannot be loaded: {error}\nmend it, then start again"
        ) from error


def asked(
    helper: Helper, answers: Sequence[Answered], *, arguments: Callable[[Sequence[Answered]], dict[str, Any]]
) -> list[Score]:
    """What the function in the helper says of the answers."""
    if not answers:
        return []
    try:
        values = helper.ask(len(answers), arguments(answers))
    except HelperError as error:
        return [Failure(error.kind, str(error))] * len(answers)
    words = f"{helper.file.name}: "
    return [Failure("no number", words + value) if isinstance(value, str) else value for value in values]


def by_column(answers: Sequence[Answered]) -> dict[str, Any]:
    """The arguments of the function, as TRL gives them."""
    rows = [answered.row for answered in answers]
    names = dict.fromkeys(name for row in rows for name in row if name not in GIVEN and not name.startswith("_"))
    prompts = [_prompt(answered) for answered in answers]
    return {name: [row.get(name) for row in rows] for name in names} | {
        "prompts": prompts,
        "completions": [_completion(prompt, answered.text) for prompt, answered in zip(prompts, answers, strict=True)],
        "completion_ids": [list(answered.ids) for answered in answers],
    }


def _prompt(answered: Answered) -> Any:
    row = answered.row
    return row["prompt"] if "prompt" in row else before_last_answer(row.get("messages", []))


def _completion(prompt: Any, text: str) -> Any:
    return [{"role": "assistant", "content": text}] if isinstance(prompt, list) else text
