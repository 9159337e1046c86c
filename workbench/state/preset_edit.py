"""Changes of one value in a YAML text that leave every other character where it stands: comments, order, all.

Each change is read back before it is given out. Where the text is written so that a local change would mean
more than that value (anchors, merge keys), CannotEditError is raised and the person edits the text.

Every function takes a text that `load_yaml` accepts: only its guards make the fast loader here safe.
"""

import copy
import functools
import json
import re
from collections.abc import Callable
from typing import Any

import yaml

from engine.contract.faults import Key
from engine.contract.strict_yaml import YamlError, load_yaml

#: The keys a section may have, in the order in which they are written.
NamesAt = Callable[[Key], list[str]]

#: Thirty times the speed of the pure-Python one, and as exact about places.
FAST_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
PLAIN = re.compile(r"[\w./][\w./ :+-]*")
#: Characters that YAML takes for line ends or refuses, also within quotes.
UNSAFE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


class CannotEditError(ValueError):
    """This place can only be changed in the text itself."""


def with_value(text: str, key: Key, value: Any, names_at: NamesAt, written: str | None = None) -> str:
    """`text` with `value` at `key`; a key that is not there is added where its section has it by order.

    written: how a scalar is spelled (`1e-5`), where that matters.
    """
    changed = _set(text, key, value, names_at, written)
    return _checked(text, changed, key, value)


def with_item(text: str, key: Key, value: Any, names_at: NamesAt) -> str:
    """`text` with `value` after the last item of the list at `key`."""
    items = list(_data_at(_read(text), key) or [])
    node = _find(text, key)
    if isinstance(node, yaml.SequenceNode) and node.value and not node.flow_style:
        column = node.start_mark.column
        place = _line_end(text, _end(text, node))
        changed = text[:place] + _block([value], column) + text[place:]
        if _is_same(_read(changed), _put(_read(text), key, [*items, value])):
            return changed
    return with_value(text, key, [*items, value], names_at)


def without(text: str, key: Key, names_at: NamesAt) -> str:
    """`text` without `key`, which may name an item of a list; a section left empty goes too."""
    if _find(text, key) is None:
        return text
    changed = _remove(text, key, names_at)
    wanted = _dropped(_read(text), key)
    if not _is_same(_read(changed), wanted):
        raise CannotEditError(f"{_dotted(key)} is shared with other places of the text")
    return changed


def spellings(text: str) -> dict[Key, str]:
    """Each plain scalar of a text that `load_yaml` has accepted, as it is written there."""
    found: dict[Key, str] = {}
    _note_spellings(_compose(text), (), found)
    return found


def _note_spellings(node: yaml.Node | None, key: Key, found: dict[Key, str]) -> None:
    if isinstance(node, yaml.ScalarNode) and not node.style:
        found[key] = str(node.value)
    elif isinstance(node, yaml.MappingNode):
        for named, value in node.value:
            _note_spellings(value, (*key, named.value), found)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _note_spellings(item, (*key, index), found)


def scalar_text(value: Any) -> str:
    """One value as YAML on one line, in block and flow context alike."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar_text(k)}: {scalar_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(scalar_text(item) for item in value) + "]"
    if isinstance(value, str):
        return _string_text(value)
    if isinstance(value, float):
        return {"nan": ".nan", "inf": ".inf", "-inf": "-.inf"}.get(repr(value), repr(value))
    return json.dumps(value)


def _string_text(value: str) -> str:
    if PLAIN.fullmatch(value) and ": " not in value and value.strip() == value and not value.endswith(":"):
        try:
            if load_yaml(f"[{value}]")[0] == [value]:
                return value
        except YamlError:
            pass
    quoted = json.dumps(value, ensure_ascii=False)
    return UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", quoted)


# ---------------------------------------------------------------------------------------- where things stand


@functools.lru_cache(maxsize=4)
def _compose(text: str) -> yaml.Node | None:
    """The nodes of a text, with the place of each. Kept for a moment, as each change asks several times."""
    try:
        node: yaml.Node | None = yaml.compose(text, Loader=FAST_LOADER)
    except yaml.YAMLError as error:
        raise CannotEditError(f"the text cannot be read: {error}") from error
    return node


def _read(text: str) -> Any:
    node = _compose(text)
    return None if node is None else _data(node)


def _data(node: yaml.Node) -> Any:
    """What the nodes say, as `load_yaml` would put it; an alias says what its anchor does."""
    if isinstance(node, yaml.MappingNode):
        return {_data(named): _data(value) for named, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_data(item) for item in node.value]
    is_quoted = isinstance(node, yaml.ScalarNode) and bool(node.style)
    return node.value if is_quoted else _plain(node.value)


@functools.lru_cache(maxsize=1000)
def _plain(scalar: str) -> Any:
    """The meaning of an unquoted scalar in the contract's YAML, where 1e-5 is a number."""
    return load_yaml(scalar)[0] if len(scalar) < 40 and "\n" not in scalar else scalar


def _find(text: str, key: Key) -> yaml.Node | None:
    node = _compose(text)
    for part in key:
        found = None if node is None else _child(node, part)
        if found is None:
            return None
        node = found[1]
    return node


def _child(node: yaml.Node, part: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """The key's node and its value's; for an item of a list both are the item."""
    if isinstance(node, yaml.MappingNode):
        return next((pair for pair in node.value if pair[0].value == part), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    return None


def _end(text: str, node: yaml.Node) -> int:
    """The index after the node's last character; PyYAML counts comments and blank lines below it in."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return max(_end(text, part) for part in (last if isinstance(last, tuple) else (last,)))
    end = int(node.end_mark.index)
    if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
        return len(text[:end].rstrip())
    return end


def _line_end(text: str, place: int) -> int:
    end = text.find("\n", place)
    return len(text) if end < 0 else end


def _line_start(text: str, place: int) -> int:
    return text.rfind("\n", 0, place) + 1


# ------------------------------------------------------------------------------------------- setting a value


def _set(text: str, key: Key, value: Any, names_at: NamesAt, written: str | None) -> str:
    root = _compose(text)
    if root is None:
        return text + ("" if text.endswith("\n") or not text else "\n") + _nested(key, value)
    parent = _find(text, key[:-1])
    if not isinstance(parent, yaml.CollectionNode) or (not parent.value and not parent.flow_style):
        return _set(text, key[:-1], {key[-1]: value}, names_at, None) if len(key) > 1 else text
    found = _child(parent, key[-1])
    if found is None:
        return _add(text, parent, key, value, names_at, written)
    return _replace(text, found, value, written, bool(parent.flow_style), isinstance(parent, yaml.SequenceNode))


def _nested(key: Key, value: Any) -> str:
    for part in reversed(key):
        value = {part: value}
    return _block(value, 0).lstrip("\n") + "\n"


def _block(value: Any, column: int) -> str:
    """What follows `key:`; a mapping or a list of mappings goes on the lines below, at `column`."""
    pad = "\n" + " " * column
    if isinstance(value, dict) and value:
        return "".join(f"{pad}{scalar_text(k)}:{_block(v, column + 2)}" for k, v in value.items())
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return "".join(f"{pad}- {_block(item, column + 2).lstrip()}" for item in value)
    return " " + scalar_text(value)


def _replace(
    text: str,
    found: tuple[yaml.Node, yaml.Node],
    value: Any,
    written: str | None,
    in_flow: bool,
    is_item: bool,
) -> str:
    named, node = found
    start, end = int(node.start_mark.index), _end(text, node)
    is_block = isinstance(node, yaml.CollectionNode) and not node.flow_style
    column = int(named.start_mark.column)
    if is_item:
        new = scalar_text(value) if in_flow else _block(value, column).lstrip()
    elif in_flow or not (is_block or isinstance(value, dict | list)):
        new = written or scalar_text(value)
        new = " " + new if start == end else new
    else:
        start = text.index(":", int(named.end_mark.index)) + 1
        new = f" {written}" if written else _block(value, column + 2)
    return text[:start] + new + text[end:]


def _add(text: str, parent: yaml.CollectionNode, key: Key, value: Any, names_at: NamesAt, written: str | None) -> str:
    if not isinstance(parent, yaml.MappingNode):
        raise CannotEditError(f"{_dotted(key)} is not there to be changed")
    names = names_at(key[:-1])
    rank = {name: place for place, name in enumerate(names)}
    mine = rank.get(str(key[-1]), len(names))
    before = [pair for pair in parent.value if rank.get(pair[0].value, len(names)) <= mine]
    named = scalar_text(key[-1])
    if parent.flow_style:
        return _add_in_flow(text, parent, before, f"{named}: {written or scalar_text(value)}")
    column = int(parent.value[0][0].start_mark.column)
    line = f"{named}:{f' {written}' if written else _block(value, column + 2)}"
    if before:
        place = _line_end(text, max(_end(text, part) for part in before[-1]))
        return text[:place] + "\n" + " " * column + line + text[place:]
    place = int(parent.value[0][0].start_mark.index)
    if column and not text[_line_start(text, place) : place].strip():
        place = _above_comments(text, place) + column
        return text[: place - column] + " " * column + line + "\n" + text[place - column :]
    return text[:place] + line + "\n" + " " * column + text[place:]


def _above_comments(text: str, place: int) -> int:
    """The start of the comment lines right above the line of `place`: they belong to what stands there."""
    start = _line_start(text, place)
    while start and text[_line_start(text, start - 1) : start].lstrip().startswith("#"):
        start = _line_start(text, start - 1)
    return start


def _add_in_flow(text: str, parent: yaml.MappingNode, before: list[Any], entry: str) -> str:
    if before:
        place = max(_end(text, part) for part in before[-1])
        return f"{text[:place]}, {entry}{text[place:]}"
    place = int(parent.start_mark.index) + 1
    separator = ", " if parent.value else ""
    return f"{text[:place]}{entry}{separator}{text[place:]}"


# ----------------------------------------------------------------------------------------- taking a key away


def _remove(text: str, key: Key, names_at: NamesAt) -> str:
    parent = _find(text, key[:-1])
    if not isinstance(parent, yaml.CollectionNode):
        raise CannotEditError(f"{_dotted(key)} is not there to be removed")
    pairs = [pair if isinstance(pair, tuple) else (pair, pair) for pair in parent.value]
    at = next(i for i, pair in enumerate(pairs) if key[-1] in (i, pair[0].value))
    if len(pairs) == 1:
        if isinstance(parent, yaml.SequenceNode):
            return _set(text, key[:-1], [], names_at, None)
        return _remove(text, key[:-1], names_at) if len(key) > 1 else ""
    start, end = int(pairs[at][0].start_mark.index), max(_end(text, part) for part in pairs[at])
    if parent.flow_style:
        if at == len(pairs) - 1:
            return text[: max(_end(text, part) for part in pairs[at - 1])] + text[end:]
        return text[:start] + text[int(pairs[at + 1][0].start_mark.index) :]
    lead = text[_line_start(text, start) : start].strip()
    is_item = isinstance(parent, yaml.SequenceNode)
    if lead and not (is_item and lead == "-"):
        return text[:start] + text[int(pairs[at + 1][0].start_mark.index) :] if at == 0 else text
    return text[: _line_start(text, start)] + text[_line_end(text, end) + 1 :]


# ------------------------------------------------------------------------------------------- reading it back


def _checked(before: str, after: str, key: Key, value: Any) -> str:
    if not _is_same(_read(after), _put(_read(before), key, value)):
        raise CannotEditError(f"{_dotted(key)} is shared with other places of the text")
    return after


def _data_at(data: Any, key: Key) -> Any:
    for part in key:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _put(data: Any, key: Key, value: Any) -> Any:
    """`data` with `value` at `key`; what is no section on the way becomes one."""
    if not key:
        return value
    if isinstance(key[0], int) and isinstance(data, list) and key[0] < len(data):
        return [_put(item, key[1:], value) if i == key[0] else item for i, item in enumerate(data)]
    section = data if isinstance(data, dict) else {}
    return section | {key[0]: _put(section.get(key[0]), key[1:], value)}


def _dropped(data: Any, key: Key) -> Any:
    data = copy.deepcopy(data)
    holder = _data_at(data, key[:-1])
    del holder[key[-1]]
    if isinstance(holder, dict) and not holder:
        return _dropped(data, key[:-1]) if len(key) > 1 else None
    return data


def _is_same(a: Any, b: Any) -> bool:
    """Equal in type and value, whatever the order of keys; not-a-number equals itself."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_is_same(value, b[name]) for name, value in a.items())
    if isinstance(a, list):
        return len(a) == len(b) and all(_is_same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b or (a != a and b != b))


def _dotted(key: Key) -> str:
    return ".".join(str(part) for part in key)
