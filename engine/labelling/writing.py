"""Models answer prompts, and their answers become items. Every answer draws from a stream of its own."""

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.contract import online_settings, settings
from engine.contract.labels import Candidate
from engine.contract.labels_recipe import Writer, Written
from engine.data.chat import ChatEncoder
from engine.labelling.from_files import prompts_of
from engine.labelling.items import Batch, Batches, Prompt, compared, identity
from engine.models import Policy
from engine.reporting import Reporter
from engine.rollout.local import sample_answers
from engine.sampling import open_here

#: How often it is told how far an answer is.
TELL_SECONDS = 1.0


class Author:
    """A writer with its model open."""

    def __init__(self, writer: Writer, policy: Policy) -> None:
        self.writer = writer
        self._policy = policy
        self._encoder = ChatEncoder(policy.tokenizer, system_prompt=writer.system_prompt)
        self._rollout = online_settings.Rollout(
            max_new_tokens=writer.max_new_tokens,
            temperature=writer.temperature,
            top_p=writer.top_p,
            top_k=writer.top_k,
        )

    def answer(self, prompts: list[Prompt], breathe: Callable[[], None]) -> tuple[list[list[Candidate]], int]:
        """`writer.answers` candidates to each prompt, the same whatever other prompts stand beside it; and tokens."""
        ids = [self._encoder.prompt({"prompt": prompt}) for prompt in prompts]
        seeds = [[_seed(self.writer.seed, prompt, n) for n in range(self.writer.answers)] for prompt in prompts]
        answers = sample_answers(self._policy, ids, seeds, self._rollout, breathe=breathe)
        candidates = [
            [
                Candidate(text=self._encoder.decode(answer.ids), origin=self._origin(number, answer.finish))
                for number, answer in enumerate(group)
            ]
            for group in answers
        ]
        return candidates, sum(len(answer.ids) for group in answers for answer in group)

    def _origin(self, number: int, finish: str) -> dict[str, Any]:
        sampling = self.writer.model_dump(include={"temperature", "top_p", "top_k", "max_new_tokens", "seed"})
        return {"model": self.writer.model, "answer": number, "finish": finish, "sampling": sampling}


class Underway:
    """Called once a token: a sign of life, and now and then how far a batch of answers is."""

    def __init__(self, reporter: Reporter, breathe: Callable[[], None], what: str, longest: int) -> None:
        """longest: calls there will be at most."""
        self._reporter = reporter
        self._breathe = breathe
        self._what = what
        self._longest = longest
        self._calls = 0
        self._told_at = time.monotonic()

    def __call__(self) -> None:
        self._breathe()
        self._calls += 1
        if (now := time.monotonic()) - self._told_at >= TELL_SECONDS:
            self._told_at = now
            self._reporter.phase(self._what, min(1.0, self._calls / self._longest))


def open_part(part: Written, made: set[str], reporter: Reporter, breathe: Callable[[], None]) -> tuple[int, Batches]:
    """How many batches of prompts there are, and the items of each that is still to be answered, numbered from 1.

    Raises DataError, ModelError.
    """
    prompts, _ = prompts_of(part.prompts)
    seen: Counter[str] = Counter()
    asked = []
    for prompt in prompts:
        asked.append((_key(part, prompt, seen[identity(prompt)]), prompt))
        seen[identity(prompt)] += 1
    size = part.prompts_at_once
    batches = [asked[start : start + size] for start in range(0, len(asked), size)]
    return len(batches), _written(part, batches, made, reporter, breathe)


def _written(
    part: Written,
    batches: list[list[tuple[str, Prompt]]],
    made: set[str],
    reporter: Reporter,
    breathe: Callable[[], None],
) -> Batches:
    answered = {name.rpartition("/")[0] for name in made}
    authors: list[Author] = []
    for number, batch in enumerate(batches, start=1):
        missing = [(key, prompt) for key, prompt in batch if key not in answered]
        if not missing:
            continue
        authors = authors or _authors(part, reporter, breathe)
        what = f"writing answers to prompt {(number - 1) * part.prompts_at_once + 1}"
        underway = Underway(reporter, breathe, what, sum(writer.max_new_tokens for writer in part.writers))
        answered_by = [author.answer([prompt for _, prompt in missing], underway) for author in authors]
        answers = [candidates for candidates, _ in answered_by]
        items = []
        for place, (key, prompt) in enumerate(missing):
            items += compared(prompt, [of_author[place] for of_author in answers], part.compare, key)
        yield Batch(items, number, sum(tokens for _, tokens in answered_by))


def _authors(part: Written, reporter: Reporter, breathe: Callable[[], None]) -> list[Author]:
    """Every writer with its model open; writers that share a model share its memory."""
    opened: dict[tuple[str, str, str], Policy] = {}
    found = []
    for writer in part.writers:
        kind = writer.model, writer.dtype, writer.device
        if kind not in opened:
            reporter.phase(f"loading {Path(writer.model).name}")
            model = settings.Model(path=writer.model, dtype=writer.dtype, device=writer.device)
            opened[kind] = open_here(model, threads=None)
            breathe()
        found.append(Author(writer, opened[kind]))
    return found


def _key(part: Written, prompt: Prompt, occurrence: int) -> str:
    """Names the answers to one prompt before they are written: another temperature or seed makes other items."""
    writers = [writer.model_dump(exclude={"device"}) for writer in part.writers]
    return identity(writers, part.compare, prompt, occurrence)


def _seed(seed: int, prompt: Prompt, number: int) -> int:
    """A stream for each answer; 63 bits, as torch takes a signed number."""
    return int(identity(seed, prompt, number), 16) >> 1
