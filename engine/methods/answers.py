"""Sampled answers of a step: what they were worth, what they say in sum, and which of them are kept to be read."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from engine.contract.rollouts import Completion
from engine.data.sources import Row
from engine.methods.bench import Bench
from engine.rewards import Reward
from engine.rollout.protocol import Answer
from engine.tally import Mean, Peak, Values


class Sampled(NamedTuple):
    """One answer, what it was worth, and how much better than its group that is."""

    row: Row
    prompt: list[int]
    answer: Answer
    text: str
    reward: Reward
    advantage: float


def told(sampled: Sequence[Sampled], per_prompt: int) -> Values:
    """What a step's answers say in sum, under TRL's names."""
    totals = torch.tensor([s.reward.total for s in sampled]).view(-1, per_prompt)
    spreads = totals.std(dim=1)
    lengths = [len(s.answer.ids) for s in sampled]
    count = len(sampled)
    values: Values = {
        "reward": Mean(float(totals.sum()), count),
        "reward_std": Mean(float(spreads.sum()), len(spreads)),
        "frac_reward_zero_std": Mean(float((spreads < 1e-8).sum()), len(spreads)),
        "completions/mean_length": Mean(float(sum(lengths)), count),
        "completions/max_length": Peak(float(max(lengths))),
        "completions/clipped_ratio": Mean(float(sum(s.answer.finish == "length" for s in sampled)), count),
    }
    for name in sampled[0].reward.parts:
        part = torch.tensor([s.reward.parts[name] for s in sampled])
        values[f"rewards/{name}/mean"] = Mean(float(part.sum()), count)
        values[f"rewards/{name}/std"] = Mean(float(part.std()), 1)
    return values


def record(bench: Bench, step: int, kept: Sequence[Sampled], reference_logps: Sequence[float], per_prompt: int) -> None:
    """Keep answers in rollouts.jsonl with what is known of each token.

    reference_logps: flat, one entry per token of the answers in their order; empty where there is no reference.
    """
    decode = bench.policy.tokenizer.decode
    completions, at = [], 0
    for index, s in enumerate(kept):
        mine, at = list(reference_logps[at : at + len(s.answer.ids)]), at + len(s.answer.ids)
        completions.append(
            Completion(
                step=step,
                prompt=decode(s.prompt),
                completion=s.text,
                prompt_id=index // per_prompt,
                answer=None if s.row.get("answer") is None else str(s.row["answer"]),
                reward=s.reward.total,
                parts=s.reward.parts,
                advantage=s.advantage,
                kl=sum(p - q for p, q in zip(s.answer.logps, mine, strict=False)) if mine else None,
                finish=s.answer.finish,
                tokens=[decode([token]) for token in s.answer.ids],
                token_ids=s.answer.ids,
                logps=s.answer.logps,
                reference_logps=mine,
            )
        )
    bench.reporter.completions(step, completions)
