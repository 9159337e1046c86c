"""A model votes on pairs as one more labeller: which letter it finds likelier, asked in both orders.

Judges like a place as well as an answer. So a preference counts only where both orders agree, and is a tie where they
do not (Zheng et al. 2023, arXiv:2306.05685, sec. 3.4).
"""

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from engine.contract.labels import MODEL, Item, Judgement
from engine.data.chat import ChatEncoder
from engine.labelling.items import Prompt, identity
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
LETTERS = ("A", "B")


class Odds(NamedTuple):
    """Log-odds in nats that a pair's first candidate is the better, as it stood first, and as it stood second."""

    as_first: float
    as_second: float

    @property
    def agree(self) -> bool:
        return self.as_first * self.as_second > 0

    @property
    def mean(self) -> float:
        return (self.as_first + self.as_second) / 2


def votes(policy: Policy, items: Sequence[Item], question: str, name: str) -> Iterator[Judgement]:
    """One judgement for each item of two texts, from the labeller `model:<name>`. Others are passed over."""
    encoder = ChatEncoder(policy.tokenizer)
    for item in items:
        texts = [candidate.text for candidate in item.candidates if candidate.text is not None]
        if len(texts) != 2 or len(item.candidates) != 2:
            continue
        as_first, as_second = (
            log_odds(policy, encoder, asked(item.prompt, first, second, question))
            for first, second in (texts, texts[::-1])
        )
        yield as_judgement(item, Odds(as_first, -as_second), name)


def as_judgement(item: Item, odds: Odds, name: str) -> Judgement:
    """Which of the two was preferred in both orders; a tie where the orders disagree. The odds stand in the note."""
    better = 0 if odds.mean > 0 else 1
    return Judgement(
        id=identity(item.id, name),
        item=item.id,
        labeller=MODEL + name,
        ranking=((better,), (1 - better,)) if odds.agree else ((0, 1),),
        time=time.time(),
        note=f"log-odds of the first: {odds.as_first:+.3f} standing first, {odds.as_second:+.3f} standing second",
        picked_by="vote",
    )


@torch.no_grad()
def log_odds(policy: Policy, encoder: ChatEncoder, question: str) -> float:
    """How much likelier the reply A is than B, in nats. The end of the question is kept where it is too long."""
    messages = [{"role": "user", "content": question}]
    ids = encoder.prompt({"prompt": messages})[-(policy.context or 1_000_000) :]
    device = next(policy.model.parameters()).device
    logits = policy.model(input_ids=torch.tensor([ids], device=device), logits_to_keep=1).logits[0, -1].float()
    first, second = (policy.tokenizer(letter, add_special_tokens=False)["input_ids"][0] for letter in LETTERS)
    return float(logits[first] - logits[second])


def asked(prompt: Prompt, first: str, second: str, question: str) -> str:
    """What the judge reads. Filled in at once, so that a brace in an answer is only a brace."""
    request = prompt if isinstance(prompt, str) else "\n\n".join(f"{m['role']}: {m['content']}" for m in prompt)
    return QUESTION.format(prompt=request, first=first, second=second, question=question)
