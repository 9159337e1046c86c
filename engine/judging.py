"""A language model as a judge: which of two answers it finds better, from the odds of the letters A and B.

Judges like a place as well as an answer (Zheng et al. 2023, arXiv:2306.05685, sec. 3.4), so each pair is asked about in
both orders. One forward an order, and nothing is written: the odds of two tokens say more than a sampled letter does.
With a constitution, what better means is written down: Bai et al. 2022 (arXiv:2212.08073), sec. 4.1.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from engine.data.chat import ChatEncoder
from engine.models import Policy

QUESTION = """\
Here is a request and two answers to it.

Request:
{prompt}

Answer A:
{first}

Answer B:
{second}

{question} Reply with one letter, A or B."""
PRINCIPLES = "Judge by these principles.\n\n{constitution}\n\n"
LETTERS = ("A", "B")

#: A request: a text, or the messages of a conversation.
Prompt = str | list[dict[str, Any]]


class Odds(NamedTuple):
    """Log-odds in nats that a pair's first candidate is the better, as it stood first, and as it stood second."""

    as_first: float
    as_second: float

    @property
    def agree(self) -> bool:
        return self.as_first * self.as_second > 0

    @property
    def mean(self) -> float:
        """What is left once the liking for a place is taken out."""
        return (self.as_first + self.as_second) / 2

    @property
    def bias(self) -> float:
        """The liking for the first place, nats."""
        return (self.as_first - self.as_second) / 2

    @property
    def confidence(self) -> float:
        """The chance that the judge gives to the candidate it prefers, 0.5 to 1."""
        return 1 / (1 + math.exp(-abs(self.mean)))


class Judge:
    """A model, and the question it answers. constitution: principles put before each question; empty = none."""

    def __init__(self, policy: Policy, question: str, constitution: str = "") -> None:
        self._policy, self._encoder = policy, ChatEncoder(policy.tokenizer)
        self._question, self._constitution = question, constitution

    def odds(self, prompt: Prompt, first: str, second: str) -> Odds:
        """Of a pair, asked in both orders."""
        standing_first = self.log_odds(asked(prompt, first, second, self._question, self._constitution))
        standing_second = self.log_odds(asked(prompt, second, first, self._question, self._constitution))
        return Odds(standing_first, -standing_second)

    @torch.no_grad()
    def log_odds(self, question: str) -> float:
        """How much likelier the reply A is than B, in nats. The end of the question is kept where it is too long."""
        policy = self._policy
        ids = self._encoder.prompt({"prompt": [{"role": "user", "content": question}]})[
            -(policy.context or 1_000_000) :
        ]
        device = next(policy.model.parameters()).device
        logits = policy.model(input_ids=torch.tensor([ids], device=device), logits_to_keep=1).logits[0, -1].float()
        first, second = (policy.tokenizer(letter, add_special_tokens=False)["input_ids"][0] for letter in LETTERS)
        return float(logits[first] - logits[second])


def asked(prompt: Prompt, first: str, second: str, question: str, constitution: str = "") -> str:
    """What the judge reads. Filled in at once, so that a brace in an answer is only a brace."""
    request = prompt if isinstance(prompt, str) else "\n\n".join(f"{m['role']}: {m['content']}" for m in prompt)
    principles = PRINCIPLES.format(constitution=constitution.strip()) if constitution.strip() else ""
    return principles + QUESTION.format(prompt=request, first=first, second=second, question=question)


class Manner(NamedTuple):
    """How a judge judged some pairs. consistent: those with one verdict in both orders. first_place: of all questions
    the share in which the answer standing first was preferred; 0.5 without a liking. bias: that liking, mean, nats.
    confidence: mean over the consistent pairs."""

    pairs: int
    consistent: int
    first_place: float
    bias: float
    confidence: float


def manner_of(every: Sequence[Odds]) -> Manner:
    """Of at least one pair."""
    count, agreed = len(every), [odds for odds in every if odds.agree]
    first = sum((odds.as_first > 0) + (odds.as_second < 0) for odds in every) / (2 * count)
    confidence = sum(odds.confidence for odds in agreed) / len(agreed) if agreed else math.nan
    return Manner(count, len(agreed), first, sum(odds.bias for odds in every) / count, confidence)
