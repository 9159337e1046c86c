"""Judgements that look as this version writes them, read at half the cost of checking each value by itself.

A log of 100,000 lines has a few hundred combinations of ranking, places and strength. A line with the fields, the order
and the types that we write, and a combination that was checked in full before, needs no more than a look.
"""

from collections.abc import Sequence
from itertools import product
from types import NoneType
from typing import Any

from pydantic_core import from_json

from engine.contract.labels import Judgement

_FIELDS = tuple(Judgement.model_fields)
_FIELDS_SET = set(_FIELDS)
#: What stands in the fields, in their order: three of them may be empty.
_TYPES = frozenset(
    (str, str, str, str, str, list, list, strength, seconds, active, float, str, bool, bool, list, str, str)
    for strength, seconds, active in product((int, NoneType), (float, NoneType), (float, NoneType))
)
_new, _put = object.__new__, object.__setattr__
#: outcome, ranking, shown, strength, settles.
_Said = tuple[Any, ...]


class LeanReader:
    """Remembers what it found sound, so one of them reads a whole log."""

    def __init__(self) -> None:
        self._sound: dict[_Said, _Said] = {}

    def read(self, lines: Sequence[bytes]) -> list[Judgement | None]:
        """A judgement for each line that looks as ours do; None for one that has to be checked in full."""
        try:
            found = from_json(b"[" + b",".join(lines) + b"]")
        except ValueError:
            return [None] * len(lines)
        if len(found) != len(lines):  # a line holds several records, or none
            return [None] * len(lines)
        return [self._judgement(values) for values in found]

    def learn(self, judgement: Judgement) -> None:
        """A judgement that was checked in full: others that say the same are sound too."""
        said = judgement.outcome, judgement.ranking, judgement.shown, judgement.strength, judgement.settles
        self._sound[said] = said

    def _judgement(self, values: Any) -> Judgement | None:
        if type(values) is not dict or tuple(values) != _FIELDS or tuple(map(type, values.values())) not in _TYPES:
            return None
        try:
            ranking = tuple(map(tuple, values["ranking"]))
            said = values["outcome"], ranking, tuple(values["shown"]), values["strength"], tuple(values["settles"])
            sound = self._sound.get(said)
        except TypeError:  # a number where a list should be, or a list where a number should be
            return None
        if sound is None or values["kind"] != "judgement" or not values["id"]:
            return None
        if not ((values["seconds"] or 0.0) >= 0 and (values["active_seconds"] or 0.0) >= 0):
            return None
        # What was checked takes the place of what was read: tuples for lists, and one copy for all that say the same.
        values["outcome"], values["ranking"], values["shown"], values["strength"], values["settles"] = sound
        return _made(values)


def _made(values: dict[str, Any]) -> Judgement:
    """As `Judgement.model_construct`, which takes ten times as long for the defaults that all stand here."""
    made = _new(Judgement)
    _put(made, "__dict__", values)
    _put(made, "__pydantic_fields_set__", _FIELDS_SET)
    _put(made, "__pydantic_extra__", None)
    _put(made, "__pydantic_private__", None)
    return made
