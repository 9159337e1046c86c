"""What is wrong with a preset, said so that a person can mend it: file, key, value given, what to do."""

import difflib
from dataclasses import dataclass, replace
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

Key = tuple[str | int, ...]


@dataclass(frozen=True)
class Fault:
    """One fault. `key` is empty where the whole file is meant; `line` counts from 1."""

    key: Key
    given: str
    problem: str
    remedy: str
    line: int | None = None

    def at(self, lines: dict[Key, int]) -> "Fault":
        """The fault with the line its key stands on, or that of the nearest section around it."""
        for length in range(len(self.key), 0, -1):
            if self.key[:length] in lines:
                return replace(self, line=lines[self.key[:length]])
        return self

    @property
    def dotted(self) -> str:
        return ".".join(str(part) for part in self.key)

    def __str__(self) -> str:
        place = f"{self.dotted}: " if self.key else ""
        line = f"line {self.line}: " if self.line and not self.key else ""
        given = f" (got {self.given})" if self.given else ""
        return f"{line}{place}{self.problem}{given}; {self.remedy}"


class PresetError(ValueError):
    """A preset that cannot be used, with all that is wrong with it."""

    def __init__(self, file: str, faults: list[Fault]) -> None:
        self.file = file
        self.faults = faults
        super().__init__("\n".join([file, *(f"  {fault}" for fault in faults)]))


def shown(value: Any) -> str:
    """`value` as a person typed it, cut to one short line."""
    text = "null" if value is None else repr(value) if not isinstance(value, bool) else str(value).lower()
    return text if len(text) <= 60 else text[:57] + "…"


def one_of(given: Any, known: list[str]) -> str:
    """The remedy for a word that is not one of the known ones."""
    close = difflib.get_close_matches(str(given), known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]}?"
    return f"choose {known[0]}" if len(known) == 1 else f"choose one of {', '.join(known)}"


def from_validation(error: ValidationError, model: type[BaseModel], data: Any) -> list[Fault]:
    """Every fault pydantic found, one for each key, in the order of the file."""
    found: dict[Key, Fault] = {}
    details = error.errors(include_url=False)
    for detail in details:
        key = _key_in(data, detail["loc"], missing=detail["type"] == "missing")
        siblings = [d for d in details if _key_in(data, d["loc"], missing=d["type"] == "missing") == key]
        found.setdefault(key, _fault(key, siblings, model))
    return [fault for key, fault in found.items() if not _covered(key, found)]


def _covered(key: Key, found: dict[Key, Fault]) -> bool:
    """A union tells of each branch it tried; only the deepest account helps."""
    return any(len(other) > len(key) and other[: len(key)] == key for other in found)


def _key_in(data: Any, loc: tuple[int | str, ...], *, missing: bool) -> Key:
    """`loc` without what pydantic puts between the keys: union branches, and the index of a source given alone."""
    key: list[str | int] = []
    here = data
    for position, part in enumerate(loc):
        is_last = position == len(loc) - 1
        if _leads_on(here, part):
            key.append(part)
            here = here[part]
        elif missing and is_last:
            key.append(part)
    return tuple(key)


def _leads_on(here: Any, part: int | str) -> bool:
    if isinstance(here, list):
        return isinstance(part, int) and part < len(here)
    return isinstance(here, dict) and part in here


def _fault(key: Key, details: list[ErrorDetails], model: type[BaseModel]) -> Fault:
    first = details[0]
    if first["type"] == "extra_forbidden":
        known = settings_at(model, key[:-1])
        return Fault(key, "", "no such setting", one_of(key[-1], known))
    if first["type"] == "missing":
        return Fault(key, "", "is missing", f"give it a value: {_help(model, key)}")
    if first["type"].startswith("union_tag"):
        known = [
            kind for section in _sections_at(model, key) for kind in get_args(section.model_fields["kind"].annotation)
        ]
        given = first["input"].get("kind") if isinstance(first["input"], dict) else None
        problem = "is missing" if given is None else "is not a kind there is"
        return Fault((*key, "kind"), "" if given is None else shown(given), problem, one_of(given, known))
    wanted = list(dict.fromkeys(_wanted(detail) for detail in details))
    literal = [detail for detail in details if detail["type"] == "literal_error"]
    remedy = _help(model, key)
    if literal and len(details) == 1 and isinstance(first["input"], str):
        choices = [c.strip(" '") for c in literal[0]["ctx"]["expected"].replace(" or ", ", ").split(",")]
        remedy = one_of(first["input"], choices)
    return Fault(key, shown(first["input"]), "should be " + " or ".join(wanted), remedy)


WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping of settings",
    "model_attributes_type": "a mapping of settings",
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
    "string_too_short": "not empty",
    "too_short": "a list of at least {min_length}",
    "string_pattern_mismatch": "text of another form",
    "finite_number": "a finite number",
    "none_required": "empty",
}


def _wanted(detail: ErrorDetails) -> str:
    template = WANTED.get(detail["type"])
    if template is None:
        return detail["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return template.format(**(detail.get("ctx") or {}))


def _help(model: type[BaseModel], key: Key) -> str:
    field = field_at(model, key)
    return (field.description or "see presets/ for examples") if field else "see presets/ for examples"


def settings_at(model: type[BaseModel], key: Key) -> list[str]:
    """The names of the settings in the section at `key`."""
    names: list[str] = []
    for section in _sections_at(model, key):
        names += [name for name in section.model_fields if name not in names]
    return names


def field_at(model: type[BaseModel], key: Key) -> Any:
    """pydantic's FieldInfo of the setting at `key`, or None if there is none."""
    if not key or isinstance(key[-1], int):
        return None
    sections = _sections_at(model, key[:-1])
    return next((s.model_fields[key[-1]] for s in sections if key[-1] in s.model_fields), None)


def _sections_at(model: type[BaseModel], key: Key) -> list[type[BaseModel]]:
    sections = [model]
    for part in key:
        if isinstance(part, int):
            continue
        annotations = [s.model_fields[part].annotation for s in sections if part in s.model_fields]
        sections = [found for annotation in annotations for found in _models_in(annotation)]
    return sections


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, UnionType, list, Annotated):
        return [model for argument in get_args(annotation) for model in _models_in(argument)]
    return []
