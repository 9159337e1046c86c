"""A labelling set that is being planned: its name and question, and where its items are to come from."""

import copy
import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from engine.contract.faults import Key
from engine.contract.labels_formats import NAME, QUESTION
from engine.contract.labels_recipe import (
    PICTURES_ASKED,
    Artist,
    Completions,
    Drawn,
    Part,
    Preferences,
    Rollouts,
    Writer,
    Written,
)
from engine.contract.settings import STRICT, setting
from engine.contract.strict_yaml import dump_yaml
from workbench.state.form_draft import FormDraft
from workbench.state.preset_schema import Section, settings_of

Kind = Literal["written", "drawn", "rollouts", "completions", "preferences"]

#: What each kind of source is called, and what it is for.
SOURCES: dict[Kind, tuple[str, str]] = {
    "written": ("Models answer prompts", "two or more models on the same prompts, or one that answers several times"),
    "drawn": ("Image models draw", "two or more models from the same noise, or one that draws two of everything"),
    "rollouts": ("What a run writes", "the answers a run samples while it trains; it may still be running"),
    "completions": ("A file of answers", "several answers to each prompt, from anywhere"),
    "preferences": ("A file of preferences", "pairs of chosen and rejected, judged anew without what the file says"),
}
MODELS: dict[str, type[BaseModel]] = {
    "written": Written,
    "drawn": Drawn,
    "rollouts": Rollouts,
    "completions": Completions,
    "preferences": Preferences,
}
#: Kinds of source that have models: where these stand, and what each is.
BY_MODELS: dict[str, tuple[str, type[BaseModel]]] = {"written": ("writers", Writer), "drawn": ("artists", Artist)}
#: Methods whose runs have a model that draws, and the one that only draws with another's.
DRAWING = frozenset({"denoiser", "diffusion_dpo", "diffusion_grpo", "diffusion_nft", "draft"})
SAMPLING = "diffusion_sample"
#: Settings of such a run that its pictures depend on.
SAMPLED_BY = ("sampler", "steps", "eta", "guidance", "negative_prompt")
#: Prompts of a run's data that are taken where nobody says how many.
USUAL_PROMPTS = 50


class NewSet(BaseModel, **STRICT):
    """What the form asks for: how the set is called, and a recipe."""

    name: str = NAME
    question: str = QUESTION
    guideline: str = setting("", "what people are told to look at; each judgement records it")
    parts: list[Part] = setting(help="where items come from", min_length=1)


@dataclass(frozen=True)
class Start:
    """What a form begins with. why: a sentence on what could not be filled in."""

    name: str
    parts: list[dict[str, Any]]
    why: str = ""


#: A form in which nothing is filled in.
EMPTY = Start("answers", [])


def new_draft(start: Start, taken: Collection[str]) -> FormDraft:
    """taken: names of the sets there are."""
    name = free_name(start.name, taken)
    values: dict[str, Any] = {"name": name, "guideline": "", "parts": copy.deepcopy(start.parts)}
    if _draws_alone(values):
        values["question"] = PICTURES_ASKED
    return FormDraft(NewSet, values)


def _draws_alone(values: dict[str, Any]) -> bool:
    return bool(values["parts"]) and all(part["kind"] == "drawn" for part in values["parts"])


def free_name(wanted: str, taken: Collection[str]) -> str:
    """A name that a set may have and none has yet."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", wanted).strip("-_")[:56] or "answers"
    found, number = plain, 2
    while found in taken:
        found, number = f"{plain}-{number}", number + 1
    return found


def recipe_text(draft: FormDraft) -> str:
    """The recipe as it was entered, right or wrong; the engine says what is wrong with it."""
    return dump_yaml({"parts": draft.values["parts"]})


# --------------------------------------------------------------------------------------------------------- sections


def set_section() -> Section:
    """How the set is called and what is asked, both at first sight."""
    wanted = [replace(s, is_main=True) for s in settings_of(NewSet) if s.name in ("name", "question")]
    return Section((), tuple(wanted), heading="The set")


def part_section(draft: FormDraft, number: int) -> Section:
    """The settings of a source, without its models."""
    kind = draft.values["parts"][number]["kind"]
    settings = settings_of(MODELS[kind], ("parts", number))
    return Section(("parts", number), tuple(s for s in settings if s.name not in ("kind", "writers", "artists")))


def writer_section(draft: FormDraft, number: int, writer: int) -> Section:
    """The settings of one model and how it writes, or draws."""
    where, model = BY_MODELS[draft.values["parts"][number]["kind"]]
    key: Key = ("parts", number, where, writer)
    return Section(key, tuple(settings_of(model, key)))


def writers_of(draft: FormDraft, number: int) -> int:
    """How many models a source has; 0 for a file or a run."""
    return len(_models_of(draft, number))


def _models_of(draft: FormDraft, number: int) -> list[dict[str, Any]]:
    """As the form has them, to be changed in place."""
    part = draft.values["parts"][number]
    models: list[dict[str, Any]] = part[BY_MODELS[part["kind"]][0]] if part["kind"] in BY_MODELS else []
    return models


# ---------------------------------------------------------------------------------------------------------- changes


def add_source(draft: FormDraft, kind: Kind) -> None:
    """One more source, as empty as it can be."""
    empty: dict[str, dict[str, Any]] = {
        "written": {"prompts": "", "writers": [{"model": "", "answers": 2}]},
        "drawn": {"artists": [{"model": ""}]},
        "rollouts": {"run": ""},
        "completions": {"source": ""},
        "preferences": {"source": ""},
    }
    draft.values["parts"].append({"kind": kind, **empty[kind]})
    if _draws_alone(draft.values) and draft.values.get("question") in (None, QUESTION.default):
        draft.values["question"] = PICTURES_ASKED
    draft.reshaped()


def remove_source(draft: FormDraft, number: int) -> None:
    del draft.values["parts"][number]
    draft.reshaped()


def add_writer(draft: FormDraft, number: int) -> None:
    """One more model that answers the same prompts, with the settings of the last and a seed of its own; one that draws
    begins with the same seed, from the same noise.

    Where one model was to answer several times, each now answers once.
    """
    writers = _models_of(draft, number)
    if draft.values["parts"][number]["kind"] == "drawn":
        writers.append({**writers[-1], "model": ""})
        draft.reshaped()
        return
    if len(writers) == 1:
        writers[0]["answers"] = 1
    seeds = [writer.get("seed", 0) for writer in writers]
    next_seed = max((seed for seed in seeds if isinstance(seed, int)), default=0) + 1
    writers.append({**writers[-1], "model": "", "seed": next_seed})
    draft.reshaped()


def remove_writer(draft: FormDraft, number: int, writer: int) -> None:
    writers = _models_of(draft, number)
    del writers[writer]
    if len(writers) == 1 and draft.values["parts"][number]["kind"] == "written" and writers[0].get("answers", 1) == 1:
        writers[0]["answers"] = 2
    draft.reshaped()


# --------------------------------------------------------------------------------------------------- from a run


def answers_to_a_prompt(preset: dict[str, Any]) -> int:
    """How many answers to one prompt a run with this preset samples while it trains; those that only show what the
    model writes have one."""
    asked = (preset.get("rollout") or {}).get("completions_per_prompt", 1)
    return asked if isinstance(asked, int) else 1


def answers_of_run(run: Path, name: str, preset: dict[str, Any], *, has_several: bool, is_alive: bool) -> Start:
    """What a run wrote, if it wrote several answers to a prompt; of any other, what its model answers to its own
    prompts; of a model of images, what it draws."""
    if draws(preset):
        reads_text = bool((preset.get(SAMPLING) or {}).get("prompts"))
        why = f"{name} drew what a text says; choose a file of prompts" if reads_text else ""
        return Start(f"{name}-pictures", [{"kind": "drawn", "artists": [_artist(run, preset)]}], why)
    if has_several:
        return Start(f"{name}-answers", [{"kind": "rollouts", "run": str(run), "follow": is_alive}])
    return Start(f"{name}-answers", [_written(run, preset, [{"model": str(run), "answers": 2}])])


def run_against_base(run: Path, name: str, preset: dict[str, Any]) -> Start:
    """The run's model and the one it began from, on the same prompts."""
    base = str((preset.get("model") or {}).get("path") or "")
    if preset.get("method") == SAMPLING:
        why = f"{name} only drew with this model and made none of its own; name another to compare it with"
        own = {**_artist(run, preset), "seed": fresh_seed(run)}
        return Start(f"{name}-against-another", [{"kind": "drawn", "artists": [own, {**own, "model": ""}]}], why)
    is_lost = base in ("", "scratch")
    why = f"{name} began from random weights, so there is no base; name another model to compare it with"
    models = ["" if is_lost else base, str(run)]
    if draws(preset):
        artists = [{"model": model, "seed": fresh_seed(run)} for model in models]
        return Start(f"{name}-against-base", [{"kind": "drawn", "artists": artists}], why if is_lost else "")
    writers = [{"model": model, "seed": seed} for seed, model in enumerate(models)]
    return Start(f"{name}-against-base", [_written(run, preset, writers)], why if is_lost else "")


def draws(preset: dict[str, Any]) -> bool:
    """Whether a run with this preset has a model that draws."""
    return preset.get("method") in (*DRAWING, SAMPLING)


def fresh_seed(run: Path) -> int:
    """Of noise that no pair began as that the run learned from, but for one chance in a million."""
    return int.from_bytes(hashlib.sha256(run.name.encode()).digest()[:4]) % 1_000_000


def _artist(run: Path, preset: dict[str, Any]) -> dict[str, Any]:
    """The run's model; of a run that only drew, the model it drew with, as it did."""
    if preset.get("method") != SAMPLING:
        return {"model": str(run)}
    section = preset.get(SAMPLING) or {}
    own = {name: section[name] for name in SAMPLED_BY if name in section}
    return {"model": str((preset.get("model") or {}).get("path") or ""), **own}


def _written(run: Path, preset: dict[str, Any], writers: list[dict[str, Any]]) -> dict[str, Any]:
    """Models on the prompts that a run held out, or else learned from, under its system prompt."""
    data = preset.get("data") or {}
    sources = data.get("eval") or data.get("train") or ""
    source = sources[0] if isinstance(sources, list) and sources else sources
    if isinstance(source, dict):
        kept = {name: value for name, value in source.items() if name != "weight" and value is not None}
        source = {**kept, "rows": min(source.get("rows") or USUAL_PROMPTS, USUAL_PROMPTS)}
    path = str(source.get("path", "") if isinstance(source, dict) else source)
    if path.startswith("labels:"):  # the run keeps a copy of the set, and its items have prompts
        items = str(run / "labels" / path.removeprefix("labels:") / "items.jsonl")
        source = {**source, "path": items} if isinstance(source, dict) else items
    more: dict[str, Any] = {"system_prompt": data["system_prompt"]} if data.get("system_prompt") else {}
    if longest := (preset.get("rollout") or {}).get("max_new_tokens"):
        more["max_new_tokens"] = longest
    return {"kind": "written", "prompts": source, "writers": [{**writer, **more} for writer in writers]}
