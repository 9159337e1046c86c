"""Where rows come from: JSON Lines, JSON, CSV, Parquet, the hub, and tasks that make their own.

A row is a dict: `prompt` and `completion` (text, or lists of messages), `messages`, or `text`. Other columns ride along
to the rewards.
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.contract.settings import Source
from engine.data.tasks import Task, find_task

Row = dict[str, Any]

#: The column that tells which task made a row, so that its verifier can be found again.
TASK = "_task"


class DataError(ValueError):
    """A source that cannot be used: file, line, what is wrong, what to do."""


@dataclass(frozen=True)
class Table:
    """Rows of one or several sources, one after the other, and the tasks among those by name."""

    rows: list[Row]
    tasks: dict[str, Task] = field(default_factory=dict)


def load_rows(sources: list[Source]) -> Table:
    """Read or make all rows. Raises DataError."""
    rows: list[Row] = []
    tasks: dict[str, Task] = {}
    for source in sources:
        if source.path.startswith("task:"):
            task = find_task(source.path, source.options)
            tasks[source.path] = task
            made = task.rows(source.rows or 10_000, source.seed)
            rows += [{**row, TASK: source.path} for row in made]
        else:
            rows += read_rows(source)
    if not rows:
        raise DataError(f"{', '.join(s.path for s in sources)}: no rows; give a source that has some")
    return Table(rows, tasks)


def read_rows(source: Source) -> list[Row]:
    """The rows of a file or hub data set. Raises DataError."""
    path = Path(source.path)
    suffix = path.suffix.lower()
    if suffix == ".jsonl" and path.is_file():
        rows = [row for _, row in json_lines(path)]
    elif suffix == ".json" and path.is_file():
        rows = _json_file(path)
    else:
        rows = _with_datasets(source, suffix)
    return rows[: source.rows]


def json_lines(path: Path) -> Iterator[tuple[int, Row]]:
    """Each row and its line number, from 1. Empty lines are passed over. Raises DataError naming the line."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, _row(path, number, line)


def _row(path: Path, number: int, line: bytes) -> Row:
    where = f"{path}, line {number}"
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: is not UTF-8 text (byte {error.start}); save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: is not JSON ({error}); mend or remove the line") from error
    if not isinstance(row, dict):
        raise DataError(f'{where}: should be an object such as {{"prompt": …}}; mend or remove the line')
    return row


def _json_file(path: Path) -> list[Row]:
    try:
        data = json.loads(path.read_bytes().decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is not JSON ({error}); is it JSON Lines? then name it .jsonl") from error
    if not isinstance(data, list) or not all(isinstance(row, dict) for row in data):
        raise DataError(f"{path}: should be a list of objects; give a list, or use .jsonl")
    return data


def _with_datasets(source: Source, suffix: str) -> list[Row]:
    from datasets import load_dataset

    try:
        if suffix == ".csv":
            data = load_dataset("csv", data_files=source.path, split="train", **_as_text(Path(source.path)))
        elif suffix == ".parquet":
            data = load_dataset("parquet", data_files=source.path, split="train")
        else:
            data = load_dataset(source.path, split=source.split)
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise DataError(
            f"{source.path}: could not be read: {reason}; check the path, or the network for the hub"
        ) from error
    return [dict(row) for row in data]


def _as_text(path: Path) -> dict[str, Any]:
    """How to read a CSV file so that every cell stays what it says: not `007` as 7.0, nor `NA` as nothing."""
    from datasets import Features, Value

    with path.open(encoding="utf-8-sig", newline="") as file:
        names = next(csv.reader(file), [])
    return {"features": Features({name: Value("string") for name in names}), "na_filter": False}
