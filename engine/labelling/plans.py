"""What a recipe will make, read from its files alone: no model is opened, and nothing is written."""

import itertools
from collections.abc import Iterator
from pathlib import Path

from pydantic import JsonValue

from engine.contract.jsonl import read_lines
from engine.contract.labels import Item
from engine.contract.labels_plan import FIRST_ROWS, PartPlan, shortened
from engine.contract.labels_recipe import Artist, Completions, Drawn, Part, Preferences, Rollouts, Written
from engine.contract.rollouts import Completion, read_completion
from engine.contract.run_dir import RunDir, read_json
from engine.labelling import from_files, from_run
from engine.labelling.items import identity

#: So much of what a run wrote is read; how much the rest holds is told by its size.
READ_OF_RUN = 4 * 1024 * 1024


def plan_part(part: Part) -> PartPlan:
    """Raises DataError."""
    match part:
        case Written():
            return _of_prompts(part)
        case Drawn():
            return _of_drawn(part)
        case Rollouts():
            return _of_rollouts(part)
        case Completions() | Preferences():
            return _of_files(part)


def _of_prompts(part: Written) -> PartPlan:
    prompts, left_out = from_files.prompts_of(part.prompts)
    tokens = sum(writer.answers * writer.max_new_tokens for writer in part.writers)
    return PartPlan(
        kind=part.kind,
        rows=len(prompts),
        items=len(prompts) * items_a_prompt(part),
        tokens=len(prompts) * tokens,
        left_out=left_out,
        first=[shortened({"prompt": prompt}) for prompt in prompts[:FIRST_ROWS]],
    )


def items_a_prompt(part: Written) -> int:
    """How many items the answers to one prompt make at most; see `items.compared`."""
    answers = [writer.answers for writer in part.writers]
    if part.compare == "ranking":
        return 1
    if len(answers) == 1:
        return answers[0] // 2
    return sum(min(two) for two in itertools.combinations(answers, 2))


def _of_drawn(part: Drawn) -> PartPlan:
    """Rows are pictures. Of models whose classes nobody can tell before they are opened, one is counted."""
    left_out = ""
    asked: list[JsonValue]
    known = None
    if part.prompts is not None:
        prompts, left_out = from_files.prompts_of(part.prompts)
        asked = [from_files.prompt_text(prompt) for prompt in prompts]
    else:
        known = _classes_of(part.artists[0].model) if part.classes is None else len(part.classes)
        labels = part.classes or range(known or 0)
        asked = [f"class {label}" for label in labels] or [""]
    pairs = part.pairs * len(asked)
    artists = len(part.artists)
    return PartPlan(
        kind=part.kind,
        rows=pairs * max(2, artists),
        items=pairs * max(1, artists * (artists - 1) // 2),
        is_rough=part.prompts is None and known is None,
        left_out=left_out,
        first=[
            {"asked for": one, "models": [_how_drawn(artist) for artist in part.artists]} for one in asked[:FIRST_ROWS]
        ],
    )


def _how_drawn(artist: Artist) -> str:
    return f"{artist.sampler}, {artist.steps} steps, seed {artist.seed}: {Path(artist.model).name}"


def _classes_of(model: str) -> int | None:
    """How many classes a network in a folder or run knows, by its configuration; None where nobody can tell."""
    run = RunDir(Path(model))
    folders = [run.path, run.final, *(run.checkpoint(step) for step in reversed(run.saved_steps()))]
    for folder in folders:
        found = read_json(folder / "unet" / "config.json")
        if found:
            embedded = found.get("num_class_embeds")
            return max(0, embedded - 1) if isinstance(embedded, int) else 0
    return None


def _of_files(part: Completions | Preferences) -> PartPlan:
    groups, batches = from_files.open_part(part)
    items = [item for batch in batches for item in batch.items]
    return PartPlan(kind=part.kind, rows=groups, items=len(items), first=list(_shown(items[:FIRST_ROWS])))


def _of_rollouts(part: Rollouts) -> PartPlan:
    """What a run wrote until now, told by its beginning: its file may hold gigabytes."""
    run = RunDir(Path(part.run))
    chunk = read_lines(run.rollouts, 0, at_most=READ_OF_RUN)
    completions = filter(None, map(read_completion, chunk.lines))
    groups = [list(group) for _, group in itertools.groupby(completions, key=_place)]
    items = [item for group in groups for item in from_run.items_of(part, run, group)]
    size = run.rollouts.stat().st_size if run.rollouts.exists() else 0
    scale = size / chunk.offset if chunk.offset else 1.0
    return PartPlan(
        kind=part.kind,
        rows=round(sum(map(len, groups)) * scale),
        items=round(len(items) * scale),
        is_rough=not chunk.at_end or part.follow,
        first=list(_shown(items[:FIRST_ROWS])),
    )


def _place(completion: Completion) -> tuple[int, int, str]:
    return completion.step, completion.prompt_id, completion.prompt


def _shown(items: list[Item]) -> Iterator[dict[str, JsonValue]]:
    """Answers in the order of their hashes: a file of preferences would give away which one it prefers."""
    for item in items:
        texts = sorted((candidate.text or "" for candidate in item.candidates), key=identity)
        answers = {f"answer {place}": text for place, text in enumerate(texts, start=1)}
        yield shortened({"prompt": item.prompt, **answers})
