"""Files and data sets row by row, without holding more of them than is being looked at."""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from engine.contract.jsonl import LONGEST_LINE
from engine.contract.settings import Source
from engine.data.rows import DataError, Row


class Line(NamedTuple):
    """One row of a source. number: of its line, from 1. key: by which it is found again. ends: bytes read so far.

    row: or, in words, why there is none.
    """

    number: int
    key: int
    row: Row | str
    ends: int = 0


class Reader(Protocol):
    """Rows that can be gone through, and found again. unit: what a number counts, line or row."""

    unit: str

    def lines(self) -> Iterator[Line]: ...

    def at(self, key: int) -> Row: ...


class JsonLines:
    """A JSON Lines file. A row is read when it is asked for, so that the file may be larger than the memory."""

    unit = "line"

    def __init__(self, path: Path) -> None:
        self._path = path

    def lines(self) -> Iterator[Line]:
        """Every line that is not empty. Raises OSError."""
        with self._path.open("rb") as file:
            number, start = 0, 0
            while line := file.readline(LONGEST_LINE + 1):
                number += 1
                if len(line) > LONGEST_LINE:
                    _skip_line(file)
                    yield Line(number, start, f"is longer than {LONGEST_LINE // 2**20} MB", file.tell())
                elif line.strip():
                    yield Line(number, start, parsed(line), file.tell())
                start = file.tell()

    def at(self, key: int) -> Row:
        """The row that begins at byte `key`. Raises DataError if it is no longer there."""
        with self._path.open("rb") as file:
            file.seek(key)
            row = parsed(file.readline(LONGEST_LINE + 1))
        if isinstance(row, str):
            raise DataError(f"{self._path} changed while the run was reading it; leave it alone, and start again")
        return row


class InTurn:
    """Rows that something else holds, in memory or on disk."""

    unit = "row"

    def __init__(self, rows: Sequence[Row] | Any) -> None:
        self._rows = rows

    def lines(self) -> Iterator[Line]:
        return (Line(index + 1, index, row) for index, row in enumerate(self._rows))

    def at(self, key: int) -> Row:
        return dict(self._rows[key])


def parsed(line: bytes) -> Row | str:
    """The object on a line of JSON, or why there is none."""
    try:
        row = json.loads(line.strip().decode("utf-8-sig"))
    except UnicodeDecodeError:
        return "is not UTF-8 text"
    except json.JSONDecodeError as error:
        return f"is not JSON ({error.msg})"
    except (ValueError, RecursionError):
        return "is not JSON (it is nested too deep, or has too large a number)"
    return row if isinstance(row, dict) else 'is no object such as {"prompt": …}'


def reader_of(source: Source) -> Reader:
    """What reads a file or a data set of the hub. Raises DataError."""
    path = Path(source.path)
    suffix = path.suffix.lower()
    if suffix == ".jsonl" and path.is_file():
        return JsonLines(path)
    if suffix == ".json" and path.is_file():
        return InTurn(_json_file(path))
    return InTurn(_with_datasets(source, suffix))


def _skip_line(file: Any) -> None:
    """Go to the end of a line whose length nobody knows."""
    while (rest := file.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
        pass


def _json_file(path: Path) -> list[Row]:
    try:
        data = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is not JSON ({error}); is it JSON Lines? then name it .jsonl") from error
    if not isinstance(data, list) or not all(isinstance(row, dict) for row in data):
        raise DataError(f"{path}: should be a list of objects; give a list, or use .jsonl")
    return data


def _with_datasets(source: Source, suffix: str) -> Any:
    """A table on disk, by `datasets`: what is not being looked at takes no memory."""
    from datasets import load_dataset

    try:
        if suffix == ".csv":
            return load_dataset("csv", data_files=source.path, split="train", **_as_text(Path(source.path)))
        if suffix == ".parquet":
            return load_dataset("parquet", data_files=source.path, split="train")
        return load_dataset(source.path, split=source.split)
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise DataError(
            f"{source.path}: could not be read: {reason}; check the path, or the network for the hub"
        ) from error


def _as_text(path: Path) -> dict[str, Any]:
    """How to read a CSV file so that every cell stays what it says: not `007` as 7.0, nor `NA` as nothing."""
    from datasets import Features, Value

    with path.open(encoding="utf-8-sig", newline="") as file:
        names = next(csv.reader(file), [])
    return {"features": Features({name: Value("string") for name in names}), "na_filter": False}
