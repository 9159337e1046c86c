"""A preset being edited. The YAML text is the truth; form and editor change it and share one history."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel

from engine.contract import faults as contract_faults
from engine.contract.faults import Fault, Key
from engine.contract.preset import PRESETS, Preset, read_draft
from engine.contract.strict_yaml import YamlError, load_yaml
from workbench.state import preset_edit
from workbench.state.preset_edit import CannotEditError
from workbench.state.preset_schema import Section, Setting, least_item, sections_of, settings_of

#: Undo reaches back this many edits, and never holds more text than this.
MOST_EDITS = 300
MOST_HISTORY = 8_000_000
#: What a window opens as a preset; the contract's reader has the same limit.
LARGEST_FILE = 1_000_000


@dataclass(frozen=True)
class Unsaved:
    """What an autosave keeps: the text as typed, and where it came from."""

    name: str
    origin: Path | None
    text: str


@dataclass(frozen=True)
class Change:
    """What a person wants of one setting. value: the new one; for `type` the text typed, for `add` and `kind`
    the kind of item, for `switch` whether the section is on."""

    what: Literal["set", "type", "reset", "add", "kind", "switch", "method"]
    key: Key
    value: Any = None


class Draft(Protocol):
    """What a form shows: values, and what is to be said of them. A preset is one, a labelling set's plan another."""

    def value(self, setting: Setting) -> Any: ...
    def spelling(self, setting: Setting) -> str: ...
    def differs_from_default(self, setting: Setting) -> bool: ...
    def is_section_on(self, section: Section) -> bool: ...
    def unmet_need(self, setting: Setting) -> str: ...
    def faults_at(self, setting: Setting) -> list[Fault]: ...


class PresetDraft:
    """The text, what it says, and how to change it.

    A change raises CannotEditError where the text is written so that only the text itself can be edited.
    `burst` joins changes that a person sees as one (typing in one field) into one step of undo.
    """

    def __init__(self, text: str = "", *, name: str = "", origin: Path | None = None) -> None:
        self.name = name
        self.origin = origin
        self._history = [text]
        self._at = 0
        self._burst = ""
        self._saved = text
        self._launch_faults: list[Fault] = []
        self._read = read_draft(text)
        self._values = self._read.data
        self._spellings = preset_edit.spellings(text) if self.is_readable else {}
        self._schema = PRESETS.get(str(self._values.get("method")), next(iter(PRESETS.values())))

    # ------------------------------------------------------------------------------------------ what it says

    @property
    def text(self) -> str:
        return self._history[self._at]

    @property
    def values(self) -> dict[str, Any]:
        """What the text sets. While the text cannot be read, what it last set."""
        return self._values

    @property
    def is_readable(self) -> bool:
        """False while the text is no YAML, so that no key can be told from another."""
        return not any(not fault.key for fault in self._read.faults)

    @property
    def lines(self) -> dict[Key, int]:
        return self._read.lines

    @property
    def preset(self) -> Preset | None:
        """The preset, once nothing is wrong with it."""
        return None if self._launch_faults else self._read.preset

    @property
    def faults(self) -> list[Fault]:
        return self._read.faults + self._launch_faults

    @property
    def schema(self) -> type[BaseModel]:
        """The model of the method; while the text names none, that of the last one it named."""
        return self._schema

    @property
    def method(self) -> str:
        return next(name for name, model in PRESETS.items() if model is self._schema)

    @property
    def is_dirty(self) -> bool:
        return self.text != self._saved

    @property
    def can_undo(self) -> bool:
        return self._at > 0

    @property
    def can_redo(self) -> bool:
        return self._at < len(self._history) - 1

    def sections(self) -> tuple[Section, ...]:
        return sections_of(self._schema)

    def setting_at(self, key: Key) -> Setting:
        """The setting of that key, also one within an item of a list. Raises KeyError."""
        settings = [setting for section in self.sections() for setting in section.settings]
        for setting in settings:
            if setting.key == key:
                return setting
            if setting.variants and setting.key == key[:-2]:
                kind = self.value(setting)[key[-2]]["kind"]
                return next(s for s in settings_of(setting.variants[kind], key[:-1]) if s.key == key)
        raise KeyError(key)

    def is_written(self, key: Key) -> bool:
        holder = self._holder(key)
        return (key[-1] in holder) if isinstance(holder, dict) else False

    def value(self, setting: Setting) -> Any:
        """What holds for the setting: what the text says, else its default."""
        holder = self._holder(setting.key)
        return holder.get(setting.name, setting.default) if isinstance(holder, dict) else setting.default

    def spelling(self, setting: Setting) -> str:
        """How the text writes a number, such as 1e-5; empty for what is not written or no number."""
        return self._spellings.get(setting.key, "") if setting.kind in ("int", "float") else ""

    def differs_from_default(self, setting: Setting) -> bool:
        return not setting.required and self.value(setting) != setting.default

    def is_section_on(self, section: Section) -> bool:
        return section.switch is None or isinstance(self.value(section.switch), dict)

    def unmet_need(self, setting: Setting) -> str:
        """Why the setting has no effect now, in words; empty if it has."""
        if not setting.needs:
            return ""
        name, _, wanted = setting.needs.partition("=")
        siblings = settings_of_parent(self._schema, setting.key)
        sibling = next((s for s in siblings if s.name == name), None)
        if sibling is None:
            return ""
        value = self.value(sibling)
        words = wanted.split("|") if wanted else []
        met = preset_edit.scalar_text(value) in words if words else value not in (None, False, "", 0)
        return (
            "" if met else f"Counts only with {sibling.label.lower()}" + (f" = {' or '.join(words)}" if words else "")
        )

    def faults_at(self, setting: Setting) -> list[Fault]:
        """Faults of the setting, and of what lies within it where the form shows it as one field."""
        is_whole = setting.kind != "section"
        size = len(setting.key)
        return [f for f in self.faults if f.key == setting.key or (is_whole and f.key[:size] == setting.key)]

    def stray_faults(self) -> list[Fault]:
        """Faults that no field of the form can show: bad syntax, unknown keys, the file as a whole."""
        settings = [setting for section in self.sections() for setting in section.settings]
        settings += [section.switch for section in self.sections() if section.switch]
        told = [fault for setting in settings for fault in self.faults_at(setting)]
        return [fault for fault in self.faults if fault not in told]

    # ------------------------------------------------------------------------------------------- changing it

    def apply(self, change: Change) -> None:
        """Do what a form asks; typing in one field is one step of undo until `end_burst`."""
        burst = ".".join(map(str, change.key)) if change.what in ("set", "type") else ""
        match change.what:
            case "set":
                self.set_value(change.key, change.value, burst=burst)
            case "type":
                self.set_typed(self.setting_at(change.key), change.value, burst=burst)
            case "reset":
                self.reset(change.key)
            case "add":
                self.add_item(self.setting_at(change.key), change.value)
            case "kind":
                self.change_item(self.setting_at(change.key[:-1]), int(change.key[-1]), change.value)
            case "switch":
                self.switch_section(next(s for s in self.sections() if s.key == change.key), change.value)
            case "method":
                self.set_method(change.value)

    def set_text(self, text: str, *, burst: str = "") -> None:
        if text == self.text:
            return
        joins = bool(burst) and burst == self._burst and self._at > 0
        del self._history[self._at + 1 :]
        if joins:
            self._history[self._at] = text
        else:
            self._history.append(text)
        self._forget_oldest()
        self._burst = burst
        self._reread()

    def set_value(self, key: Key, value: Any, *, written: str | None = None, burst: str = "") -> None:
        """Set one value; `written` is how a number was typed, which the text keeps."""
        self.set_text(preset_edit.with_value(self._readable(), key, value, self._names_at, written), burst=burst)

    def set_typed(self, setting: Setting, typed: str, *, burst: str = "") -> None:
        """Set a number, or a word that stands for one, as typed. What is neither is kept, and is a fault."""
        typed = typed.strip()
        if not typed and setting.can_be_empty:
            self.set_value(setting.key, None, burst=burst)
            return
        try:
            value, _ = load_yaml(typed)
        except YamlError:
            value = typed
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        self.set_value(setting.key, value if is_number else typed, written=typed if is_number else None, burst=burst)

    def reset(self, key: Key) -> None:
        """Back to the default, by taking the key out of the text."""
        self.set_text(preset_edit.without(self._readable(), key, self._names_at))

    def add_item(self, setting: Setting, kind: str) -> None:
        item = least_item(kind, setting.variants[kind])
        self.set_text(preset_edit.with_item(self._readable(), setting.key, item, self._names_at))

    def change_item(self, setting: Setting, index: int, kind: str) -> None:
        """Make an item another kind; what both kinds have stays."""
        model = setting.variants[kind]
        old = self.value(setting)[index]
        common = {name: value for name, value in old.items() if name in model.model_fields and name != "kind"}
        self.set_value((*setting.key, index), least_item(kind, model) | common)

    def switch_section(self, section: Section, is_on: bool) -> None:
        """Add an optional section with the settings that a form shows first, or take it away."""
        if section.switch is None:
            return
        if is_on:
            defaults = {s.name: s.default for s in section.settings}
            shown = (s for s in section.settings if s.kind in ("choice", "int") and _counts_with(s, defaults))
            first = {s.name: s.default for s in shown}
            self.set_value(section.key, first)
        else:
            self.reset(section.key)

    def set_method(self, method: str) -> None:
        """Change the method: common sections stay, the old method's go, what the new one needs comes."""
        model = PRESETS[method]
        text = preset_edit.with_value(self._readable(), ("method",), method, self._names_at)
        for name in self.values:
            if name in self._schema.model_fields and name not in model.model_fields:
                text = preset_edit.without(text, (name,), self._names_at)
        self._schema = model
        for setting in settings_of(model):
            if setting.required and setting.kind == "items" and setting.name not in self.values:
                kind, variant = next(iter(setting.variants.items()))
                text = preset_edit.with_value(text, setting.key, [least_item(kind, variant)], self._names_at)
        self.set_text(text)

    def undo(self) -> None:
        self._at = max(0, self._at - 1)
        self._burst = ""
        self._reread()

    def redo(self) -> None:
        self._at = min(len(self._history) - 1, self._at + 1)
        self._burst = ""
        self._reread()

    def end_burst(self) -> None:
        """The next change is a new step of undo."""
        self._burst = ""

    def show_launch_faults(self, faults: list[Fault]) -> None:
        """Faults that the engine found before it started; they stand until the text changes."""
        known = {(fault.key, fault.problem) for fault in self._read.faults}
        new = [fault for fault in faults if (fault.key, fault.problem) not in known]
        self._launch_faults = [fault.at(self.lines) if fault.line is None else fault for fault in new]

    # -------------------------------------------------------------------------------------------- keeping it

    def unsaved(self) -> Unsaved | None:
        """What an autosave should keep; None if there is nothing to lose."""
        return Unsaved(self.name, self.origin, self.text) if self.is_dirty else None

    def saved_as(self, path: Path, text: str) -> None:
        """`text` is on the disk at `path`."""
        self.origin, self.name, self._saved = path, path.stem, text

    # ------------------------------------------------------------------------------------------------ within

    def _readable(self) -> str:
        """The text, for an edit of one place of it. Raises CannotEditError while it is no YAML."""
        if not self.is_readable and self.text.strip():
            raise CannotEditError("the text cannot be read")
        return self.text

    def _names_at(self, key: Key) -> list[str]:
        return contract_faults.settings_at(self._schema, key)

    def _holder(self, key: Key) -> Any:
        data: Any = self._values
        for part in key[:-1]:
            try:
                data = data[part]
            except (KeyError, IndexError, TypeError):
                return None
        return data

    def _reread(self) -> None:
        self._launch_faults = []
        self._read = read_draft(self.text)
        if self.is_readable:
            self._values = self._read.data
            self._spellings = preset_edit.spellings(self.text)
        self._schema = PRESETS.get(str(self._values.get("method")), self._schema)

    def _forget_oldest(self) -> None:
        total = sum(len(text) for text in self._history)
        while len(self._history) > 2 and (len(self._history) > MOST_EDITS or total > MOST_HISTORY):
            total -= len(self._history.pop(0))
        self._at = len(self._history) - 1


def _counts_with(setting: Setting, values: dict[str, Any]) -> bool:
    """Whether a setting that needs a word of its section has effect beside these values."""
    name, _, wanted = setting.needs.partition("=")
    return not wanted or values.get(name) in wanted.split("|")


def settings_of_parent(schema: type[BaseModel], key: Key) -> list[Setting]:
    """The settings beside the one at `key`."""
    found = [setting for section in sections_of(schema) for setting in section.settings]
    return [setting for setting in found if setting.key[:-1] == key[:-1]]


__all__ = ["LARGEST_FILE", "CannotEditError", "PresetDraft", "Unsaved"]
