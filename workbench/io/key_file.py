"""A person's own keys: `keys.yaml` in the workspace, one line for each action that has another key than usual."""

from collections.abc import Mapping
from pathlib import Path

from engine.contract.strict_yaml import YamlError, load_yaml
from workbench.io.preset_files import save

NAME = "keys.yaml"
HEAD = """\
# Keys of this workspace's window. Take away the # before a line and write another key, as in
#   judge.undo: U
# or "" for none. Changes count when the window is opened again.
"""


def read_keys(workspace: Path) -> tuple[dict[str, object], str]:
    """What the file says, key by action; and a sentence if it cannot be read, in which case it says nothing."""
    path = workspace / NAME
    try:
        data, _ = load_yaml(path.read_text("utf-8", "replace"))
    except FileNotFoundError:
        return {}, ""
    except (OSError, YamlError) as error:
        return {}, f"{path}: {error}. The usual keys are in force."
    if data is not None and not isinstance(data, dict):
        return {}, f"{path}: each line should name an action and its key. The usual keys are in force."
    return {str(name): key for name, key in (data or {}).items()}, ""


def write_template(workspace: Path, usual: Mapping[str, str]) -> Path:
    """Make the file, with every action and its usual key in a comment, if there is none yet. Raises OSError."""
    path = workspace / NAME
    if not path.exists():
        save(path, HEAD + "".join(f'# {name}: "{key}"\n' for name, key in usual.items()))
    return path
