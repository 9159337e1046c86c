"""Captions of images in folders: a line of metadata.jsonl for each, or a text file beside it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

#: As `datasets` has it for folders of images: lines with `file_name` and other columns.
METADATA = "metadata.jsonl"
#: Letters of a text file that are read: more is no caption.
LONGEST = 10_000


class CaptionFileError(ValueError):
    """What a file of captions has that cannot be read, as it goes on after the file's name."""


def captions_of(folder: Path, column: str) -> Callable[[Path], str]:
    """Image file -> its caption, empty where it has none. Raises CaptionFileError, OSError."""
    metadata = folder / METADATA
    known = dict(_lines(metadata, column)) if metadata.is_file() else {}

    def caption(file: Path) -> str:
        told = known.get(file.relative_to(folder).as_posix())
        return beside(file) if told is None else told

    return caption


def beside(file: Path) -> str:
    """What the text file says that has an image's name."""
    text = file.with_suffix(".txt")
    if not text.is_file():
        return ""
    with text.open(encoding="utf-8", errors="replace") as opened:
        return opened.read(LONGEST).strip()


def _lines(metadata: Path, column: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(metadata.read_text("utf-8", errors="replace").splitlines(), start=1):
        if line.strip():
            row = _row(line, number)
            if isinstance(row.get(column), str):
                yield str(row.get("file_name")), row[column].strip()


def _row(line: str, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CaptionFileError(f"line {number} is no JSON: {error}; mend it, or take the file away") from error
    if not isinstance(row, dict):
        raise CaptionFileError(f'line {number} is no object; write {{"file_name": ..., "text": ...}}')
    return row
