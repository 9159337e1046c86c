"""Distillation from a larger model: the student writes, and learns at each token what the teacher would have said.

On its own answers it learns to come back from its own mistakes, which no answer of the teacher's contains.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from accelerate.utils import gather_object
from torch import Tensor

from engine.contract import settings
from engine.contract.composed_presets import DistillPreset
from engine.data.batching import micro_batches, mix
from engine.data.chat import Example
from engine.data.rows import UnusableRow
from engine.data.sources import DataError, Row
from engine.distilling import Heard
from engine.divergence_losses import Divergence
from engine.logprobs import Rows, TokenScorer
from engine.loop import Material, Method, Update
from engine.methods.answers import Sampled, lengths, record
from engine.methods.bench import Bench, is_due
from engine.methods.held_out import EVAL_PROMPTS
from engine.methods.layout import Layout, looked_at
from engine.methods.prompts import Prompts, places_of_step
from engine.methods.timer import Timer
from engine.models import ModelError, Policy, choose_dtype, open_for_use
from engine.modes import without_dropout
from engine.packing import Line
from engine.reward_models import same_tokens
from engine.rewards import Reward
from engine.rollout.local import LocalRollout
from engine.rollout.protocol import Rollout
from engine.tally import Mean, Tally, Values

#: Nobody says what an answer is worth: only the teacher is asked.
UNJUDGED = Reward(math.nan, {})
#: Tells the lot of a prompt from the seeds of its answers.
LOT = 1


class Lesson(NamedTuple):
    """An answer to be compared at. prompt: what the example begins with."""

    example: Example
    prompt: list[int]


class LessonBatch(NamedTuple):
    """heard: the teacher's states at the targets, (N, its width). normaliser: targets of the whole update, over all
    its micro-batches and processes."""

    rows: Rows
    line: Line | None
    heard: Tensor
    normaliser: float


def distill(preset: DistillPreset, bench: Bench) -> Method:
    """The batches, the loss and the measures of generalised knowledge distillation (Agarwal et al. 2023,
    arXiv:2306.13649, algorithm 1).

    Raises ModelError for a teacher that cannot be opened or reads other tokens, DataError for rows without answers
    where some are to be learned from.
    """
    training, own = preset.training, preset.distill
    # Dropout would make the student that samples another one than the student that learns.
    without_dropout(bench.policy.model)
    teacher = teacher_of(preset, bench)
    longest = min(preset.data.max_length, *(each.context or preset.data.max_length for each in (bench.policy, teacher)))
    prompts = Prompts(bench, answer=preset.rollout.max_new_tokens, longest=longest)
    student: Any = bench.bare_scorer
    scorer = TokenScorer(teacher.model)
    # Asked now, as it takes trying out: that is no part of a step.
    in_lines = student.student.reads_lines() and scorer.reads_lines()
    school = School(preset, bench, teacher, scorer, prompts, longest, in_lines)

    def batches(step: int) -> Iterator[Update]:
        timer = Timer()
        chosen = places_of_step(
            bench, step, batch_size=training.batch_size, seed=preset.seed, shuffle=preset.data.shuffle
        )
        lessons, written = school.lessons(chosen, step, timer)
        if written:
            record(bench, step, written[: preset.rollout.recorded], preset.rollout.completions_per_prompt)
        with timer.phase("teacher"):
            parts = school.parts(lessons)
        values: Values = {"on_policy/share": Mean(len(written), len(lessons)), **timer.told()}
        values |= lengths(written) if written else {}
        yield Update(parts, _tokens(lessons), values)

    def loss(batch: LessonBatch) -> tuple[Tensor, Values]:
        found = school.compare(bench.scorer, batch)
        return found.loss.sum() / batch.normaliser, _told(found)

    def measure(step: int) -> dict[str, float]:
        if bench.held_out is None or not is_due(step, training.eval_every, training.steps):
            return {}
        return _measured(school, bench.held_out.rows[:EVAL_PROMPTS])

    if own.on_policy < 1 and own.others == "data":
        school.given(bench.train.rows[0])  # refused now rather than in the middle of the run
    return Method(batches, loss, measure, partial(_material, school))


def teacher_of(preset: DistillPreset, bench: Bench) -> Policy:
    """The teacher, frozen. Raises ModelError."""
    path, device = preset.distill.teacher, bench.accelerator.device
    named = settings.Model(path=path, trust_remote_code=preset.model.trust_remote_code)
    teacher = open_for_use(named, device=device, dtype=choose_dtype(preset.model.dtype, device))
    if not same_tokens(bench.policy.tokenizer, teacher.tokenizer):
        raise ModelError(
            f"distill.teacher: {path} reads other tokens than {preset.model.path}, so what it says of the next one "
            "cannot be compared; use a larger model of the same family"
        )
    bench.meter.watch(teacher.model)
    return teacher


@dataclass(frozen=True)
class School:
    """Who learns from whom: makes the answers of a step, and asks the teacher about them.

    scorer: the teacher's. longest: tokens that both can read, prompt and answer. in_lines: whether both read lines.
    """

    preset: DistillPreset
    bench: Bench
    teacher: Policy
    scorer: TokenScorer
    prompts: Prompts
    longest: int
    in_lines: bool

    def lessons(self, chosen: Sequence[int], step: int, timer: Timer) -> tuple[list[Lesson], list[Sampled]]:
        """The answers to this process's part of the rows, and those of them that the student wrote now.

        Whose answer a prompt gets is drawn for each by itself, so that it depends on nothing else.
        """
        own, bench, seed = self.preset.distill, self.bench, self.preset.seed
        mine = bench.share(list(enumerate(chosen)))
        lot = [mix(seed, step, place, LOT) / 2**63 < own.on_policy for place, _ in mine]
        places = {
            is_own: [each for each, it in zip(mine, lot, strict=True) if it == is_own] for is_own in (True, False)
        }
        with timer.phase("rollout"):
            written = self._write(bench.rollout, places[True], step)
        if own.others == "teacher":
            rollout = LocalRollout(self.teacher, bench.accelerator.autocast, bench.breathe, bench.meter)
            with timer.phase("teacher"):
                others = [lesson_of(s) for s in self._write(rollout, places[False], step)]
        else:
            others = [self.given(bench.train.rows[row]) for _, row in places[False]]
        return [*map(lesson_of, written), *others], written

    def _write(self, rollout: Rollout, mine: Sequence[tuple[int, int]], step: int) -> list[Sampled]:
        rows = [self.bench.train.rows[row] for _, row in mine]
        members = range(self.preset.rollout.completions_per_prompt)
        seeds = [[mix(self.preset.seed, step, place, each) for each in members] for place, _ in mine]
        return self.written(rollout, rows, seeds)

    def written(self, rollout: Rollout, rows: Sequence[Row], seeds: Sequence[Sequence[int]]) -> list[Sampled]:
        """Answers to rows; those to one prompt stand together."""
        if not rows:
            return []
        read = [self.prompts.of(row) for row in rows]
        answers = rollout.answers(read, seeds, self.preset.rollout)
        return [
            Sampled(row, prompt, answer, self.bench.encoder.decode(answer.ids), UNJUDGED, advantage=0.0)
            for row, prompt, group in zip(rows, read, answers, strict=True)
            for answer in group
        ]

    def given(self, row: Row) -> Lesson:
        """The row's own answer. Raises DataError if it has none."""
        try:
            example = self.bench.encoder.example(row, completion_only=True, max_length=self.longest)
        except UnusableRow as why:
            remedy = "give the data answers, set distill.others to teacher, or distill.on_policy to 1"
            raise DataError(f"distill.on_policy asks for answers of the data, and a row {why}; {remedy}") from why
        begins = next((index for index, counts in enumerate(example.is_target) if counts), len(example.ids))
        return Lesson(example, example.ids[:begins])

    def parts(self, lessons: Sequence[Lesson], normaliser: float | None = None) -> list[LessonBatch]:
        """Answers in parts that fit into memory, with what the teacher has to say. normaliser: else that of a step."""
        mine = [float(sum(sum(lesson.example.is_target) for lesson in lessons))]
        everyones = gather_object(mine) if self.bench.accelerator.num_processes > 1 else mine
        total = max(1.0, sum(everyones)) if normaliser is None else normaliser
        sizes = [len(lesson.example.ids) for lesson in lessons]
        cut = micro_batches(lessons, sizes, self.preset.training.micro_batch_size)
        return [self._batch(part, total) for part in cut]

    @torch.no_grad()
    def _batch(self, part: Sequence[Lesson], normaliser: float) -> LessonBatch:
        self.bench.breathe()
        laid_out = Layout(self.bench, len(part), self.in_lines)
        rows, line = laid_out.laid_out([lesson.example for lesson in part], [lesson.prompt for lesson in part])
        with self.bench.accelerator.autocast():
            heard = self.scorer.states(rows, line)
        return LessonBatch(rows, line, heard, normaliser)

    def compare(self, scorer: Any, batch: LessonBatch) -> Divergence:
        own = self.preset.distill
        found: Divergence = scorer(
            batch.rows, Heard(self.scorer, batch.heard), batch.line, beta=own.beta, temperature=own.temperature
        )
        return found


def lesson_of(s: Sampled) -> Lesson:
    """The very ids that were drawn; the prompt's are no targets."""
    return Lesson(Example([*s.prompt, *s.answer.ids], [False] * len(s.prompt) + [True] * len(s.answer.ids)), s.prompt)


def _tokens(lessons: Sequence[Lesson]) -> int:
    return sum(len(lesson.example.ids) for lesson in lessons)


def _told(found: Divergence) -> Values:
    count = float(len(found.loss))
    return {
        "teacher/kl": Mean(found.kl.sum(), count),
        "teacher/forward_kl": Mean(found.forward_kl.sum(), count),
        "teacher/agreement": Mean(found.agrees.sum(), count),
        "teacher/entropy": Mean(found.teacher_entropy.sum(), count),
        "entropy": Mean(found.entropy.sum(), count),
    }


@torch.no_grad()
def _measured(school: School, rows: Sequence[Row]) -> dict[str, float]:
    """As a step tells it, of the student's answers to held-out prompts; always with the same noise."""
    bench, tally = school.bench, Tally()
    accelerator = bench.accelerator
    mine = list(enumerate(rows))[accelerator.process_index :: accelerator.num_processes]
    written = school.written(
        bench.rollout, [row for _, row in mine], [[mix(school.preset.seed, -1, place)] for place, _ in mine]
    )
    for part in school.parts([lesson_of(s) for s in written], normaliser=1.0) if written else []:
        with accelerator.autocast():
            found = school.compare(bench.bare_scorer, part)
        tally.add({"loss": Mean(found.loss.sum(), float(len(found.loss))), **_told(found)})
    return {f"eval_{name}": value for name, value in tally.means(accelerator).items()}


def _material(school: School) -> Material:
    def update(places: Sequence[int]) -> Update:
        lessons, _ = school.lessons(places, 0, Timer())
        return Update(school.parts(lessons), _tokens(lessons), {})

    return Material(looked_at(school.bench, school.prompts), update, sampled=school.preset.rollout.max_new_tokens)
