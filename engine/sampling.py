"""Answers from any model: prompts in, one sample after the other out, as many at a time as memory holds."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch

from engine.contract import online_settings, settings
from engine.data.batching import mix
from engine.data.chat import ChatEncoder
from engine.data.sources import Row
from engine.logprobs import Rows
from engine.models import ModelError, Policy, choose_device, choose_dtype, open_for_use
from engine.reward_models import RewardScorer, open_reward_model
from engine.rollout.local import sample_answers
from engine.rollout.memory import batches
from engine.rollout.protocol import Answer
from engine.threads import calibrate

#: How long an answer may be unless told, where the model can read that much; else half of what it reads.
USUAL_LENGTH = 256


def open_here(model: settings.Model, *, threads: int | None) -> Policy:
    """The model, to be used in this process. threads: CPU threads; None measures. Raises ModelError."""
    device = choose_device(model.device)
    policy = open_for_use(model, device=device, dtype=choose_dtype(model.dtype, device))
    _use_threads(threads, policy, lambda rows: policy.model(input_ids=rows.input_ids))
    return policy


def open_scorer_here(model: settings.Model, *, threads: int | None) -> Policy:
    """As `open_here`, a reward model. Raises ModelError."""
    device = choose_device(model.device)
    policy = open_reward_model(model, device=device, dtype=choose_dtype(model.dtype, device))
    _use_threads(threads, policy, RewardScorer(policy.model))
    return policy


def _use_threads(threads: int | None, policy: Policy, read: Callable[[Rows], object]) -> None:
    """Compute with as many threads as are told, else with as many as read some rows fastest."""
    if threads is not None:
        torch.set_num_threads(threads)
    elif next(policy.model.parameters()).device.type == "cpu":
        ids = torch.zeros(4, min(32, policy.context or 32), dtype=torch.long)
        rows = Rows(ids, torch.ones_like(ids, dtype=torch.bool), torch.zeros_like(ids, dtype=torch.bool))
        with torch.no_grad():
            calibrate(lambda: read(rows))


def usual_length(policy: Policy) -> int:
    """The longest answer where nobody said."""
    return min(USUAL_LENGTH, max(1, (policy.context or 2 * USUAL_LENGTH) // 2))


class Sample(NamedTuple):
    """One answer. prompt_id: index of its row; member: which of the row's answers; seed: what it was drawn with."""

    prompt_id: int
    member: int
    seed: int
    text: str
    answer: Answer


@dataclass
class Pace:
    """How far sampling has come: answers wanted and done, tokens written, seconds at it."""

    wanted: int
    done: int = 0
    tokens: int = 0
    underway: float = 0.0
    started: float = field(default_factory=time.monotonic)

    @property
    def share(self) -> float:
        return min(1.0, (self.done + self.underway) / self.wanted)

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / max(1e-9, time.monotonic() - self.started)

    @property
    def seconds_left(self) -> float | None:
        """At most: an answer may end before it has grown to its full length. None before there is a rate."""
        spent = time.monotonic() - self.started
        return spent / self.share - spent if self.share > 0 else None


@dataclass(frozen=True)
class Sampler:
    """A model, how its prompts are written, and how answers are drawn."""

    policy: Policy
    encoder: ChatEncoder
    system_prompt: str | None
    how: online_settings.Rollout
    seed: int
    greedy: bool
    batch_size: int

    def prompts(self, rows: Sequence[Row]) -> tuple[list[list[int]], int]:
        """Each row's prompt as tokens, and how many had to be shortened to their end. Raises DataError, ModelError."""
        whole = [self.encoder.prompt(row) for row in rows]
        room = self._room(max(map(len, whole)))
        return [prompt[-room:] for prompt in whole], sum(len(prompt) > room for prompt in whole)

    def greedily(self) -> "Sampler":
        """The same, but the likeliest answer alone."""
        return replace(self, how=self.how.model_copy(update={"completions_per_prompt": 1}), greedy=True)

    def described(self) -> dict[str, Any]:
        """What a line of samples, or a report on them, says about how they were drawn."""
        how = self.how.model_dump(include={"temperature", "top_p", "top_k", "min_p", "stop", "max_new_tokens"})
        return {**how, "greedy": self.greedy, "seed": self.seed, "system_prompt": self.system_prompt}

    def _room(self, longest: int) -> int:
        context = self.policy.context
        if context is None:
            return longest
        if context <= self.how.max_new_tokens:
            raise ModelError(
                f"the model reads {context} tokens, prompt and answer together; set --max-new-tokens below that"
            )
        return context - self.how.max_new_tokens

    def sample(self, prompts: Sequence[list[int]], tell: Callable[[Pace], None]) -> Iterator[Sample]:
        """The answers to each prompt, in order. tell: called often, with how far it has come."""
        pace = Pace(len(prompts) * self.how.completions_per_prompt)
        for places, members in batches(len(prompts), self.how.completions_per_prompt, self.batch_size):
            for sample in self._batch(prompts, places, members, pace, tell):
                pace.done += 1
                pace.tokens += len(sample.answer.ids)
                yield sample
            pace.underway = 0.0
            tell(pace)

    def _batch(
        self, prompts: Sequence[list[int]], places: range, members: range, pace: Pace, tell: Callable[[Pace], None]
    ) -> list[Sample]:
        part = len(places) * len(members) / self.how.max_new_tokens

        def breathe() -> None:
            pace.underway += part
            tell(pace)

        seeds = [[mix(self.seed, place, member) for member in members] for place in places]
        chosen = [prompts[place] for place in places]
        answers = sample_answers(self.policy, chosen, seeds, self.how, greedy=self.greedy, breathe=breathe)
        pace.underway = 0.0
        return [
            Sample(place, member, seeds[p][m], self.encoder.decode(answers[p][m].ids), answers[p][m])
            for p, place in enumerate(places)
            for m, member in enumerate(members)
        ]


def record(sample: Sample, row: Row, *, model: str, how: dict[str, Any]) -> dict[str, Any]:
    """A line of a file of samples. `prompt` stands as it was given, so the file can be trained on as it is."""
    return {
        "prompt": prompt_of(row),
        "completion": sample.text,
        "finish": sample.answer.finish,
        "tokens": len(sample.answer.ids),
        "logp": sum(sample.answer.logps),
        "prompt_id": sample.prompt_id,
        "member": sample.member,
        "model": model,
        "sampling": {**how, "seed_of_answer": sample.seed},
    }


def prompt_of(row: Row) -> Any:
    """What an answer is to follow: text or messages, without the answer that the row itself may have."""
    if "prompt" in row:
        return row["prompt"]
    messages = row["messages"]
    return messages[:-1] if messages[-1].get("role") == "assistant" else messages
