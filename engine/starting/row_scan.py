"""Looks through a data file before a run starts: is every row whole, and can the method learn from it?

Without torch or datasets, so that it takes moments; of a large file only the beginning is read.
"""

import csv
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Bytes of a file that are looked at; the rest is the engine's to find out.
SCAN_AT_MOST = 64 * 1024 * 1024
#: Columns that hold text or messages; of pairs of answers, and of all others.
PAIR = ("prompt", "chosen", "rejected")
TEXTS = ("prompt", "completion", "text")
READABLE = (".jsonl", ".json", ".csv", ".parquet")

Row = dict[str, Any]


class RowError(Exception):
    """What is wrong with a file, where, and what to do."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem = problem
        self.remedy = remedy


@dataclass(frozen=True)
class Needs:
    """What a row must have: something to learn from or to prompt with, and columns that rewards read."""

    method: str
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scan:
    """Rows in the file, None where nobody counted; not is_exact where estimated from the part that was read."""

    rows: int | None
    is_exact: bool = True


def scan_file(path: Path, needs: Needs, *, at_most: int | None = None) -> Scan:
    """Look through a data file, or its first `at_most` rows. Raises RowError for the first thing wrong."""
    suffix = path.suffix.lower()
    if suffix not in READABLE:
        raise RowError(f"{path.name} is of no kind that can be read", f"use one of {', '.join(READABLE)}")
    if path.stat().st_size == 0:
        raise RowError(f"{path.name} is empty", "give a file with rows")
    try:
        if suffix == ".parquet":
            return _scan_parquet(path, needs, at_most)
        if suffix == ".json" and path.stat().st_size > SCAN_AT_MOST:
            # One JSON value cannot be read in part; the engine tells what is wrong with a file this large.
            return Scan(None, is_exact=False)
        return _scan_rows(path, _rows(path, suffix), needs, at_most)
    except UnicodeDecodeError as error:
        raise RowError(f"{path.name} is not UTF-8 text (byte {error.start})", "save the file as UTF-8") from error
    except OSError as error:
        raise RowError(f"{path.name} cannot be read: {error.strerror or error}", "check the file") from error


def _rows(path: Path, suffix: str) -> Iterator[tuple[int, Row, int]]:
    if suffix == ".jsonl":
        return json_lines(path)
    return _json_rows(path) if suffix == ".json" else _csv_rows(path)


def _scan_rows(path: Path, rows: Iterator[tuple[int, Row, int]], needs: Needs, at_most: int | None) -> Scan:
    """Each row comes with its line, from 1 (0 where there is none), and the bytes read so far."""
    count, read, is_exact = 0, 0, True
    for line, row, read in rows:
        count += 1
        if problem := row_problem(row, needs):
            where = f"{path.name}, line {line}" if line else f"{path.name}, row {count}"
            raise RowError(f"{where}: {problem}", "mend the row, or choose other data")
        if at_most is not None and count >= at_most:
            return Scan(count)
        if read > SCAN_AT_MOST:
            is_exact = False
            break
    if count == 0:
        raise RowError(f"{path.name} has no rows", "give a file with rows")
    return Scan(count) if is_exact else Scan(round(count * path.stat().st_size / read), is_exact=False)


def json_lines(path: Path) -> Iterator[tuple[int, Row, int]]:
    """Line number, row, and bytes read so far; empty lines are passed over. Raises RowError naming the line."""
    read = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            read += len(line)
            if line.strip():
                yield number, _json_row(f"{path.name}, line {number}", line), read


def _json_row(where: str, line: bytes) -> Row:
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        problem = f"{where}: is not UTF-8 text (byte {error.start} of the line)"
        raise RowError(problem, "save the file as UTF-8") from error
    except json.JSONDecodeError as error:
        problem = f"{where}: is not JSON ({error.msg} at column {error.colno})"
        raise RowError(problem, "mend or remove the line") from error
    except (ValueError, RecursionError) as error:
        raise RowError(f"{where}: is not JSON ({error})", "mend or remove the line") from error
    if not isinstance(row, dict):
        raise RowError(f'{where}: should be an object such as {{"prompt": …}}', "mend or remove the line")
    return row


def _json_rows(path: Path) -> Iterator[tuple[int, Row, int]]:
    try:
        data = json.loads(path.read_bytes().decode("utf-8"))
    except json.JSONDecodeError as error:
        problem = f"{path.name}, line {error.lineno}: is not JSON ({error.msg} at column {error.colno})"
        raise RowError(problem, "mend it; if it has one object a line, name it .jsonl") from error
    except RecursionError as error:
        raise RowError(f"{path.name} is nested too deep", "give a list of objects") from error
    if not isinstance(data, list) or not all(isinstance(row, dict) for row in data):
        raise RowError(f"{path.name} should be a list of objects", "give a list, or one object a line in a .jsonl")
    yield from ((0, row, 0) for row in data)


def _csv_rows(path: Path) -> Iterator[tuple[int, Row, int]]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    read = 0
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        try:
            for row in reader:
                read += sum(len(value) for value in row.values() if isinstance(value, str))
                if None in row:
                    raise RowError(f"{path.name}, line {reader.line_num}: has more cells than the header", "mend it")
                yield reader.line_num, dict(row), read
        except csv.Error as error:
            raise RowError(f"{path.name}, line {reader.line_num}: is not CSV ({error})", "mend it") from error


def _scan_parquet(path: Path, needs: Needs, at_most: int | None) -> Scan:
    """Only what the footer says: how many rows, and which columns."""
    import pyarrow  # type: ignore[import-untyped]
    import pyarrow.parquet  # type: ignore[import-untyped]

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            rows, names = file.metadata.num_rows, list(file.schema_arrow.names)
    except pyarrow.ArrowException as error:
        raise RowError(f"{path.name} is not a Parquet file ({error})", "check how it was written") from error
    if rows == 0:
        raise RowError(f"{path.name} has no rows", "give a file with rows")
    if problem := columns_problem(names, needs):
        raise RowError(f"{path.name} {problem}", "rename its columns, or choose other data")
    return Scan(rows if at_most is None else min(rows, at_most))


def columns_problem(names: list[str], needs: Needs) -> str:
    """What columns of these names lack, in words; empty if the method can use them."""
    has = set(names)
    missing = [column for column in needs.columns if column not in has]
    listed = ", ".join(f"`{name}`" for name in names[:8]) or "no columns"
    if needs.method == "sft" and not ("messages" in has or {"prompt", "completion"} <= has or "text" in has):
        return f"has neither `messages`, nor `prompt` and `completion`, nor `text` (it has {listed})"
    if needs.method == "dpo":
        lacks = [name for name in ("chosen", "rejected") if name not in has]
        return f"has no `{lacks[0]}`, one answer of each pair (it has {listed})" if lacks else ""
    if needs.method != "sft" and not has & {"prompt", "messages"}:
        return f"has no `prompt` (it has {listed})"
    if missing:
        return f"has no `{missing[0]}`, which a reward needs (it has {listed})"
    return ""


def row_problem(row: Row, needs: Needs) -> str:
    """What is wrong with a row, in words; empty if the method can use it."""
    if problem := columns_problem([name for name, value in row.items() if value is not None], needs):
        return problem
    if needs.method == "dpo":
        return _pair_problem(row)
    if "messages" in row:
        return _messages_problem("messages", row["messages"])
    return next(filter(None, (_text_problem(name, row[name]) for name in TEXTS if name in row)), "")


def _pair_problem(row: Row) -> str:
    if isinstance(row["chosen"], list) != isinstance(row["rejected"], list):
        return "has text as one answer and messages as the other"
    return next(filter(None, (_text_problem(name, row[name]) for name in PAIR if row.get(name) is not None)), "")


def _text_problem(name: str, value: Any) -> str:
    if isinstance(value, list):
        return _messages_problem(name, value)
    return f"`{name}` should be text or a list of messages (it is a mapping)" if isinstance(value, dict) else ""


def _messages_problem(name: str, messages: Any) -> str:
    if not isinstance(messages, list) or not messages:
        return f"`{name}` should be a list of messages"
    for message in messages:
        whole = isinstance(message, dict) and isinstance(message.get("role"), str)
        if not whole or not isinstance(message.get("content"), str):
            return f'`{name}` should hold messages such as {{"role": "user", "content": "…"}}'
    return ""
