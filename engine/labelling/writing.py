"""Models answer prompts, and their answers become items. Every answer draws from a stream of its own."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from engine.contract import online_settings, settings
from engine.contract.labels import Candidate, Item
from engine.contract.labels_recipe import Writer, Written
from engine.data.chat import ChatEncoder
from engine.data.formats import canonical
from engine.data.sources import load_rows
from engine.labelling.items import Prompt, compared, identity
from engine.models import Policy
from engine.reporting import Reporter
from engine.rollout.decode import sample_answers
from engine.sampling import open_here


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

    def answer(self, prompts: list[Prompt], breathe: Callable[[], None]) -> list[list[Candidate]]:
        """`writer.answers` candidates to each prompt, the same whatever other prompts stand beside it."""
        ids = [self._encoder.prompt({"prompt": prompt}) for prompt in prompts]
        seeds = [[_seed(self.writer.seed, prompt, n) for n in range(self.writer.answers)] for prompt in prompts]
        answers = sample_answers(self._policy, ids, seeds, self._rollout, breathe=breathe)
        return [
            [
                Candidate(text=self._encoder.decode(answer.ids), origin=self._origin(number, answer.finish))
                for number, answer in enumerate(group)
            ]
            for group in answers
        ]

    def _origin(self, number: int, finish: str) -> dict[str, Any]:
        sampling = self.writer.model_dump(include={"temperature", "top_p", "top_k", "max_new_tokens", "seed"})
        return {"model": self.writer.model, "answer": number, "finish": finish, "sampling": sampling}


Batches = Iterator[tuple[int, list[Item]]]


def open_part(part: Written, made: set[str], reporter: Reporter, breathe: Callable[[], None]) -> tuple[int, Batches]:
    """How many batches of prompts there are, and the items of each that is still to be answered, numbered from 1.

    Raises DataError, ModelError, UnusableRow for a row without a prompt.
    """
    prompts = [canonical(row, "grpo")["prompt"] for row in load_rows(part.prompts).rows]
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
        answers = [author.answer([prompt for _, prompt in missing], breathe) for author in authors]
        items = []
        for place, (key, prompt) in enumerate(missing):
            items += compared(prompt, [of_author[place] for of_author in answers], part.compare, key)
        yield number, items


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
