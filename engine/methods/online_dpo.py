"""Online DPO: two answers of its own to each prompt, ranked by a reward, and the loss of DPO on the pair."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch
from accelerate.utils import gather_object
from torch import Tensor

from engine.contract.composed_presets import OnlineDpoPreset
from engine.contract.composed_settings import OnlineDpo
from engine.data.batching import micro_batches
from engine.logprobs import Rows, TokenScores
from engine.loop import Material, Method, Update
from engine.methods.alarms import Alarms
from engine.methods.answers import Sampled, record, told
from engine.methods.asking import ask
from engine.methods.bench import Bench, is_due
from engine.methods.held_out import held_out_reward
from engine.methods.layout import Layout, looked_at, tokens_of
from engine.methods.pairs import all_read_lines, by_row
from engine.methods.prompts import Prompts, places_of_step
from engine.methods.timer import Timer
from engine.modes import without_dropout
from engine.packing import Line
from engine.preference_losses import Pairs, PreferenceLoss, preference_loss
from engine.rewards import RewardSum
from engine.tally import Mean, Values


class Duel(NamedTuple):
    """Two of a step's answers, to one prompt, the first worth more. scores: what they were worth, less any fine."""

    chosen: int
    rejected: int
    scores: tuple[float, float]


class DuelBatch(NamedTuple):
    """B pairs: chosen and rejected take turns, (2B, T). line: the rows with each prompt once, where the model reads
    that. reference: (N,), nats, of each answer token. scores: (2B,). pairs: of the whole update; 0 where there is none,
    and then an answer stands in for a pair and counts nothing."""

    rows: Rows
    line: Line | None
    reference: Tensor
    scores: Tensor
    pairs: float


def online_dpo(preset: OnlineDpoPreset, bench: Bench) -> Method:
    """The batches, the loss and the measures of DPO on the policy's own answers (Guo et al. 2024, arXiv:2402.04792).

    The loss is of the policy itself, temperature 1, however freely the answers were drawn: it need not be on-policy.
    """
    training, how, own = preset.training, preset.rollout, preset.online_dpo
    # Dropout would tell the policy apart from its reference, which are one at the first step.
    without_dropout(bench.policy.model)
    reward = bench.reward(preset.rewards)
    prompts = Prompts(bench, answer=how.max_new_tokens, longest=preset.data.max_length)
    laid_out = Layout(bench, training.micro_batch_size, all_read_lines(bench))
    alarms = Alarms(bench, pull="online_dpo.beta")

    def batches(step: int) -> Iterator[Update]:
        timer = Timer()
        chosen = places_of_step(
            bench, step, batch_size=training.batch_size, seed=preset.seed, shuffle=preset.data.shuffle
        )
        sampled = ask(bench, reward, prompts, how, chosen, (preset.seed, step), timer)
        duels = duels_of(sampled, own, how.completions_per_prompt)
        record(bench, step, marked(sampled, duels)[: how.recorded], how.completions_per_prompt)
        with timer.phase("reference"):
            parts = parts_of(laid_out, sampled, duels)
        values = told(sampled, how.completions_per_prompt) | _told_of_duels(
            sampled, duels, own, how.completions_per_prompt
        )
        alarms.look(sampled, values, learns=bool(duels))
        for epoch in range(own.epochs):
            is_first = epoch == 0
            yield Update(parts, tokens_of(sampled) if is_first else 0, values | timer.told() if is_first else {})

    def loss(batch: DuelBatch) -> tuple[Tensor, Values]:
        return compare(own, batch, bench.scorer(batch.rows, line=batch.line))

    def measure(step: int) -> dict[str, float]:
        if bench.held_out is None or not is_due(step, training.eval_every, training.steps):
            return {}
        return held_out_reward(bench, bench.held_out, reward, prompts, how, seed=preset.seed)

    return Method(batches, loss, measure, partial(_material, preset, laid_out, reward, prompts))


def duels_of(sampled: Sequence[Sampled], own: OnlineDpo, per_prompt: int) -> list[Duel]:
    """The best answer to each prompt against the worst; a prompt whose answers scored alike has none."""
    scores = [_score(s, own) for s in sampled]
    duels = []
    for start in range(0, len(sampled), per_prompt):
        group = [index for index in range(start, start + per_prompt) if sampled[index].reward.is_known]
        if not group:
            continue
        best, worst = max(group, key=scores.__getitem__), min(group, key=scores.__getitem__)
        if scores[best] > scores[worst]:
            duels.append(Duel(best, worst, (scores[best], scores[worst])))
    return duels


def _score(s: Sampled, own: OnlineDpo) -> float:
    return s.reward.total - (own.missing_eos_penalty if s.answer.finish == "length" else 0.0)


def marked(sampled: Sequence[Sampled], duels: Sequence[Duel]) -> list[Sampled]:
    """All answers, with the advantage 1 where they were chosen and -1 where they were rejected."""
    sides = {duel.chosen: 1.0 for duel in duels} | {duel.rejected: -1.0 for duel in duels}
    return [s._replace(advantage=sides.get(index, 0.0)) for index, s in enumerate(sampled)]


def parts_of(laid_out: Layout, sampled: Sequence[Sampled], duels: Sequence[Duel]) -> list[DuelBatch]:
    """This process's pairs in parts that fit into memory, with what the reference thinks of their answers.

    Where there is none here, an answer stands in that counts nothing: all processes take part in an update.
    """
    bench = laid_out.bench
    mine = [len(duels)]
    pairs = float(sum(gather_object(mine) if bench.accelerator.num_processes > 1 else mine))
    if not duels:
        rows, line = laid_out.rows(sampled[:1])
        nothing = torch.zeros(0, device=rows.input_ids.device)
        return [DuelBatch(rows, line, nothing, nothing, 0.0)]
    lengths = [2 * max(len(sampled[i].prompt) + len(sampled[i].answer.ids) for i in duel[:2]) for duel in duels]
    return [
        _batch(laid_out, part, [sampled[index] for duel in part for index in duel[:2]], pairs)
        for part in micro_batches(duels, lengths, laid_out.micro_batch_size)
    ]


def _batch(laid_out: Layout, part: Sequence[Duel], answers: Sequence[Sampled], pairs: float) -> DuelBatch:
    bench = laid_out.bench
    rows, line = laid_out.rows(answers)
    with bench.policy.without_adapter():
        reference = laid_out.score(bench.reference_scorer or bench.bare_scorer, rows, line)
    scores = torch.tensor([score for duel in part for score in duel.scores], device=reference.device)
    return DuelBatch(rows, line, reference, scores, pairs)


def compare(own: OnlineDpo, batch: DuelBatch, scores: TokenScores) -> tuple[Tensor, Values]:
    """The batch's share of the loss, and what is told of its pairs, under TRL's names."""
    if not batch.pairs:
        return 0.0 * scores.logps.sum(), {}
    is_target = batch.rows.is_target
    logps = by_row(scores.logps, is_target).sum(dim=1)
    reference = by_row(batch.reference, is_target).sum(dim=1)
    lengths = is_target.sum(dim=1)
    result = preference_loss(
        Pairs(*(each for both in (logps, reference, lengths) for each in (both[::2], both[1::2]))),
        kinds={own.loss: 1.0},
        beta=own.beta,
        label_smoothing=own.label_smoothing,
        normaliser=batch.pairs,
    )
    return result.share, _told(own, batch, scores, result, logps.detach(), reference)


def _told(
    own: OnlineDpo, batch: DuelBatch, scores: TokenScores, result: PreferenceLoss, logps: Tensor, reference: Tensor
) -> Values:
    kl = logps - reference
    better, worse = result.chosen_rewards, result.rejected_rewards
    pairs, answers = float(len(better)), float(len(kl))
    return {
        "objective/kl": Mean(kl.sum(), answers),
        "objective/non_score_reward": Mean(-own.beta * kl.sum(), answers),
        "objective/rlhf_reward": Mean((batch.scores - own.beta * kl).sum(), answers),
        "objective/entropy": Mean(-logps.sum(), answers),
        "rewards/chosen": Mean(better.sum(), pairs),
        "rewards/rejected": Mean(worse.sum(), pairs),
        "rewards/accuracies": Mean((better > worse).float().sum(), pairs),
        "rewards/margins": Mean((better - worse).sum(), pairs),
        "logps/chosen": Mean(logps[::2].sum(), pairs),
        "logps/rejected": Mean(logps[1::2].sum(), pairs),
        "entropy": Mean(scores.entropy.sum(), float(len(scores.entropy))),
    }


def _told_of_duels(sampled: Sequence[Sampled], duels: Sequence[Duel], own: OnlineDpo, per_prompt: int) -> Values:
    scores, prompts = [_score(s, own) for s in sampled if s.reward.is_known], len(sampled) // per_prompt
    ended = sum(s.answer.finish == "stop" for s in sampled)
    return {
        "objective/scores": Mean(sum(scores), len(scores)),
        "objective/scores_margin": Mean(sum(d.scores[0] - d.scores[1] for d in duels), len(duels)),
        "val/contain_eos_token": Mean(ended, len(sampled)),
        "pairs/ties": Mean(prompts - len(duels), prompts),
        "beta": Mean(own.beta, 1),
    }


def _material(preset: OnlineDpoPreset, laid_out: Layout, reward: RewardSum, prompts: Prompts) -> Material:
    bench, how = laid_out.bench, preset.rollout

    def update(places: Sequence[int]) -> Update:
        sampled = ask(bench, reward, prompts, how, places, (preset.seed, 0), Timer())
        duels = duels_of(sampled, preset.online_dpo, how.completions_per_prompt)
        return Update(parts_of(laid_out, sampled, duels), tokens_of(sampled), {})

    return Material(looked_at(bench, prompts), update, sampled=how.max_new_tokens)
