"""What every method works with, laid out once by `run.py`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from accelerate import Accelerator
from torch import nn

from engine.contract import online_settings
from engine.data.batching import share_of
from engine.data.chat import ChatEncoder
from engine.data.sources import Table
from engine.flops import Meter
from engine.logprobs import TokenScorer
from engine.models import Policy
from engine.reporting import Reporter
from engine.rewards import RewardSum, Surroundings
from engine.rollout.protocol import Rollout
from engine.value_models import Critic

Item = TypeVar("Item")


@dataclass(frozen=True)
class Bench:
    """policy, its scorer as accelerate wrapped it and bare, that of the reference, what writes the policy's answers,
    the data, and where to report.

    The scorer is a TokenScorer, of a reward model a RewardScorer, and beside a critic, as PPO has one, an ActorCritic.

    breathe: to be called within long work; it keeps the run's heartbeat and raises StopNow. folder: the run's own.
    meter: counts the arithmetic of every model that it watches.
    """

    policy: Policy
    scorer: nn.Module
    bare_scorer: nn.Module
    reference_scorer: TokenScorer | None
    rollout: Rollout
    accelerator: Accelerator
    encoder: ChatEncoder
    train: Table
    held_out: Table | None
    reporter: Reporter
    breathe: Callable[[], None]
    folder: Path
    critic: Critic | None = None
    meter: Meter = field(default_factory=Meter)

    def share(self, items: Sequence[Item]) -> list[Item]:
        """This process's part of a batch."""
        accelerator = self.accelerator
        return share_of(items, rank=accelerator.process_index, processes=accelerator.num_processes)

    def reward(self, parts: Sequence[online_settings.Reward]) -> RewardSum:
        """What scores answers of this policy. Raises RewardError if a part cannot be made."""
        tasks = self.train.tasks | (self.held_out.tasks if self.held_out else {})
        notice = partial(self.reporter.notice, "warning")
        around = Surroundings(tasks, self.encoder, self.accelerator.device, self.breathe, notice, self.meter)
        return RewardSum(parts, around)

    def shortened(self, prompt: list[int], *, answer: int, longest: int) -> list[int]:
        """The end of a prompt that leaves room for `answer` tokens in `longest` and in what the model can read.

        The end, because that is where the question stands.
        """
        room = max(1, min(longest, self.policy.context or longest) - answer)
        return prompt[-room:]

    @property
    def pad_id(self) -> int:
        """What fills up short rows. Any id does: masks say what counts, never the id."""
        pad = self.policy.tokenizer.pad_token_id
        return pad if isinstance(pad, int) else 0


def is_due(step: int, every: int, steps: int) -> bool:
    """Whether something that happens every so many steps, and at the end, happens now."""
    return bool(every) and (step % every == 0 or step == steps)
