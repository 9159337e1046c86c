"""A run's own answers become items: those that a step kept of the same prompt are compared with each other."""

import time
from collections.abc import Callable
from pathlib import Path

from engine.contract.jsonl import read_lines
from engine.contract.labels import Candidate, Item
from engine.contract.labels_recipe import Rollouts
from engine.contract.rollouts import Completion, read_completion
from engine.contract.run_dir import RunDir
from engine.contract.status import is_alive, summarise
from engine.labelling.items import Batch, Batches, compared

POLL_SECONDS = 1.0


def open_part(part: Rollouts, wants_stop: Callable[[], bool]) -> tuple[int, Batches]:
    """1, as nobody knows how much a run has yet to write; and the items of each group of answers, as they are read."""
    return 1, _read(part, RunDir(Path(part.run)), wants_stop)


def _read(part: Rollouts, run: RunDir, wants_stop: Callable[[], bool]) -> Batches:
    """A group is whole when another begins, or nothing more will come: the run has ended, or waits after a step."""
    group: list[Completion] = []
    offset = 0
    while True:
        has_ended = not part.follow or not is_alive(run)  # asked first: what was written until then is read below
        chunk = read_lines(run.rollouts, offset)
        for completion in filter(None, map(read_completion, chunk.lines)):
            if group and _place(completion) != _place(group[0]):
                yield Batch(items_of(part, run, group), 0)
                group = []
            group.append(completion)
        if chunk.offset == offset:
            if has_ended:
                break
            if group and summarise(run).status.state == "paused":
                yield Batch(items_of(part, run, group), 0)
                group = []
            if wants_stop():
                return
            time.sleep(POLL_SECONDS)
        offset = chunk.offset
    yield Batch(items_of(part, run, group) if group else [], 1)


def _place(completion: Completion) -> tuple[int, int, str]:
    return completion.step, completion.prompt_id, completion.prompt


def items_of(part: Rollouts, run: RunDir, group: list[Completion]) -> list[Item]:
    """What there is to compare among the answers of one step to one prompt."""
    if group[0].step < part.first_step:
        return []
    candidates = [
        Candidate(text=one.completion, origin={"run": run.path.name, "step": one.step, "answer": number})
        for number, one in enumerate(group[: part.answers])
    ]
    return compared(group[0].prompt, [candidates], part.compare)
