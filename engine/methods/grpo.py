"""Group-relative policy optimisation: sample several answers to a prompt, make likelier those that beat their group."""

import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn

from engine.advantages import group_relative_advantages
from engine.contract.preset import GrpoPreset
from engine.data.batching import micro_batches, mix, pad_rows, rows_of_step
from engine.data.chat import Example
from engine.data.sources import Row, Table
from engine.logprobs import Rows
from engine.loop import Material, Method, Update
from engine.methods.answers import Sampled, record, told
from engine.methods.bench import Bench, is_due
from engine.modes import without_dropout
from engine.policy_losses import grpo_loss
from engine.rewards import Answered, RewardSum
from engine.tally import Mean, Peak, Tally, Values

#: Held-out prompts answered each time data.eval is measured.
EVAL_PROMPTS = 128
#: Prompts tokenised for who wants to look at them; a step tokenises its own.
LOOKED_AT = 1000


class GrpoBatch(NamedTuple):
    """Flat vectors have one entry per answer token, (N,), rows in order.

    old_logps: of the policy that sampled; None while that is the policy that learns.
    normaliser: answer tokens of the whole update, over all its micro-batches and processes.
    """

    rows: Rows
    advantages: Tensor
    old_logps: Tensor | None
    reference_logps: Tensor | None
    sampler_logps: Tensor
    normaliser: float


def grpo(preset: GrpoPreset, bench: Bench) -> Method:
    """The batches, the loss and the measures of GRPO (Shao et al. 2024, arXiv:2402.03300)."""
    training, how, own = preset.training, preset.rollout, preset.grpo
    reward = bench.reward(preset.rewards)
    # Dropout would make the policy that samples another one than the policy that learns.
    without_dropout(bench.policy.model)

    def batches(step: int) -> Iterator[Update]:
        started = time.perf_counter()
        sampled = _sample(preset, bench, reward, _places(preset, bench, step), step=step)
        sampling_seconds = time.perf_counter() - started
        normaliser = _sum_over_processes(bench, float(sum(len(s.answer.ids) for s in sampled)))
        parts = [_tensors(preset, bench, part, normaliser) for part in _cut(preset, sampled)]
        record(bench, step, sampled[: how.recorded], _flat_reference(parts), how.completions_per_prompt)
        tokens = sum(len(s.prompt) + len(s.answer.ids) for s in sampled)
        first = told(sampled, how.completions_per_prompt) | {"timing/rollout": Mean(sampling_seconds, 1)}
        if own.iterations > 1:
            parts = [part._replace(old_logps=_score(bench, bench.bare_scorer, part.rows, preset)) for part in parts]
        for iteration in range(own.iterations):
            yield Update(parts, tokens if iteration == 0 else 0, first if iteration == 0 else {})

    def loss(batch: GrpoBatch) -> tuple[Tensor, Values]:
        scores = bench.scorer(batch.rows, how.temperature)
        old_logps = scores.logps.detach() if batch.old_logps is None else batch.old_logps
        result = grpo_loss(
            scores.logps,
            old_logps,
            batch.reference_logps,
            batch.advantages,
            normaliser=batch.normaliser,
            epsilon_low=own.epsilon,
            epsilon_high=own.epsilon_high or own.epsilon,
            beta=own.beta,
            kl_correction=own.kl_correction,
        )
        count = float(scores.logps.shape[0])
        is_clipped = result.is_clipped_low | result.is_clipped_high
        values: Values = {
            "entropy": Mean(scores.entropy.sum(), count),
            "policy_loss": Mean(result.policy.sum(), count),
            "clip_ratio/low_mean": Mean(result.is_clipped_low.float().sum(), count),
            "clip_ratio/high_mean": Mean(result.is_clipped_high.float().sum(), count),
            "clip_ratio/region_mean": Mean(is_clipped.float().sum(), count),
        }
        if batch.reference_logps is not None:
            values["kl"] = Mean(result.kl.sum(), count)
        if batch.old_logps is None:
            # The sampler and the trainer should be one policy; where they are not, every ratio is off by this much.
            error = torch.expm1(scores.logps.detach() - batch.sampler_logps).abs().max()
            values["ratio/max_error"] = Peak(error)
        return result.share, values

    def measure(step: int) -> dict[str, float]:
        if bench.held_out is None or not is_due(step, training.eval_every, training.steps):
            return {}
        return _held_out_reward(preset, bench, bench.held_out, reward)

    return Method(batches, loss, measure, partial(_material, preset, bench, reward))


def _material(preset: GrpoPreset, bench: Bench, reward: RewardSum) -> Material:
    """The first prompts; an answer's tokens will count, and none of these."""
    prompts = [_prompt(preset, bench, row) for row in bench.train.rows[:LOOKED_AT]]
    items = [(Example(prompt, [False] * len(prompt)),) for prompt in prompts]

    def update(places: Sequence[int]) -> Update:
        sampled = _sample(preset, bench, reward, places, step=0)
        normaliser = _sum_over_processes(bench, float(sum(len(s.answer.ids) for s in sampled)))
        parts = [_tensors(preset, bench, part, normaliser) for part in _cut(preset, sampled)]
        return Update(parts, sum(len(s.prompt) + len(s.answer.ids) for s in sampled), {})

    return Material(items, update, sampled=preset.rollout.max_new_tokens)


def _places(preset: GrpoPreset, bench: Bench, step: int) -> list[int]:
    return rows_of_step(
        step,
        batch_size=preset.training.batch_size,
        n_rows=len(bench.train.rows),
        seed=preset.seed,
        shuffle=preset.data.shuffle,
        parts=bench.train.parts,
    )


def _sample(preset: GrpoPreset, bench: Bench, reward: RewardSum, chosen: Sequence[int], *, step: int) -> list[Sampled]:
    """This process's part of the step: its prompts, their answers, rewards and advantages."""
    table, how = bench.train, preset.rollout
    mine = bench.share(list(enumerate(chosen)))
    rows = [table.rows[index] for _, index in mine]
    prompts = [_prompt(preset, bench, row) for row in rows]
    group = range(how.completions_per_prompt)
    seeds = [[mix(preset.seed, step, place, member) for member in group] for place, _ in mine]
    answers = bench.rollout.answers(prompts, seeds, how)
    texts = [[bench.encoder.decode(answer.ids) for answer in group] for group in answers]
    scores = reward.score(
        [Answered(rows[p], texts[p][m], answers[p][m].ids, prompts[p]) for p in range(len(rows)) for m in group]
    )
    totals = torch.tensor([each.total for each in scores]).view(-1, how.completions_per_prompt)
    spread = _spread_of_step(bench, totals) if preset.grpo.scale_advantages == "batch" else None
    advantages = group_relative_advantages(totals, scale=preset.grpo.scale_advantages, batch_std=spread).tolist()
    return [
        Sampled(rows[p], prompts[p], answers[p][m], texts[p][m], scores[p * len(group) + m], advantages[p][m])
        for p in range(len(rows))
        for m in group
    ]


def _prompt(preset: GrpoPreset, bench: Bench, row: Row) -> list[int]:
    prompt = bench.encoder.prompt(row)
    return bench.shortened(prompt, answer=preset.rollout.max_new_tokens, longest=preset.data.max_length)


def _cut(preset: GrpoPreset, sampled: list[Sampled]) -> list[list[Sampled]]:
    lengths = [len(s.prompt) + len(s.answer.ids) for s in sampled]
    return micro_batches(sampled, lengths, preset.training.micro_batch_size)


def _tensors(preset: GrpoPreset, bench: Bench, part: list[Sampled], normaliser: float) -> GrpoBatch:
    device = bench.accelerator.device
    # Train on the ids that were drawn: text tokenised again may be other tokens.
    examples = [Example([*s.prompt, *s.answer.ids], [False] * len(s.prompt) + [True] * len(s.answer.ids)) for s in part]
    rows = pad_rows(examples, bench.pad_id).to(device)
    reference = None
    if preset.grpo.beta > 0:
        with bench.policy.without_adapter():
            reference = _score(bench, bench.reference_scorer or bench.bare_scorer, rows, preset)
    return GrpoBatch(
        rows=rows,
        advantages=torch.tensor([s.advantage for s in part for _ in s.answer.ids], device=device),
        old_logps=None,
        reference_logps=reference,
        sampler_logps=torch.tensor([logp for s in part for logp in s.answer.logps], device=device),
        normaliser=normaliser,
    )


def _flat_reference(parts: list[GrpoBatch]) -> list[float]:
    return [logp for part in parts if part.reference_logps is not None for logp in part.reference_logps.tolist()]


@torch.no_grad()
def _score(bench: Bench, scorer: nn.Module, rows: Rows, preset: GrpoPreset) -> Tensor:
    """Log-probabilities of the answers, at the temperature they were drawn at."""
    with bench.accelerator.autocast():
        logps: Tensor = scorer(rows, preset.rollout.temperature).logps
    return logps


def _held_out_reward(preset: GrpoPreset, bench: Bench, table: Table, reward: RewardSum) -> dict[str, float]:
    """Mean reward of one sampled answer to each held-out prompt; always the same noise, so steps can be compared."""
    rows = list(enumerate(table.rows[:EVAL_PROMPTS]))[
        bench.accelerator.process_index :: bench.accelerator.num_processes
    ]
    prompts = [_prompt(preset, bench, row) for _, row in rows]
    seeds = [[mix(preset.seed, -1, place)] for place, _ in rows]
    tally = Tally()
    if rows:
        answers = bench.rollout.answers(prompts, seeds, preset.rollout)
        answered = [
            Answered(row, bench.encoder.decode(answer.ids), answer.ids, prompt)
            for (_, row), prompt, (answer,) in zip(rows, prompts, answers, strict=True)
        ]
        totals = [scored.total for scored in reward.score(answered)]
        tally.add({"eval_reward": Mean(sum(totals), len(totals))})
    return tally.means(bench.accelerator)


def _spread_of_step(bench: Bench, totals: Tensor) -> Tensor:
    """Standard deviation of all rewards of the step, over all processes."""
    everyones = gather_object([totals.tolist()]) if bench.accelerator.num_processes > 1 else [totals.tolist()]
    return torch.tensor([value for process in everyones for group in process for value in group]).std()


def _sum_over_processes(bench: Bench, value: float) -> float:
    return float(sum(gather_object([value]))) if bench.accelerator.num_processes > 1 else value
