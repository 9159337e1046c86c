"""Judgements that look as this version writes them, read at half the cost of checking each value by itself.

A log of 100,000 lines has a few hundred combinations of ranking, places and strength. A line with the fields, the order
and the types that we write, and a combination that was checked in full before, needs no more than a look.
"""

from operator import itemgetter
from typing import Any

from pydantic_core import from_json

from engine.contract.labels import Judgement

_FIELDS = tuple(Judgement.model_fields)
_FIELDS_SET = set(_FIELDS)
#: What is a judgement's own. All else it shares with others, and so need not be looked at again.
_OWN = ("id", "item", "seconds", "active_seconds", "time", "note")
_SHARED = tuple(field for field in _FIELDS if field not in _OWN)
_new, _put = object.__new__, object.__setattr__
_own, _shared = itemgetter(*_OWN), itemgetter(*_SHARED)


class LeanReader:
    """Remembers what it found sound, so one of them reads a whole log."""

    def __init__(self) -> None:
        self._sound: dict[tuple[Any, ...], dict[str, Any]] = {}

    def read(self, line: bytes) -> Judgement | None:
        """The judgement on a line that looks as ours do; None of one that has to be checked in full."""
        try:
            values = from_json(line)
            if type(values) is not dict or tuple(values) != _FIELDS:
                return None
            values["ranking"] = tuple(map(tuple, values["ranking"]))
            values["shown"], values["settles"] = tuple(values["shown"]), tuple(values["settles"])
            sound = self._sound.get(_shared(values))
        except (ValueError, TypeError):  # no JSON; a number where a list should be, or a list where a number should be
            return None
        if sound is None or not _is_sound(*_own(values)):
            return None
        # What was checked takes the place of what is like it: 1 for 1.0, and one copy for all that say the same.
        values.update(sound)
        return _made(values)

    def learn(self, judgement: Judgement) -> None:
        """A judgement that was checked in full: what others share with it is sound too."""
        values = judgement.__dict__
        self._sound[_shared(values)] = {field: values[field] for field in _SHARED}


def _is_sound(id: Any, item: Any, seconds: Any, active: Any, time: Any, note: Any) -> bool:
    if type(id) is not str or not id or type(item) is not str or type(note) is not str or type(time) is not float:
        return False
    return (seconds is None or (type(seconds) is float and seconds >= 0)) and (
        active is None or (type(active) is float and active >= 0)
    )


def _made(values: dict[str, Any]) -> Judgement:
    """As `Judgement.model_construct`, which takes ten times as long for the defaults that all stand here."""
    made = _new(Judgement)
    _put(made, "__dict__", values)
    _put(made, "__pydantic_fields_set__", _FIELDS_SET)
    _put(made, "__pydantic_extra__", None)
    _put(made, "__pydantic_private__", None)
    return made
