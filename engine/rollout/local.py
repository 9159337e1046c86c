"""Answers sampled in this process, with the very weights that are trained."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import nn

from engine.contract.online_settings import Rollout as RolloutSettings
from engine.flops import Meter
from engine.logprobs import Head
from engine.models import Policy
from engine.modes import eval_mode
from engine.rollout.decode import write_answers
from engine.rollout.generic import GenericReader, RereadingReader, keeps_a_cache
from engine.rollout.grouped import GroupedReader
from engine.rollout.layers import Layers, readable_head
from engine.rollout.memory import batches, rows_at_once
from engine.rollout.protocol import Answer
from engine.rollout.readers import Reader
from engine.rollout.stopping import Ends

#: What was found out about a model once: the head of one whose layers can be read by themselves, or None.
_HEADS: WeakKeyDictionary[nn.Module, Head | None] = WeakKeyDictionary()


@dataclass(frozen=True)
class LocalRollout:
    """A Rollout. autocast: the number format the trainer computes in. breathe: called once a token. meter: watches the
    policy, and is told what was read and written, as fast readers go past the model's own forward."""

    policy: Policy
    autocast: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext
    breathe: Callable[[], None] = lambda: None
    meter: Meter | None = None

    def answers(
        self,
        prompts: Sequence[list[int]],
        seeds: Sequence[Sequence[int]],
        how: RolloutSettings,
        *,
        greedy: bool = False,
    ) -> list[list[Answer]]:
        """Sampled with dropout off; see `Rollout`."""
        with self.autocast(), contextlib.nullcontext() if self.meter is None else self.meter.told():
            answers = sample_answers(self.policy, prompts, seeds, how, greedy=greedy, breathe=self.breathe)
        if self.meter is not None:
            written = sum(len(answer.ids) for group in answers for answer in group)
            self.meter.add(self.policy.model, sum(map(len, prompts)) + written)
        return answers


@torch.no_grad()
def sample_answers(
    policy: Policy,
    prompts: Sequence[list[int]],
    seeds: Sequence[Sequence[int]],
    how: RolloutSettings,
    *,
    greedy: bool = False,
    breathe: Callable[[], None] = lambda: None,
) -> list[list[Answer]]:
    """Sample len(seeds[i]) answers to prompts[i]; all prompts get equally many. breathe is called once a token.

    As many at once as `how.memory` holds. Prompts of like lengths go together, so little of it is padding.
    """
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    ends = Ends(policy.tokenizer, policy.end_ids, how.stop)
    size = rows_at_once(policy.model, how, max(map(len, prompts)))
    answers: list[list[Answer]] = [[] for _ in prompts]
    with eval_mode(policy.model):
        for places, members in batches(len(prompts), len(seeds[0]), size):
            chosen = [order[place] for place in places]
            reader = _reader(policy, [prompts[index] for index in chosen], len(members), how.max_new_tokens)
            mine = [seeds[index][member] for index in chosen for member in members]
            written = write_answers(reader, mine, how, ends, greedy=greedy, breathe=breathe)
            for place, index in enumerate(chosen):
                answers[index] += written[place * len(members) : (place + 1) * len(members)]
    return answers


def _reader(policy: Policy, prompts: list[list[int]], per_prompt: int, longest: int) -> Reader:
    """The fastest that gives what the model gives."""
    if policy.model not in _HEADS:
        _HEADS[policy.model] = readable_head(policy.model)
    head = _HEADS[policy.model]
    if head is not None:
        return GroupedReader(Layers(head), prompts, per_prompt, longest)
    kind = GenericReader if keeps_a_cache(policy.model) else RereadingReader
    return kind(policy, prompts, per_prompt, longest)
