"""How sampled answers become tensors: in parts that fit into memory, a group's prompt read once where that is exact."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from engine.contract.settings import AutoOrCount
from engine.data.batching import micro_batches, pad_rows
from engine.data.chat import Example
from engine.logprobs import Rows
from engine.methods.answers import Sampled
from engine.methods.bench import Bench
from engine.methods.prompts import Prompts
from engine.packing import Line, line_up_groups

#: Prompts tokenised for who wants to look at them; a step tokenises its own.
LOOKED_AT = 1000


class Layout(NamedTuple):
    """in_lines: whether policy and reference read a group's prompt once. temperature: of the law that is learned."""

    bench: Bench
    micro_batch_size: AutoOrCount
    in_lines: bool
    temperature: float = 1.0

    def cut(self, sampled: Sequence[Sampled]) -> list[list[Sampled]]:
        """Answers in parts that fit into memory."""
        lengths = [len(s.prompt) + len(s.answer.ids) for s in sampled]
        return micro_batches(sampled, lengths, self.micro_batch_size)

    def rows(self, part: Sequence[Sampled]) -> tuple[Rows, Line | None]:
        """Rows whose targets are what was drawn: the very ids, as text tokenised again may be other tokens."""
        examples = [
            Example(
                [*s.prompt, *s.answer.ids],
                [False] * len(s.prompt) + [index not in s.forced for index in range(len(s.answer.ids))],
            )
            for s in part
        ]
        return self.laid_out(examples, [s.prompt for s in part])

    def laid_out(self, examples: Sequence[Example], prompts: Sequence[list[int]]) -> tuple[Rows, Line | None]:
        """Any examples as rows, and as a line. prompts: what each begins with; neighbours may share it."""
        rows = pad_rows(examples, self.bench.pad_id)
        line = line_up_groups(rows.is_token, *_shared(prompts)) if self.in_lines else None
        device = self.bench.accelerator.device
        return rows.to(device), line and line.to(device)

    def compared(self, sampled: Sequence[Sampled]) -> list[Sampled]:
        """The answers with what the reference thinks of them."""
        scorer = self.bench.reference_scorer or self.bench.bare_scorer
        found: list[Sampled] = []
        for part in self.cut(sampled):
            with self.bench.policy.without_adapter():
                logps = self.score(scorer, *self.rows(part))
            each = logps.split([len(s.answer.ids) - len(s.forced) for s in part])
            found += [s._replace(reference=mine.tolist()) for s, mine in zip(part, each, strict=True)]
        return found

    @torch.no_grad()
    def score(self, scorer: nn.Module, rows: Rows, line: Line | None) -> Tensor:
        """Log-probabilities of what was drawn, (N,)."""
        self.bench.breathe()
        with self.bench.accelerator.autocast():
            logps: Tensor = scorer(rows, self.temperature, line=line).logps
        return logps


def _shared(prompts: Sequence[list[int]]) -> tuple[list[int], list[int]]:
    """How many tokens each row shares with an earlier one, and with which: neighbours that answer the same prompt."""
    shared, leaders = [0], [0]
    for index, prompt in enumerate(prompts[1:], start=1):
        is_same = prompt == prompts[leaders[-1]]
        shared.append(len(prompt) if is_same else 0)
        leaders.append(leaders[-1] if is_same else index)
    return shared, leaders


def looked_at(bench: Bench, prompts: Prompts) -> list[tuple[Example]]:
    """The first prompts, for who wants to look at them: an answer's tokens will count, and none of these."""
    read = [prompts.of(row) for row in bench.train.rows[:LOOKED_AT]]
    return [(Example(prompt, [False] * len(prompt)),) for prompt in read]


def tokens_of(sampled: Sequence[Sampled]) -> int:
    """Tokens of answers and their prompts."""
    return sum(len(s.prompt) + len(s.answer.ids) for s in sampled)
