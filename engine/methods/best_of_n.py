"""Imitating one's own best answers: sample, keep what was worth most, learn it as if it had been given.

Iterated, this is the cross-entropy method on text (de Boer et al. 2005), RAFT (Dong et al. 2023, arXiv:2304.06767) with
the best to each prompt, ReST (Gulcehre et al. 2023, arXiv:2308.08998) with a least reward, and STaR's filter (Zelikman
et al. 2022, arXiv:2203.14465) where that reward is being right.
"""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch
from accelerate.utils import gather_object
from torch import Tensor

from engine.contract.composed_presets import BestOfNPreset
from engine.contract.composed_settings import BestOfN
from engine.data.batching import mix
from engine.logprobs import Rows
from engine.loop import Material, Method, Update
from engine.losses import sft_loss
from engine.methods.alarms import Alarms
from engine.methods.answers import Sampled, record, told
from engine.methods.asking import ask
from engine.methods.bench import Bench, is_due
from engine.methods.held_out import held_out_reward
from engine.methods.layout import Layout, looked_at, tokens_of
from engine.methods.pairs import all_read_lines
from engine.methods.prompts import Prompts, places_of_step
from engine.methods.timer import Timer
from engine.modes import without_dropout
from engine.packing import Line
from engine.rewards import RewardSum
from engine.tally import Mean, Values


class KeptBatch(NamedTuple):
    """line: the rows with each prompt once, where the model reads that. normaliser: tokens of the whole update's
    answers, over all its micro-batches and processes; infinite where nothing was kept, so that nothing is learned."""

    rows: Rows
    line: Line | None
    normaliser: float


def best_of_n(preset: BestOfNPreset, bench: Bench) -> Method:
    """The batches, the loss and the measures of rejection-sampling fine-tuning."""
    training, how = preset.training, preset.rollout
    # Dropout would make the policy that samples another one than the policy that learns.
    without_dropout(bench.policy.model)
    reward = bench.reward(preset.rewards)
    prompts = Prompts(bench, answer=how.max_new_tokens, longest=preset.data.max_length)
    alarms = Alarms(bench, pull="")
    laid_out = Layout(bench, training.micro_batch_size, all_read_lines(bench))

    def batches(step: int) -> Iterator[Update]:
        timer = Timer()
        chosen = places_of_step(
            bench, step, batch_size=training.batch_size, seed=preset.seed, shuffle=preset.data.shuffle
        )
        sampled = ask(bench, reward, prompts, how, chosen, (preset.seed, step), timer)
        kept = kept_of_all(bench, sampled, preset.best_of_n, how.completions_per_prompt)
        record(bench, step, kept.marked(sampled)[: how.recorded], how.completions_per_prompt)
        values = told(sampled, how.completions_per_prompt) | _told_of_kept(sampled, kept) | timer.told()
        alarms.look(sampled, values, learns=bool(kept.every) and _tells_apart(sampled))
        for index, update in enumerate(
            _updates(laid_out, preset.best_of_n, kept, sampled, seed=mix(preset.seed, step))
        ):
            yield update._replace(tokens=tokens_of(sampled), values=values) if index == 0 else update

    def loss(batch: KeptBatch) -> tuple[Tensor, Values]:
        scores = bench.scorer(batch.rows, line=batch.line)
        counts = float(math.isfinite(batch.normaliser))  # an answer that stands in is not learned, nor told of
        values: Values = {
            "entropy": Mean(counts * scores.entropy.sum(), counts * len(scores.logps)),
            "mean_token_accuracy": Mean(counts * scores.is_top.float().sum(), counts * len(scores.logps)),
        }
        return sft_loss(scores.logps, normaliser=batch.normaliser).share, values

    def measure(step: int) -> dict[str, float]:
        if bench.held_out is None or not is_due(step, training.eval_every, training.steps):
            return {}
        return held_out_reward(bench, bench.held_out, reward, prompts, how, seed=preset.seed)

    return Method(batches, loss, measure, partial(_material, preset, laid_out, reward, prompts))


class Kept(NamedTuple):
    """here: which of this process's answers are learned. every: of each that any process keeps, its reward and tokens.

    place: of each of those here, its place among all of them.
    """

    here: list[int]
    every: list[tuple[float, int]]
    place: list[int]

    def marked(self, sampled: Sequence[Sampled]) -> list[Sampled]:
        """All answers, those that are learned with the advantage 1: imitating them is that policy gradient."""
        return [s._replace(advantage=float(index in self.here)) for index, s in enumerate(sampled)]


def kept_of_all(bench: Bench, sampled: Sequence[Sampled], own: BestOfN, per_prompt: int) -> Kept:
    """What is kept of a step: decided over all processes, so that it is the same however many there are."""
    mine = [(s.reward.total, len(s.answer.ids), s.answer.finish == "length") for s in sampled]
    everyones = gather_object([mine]) if bench.accelerator.num_processes > 1 else [mine]
    every = [each for process in everyones for each in process]
    start = sum(len(process) for process in everyones[: bench.accelerator.process_index])
    chosen = chosen_answers(
        [reward for reward, _, _ in every], [is_cut for _, _, is_cut in every], own, per_prompt=per_prompt
    )
    places = {index: place for place, index in enumerate(chosen)}
    here = [index for index in chosen if start <= index < start + len(sampled)]
    return Kept(
        [index - start for index in here],
        [every[index][:2] for index in chosen],
        [places[index] for index in here],
    )


def chosen_answers(rewards: Sequence[float], is_cut: Sequence[bool], own: BestOfN, *, per_prompt: int) -> list[int]:
    """Which of a step's answers are learned, in order. Those to one prompt stand together.

    elite: the share is of all answers, as the quantile of the cross-entropy method is; of equals the earlier are taken,
    which were drawn no differently. A reward that is no number is never kept.
    """
    fit = [
        index
        for index, reward in enumerate(rewards)
        if not (own.leave_out_truncated and is_cut[index])
        and math.isfinite(reward)
        and (own.min_reward is None or reward >= own.min_reward)
    ]
    if own.keep == "elite":
        ranked = sorted(fit, key=lambda index: -rewards[index])
        return sorted(ranked[: math.ceil(own.elite * len(rewards))])
    best: dict[int, int] = {}
    for index in fit:
        leader = best.setdefault(index // per_prompt, index)
        if rewards[index] > rewards[leader]:
            best[index // per_prompt] = index
    return list(best.values())


def _updates(laid_out: Layout, own: BestOfN, kept: Kept, sampled: Sequence[Sampled], *, seed: int) -> Iterator[Update]:
    """This process's part of each update: every pass over what was kept in an order of its own, cut evenly.

    Where nothing is left here, an answer that counts nothing stands in: all processes take part in an update.
    """
    count = len(kept.every)
    for epoch in range(own.epochs):
        generator = torch.Generator().manual_seed(mix(seed, epoch))
        order = torch.randperm(count, generator=generator).tolist() if own.minibatches > 1 else list(range(count))
        size = max(1, -(-count // own.minibatches))
        for start in range(0, max(1, count), size):
            members = set(order[start : start + size])
            tokens = float(sum(kept.every[place][1] for place in members))
            mine = [sampled[at] for at, place in zip(kept.here, kept.place, strict=True) if place in members]
            counted, normaliser = (mine, tokens) if mine else ([sampled[0]], math.inf)
            parts = [KeptBatch(*laid_out.rows(part), normaliser) for part in laid_out.cut(counted)]
            yield Update(parts, 0, {})


def _tells_apart(sampled: Sequence[Sampled]) -> bool:
    """Whether some answers were worth more than others."""
    return len({s.reward.total for s in sampled if s.reward.is_known}) > 1


def _told_of_kept(sampled: Sequence[Sampled], kept: Kept) -> Values:
    """How much better the kept answers are, and how many they are; the least of them is the elite's threshold."""
    values: Values = {"kept/share": Mean(len(kept.here), len(sampled))}
    if kept.every:
        rewards = [reward for reward, _ in kept.every]
        tokens = sum(length for _, length in kept.every)
        values |= {
            "kept/reward": Mean(sum(rewards), len(rewards)),
            "kept/least_reward": Mean(min(rewards), 1),
            "kept/mean_length": Mean(tokens, len(rewards)),
        }
    return values


def _material(preset: BestOfNPreset, laid_out: Layout, reward: RewardSum, prompts: Prompts) -> Material:
    bench = laid_out.bench

    def update(places: Sequence[int]) -> Update:
        sampled = ask(bench, reward, prompts, preset.rollout, places, (preset.seed, 0), Timer())
        kept = kept_of_all(bench, sampled, preset.best_of_n, preset.rollout.completions_per_prompt)
        first = next(_updates(laid_out, preset.best_of_n, kept, sampled, seed=preset.seed))
        return first._replace(tokens=tokens_of(sampled))

    return Material(looked_at(bench, prompts), update, sampled=preset.rollout.max_new_tokens)
