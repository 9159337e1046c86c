"""Tasks make their own rows and know which answers are right, so a reward needs no model and no label.

What a task can ask is split in two for good, by a hash: whoever trains on rows of `train` and measures on rows of
`test`, of any seed and number, has no question on both sides.
"""

import operator
import random
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Protocol

from engine.data.rows import Row
from engine.data.split import is_held_out

SPLITS = ("train", "test")
#: Share of its questions that a task keeps for testing.
TEST_SHARE = 0.1


class TaskError(ValueError):
    """A task that does not exist or cannot be made with these options."""


class Task(Protocol):
    """Rows with a prompt, and for learners from examples a completion, from pairs `chosen` and `rejected`; and the
    verifier of answers."""

    def rows(self, count: int, seed: int, split: str = "train") -> list[Row]:
        """The first so many of a seed; asking for more changes none. Raises TaskError."""
        ...

    def score(self, row: Row, completion: str) -> float:
        """1 for a right answer, 0 for a wrong one, between where the task says so."""
        ...


def right_answer(row: Row) -> str | None:
    """What a person is shown as the right answer to a row; None where none is known."""
    answer = row.get("answer_in_words", row.get("answer"))
    return None if answer is None else str(answer)


OPERATIONS: dict[str, Callable[[int, int], int]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}


class Arithmetic:
    """Sums of whole numbers: `47+38=`, answered `85`, or `58` with the digits reversed; not `87`, up to 9 off.

    reversed: the lowest digit first, the order in which a sum is worked out; a tiny model then learns it in seconds.
    """

    def __init__(self, digits: Any = 2, reversed: Any = True, operations: Any = "+") -> None:
        if not isinstance(digits, int) or not 1 <= digits <= 9:
            raise TaskError(f"digits should be 1 to 9 (got {digits!r})")
        if not isinstance(operations, str) or not operations or set(operations) - set(OPERATIONS):
            raise TaskError(f"operations should be made of + - * (got {operations!r})")
        self._digits = digits
        self._reversed = bool(reversed)
        self._operations = operations

    def rows(self, count: int, seed: int, split: str = "train") -> list[Row]:
        return _first(count, split, self._drawn(seed))

    def _drawn(self, seed: int) -> Iterator[tuple[str, Row]]:
        """Without end; before each row what it asks, whichever number comes first."""
        draw = random.Random(seed)  # noqa: S311 - sums, not secrets
        largest = 10**self._digits - 1
        # All numbers equally long: the places then line up, which a tiny model needs to learn them in seconds.
        smallest = 0 if self._digits == 1 else 10 ** (self._digits - 1)
        # A stream of its own: the sums of a seed stay what they were before there were wrong answers.
        slip = random.Random(f"slips of {seed}")  # noqa: S311 - as above
        while True:
            a, b = draw.randint(smallest, largest), draw.randint(smallest, largest)
            operation, off = draw.choice(self._operations), slip.choice((-1, 1)) * slip.randint(1, 9)
            yield f"{min(a, b)}{operation}{max(a, b)}", self._row(a, b, operation, off=off)

    def score(self, row: Row, completion: str) -> float:
        return float(completion.strip() == row["answer"])

    def _row(self, a: int, b: int, operation: str, *, off: int) -> Row:
        if operation == "-":
            a, b = max(a, b), min(a, b)
        value = OPERATIONS[operation](a, b)
        right, wrong = self._written(value), self._written(value + off if value + off >= 0 else value - off)
        return {
            "prompt": f"{a}{operation}{b}=",
            "completion": right,
            "answer": right,
            "chosen": right,
            "rejected": wrong,
            "answer_in_words": f"{right} ({value}, lowest digit first)" if self._reversed else right,
        }

    def _written(self, value: int) -> str:
        return str(value)[::-1] if self._reversed else str(value)


class ReasoningGym:
    """A generator of the `reasoning_gym` package with its own verifier; options go to its configuration."""

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        try:
            import reasoning_gym
        except ImportError as error:
            raise TaskError('needs one more package: pip install "plumbline-workbench[reasoning]"') from error
        self._name = name
        self._options = options
        self._create = reasoning_gym.create_dataset
        self._entries: dict[tuple[int, int], Any] = {}
        try:
            self._scorer = self._create(name, size=1, seed=0, **options)
        except (ValueError, TypeError, AssertionError, KeyError) as error:
            raise TaskError(f"reasoning_gym cannot make it: {error}") from error

    def rows(self, count: int, seed: int, split: str = "train") -> list[Row]:
        # Entries are made when they are looked at; so many have enough of both splits, unless they repeat.
        entries = self._create(self._name, size=round(2 * count / TEST_SHARE) + 100, seed=seed, **self._options)
        return _first(count, split, ((entry["question"], self._row(entry)) for entry in entries))

    def score(self, row: Row, completion: str) -> float:
        return float(self._scorer.score_answer(answer=completion.strip(), entry=row["entry"]))

    def _row(self, entry: dict[str, Any]) -> Row:
        prompt = [{"role": "user", "content": entry["question"]}]
        return {"prompt": prompt, "completion": entry["answer"], "answer": entry["answer"], "entry": entry}


def _first(count: int, split: str, asked: Iterable[tuple[str, Row]]) -> list[Row]:
    """The first rows of a split, of rows with what they ask. Raises TaskError."""
    if split not in SPLITS:
        raise TaskError(f"has no split {split!r}; use {' or '.join(SPLITS)}")
    of_split = (row for question, row in asked if _is_for_testing(question) == (split == "test"))
    rows = list(islice(of_split, count))
    if len(rows) < count:
        raise TaskError(f"asks too few different questions for {count} rows of {split} (it has {len(rows)})")
    return rows


def _is_for_testing(question: str) -> bool:
    """By the question alone: another seed would move it across the border."""
    return is_held_out({"prompt": question}, share=TEST_SHARE, seed=0)


def find_task(path: str, options: dict[str, Any]) -> Task:
    """The task that `task:<name>` means. Raises TaskError."""
    name = path.removeprefix("task:")
    try:
        if name == "arithmetic":
            return Arithmetic(**options)
        if name.startswith("reasoning_gym/"):
            return ReasoningGym(name.removeprefix("reasoning_gym/"), options)
    except (TaskError, TypeError) as error:
        raise TaskError(f"{path}: {error}") from error
    raise TaskError(f"{path}: no such task; there are task:arithmetic and task:reasoning_gym/<name>")
