"""Proximal policy optimisation: make likelier the tokens after which an answer went better than a critic foretold."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import torch
from accelerate.utils import gather_object
from torch import Tensor

from engine.contract.online_settings import Ppo
from engine.contract.preset import PpoPreset
from engine.data.batching import mix
from engine.data.chat import Example
from engine.kl_control import KlControl, Moments, State
from engine.logprobs import Rows
from engine.loop import Material, Method, Update
from engine.methods.bench import Bench, is_due
from engine.methods.experience import Experience, cut, judged, live, record, rows_of, told
from engine.methods.held_out import held_out_reward
from engine.methods.prompts import Prompts, places_of_step
from engine.methods.timer import Timer
from engine.methods.watch import Watch, check_ending
from engine.modes import without_dropout
from engine.ppo_losses import PpoLoss, ppo_loss
from engine.rewards import RewardSum
from engine.rewards import told as told_of_rewards
from engine.tally import Mean, Peak, Values
from engine.value_models import Judged

#: Prompts tokenised for who wants to look at them; a step tokenises its own.
LOOKED_AT = 1000


class PpoBatch(NamedTuple):
    """Flat vectors have one entry per answer token, (N,), rows in order; the old ones are from before the step.

    normaliser: answer tokens of the whole update, over all its micro-batches and processes.
    learns_policy: False while the critic learns alone. is_first: whether no update of the step came before.
    """

    rows: Rows
    old_logps: Tensor
    advantages: Tensor
    old_values: Tensor
    returns: Tensor
    normaliser: float
    learns_policy: bool
    is_first: bool


def ppo(preset: PpoPreset, bench: Bench) -> Method:
    """The batches, the loss and the measures of PPO (Schulman et al. 2017, arXiv:1707.06347) as RLHF uses it (Ziegler
    et al. 2019, arXiv:1909.08593; Ouyang et al. 2022, arXiv:2203.02155).

    Raises ModelError if no answer could ever end and that is to cost something.
    """
    how, own, training = preset.rollout, preset.ppo, preset.training
    check_ending(bench, own)
    reward = bench.reward(preset.rewards)
    prompts = Prompts(bench, answer=how.max_new_tokens, longest=preset.data.max_length)
    state = State(KlControl(own.beta, own.kl_target, own.kl_horizon), Moments())
    watch, drift = Watch(bench.reporter), Drift()
    # Dropout would make the policy that samples another one than the policy that learns, and values noise.
    without_dropout(bench.bare_scorer)

    def batches(step: int) -> Iterator[Update]:
        timer, beta = Timer(), state.kl.weight
        chosen = places_of_step(
            bench, step, batch_size=training.batch_size, seed=preset.seed, shuffle=preset.data.shuffle
        )
        lived = live(preset, bench, reward, prompts, chosen, timer, step=step)
        rewarded = [one for one in lived if one.reward.is_known]
        known = timer.told() | told_of_rewards([one.reward for one in lived], correction=0)
        if not rewarded:  # told already; a few such steps in a row end the run
            yield Update([], 0, known)
            return
        learned = judged(rewarded, own, beta=beta, moments=state.scores)
        record(bench, step, learned[: how.recorded])
        watch.look(step, learned)
        known = told(learned, beta=beta) | known  # shares are of all answers, also of those without a reward
        tokens = _read_here(bench, learned)
        state.kl.update(sum(sum(one.kls) for one in learned) / len(learned), len(learned))
        parts = minibatches(learned, own, seed=mix(preset.seed, step), processes=training.processes)
        for index, part in enumerate(parts):
            drift.clear()
            update = _update(preset, bench, part, learns_policy=step > own.critic_warmup, is_first=index == 0)
            done: Values = {"updates": Peak(index + 1)}
            yield update._replace(**{"values": done} if index else {"values": known | done, "tokens": tokens})
            if own.stop_at_kl is not None and drift.mean(bench) > own.stop_at_kl:
                return

    def loss(batch: PpoBatch) -> tuple[Tensor, Values]:
        new: Judged = bench.scorer(
            batch.rows,
            how.temperature,
            entropy_learns=own.entropy_weight > 0,
            critic_alone=not batch.learns_policy,
        )
        result = _loss(own, batch, new)
        moved = 0.5 * (new.logps.detach() - batch.old_logps) ** 2
        drift.add(moved)
        return result.share, _told_of_update(result, new, moved, is_first=batch.is_first)

    def measure(step: int) -> dict[str, float]:
        if bench.held_out is None or not is_due(step, training.eval_every, training.steps):
            return {}
        return held_out_reward(bench, bench.held_out, reward, prompts, how, seed=preset.seed)

    material = partial(_material, preset, bench, reward, prompts)
    return Method(batches, loss, measure, material, state.kept, state.recall)


def _material(preset: PpoPreset, bench: Bench, reward: RewardSum, prompts: Prompts) -> Material:
    """The first prompts; an answer's tokens will count, and none of these."""
    rows = [prompts.of(row) for row in bench.train.rows[:LOOKED_AT]]
    items = [(Example(prompt, [False] * len(prompt)),) for prompt in rows]

    def update(places: Sequence[int]) -> Update:
        lived = live(preset, bench, reward, prompts, places, Timer(), step=0)
        learned = judged(
            [one for one in lived if one.reward.is_known], preset.ppo, beta=preset.ppo.beta, moments=Moments()
        )
        whole = _update(preset, bench, learned, learns_policy=True, is_first=True)
        return whole._replace(tokens=_read_here(bench, learned))

    return Material(items, update, sampled=preset.rollout.max_new_tokens)


@dataclass
class Drift:
    """How far the policy has moved in an update, over all its micro-batches."""

    parts: list[tuple[Tensor, int]] = field(default_factory=list)

    def clear(self) -> None:
        self.parts.clear()

    def add(self, moved: Tensor) -> None:
        """moved: (N,), nats."""
        self.parts.append((moved.sum(), len(moved)))

    def mean(self, bench: Bench) -> float:
        """Nats a token, over all processes."""
        mine = (sum(float(total) for total, _ in self.parts), sum(count for _, count in self.parts))
        everyones = gather_object([mine]) if bench.accelerator.num_processes > 1 else [mine]
        return float(sum(total for total, _ in everyones) / max(1, sum(count for _, count in everyones)))


def minibatches(
    learned: Sequence[Experience], own: Ppo, *, seed: int, processes: int = 1
) -> Iterator[list[Experience]]:
    """The answers of each update of a step, over all processes: every pass in an order of its own.

    Where answers without a reward are missing, parts are uneven, and what processes cannot share evenly is left out.
    """
    bounds = [len(learned) * part // own.minibatches for part in range(own.minibatches + 1)]
    for epoch in range(own.epochs):
        order = list(range(len(learned)))
        if own.minibatches > 1:  # else the order within an update changes nothing
            order = torch.randperm(len(learned), generator=torch.Generator().manual_seed(mix(seed, epoch))).tolist()
        for start, end in pairwise(bounds):
            if shared := order[start : end - (end - start) % processes]:
                yield [learned[place] for place in shared]


def _update(
    preset: PpoPreset, bench: Bench, whole: Sequence[Experience], *, learns_policy: bool, is_first: bool
) -> Update:
    """This process's part of an update. whole: the answers of all processes."""
    normaliser = float(sum(len(one.returns) for one in whole))
    parts = cut(preset, bench.share(whole), [one.lived for one in bench.share(whole)])
    return Update(
        [_tensors(bench, part, normaliser, learns_policy=learns_policy, is_first=is_first) for part in parts], 0, {}
    )


def _tensors(
    bench: Bench, part: Sequence[Experience], normaliser: float, *, learns_policy: bool, is_first: bool
) -> PpoBatch:
    device = bench.accelerator.device

    def flat(lists: Iterator[list[float]]) -> Tensor:
        return torch.tensor([number for each in lists for number in each], device=device)

    return PpoBatch(
        rows=rows_of(bench, [one.lived for one in part]),
        old_logps=flat(one.lived.answer.logps for one in part),
        advantages=flat(one.advantages for one in part),
        old_values=flat(one.lived.values for one in part),
        returns=flat(one.returns for one in part),
        normaliser=normaliser,
        learns_policy=learns_policy,
        is_first=is_first,
    )


def _read_here(bench: Bench, learned: Sequence[Experience]) -> int:
    """Tokens of this process's answers and their prompts."""
    return sum(len(one.lived.prompt) + len(one.lived.answer.ids) for one in bench.share(learned))


def _loss(own: Ppo, batch: PpoBatch, new: Judged) -> PpoLoss:
    return ppo_loss(
        new.logps,
        batch.old_logps,
        batch.advantages,
        new.values,
        batch.old_values,
        batch.returns,
        new.entropy,
        normaliser=batch.normaliser,
        epsilon=own.epsilon,
        value_epsilon=own.value_epsilon,
        value_weight=own.value_weight,
        entropy_weight=own.entropy_weight,
        learns_policy=batch.learns_policy,
    )


def _told_of_update(result: PpoLoss, new: Judged, moved: Tensor, *, is_first: bool) -> Values:
    """What an update shows, under TRL's names."""
    count = float(len(moved))
    values: Values = {
        "loss/policy": Mean(result.policy.sum(), count),
        "loss/value": Mean(result.value.sum(), count),
        "policy/entropy_avg": Mean(new.entropy.detach().sum(), count),
        "policy/approxkl_avg": Mean(moved.sum(), count),
        "policy/clipfrac_avg": Mean(result.is_policy_clipped.float().sum(), count),
        "val/clipfrac_avg": Mean(result.is_value_clipped.float().sum(), count),
        "val/ratio": Mean(result.ratio.sum(), count),
    }
    if is_first:
        # The sampler and the trainer should be one policy; where they are not, every ratio is off by this much.
        values["ratio/max_error"] = Peak((result.ratio - 1).abs().max())
    return values
