"""What a form needs to know of each setting, read from the contract's models; nothing is listed by hand."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from engine.contract.faults import Key

Kind = Literal["choice", "flag", "int", "float", "text", "names", "sources", "items", "mapping", "section"]

#: Words that a label writes in another way than the key does.
SPELLED = {
    "kl": "KL",
    "sft": "SFT",
    "grpo": "GRPO",
    "dpo": "DPO",
    "kto": "KTO",
    "orpo": "ORPO",
    "simpo": "SimPO",
    "cpo": "CPO",
    "ppo": "PPO",
    "n": "N",
    "distill": "Distillation",
    "vae": "VAE",
    "nft": "NFT",
    "draft": "DRaFT",
    "lora": "LoRA",
    "dtype": "Number type",
    "dest": "Where to",
}


@dataclass(frozen=True)
class Bounds:
    """Limits of a number; `above` and `below` are themselves not allowed."""

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None

    def __str__(self) -> str:
        low = f"{self.least:g} or more" if self.least is not None else ""
        low = f"more than {self.above:g}" if self.above is not None else low
        high = f"at most {self.most:g}" if self.most is not None else ""
        high = f"less than {self.below:g}" if self.below is not None else high
        return ", ".join(part for part in (low, high) if part)


@dataclass(frozen=True)
class Setting:
    """One setting. choices: the words it may be; for a number, words that stand beside it, such as auto.

    default: what holds when the key is not written; `required` where there is none.
    variants: for items, the model behind each kind.
    """

    key: Key
    kind: Kind
    help: str
    unit: str = ""
    needs: str = ""
    is_main: bool = False
    choices: tuple[str, ...] = ()
    bounds: Bounds = Bounds()
    default: Any = None
    required: bool = False
    can_be_empty: bool = False
    variants: dict[str, type[BaseModel]] = field(default_factory=dict, compare=False)

    @property
    def name(self) -> str:
        return str(self.key[-1])

    @property
    def dotted(self) -> str:
        return ".".join(str(part) for part in self.key)

    @property
    def label(self) -> str:
        return words(self.name)


@dataclass(frozen=True)
class Section:
    """Settings that stand together. `switch`: the setting that adds or removes it, where it is optional.

    heading: what it is called, where its key does not say. within: what adds or removes the section around it.
    """

    key: Key
    settings: tuple[Setting, ...]
    switch: Setting | None = None
    heading: str = ""
    within: Setting | None = None

    @property
    def title(self) -> str:
        if self.heading:
            return self.heading
        return words(str(self.key[-1])) if self.key else "Run"


def words(name: str) -> str:
    """A key as a person would say it: `kl_correction` → KL correction."""
    spelled = " ".join(SPELLED.get(word, word) for word in name.split("_"))
    return spelled[:1].upper() + spelled[1:]


@lru_cache
def sections_of(model: type[BaseModel]) -> tuple[Section, ...]:
    """The sections of a preset's form in the order of the file, one that stands in another right after it."""
    return tuple(_sections(model, (), None))


def _sections(
    model: type[BaseModel], key: Key, switch: Setting | None, within: Setting | None = None
) -> Iterator[Section]:
    settings = settings_of(model, key)
    own = tuple(s for s in settings if s.kind not in ("section", "items"))
    if own:
        yield Section(key, own, switch, within=within)
    around = switch or within
    for setting, info in zip(settings, model.model_fields.values(), strict=True):
        if setting.kind == "items":
            yield Section(setting.key, (setting,), within=around)
        if setting.kind == "section":
            inner = next(_models_in(info.annotation))
            yield from _sections(inner, setting.key, setting if setting.can_be_empty else None, around)


def settings_of(model: type[BaseModel], key: Key = ()) -> list[Setting]:
    """Every setting of a section that stands at `key`."""
    return [_setting(info, (*key, name)) for name, info in model.model_fields.items()]


def _setting(info: FieldInfo, key: Key) -> Setting:
    about = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    annotation, can_be_empty = _without_none(info.annotation)
    kind, choices, variants = _kind(annotation)
    return Setting(
        key=key,
        kind=kind,
        help=info.description or "",
        unit=str(about.get("unit") or ""),
        needs=str(about.get("needs") or ""),
        is_main=bool(about.get("main")) or info.is_required(),
        choices=choices,
        bounds=_bounds([*info.metadata, *_metadata_within(annotation)]),
        default=None if info.is_required() else _plain(info.get_default(call_default_factory=True)),
        required=info.is_required(),
        can_be_empty=can_be_empty,
        variants=variants,
    )


def _plain(default: Any) -> Any:
    if default is PydanticUndefined:
        return None
    return default.model_dump(mode="json") if isinstance(default, BaseModel) else default


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, UnionType)


def _without_none(annotation: Any) -> tuple[Any, bool]:
    """The annotation without `| None`, and whether None was allowed."""
    if not _is_union(annotation):
        return annotation, False
    branches = [branch for branch in get_args(annotation) if branch is not type(None)]
    can_be_empty = len(branches) < len(get_args(annotation))
    inner = branches[0]
    for branch in branches[1:]:
        inner = inner | branch
    return (_bare(inner) if len(branches) == 1 else inner), can_be_empty


def _bare(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _metadata_within(annotation: Any) -> list[Any]:
    """Bounds that stand on a branch of a union, as in `Annotated[int, Field(ge=1)] | Literal["auto"]`."""
    if not _is_union(annotation):
        return []
    annotated = [branch for branch in get_args(annotation) if get_origin(branch) is Annotated]
    found = [part for branch in annotated for part in get_args(branch)[1:]]
    return [limit for part in found for limit in (part.metadata if isinstance(part, FieldInfo) else [part])]


Shape = tuple[Kind, tuple[str, ...], dict[str, type[BaseModel]]]
SIMPLE: dict[Any, Kind] = {bool: "flag", int: "int", float: "float", str: "text"}


def _kind(annotation: Any) -> Shape:
    if annotation in SIMPLE:
        return SIMPLE[annotation], (), {}
    origin = get_origin(annotation)
    if origin is Literal:
        return "choice", tuple(str(word) for word in get_args(annotation)), {}
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section", (), {}
    if origin is list:
        return _list_kind(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return _union_kind([_bare(branch) for branch in get_args(annotation)])
    return "mapping", (), {}


def _union_kind(branches: Sequence[Any]) -> Shape:
    chosen = [branch for branch in branches if get_origin(branch) is Literal]
    choices = tuple(str(word) for branch in chosen for word in get_args(branch))
    for simple, kind in SIMPLE.items():
        if simple in branches:
            return ("names" if len(branches) > 1 and not choices else kind), choices, {}
    return "mapping", (), {}


def _list_kind(item: Any) -> Shape:
    models = list(_models_in(item))
    if not models:
        return "names", (), {}
    if all("kind" in model.model_fields for model in models):
        return "items", (), {_kind_of(model): model for model in models}
    return "sources", (), {}


def _kind_of(model: type[BaseModel]) -> str:
    return str(get_args(model.model_fields["kind"].annotation)[0])


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Union, UnionType, Annotated, list):
        for argument in get_args(annotation):
            yield from _models_in(argument)


def _bounds(metadata: list[Any]) -> Bounds:
    def limit(name: str) -> float | None:
        return next((getattr(part, name) for part in metadata if getattr(part, name, None) is not None), None)

    return Bounds(least=limit("ge"), most=limit("le"), above=limit("gt"), below=limit("lt"))


def least_item(kind: str, model: type[BaseModel]) -> dict[str, Any]:
    """The shortest item of that kind; what it still lacks is for the person to say, and shown as a fault."""
    return {"kind": kind} | {s.name: _first_guess(s) for s in settings_of(model) if s.required and s.name != "kind"}


def _first_guess(setting: Setting) -> Any:
    """A value to begin with where the contract has no default."""
    if setting.kind in ("int", "float"):
        return max(32, int(setting.bounds.least or 0))
    return ".*" if setting.name == "pattern" else ""
