"""Presets on the disk: saved whole or not at all, and what was typed but not saved kept over a crash."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

UNSAVED = ".unsaved-preset.json"


@dataclass(frozen=True)
class Kept:
    """A preset as it was typed when the window went away."""

    name: str
    text: str


def save(path: Path, text: str) -> None:
    """Replace the file whole: a crash leaves the old text or the new one. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def keep_unsaved(workspace: Path, kept: Kept | None) -> None:
    """Remember what is typed, or forget it once it is saved. Raises OSError."""
    path = workspace / UNSAVED
    if kept is None:
        path.unlink(missing_ok=True)
    else:
        save(path, json.dumps({"name": kept.name, "text": kept.text}))


def read_unsaved(workspace: Path) -> Kept | None:
    """What an earlier window left unsaved."""
    try:
        data = json.loads((workspace / UNSAVED).read_text("utf-8"))
        return Kept(str(data["name"]), str(data["text"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
