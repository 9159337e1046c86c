"""What a method asks of whatever writes its answers. `local.py` is the one that ships: it samples in this process.

Another engine, in a process or on a machine of its own, needs these two names and a line in `assembly.py`.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

from engine.contract.online_settings import Rollout as RolloutSettings


class Answer(NamedTuple):
    """What was sampled: token ids with the end token if it was written, and two log-probabilities of each, in nats.

    logps: under the whole softmax at `temperature`, the law that a trainer scores with.
    drawn_logps: under the law it was drawn from, after top_k, top_p and min_p cut the softmax; equal to logps where
    nothing is cut. `importance.py` weighs answers by how far the law that is trained is from it.
    """

    ids: list[int]
    logps: list[float]
    finish: Literal["stop", "length"]
    drawn_logps: list[float]


class Rollout(Protocol):
    """Writes answers with the weights the policy has now."""

    def answers(
        self,
        prompts: Sequence[list[int]],
        seeds: Sequence[Sequence[int]],
        how: RolloutSettings,
        *,
        greedy: bool = False,
    ) -> list[list[Answer]]:
        """len(seeds[i]) answers to prompts[i]; all prompts get equally many.

        An answer depends on the weights, its prompt, its seed and `how` alone: not on its neighbours, on how many
        processes share the work, or on whether the run was interrupted.
        """
