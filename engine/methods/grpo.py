"""Group-relative policy optimisation: sample several answers to a prompt, make likelier those that beat their group.

Its relatives are the same page with other choices: RLOO, REINFORCE++, Dr. GRPO, DAPO, GSPO, CISPO, SAPO, ScaleRL. What
is chosen stands in the preset; groups.py judges the answers, policy_losses.py has the loss.
"""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from engine.contract.online_settings import Grpo
from engine.contract.preset import GrpoPreset
from engine.float32_head import head_in_float32
from engine.logprobs import Rows, TokenScores
from engine.loop import Material, Method, Update
from engine.methods.alarms import Alarms
from engine.methods.answers import Sampled, record
from engine.methods.bench import Bench, is_due
from engine.methods.groups import Groups
from engine.methods.held_out import held_out_reward
from engine.methods.interruption import Interruption
from engine.methods.layout import Layout, looked_at, tokens_of
from engine.methods.pairs import all_read_lines
from engine.methods.prompts import Prompts
from engine.modes import without_dropout
from engine.packing import Line
from engine.policy_losses import Objective, PolicyLoss, by_answer, policy_loss
from engine.rollout.importance import importance_weights
from engine.tally import Least, Mean, Peak, Values


class GrpoBatch(NamedTuple):
    """Flat vectors have one entry per answer token that was drawn, (N,), rows in order.

    line: the rows with each group's prompt once, where the model reads that. lengths: (B,), drawn tokens of each row.
    weights: what a token counts in the loss of the whole update. tokens: how many count in that, over all its
    micro-batches and processes. old_logps: of the policy that sampled; None while that is the policy that learns.
    sampler_logps: as the sampler knew them; drawn_logps: under the law it drew from.
    """

    rows: Rows
    line: Line | None
    lengths: Tensor
    advantages: Tensor
    weights: Tensor
    tokens: float
    old_logps: Tensor | None
    reference_logps: Tensor | None
    sampler_logps: Tensor
    drawn_logps: Tensor

    @property
    def counts(self) -> Tensor:
        """1 where a token counts, 0 where its answer is left out, (N,)."""
        return (self.weights > 0).float()


def grpo(preset: GrpoPreset, bench: Bench) -> Method:
    """The batches, the loss and the measures of GRPO (Shao et al. 2024, arXiv:2402.03300) and its relatives."""
    training, how, own, longest = preset.training, preset.rollout, preset.grpo, preset.data.max_length
    reward, objective = bench.reward(preset.rewards), objective_of(own)
    _make_ready(own, bench)
    laid_out = Layout(bench, training.micro_batch_size, all_read_lines(bench), how.temperature)
    compares = own.beta > 0
    interruption = _interruption(preset, bench)
    groups = Groups(
        preset,
        bench,
        reward,
        Prompts(bench, answer=how.max_new_tokens + (interruption.tokens if interruption else 0), longest=longest),
        compared=laid_out.compared if compares and own.kl_in != "loss" else None,
        interruption=interruption,
    )
    alarms = Alarms(bench, pull="grpo.beta")

    def batches(step: int) -> Iterator[Update]:
        sampled, values = groups.of_step(step)
        if compares and own.kl_in == "loss":
            with groups.timer.phase("reference"):
                sampled = laid_out.compared(sampled)
        alarms.look(sampled, values, learns=any(s.advantage for s in sampled))
        record(bench, step, sampled[: how.recorded], how.completions_per_prompt)
        updates = _updates(laid_out, sampled, groups.updates)
        if own.iterations * len(updates) > 1:  # later updates are measured from the policy that sampled
            updates = [[_with_old(laid_out, part) for part in parts] for parts in updates]
        values |= groups.timer.told()
        for index, parts in enumerate(updates * own.iterations):
            yield Update(parts, 0, {}) if index else Update(parts, tokens_of(sampled), values)

    def loss(batch: GrpoBatch) -> tuple[Tensor, Values]:
        is_learned = own.entropy_coefficient > 0
        scores = bench.scorer(batch.rows, how.temperature, line=batch.line, entropy_learns=is_learned)
        old_logps = scores.logps.detach() if batch.old_logps is None else batch.old_logps
        importance = importance_of(own, old_logps, batch)
        result = policy_loss(
            scores.logps,
            old_logps,
            batch.advantages,
            batch.weights,
            batch.lengths,
            objective,
            reference_logps=batch.reference_logps,
            importance=importance,
        )
        share = result.share
        if is_learned:
            share = share - own.entropy_coefficient * (scores.entropy * batch.counts).sum() / max(1.0, batch.tokens)
        return share, _told(scores, result, batch, objective, old_logps) | _told_of_law(old_logps, batch, importance)

    def measure(step: int) -> dict[str, float]:
        if bench.held_out is None or not is_due(step, training.eval_every, training.steps):
            return {}
        return held_out_reward(bench, bench.held_out, reward, groups.prompts, how, seed=preset.seed)

    return Method(batches, loss, measure, partial(_material, preset, groups, laid_out))


def _make_ready(own: Grpo, bench: Bench) -> None:
    # Dropout would make the policy that samples another one than the policy that learns.
    without_dropout(bench.policy.model)
    is_whole = next(bench.policy.model.parameters()).dtype == torch.float32
    if own.float32_head and not (is_whole and bench.accelerator.mixed_precision == "no"):
        head_in_float32(bench.policy.model)


def objective_of(own: Grpo) -> Objective:
    """What of the choices concerns the loss. A pull that acts in the reward is none here; its KL is still measured."""
    return Objective(
        ratio=own.ratio,
        clip=own.clip,
        epsilon_low=own.epsilon,
        epsilon_high=own.epsilon_high or own.epsilon,
        cap=own.cap or math.inf,
        gate_up=own.gate_up,
        gate_down=own.gate_down,
        beta=own.beta if own.kl_in == "loss" else 0.0,
        kl=own.kl,
        kl_correction=own.kl_correction,
    )


def importance_of(own: Grpo, logps: Tensor, batch: GrpoBatch) -> Tensor | None:
    """What tokens count for having been drawn from another law than the policy's, (N,); None if that is let be.

    logps: (N,), of the policy that sampled as the trainer sees them.
    """
    if own.importance == "none":
        return None
    return importance_weights(
        logps,
        batch.drawn_logps,
        batch.lengths.tolist(),
        level=own.importance,
        beyond=own.importance_beyond,
        highest=own.importance_cap,
    )


def _updates(laid_out: Layout, sampled: Sequence[Sampled], count: int) -> list[list[GrpoBatch]]:
    """What each update of a pass learns from on this process; where that is nothing, an answer that counts nothing."""
    parts = ([s for s in sampled if s.update == update] for update in range(count))
    return [batches_of(laid_out, part or [sampled[0]._replace(weight=0.0)]) for part in parts]


def _with_old(laid_out: Layout, part: GrpoBatch) -> GrpoBatch:
    """With what the policy thinks of the answers before it learns from any."""
    return part._replace(old_logps=laid_out.score(laid_out.bench.bare_scorer, part.rows, part.line))


def batches_of(laid_out: Layout, sampled: Sequence[Sampled]) -> list[GrpoBatch]:
    """Answers in parts that fit into memory."""
    return [_batch(laid_out, part) for part in laid_out.cut(sampled)]


def _batch(laid_out: Layout, part: Sequence[Sampled]) -> GrpoBatch:
    rows, line = laid_out.rows(part)
    lengths = [len(s.answer.ids) - len(s.forced) for s in part]

    def flat(values: Sequence[Sequence[float]]) -> Tensor:
        return torch.tensor([value for each in values for value in each], device=rows.input_ids.device)

    def spread(values: Sequence[float]) -> Tensor:
        return flat([[value] * length for value, length in zip(values, lengths, strict=True)])

    return GrpoBatch(
        rows=rows,
        line=line,
        lengths=torch.tensor(lengths, device=rows.input_ids.device),
        advantages=flat([s.advantages or [s.advantage] * n for s, n in zip(part, lengths, strict=True)]),
        weights=spread([s.weight for s in part]),
        tokens=part[0].tokens,
        old_logps=None,
        reference_logps=flat([s.reference for s in part]) if part[0].reference else None,
        sampler_logps=flat([s.drawn(s.answer.logps) for s in part]),
        drawn_logps=flat([s.drawn(s.answer.drawn_logps) for s in part]),
    )


def _told(scores: TokenScores, result: PolicyLoss, batch: GrpoBatch, how: Objective, old_logps: Tensor) -> Values:
    """What a micro-batch says under TRL's names."""
    count = float(len(scores.logps))
    values: Values = {
        "entropy": Mean(scores.entropy.detach().sum(), count),
        "policy_loss": Mean(result.policy.sum(), count),
        **_clipped(result, batch.lengths, how),
    }
    if batch.reference_logps is not None:
        values["kl"] = Mean(result.kl.sum(), count)
    # The sampler and the trainer should be one policy; where they are not, every ratio is off by this much.
    values["ratio/max_error"] = Peak(torch.expm1(old_logps - batch.sampler_logps).abs().max())
    return values


def _told_of_law(old_logps: Tensor, batch: GrpoBatch, importance: Tensor | None) -> Values:
    """How far the law that answers were drawn from is from the one that learns, under TRL's names: over tokens."""
    if importance is None:
        return {}
    apart, count = (old_logps - batch.drawn_logps).abs().nan_to_num(), float(len(importance))
    return {
        "sampling/sampling_logp_difference/mean": Mean(apart.sum(), count),
        "sampling/sampling_logp_difference/max": Peak(apart.max()),
        "sampling/importance_sampling_ratio/min": Least(importance.min()),
        "sampling/importance_sampling_ratio/mean": Mean(importance.sum(), count),
        "sampling/importance_sampling_ratio/max": Peak(importance.max()),
    }


def _clipped(result: PolicyLoss, lengths: Tensor, how: Objective) -> Values:
    """How much was clipped, under TRL's names: of tokens, or where answers have one ratio, of answers."""
    if how.clip not in ("two_sided", "one_sided"):
        return {}
    sides = {"low": result.is_clipped_low, "high": result.is_clipped_high}
    sides["region"] = sides["low"] | sides["high"]
    shares = {side: by_answer(is_clipped.float(), lengths).sum(dim=1) / lengths for side, is_clipped in sides.items()}
    each = {side: is_clipped.float() for side, is_clipped in sides.items()} if how.ratio == "token" else shares
    values: Values = {f"clip_ratio/{side}_mean": Mean(of.sum(), float(len(of))) for side, of in each.items()}
    return values | {
        "clip_ratio/low_min": Least(shares["low"].min()),
        "clip_ratio/high_max": Peak(shares["high"].max()),
    }


def _interruption(preset: GrpoPreset, bench: Bench) -> Interruption | None:
    own = preset.grpo
    if own.interrupt_with is None:
        return None
    phrase = bench.policy.tokenizer(own.interrupt_with, add_special_tokens=False)["input_ids"]
    return Interruption(bench.rollout, preset.rollout, phrase, own.interrupt_tokens)


def _material(preset: GrpoPreset, groups: Groups, laid_out: Layout) -> Material:
    def update(places: Sequence[int]) -> Update:
        sampled = groups.of_rows(places)
        if preset.grpo.beta > 0:
            sampled = laid_out.compared(sampled)
        return Update(batches_of(laid_out, sampled), tokens_of(sampled), {})

    items = looked_at(laid_out.bench, groups.prompts)
    return Material(items, update, sampled=preset.rollout.max_new_tokens)
