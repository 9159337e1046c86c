"""Sampled answers of a step: what they were worth, what they say in sum, and which of them are kept to be read."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from engine import rewards
from engine.contract.rollouts import Completion
from engine.data.sources import Row
from engine.data.tasks import right_answer
from engine.group_advantages import is_alike, spread_of
from engine.methods.bench import Bench
from engine.rewards import Reward
from engine.rollout.protocol import Answer
from engine.tally import Least, Mean, Peak, Values


class Sampled(NamedTuple):
    """One answer, what it was worth, and how much better than expected that is.

    weight: what each of its tokens counts in the update's loss. forced: which of its tokens were put there, not drawn.
    update: which of the step's updates learns it, and tokens: how many count in that, over all processes.
    advantages: of each drawn token, where they differ; else empty.
    reference: log-probabilities of those drawn under the reference, nats; empty where it was not asked.
    """

    row: Row
    prompt: list[int]
    answer: Answer
    text: str
    reward: Reward
    advantage: float
    weight: float = 0.0
    forced: range = range(0)
    reference: Sequence[float] = ()
    update: int = 0
    tokens: float = 1.0
    advantages: Sequence[float] = ()

    def drawn(self, values: Sequence[float]) -> list[float]:
        """Of one value a token of the answer those of the tokens that were drawn."""
        return [value for index, value in enumerate(values) if index not in self.forced]

    def whole(self, values: Sequence[float]) -> list[float]:
        """The reverse: a value for each token, 0 where it was put there."""
        given = iter(values)
        return [0.0 if index in self.forced else next(given) for index in range(len(self.answer.ids))]


def told(sampled: Sequence[Sampled], per_prompt: int) -> Values:
    """What a step's answers say in sum, under TRL's names."""
    totals = torch.tensor([s.reward.total for s in sampled]).view(-1, per_prompt)
    known = totals[~totals.isnan()]
    spreads = spread_of(totals, dim=1)
    return {
        "reward": Mean(float(known.sum()), len(known)),
        "reward_std": Mean(float(spreads.sum()), len(spreads)),
        "frac_reward_zero_std": Mean(float(is_alike(totals).sum()), len(spreads)),
        **lengths(sampled),
        **rewards.told([s.reward for s in sampled]),
    }


def lengths(sampled: Sequence[Sampled]) -> Values:
    """How long the answers are, and how many did not come to an end."""
    every = [len(s.answer.ids) for s in sampled]
    terminated = [len(s.answer.ids) for s in sampled if s.answer.finish != "length"]
    return {
        "completions/mean_length": Mean(float(sum(every)), len(every)),
        "completions/min_length": Least(float(min(every))),
        "completions/max_length": Peak(float(max(every))),
        "completions/clipped_ratio": Mean(float(len(every) - len(terminated)), len(every)),
        "completions/mean_terminated_length": Mean(float(sum(terminated)), len(terminated)),
    }


def record(bench: Bench, step: int, kept: Sequence[Sampled], per_prompt: int) -> None:
    """Keep answers in rollouts.jsonl with what is known of each token."""
    decode = bench.policy.tokenizer.decode
    completions = []
    for index, s in enumerate(kept):
        reference = s.whole(s.reference) if s.reference else []
        completions.append(
            Completion(
                step=step,
                prompt=decode(s.prompt),
                completion=s.text,
                prompt_id=index // per_prompt,
                answer=right_answer(s.row),
                reward=s.reward.total if s.reward.is_known else None,
                parts=s.reward.parts,
                advantage=s.advantage,
                kl=sum(p - q for p, q in zip(s.answer.logps, reference, strict=False)) if reference else None,
                finish=s.answer.finish,
                tokens=[decode([token]) for token in s.answer.ids],
                token_ids=s.answer.ids,
                logps=s.answer.logps,
                reference_logps=reference,
                advantages=s.whole(s.advantages) if s.advantages else [],
            )
        )
    bench.reporter.completions(step, completions)
