"""A form being filled in, made from a model of the contract: what was entered, and all that is wrong with it."""

from typing import Any

from pydantic import BaseModel, ValidationError

from engine.contract.faults import Fault, Key, from_validation
from engine.contract.strict_yaml import YamlError, load_yaml
from workbench.state.preset_draft import Change
from workbench.state.preset_schema import Section, Setting

#: What a field that nobody has filled in yet lacks; it is told once somebody wants to go on.
NOT_YET = ("is missing", "should be not empty", "should be a list of at least 1")


class FormDraft:
    """Values by key, as a person entered them. `is_pressed`: somebody wanted to go on, so what is missing is told."""

    def __init__(self, model: type[BaseModel], values: dict[str, Any]) -> None:
        self._model = model
        self.values = values
        self.is_pressed = False
        self._spelled: dict[Key, str] = {}
        self._found: list[Fault] = []
        self._told: list[Fault] = []
        self.check()

    # ------------------------------------------------------------------------------------------ what it says

    def value(self, setting: Setting) -> Any:
        holder = self._holder(setting.key)
        return holder.get(setting.name, setting.default) if isinstance(holder, dict) else setting.default

    def spelling(self, setting: Setting) -> str:
        """How a number was typed, such as 1e-5."""
        return self._spelled.get(setting.key, "")

    def differs_from_default(self, setting: Setting) -> bool:
        return not setting.required and self.value(setting) != setting.default

    def is_section_on(self, section: Section) -> bool:
        return section.switch is None

    def unmet_need(self, setting: Setting) -> str:
        return ""

    def faults_at(self, setting: Setting) -> list[Fault]:
        """Those of the setting, and of what lies within it, such as the path of a source."""
        size = len(setting.key)
        return [fault for fault in self.faults if fault.key[:size] == setting.key]

    @property
    def faults(self) -> list[Fault]:
        """What is to be told now."""
        return [f for f in (*self._found, *self._told) if self.is_pressed or f.problem not in NOT_YET]

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong as far as it shows without looking at files."""
        return not self._found

    # ------------------------------------------------------------------------------------------- changing it

    def apply(self, change: Change) -> None:
        """Do what a field asks."""
        match change.what:
            case "type":
                self._set_typed(change.key, str(change.value))
            case "set":
                self._put(change.key, change.value)
            case "reset":
                self._spelled.pop(change.key, None)
                holder = self._holder(change.key)
                if isinstance(holder, dict):
                    holder.pop(change.key[-1], None)
        self.check()

    def tell(self, faults: list[Fault]) -> None:
        """Faults that the engine found; they stand until something changes."""
        known = {(fault.key, fault.problem) for fault in self._found}
        self._told = [fault for fault in faults if (fault.key, fault.problem) not in known]

    def reshaped(self) -> None:
        """Parts of a list came or went, so that keys mean others now."""
        self._spelled.clear()
        self.check()

    def check(self) -> None:
        """Look again at everything that was entered."""
        self._told = []
        try:
            self._model.model_validate(self.values)
        except ValidationError as error:
            self._found = from_validation(error, self._model, self.values)
        else:
            self._found = []

    # ------------------------------------------------------------------------------------------------ within

    def _set_typed(self, key: Key, typed: str) -> None:
        """A number as typed; what is none is kept, and is a fault."""
        typed = typed.strip()
        try:
            value, _ = load_yaml(typed)
        except YamlError:
            value = typed
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        self._spelled[key] = typed if is_number else ""
        self._put(key, value if is_number else typed)

    def _put(self, key: Key, value: Any) -> None:
        holder = self._holder(key)
        if isinstance(holder, dict):
            holder[key[-1]] = value

    def _holder(self, key: Key) -> Any:
        data: Any = self.values
        for part in key[:-1]:
            try:
                data = data[part]
            except (KeyError, IndexError, TypeError):
                return None
        return data
