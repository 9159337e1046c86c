"""What can be known of somebody's function without running it: whether it is there, and is the one that was allowed."""

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path

from engine.contract.online_settings import OwnFunction


def problems(part: OwnFunction, file: Path) -> Iterator[tuple[str, str, str]]:
    """Setting, what is wrong with it, and what to do. Runs nothing."""
    source = file.read_bytes()
    found = hashlib.sha256(source).hexdigest()
    if part.sha256 is not None and part.sha256 != found:
        yield "sha256", "is not that of the file any more", f"read what has changed in it, then set it to {found}"
    try:
        tree = ast.parse(source, str(file))
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        yield "path", f"is no Python: {error.args[0]}" + (f" in line {line}" if line else ""), "mend it"
        return
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    # It may also come from elsewhere, by an import; then only running the file tells.
    if names and part.function not in names and not _imports(tree, part.function):
        yield "function", "is not in the file", f"name one of {', '.join(names[:8])}"


def _imports(tree: ast.Module, name: str) -> bool:
    """Whether something at the top of the file may give it, as an import or an assignment does."""
    others = [node for node in tree.body if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return any(name in ast.dump(node) or "'*'" in ast.dump(node) for node in others)
