"""Sampled answers, graded while they come: of each only its score is kept, unless it is compared with a reference."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from engine.data.sources import TASK, DataError, Row, Table
from engine.evaluation.figures import Figures, of_answers, of_best, of_greedy, of_overlap, of_rewards
from engine.rewards import Answered, RewardSum
from engine.sampling import Pace, Sample, Sampler

NOTHING_TO_COMPARE = (
    "there is nothing to compare answers with; give rows with a completion, a task, --answer COLUMN, or --reward PRESET"
)


class Judge(NamedTuple):
    """What answers are measured by. grade: whether one is right. reward: a preset's. by_reference: by likeness to the
    row's own answer."""

    grade: Callable[[Row, str], float] | None
    reward: RewardSum | None
    by_reference: bool


@dataclass
class Graded:
    """What came of the prompts that all their answers were written to, in the order of the rows: [prompts][answers].

    Lists of what the judge does not ask for stay empty. greedy: the score of the likeliest answer to each prompt.
    """

    scores: list[list[float]] = field(default_factory=list)
    rewards: list[list[float]] = field(default_factory=list)
    texts: list[list[str]] = field(default_factory=list)
    greedy: list[float] = field(default_factory=list)
    prompts: int = 0

    def add(self, judge: Judge, row: Row, prompt: list[int], group: Sequence[Sample]) -> None:
        """Grade the answers to one prompt."""
        if judge.grade is not None:
            self.scores.append([judge.grade(row, sample.text) for sample in group])
        if judge.reward is not None:
            answered = [Answered(row, sample.text, sample.answer.ids, prompt) for sample in group]
            self.rewards.append([reward.total for reward in judge.reward.score(answered)])
        if judge.by_reference:
            self.texts.append([sample.text for sample in group])
        self.prompts += 1


def judge_of(table: Table, answer_column: str | None, reward: RewardSum | None) -> Judge:
    """How answers to these rows can be measured. Raises DataError if they cannot."""
    grade = grader(table, answer_column)
    by_reference = grade is None and all(reference_of(row) is not None for row in table.rows)
    if grade is None and reward is None and not by_reference:
        raise DataError(NOTHING_TO_COMPARE)
    return Judge(grade, reward, by_reference)


def grade(
    sampler: Sampler,
    rows: Sequence[Row],
    judge: Judge,
    graded: Graded,
    *,
    tell: Callable[[Pace], None],
    note: Callable[[Sample, Row], None] = lambda sample, row: None,
) -> None:
    """Sample answers to every row into `graded`, prompt after prompt, so that an interruption leaves whole prompts.

    note: told of each answer.
    """
    prompts, _ = sampler.prompts(rows)
    group: list[Sample] = []
    for sample in sampler.sample(prompts, tell):
        note(sample, rows[sample.prompt_id])
        group.append(sample)
        if len(group) == sampler.how.completions_per_prompt:
            graded.add(judge, rows[sample.prompt_id], prompts[sample.prompt_id], group)
            group = []


def grade_greedy(
    sampler: Sampler, rows: Sequence[Row], judge: Judge, graded: Graded, *, tell: Callable[[Pace], None]
) -> None:
    """The likeliest answer to each row, beside those that were drawn."""
    if judge.grade is None:
        return
    prompts, _ = sampler.prompts(rows)
    for sample in sampler.greedily().sample(prompts, tell):
        graded.greedy.append(judge.grade(rows[sample.prompt_id], sample.text))


def of_graded(graded: Graded, rows: Sequence[Row], ks: Sequence[int]) -> Figures:
    """The measures of sampled answers."""
    figures: Figures = {}
    if graded.scores:
        figures |= of_answers(graded.scores, ks)
    if graded.greedy:
        figures |= of_greedy(graded.greedy)
    if graded.rewards:
        figures |= of_rewards(graded.rewards)
        figures |= of_best(graded.rewards, graded.scores, ks)
    if graded.texts:
        references = [str(reference_of(row)) for row in rows[: graded.prompts]]
        figures |= of_overlap(graded.texts, references)
    return figures


def grader(table: Table, answer_column: str | None) -> Callable[[Row, str], float] | None:
    """What says whether an answer is right. Raises DataError for a column that a row has not."""
    if answer_column is not None:
        if lacking := [row for row in table.rows if answer_column not in row]:
            has = ", ".join(lacking[0])
            raise DataError(f"a row has no column {answer_column!r} (it has {has}); name one that all have")
        return lambda row, text: float(text.strip() == str(row[answer_column]).strip())
    if table.tasks and all(row.get(TASK) in table.tasks for row in table.rows):
        return lambda row, text: table.tasks[row[TASK]].score(row, text)
    return None


def reference_of(row: Row) -> str | None:
    """The answer that the row itself gives, as text."""
    if "completion" in row:
        completion: Any = row["completion"]
        return str(completion[-1]["content"]) if isinstance(completion, list) else str(completion)
    messages = row.get("messages") or []
    is_answered = bool(messages) and messages[-1].get("role") == "assistant"
    return str(messages[-1].get("content", "")) if is_answered else None
