"""How the items of a labelling set come to be: from models that write them, a run's answers, or files.

A recipe lies in the set's `generation/recipe.yaml`, beside the events, the log and the commands of the process that
follows it: that folder is watched and stopped like a run's, with a step for each part of the recipe that is done.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError

from engine.contract.faults import Fault, Key, PresetError, from_validation
from engine.contract.sampler_names import Sampler
from engine.contract.settings import STRICT, Sources, setting
from engine.contract.strict_yaml import YamlError, dump_yaml, load_yaml

Compare = Literal["pairs", "ranking"]
#: What each kind of part gives people to judge.
KINDS: dict[str, Literal["text", "image"]] = {"drawn": "image"}
#: What people are asked of pictures, unless somebody says otherwise.
PICTURES_ASKED = "Which picture is better?"
COMPARE_HELP = "pairs: two answers an item; ranking: all answers to a prompt in one item"


class Writer(BaseModel, **STRICT):
    """A model and how it writes."""

    model: str = setting(help="hub id, folder, file.gguf, run directory, or run:<name>", min_length=1)
    answers: int = setting(1, "answers it writes to each prompt", main=True, ge=1, le=64)
    max_new_tokens: int = setting(256, "longest answer", unit="tokens", main=True, ge=1, le=100_000)
    temperature: float = setting(1.0, "how freely tokens are drawn", main=True, gt=0, le=10)
    top_p: float = setting(1.0, "draw from the likeliest tokens that make up this share; 1 = all", gt=0, le=1)
    top_k: int = setting(0, "draw from so many likeliest tokens; 0 = all", ge=0)
    seed: int = setting(0, "seed of what it draws", main=True, ge=0)
    system_prompt: str | None = setting(None, "put before every conversation that has no system message")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = setting("auto", "number format of the arithmetic")
    device: str = setting("auto", "auto, cpu, cuda, cuda:1 or mps", pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$")


class Written(BaseModel, **STRICT):
    """Models answer prompts. Pairs set different writers against each other, or one writer against itself."""

    kind: Literal["written"]
    prompts: Sources = setting(help="rows with a `prompt` or `messages`: one source or a list")
    writers: list[Writer] = setting(help="the models", min_length=1)
    compare: Compare = setting("pairs", COMPARE_HELP, main=True)
    prompts_at_once: int = setting(1, "prompts answered in one batch; more is faster, and the first item later", ge=1)


class Artist(BaseModel, **STRICT):
    """An image model and how it draws."""

    model: str = setting(
        help="folder, run directory, run:<name>, hub id, or assets:<name> for one that ships", min_length=1
    )
    sampler: Sampler = setting("ddim", "how noise becomes a picture", main=True)
    steps: int = setting(20, "sampling steps", unit="steps", main=True, ge=1, le=1000)
    eta: float = setting(0.0, "share of DDPM's noise on the way; 0 = none", needs="sampler=ddim", ge=0, le=1)
    guidance: float = setting(1.0, "how far to follow the class or prompt; 1 = as the model learned it", ge=0, le=100)
    negative_prompt: str = setting("", "what to go away from, of a model that reads text", max_length=100_000)
    seed: int = setting(0, "seed of the noise; models with the same seed begin from the same noise", main=True, ge=0)
    device: str = setting("auto", "auto, cpu, cuda, cuda:1 or mps", pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$")


class Drawn(BaseModel, **STRICT):
    """Image models draw. Pairs set different artists against each other, or two pictures of one."""

    kind: Literal["drawn"]
    artists: list[Artist] = setting(help="the models", min_length=1)
    pairs: int = setting(4, "pairs of pictures of each class or prompt", main=True, ge=1, le=100_000)
    classes: list[Annotated[int, Field(ge=0)]] | None = setting(
        None, "classes to draw; empty = all that the models know", main=True
    )
    prompts: Sources | None = setting(None, "rows with a `prompt`, for models that draw what a text says")
    at_once: int = setting(16, "pictures drawn in one batch; more is faster, and the first pair later", ge=1, le=4096)


class Rollouts(BaseModel, **STRICT):
    """What a run wrote while it trained."""

    kind: Literal["rollouts"]
    run: str = setting(help="run directory, or run:<name>", min_length=1)
    first_step: int = setting(0, "leave out answers of earlier steps", unit="steps", ge=0)
    answers: int = setting(2, "answers to one prompt that are compared, of those a step kept", ge=2, le=64)
    compare: Compare = setting("pairs", COMPARE_HELP, main=True)
    follow: bool = setting(False, "wait for what the run has yet to write, until it ends", main=True)


class Completions(BaseModel, **STRICT):
    """A file with several answers to each prompt: `completions` as a list, or one `completion` a row."""

    kind: Literal["completions"]
    source: Sources = setting(help="rows with `prompt` and `completion` or `completions`: one source or a list")
    compare: Compare = setting("pairs", COMPARE_HELP, main=True)


class Preferences(BaseModel, **STRICT):
    """A file of preferences, to be judged anew. What it says is kept in the items' origin and never shown."""

    kind: Literal["preferences"]
    source: Sources = setting(help="rows with `chosen` and `rejected`: one source or a list")
    gold: bool = setting(False, "they are known to be right: use them to check the labellers", main=True)


Part = Annotated[Written | Drawn | Rollouts | Completions | Preferences, Field(discriminator="kind")]


class Recipe(BaseModel, **STRICT):
    """recipe.yaml: the parts are followed one after the other; what is in the set already is not made again."""

    parts: list[Part] = setting(help="where items come from", min_length=1)


def read_recipe(path: Path) -> tuple[Any, dict[Key, int]]:
    """What the file says, sound or not, and the line of each key. Raises PresetError for what is no YAML, OSError."""
    try:
        return load_yaml(path.read_text("utf-8", "replace"))
    except YamlError as error:
        raise PresetError(str(path), [Fault((), "", error.problem, "mend the YAML there", error.line)]) from error


def load_recipe(path: Path) -> Recipe:
    """Raises PresetError, which lists every fault, and OSError."""
    data, lines = read_recipe(path)
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        raise PresetError(str(path), [fault.at(lines) for fault in from_validation(error, Recipe, data)]) from error


def recipe_text(recipe: Recipe) -> str:
    """The recipe as YAML with every default written out; `load_recipe` gives the same back."""
    return dump_yaml(recipe.model_dump(mode="json"))
