"""Answers sampled in this process, with the very weights that are trained."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.contract.online_settings import Rollout as RolloutSettings
from engine.models import Policy
from engine.rollout.decode import sample_answers
from engine.rollout.protocol import Answer


@dataclass(frozen=True)
class LocalRollout:
    """A Rollout. autocast: the number format the trainer computes in. breathe: called once a token."""

    policy: Policy
    autocast: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext
    breathe: Callable[[], None] = lambda: None

    def answers(
        self,
        prompts: Sequence[list[int]],
        seeds: Sequence[Sequence[int]],
        how: RolloutSettings,
        *,
        greedy: bool = False,
    ) -> list[list[Answer]]:
        """Sampled with dropout off; see `Rollout`."""
        with self.autocast():
            return sample_answers(self.policy, prompts, seeds, how, greedy=greedy, breathe=self.breathe)
