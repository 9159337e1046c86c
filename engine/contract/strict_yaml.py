"""YAML as people mean it: `1e-5` is a number, a key stands once, and no file can hang or crash the reader.

PyYAML's fast loader crashes on deeply nested input, so this stays on the pure-Python one and counts as it goes.
"""

import re
from collections.abc import Hashable
from typing import Any

import yaml

MAX_BYTES = 1_000_000
MAX_DEPTH = 32
MAX_NODES = 20_000

Path = tuple[str | int, ...]


class YamlError(ValueError):
    """One thing wrong with the text. `line` counts from 1."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem if line is None else f"line {line}: {problem}")
        self.problem = problem
        self.line = line


def load_yaml(text: str) -> tuple[Any, dict[Path, int]]:
    """The data in `text`, and the line (from 1) on which each key or item stands.

    Raises YamlError on bad syntax, a key given twice, an unknown tag, or input that is too large, too deep or
    grows without bound through aliases.
    """
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise YamlError(f"the text is longer than {MAX_BYTES:,} bytes; a preset needs a few hundred")
    try:
        loader = _GuardedLoader(text)
        node = loader.get_single_node()
        data = None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(error.problem or str(error), None if mark is None else mark.line + 1) from error
    except yaml.YAMLError as error:
        raise YamlError(" ".join(str(error).split())) from error
    except (ValueError, RecursionError) as error:
        raise YamlError(str(error)) from error
    lines: dict[Path, int] = {}
    if node is not None:
        _note_lines(node, (), lines)
    return data, lines


def dump_yaml(data: Any) -> str:
    """`data` as block-style YAML that `load_yaml` reads back to the same values, keys in the order given."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


class _GuardedLoader(yaml.SafeLoader):
    """Counts depth and nodes while composing; an alias counts for all it stands for."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._nodes = 0
        self._size_of: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        is_alias = self.check_event(yaml.AliasEvent)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"nested more than {MAX_DEPTH} levels deep", problem_mark=mark)
        before = self._nodes
        node = super().compose_node(parent, index)
        self._depth -= 1
        if is_alias and id(node) not in self._size_of:
            raise yaml.MarkedYAMLError(problem="an alias may not stand inside what it names", problem_mark=mark)
        self._nodes += self._size_of[id(node)] if is_alias else 1
        self._size_of.setdefault(id(node), self._nodes - before)
        if self._nodes > MAX_NODES:
            raise yaml.MarkedYAMLError(problem=f"more than {MAX_NODES:,} values", problem_mark=mark)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key should be a word", problem_mark=key.start_mark)
            if key.value in seen and key.value != "<<":
                raise yaml.MarkedYAMLError(
                    problem=f"{key.value!r} is given twice; keep one of them", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Floats and strings in the form that `_GuardedLoader` reads back unchanged."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        # Unquoted, these count as line breaks and would come back as a space.
        breaks = any(mark in data for mark in "\x85\u2028\u2029")
        return self.represent_scalar("tag:yaml.org,2002:str", data, style='"' if breaks else None)


_Dumper.add_representer(str, _Dumper.represent_str)


def _construct_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    return int(str(loader.construct_scalar(node)))


def _use_yaml_1_2_scalars() -> None:
    """Only true, false, null and decimal numbers are more than text: no `on`, `1:30`, `0o17` or dates."""
    kept = {
        "tag:yaml.org,2002:bool": (r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
        "tag:yaml.org,2002:null": (r"^(?:~|null|Null|NULL|)$", "~nN\0"),
        "tag:yaml.org,2002:int": (r"^[-+]?[0-9]+$", "-+0123456789"),
        "tag:yaml.org,2002:float": (
            r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
            "-+.0123456789",
        ),
    }
    for reader in (_GuardedLoader, _Dumper):
        merge_only = {"<": [(tag, regex) for tag, regex in reader.yaml_implicit_resolvers["<"] if "merge" in tag]}
        reader.yaml_implicit_resolvers = merge_only
        for tag, (pattern, first) in kept.items():
            reader.add_implicit_resolver(tag, re.compile(pattern), ["" if c == "\0" else c for c in first])
    _GuardedLoader.add_constructor("tag:yaml.org,2002:int", _construct_int)


_use_yaml_1_2_scalars()


def _note_lines(node: yaml.Node, path: Path, lines: dict[Path, int]) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                lines[(*path, key.value)] = key.start_mark.line + 1
                _note_lines(value, (*path, key.value), lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _note_lines(value, (*path, index), lines)
