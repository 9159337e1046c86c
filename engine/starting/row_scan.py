"""Looks through a data file before a run starts: which rows can the method learn from, and why not from the others?

Without torch or datasets, so that it takes moments; of a large file only the beginning is read.
"""

import csv
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.contract.settings import Source
from engine.data import left_out
from engine.data.files import JsonLines, Line
from engine.data.formats import canonical, recognise, renamed
from engine.data.left_out import Origin, Reasons
from engine.data.rows import UnusableRow

#: Bytes of a file that are looked at; the rest is the engine's to find out.
SCAN_AT_MOST = 64 * 1024 * 1024
READABLE = (".jsonl", ".json", ".csv", ".parquet")


class RowError(Exception):
    """What is wrong with a file, where, and what to do."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem = problem
        self.remedy = remedy


@dataclass(frozen=True)
class Needs:
    """What a row must have: something that the method learns from, and columns that rewards read."""

    method: str
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scan:
    """Rows that can be used, None where nobody counted; not is_exact where estimated from the part that was read.

    left_out: which rows cannot be used and why, in words; empty if all can.
    """

    rows: int | None
    is_exact: bool = True
    left_out: str = ""


def scan_file(source: Source, needs: Needs) -> Scan:
    """Look through a data file, or the rows of it that are asked for. Raises RowError if no row can be used."""
    path = Path(source.path)
    suffix = path.suffix.lower()
    if suffix not in READABLE:
        raise RowError(f"{path.name} is of no kind that can be read", f"use one of {', '.join(READABLE)}")
    if path.stat().st_size == 0:
        raise RowError(f"{path.name} is empty", "give a file with rows")
    try:
        if suffix == ".parquet":
            return _scan_parquet(source, needs)
        if suffix == ".json" and path.stat().st_size > SCAN_AT_MOST:
            # One JSON value cannot be read in part; the engine tells what is wrong with a file this large.
            return Scan(None, is_exact=False)
        return _scan_rows(source, needs, _lines(path, suffix), "line" if suffix == ".jsonl" else "row")
    except UnicodeDecodeError as error:
        raise RowError(f"{path.name} is not UTF-8 text (byte {error.start})", "save the file as UTF-8") from error
    except OSError as error:
        raise RowError(f"{path.name} cannot be read: {error.strerror or error}", "check the file") from error


def _lines(path: Path, suffix: str) -> Iterator[Line]:
    if suffix == ".jsonl":
        return JsonLines(path).lines()
    return _json_rows(path) if suffix == ".json" else _csv_rows(path)


def _scan_rows(source: Source, needs: Needs, lines: Iterator[Line], unit: str) -> Scan:
    path, reasons = Path(source.path), Reasons()
    seen = read = 0
    is_exact = True
    for line in lines:
        seen, read = seen + 1, line.ends
        try:
            _check(line, source, needs, unit)
        except UnusableRow as why:
            reasons.add(str(why), line.number)
        if seen == source.rows:
            break
        if read > SCAN_AT_MOST:
            is_exact = False
            break
    if seen == 0:
        raise RowError(f"{path.name} has no rows", "give a file with rows")
    usable = seen - sum(map(len, reasons.found.values()))
    origins = [Origin(path.name, unit, 1)]
    if not usable:
        why_none = left_out.reasons(reasons.found, origins)
        remedy = "mend it, choose other data, or set the source's `columns`"
        raise RowError(f"{path.name}: no row can be used: {why_none}", remedy)
    told = left_out.told(reasons.found, seen, "rows", origins)
    return Scan(usable if is_exact else round(usable * path.stat().st_size / read), is_exact, told)


def _check(line: Line, source: Source, needs: Needs, unit: str) -> None:
    """Raises UnusableRow; RowError for a row that would end the run, as a reward finds nothing in it."""
    if isinstance(line.row, str):
        raise UnusableRow(line.row)
    row = canonical(line.row, needs.method, format=source.format, columns=source.columns)
    if lacking := _lacking(list(row), needs):
        where = f"{Path(source.path).name}, {unit} {line.number}"
        raise RowError(f"{where}: {lacking}", "mend the row, or name another column in the reward")


def _lacking(names: list[str], needs: Needs) -> str:
    missing = [column for column in needs.columns if column not in names]
    listed = ", ".join(f"`{name}`" for name in names[:8])
    return f"has no `{missing[0]}`, which a reward needs (it has {listed})" if missing else ""


def _json_rows(path: Path) -> Iterator[Line]:
    try:
        data = json.loads(path.read_bytes().decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        problem = f"{path.name}, line {error.lineno}: is not JSON ({error.msg} at column {error.colno})"
        raise RowError(problem, "mend it; if it has one object a line, name it .jsonl") from error
    except RecursionError as error:
        raise RowError(f"{path.name} is nested too deep", "give a list of objects") from error
    if not isinstance(data, list) or not all(isinstance(row, dict) for row in data):
        raise RowError(f"{path.name} should be a list of objects", "give a list, or one object a line in a .jsonl")
    yield from (Line(index + 1, index, row) for index, row in enumerate(data))


def _csv_rows(path: Path) -> Iterator[Line]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    read = 0
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        try:
            for index, row in enumerate(reader):
                read += sum(len(value) for value in row.values() if isinstance(value, str))
                if None in row:
                    raise RowError(f"{path.name}, line {reader.line_num}: has more cells than the header", "mend it")
                yield Line(index + 1, index, dict(row), read)
        except csv.Error as error:
            raise RowError(f"{path.name}, line {reader.line_num}: is not CSV ({error})", "mend it") from error


def _scan_parquet(source: Source, needs: Needs) -> Scan:
    """Only what the footer says: how many rows, and which columns."""
    import pyarrow  # type: ignore[import-untyped]
    import pyarrow.parquet  # type: ignore[import-untyped]

    path = Path(source.path)
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            rows, names = file.metadata.num_rows, list(file.schema_arrow.names)
    except pyarrow.ArrowException as error:
        raise RowError(f"{path.name} is not a Parquet file ({error})", "check how it was written") from error
    if rows == 0:
        raise RowError(f"{path.name} has no rows", "give a file with rows")
    columns: dict[str, Any] = dict.fromkeys(names, "")
    try:
        recognise(renamed(columns, source.columns), needs.method, format=source.format)
    except UnusableRow as why:
        raise RowError(f"{path.name} {why}", "set the source's `columns`, or choose other data") from why
    if lacking := _lacking(names, needs):
        raise RowError(f"{path.name} {lacking}", "rename its columns, or name another column in the reward")
    return Scan(rows if source.rows is None else min(rows, source.rows))
