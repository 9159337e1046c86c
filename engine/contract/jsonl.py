"""JSON Lines files that are only ever appended to, and read while they grow."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: What a reader takes at most in one go: about 1,500 step lines, so a window that reads once a tick never stalls.
READ_AT_MOST = 256 * 1024
#: A longer line is not ours. It is skipped, so that a damaged file cannot fill the memory of whoever reads it.
LONGEST_LINE = 16 * 1024 * 1024


def append_line(path: Path, line: str, *, durable: bool = False) -> None:
    """Append `line` and its newline in one write, so readers and other writers never see it in halves.

    durable: return only when the line is on the disk (fsync), as a judgement must be.
    Raises OSError, also when the disk took only part of the line.
    """
    data = line.encode("utf-8", "replace") + b"\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        if os.write(descriptor, data) != len(data):
            raise OSError(f"{path.name}: the disk took only part of a line")
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def end_torn_line(path: Path) -> bool:
    """Close a line that a killed writer left without its newline, so that the next line stands alone.

    Returns True if there was one.
    """
    if not path.exists() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) == b"\n":
            return False
    append_line(path, "")
    return True


@dataclass(frozen=True)
class Chunk:
    """Some whole lines and the offset at which the next read begins."""

    lines: list[bytes]
    offset: int
    at_end: bool


def read_lines(path: Path, offset: int, *, at_most: int = READ_AT_MOST) -> Chunk:
    """Whole lines from `offset` on, about `at_most` bytes of them. A last line without a newline waits.

    A missing file has no lines; so has an offset past the end.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(at_most)
            if b"\n" not in data and len(data) == at_most:
                data += file.readline(LONGEST_LINE + 1)
            at_end = not file.read(1)
    except FileNotFoundError:
        return Chunk([], offset, at_end=True)
    end = data.rfind(b"\n") + 1
    if end == 0 and len(data) > LONGEST_LINE:
        return Chunk([b"\xff"], offset + len(data), at_end)
    return Chunk(data[:end].splitlines(), offset + end, at_end)


def chunks(path: Path, offset: int = 0, *, at_most: int = READ_AT_MOST) -> Iterator[Chunk]:
    """Every whole line there is now, from `offset` on, about `at_most` bytes of them at a time."""
    while (chunk := read_lines(path, offset, at_most=at_most)).offset != offset:
        offset = chunk.offset
        yield chunk


def follow(path: Path, offset: int = 0) -> Iterator[bytes]:
    """Every whole line there is now, from `offset` on; for readers that may take their time."""
    for chunk in chunks(path, offset):
        yield from chunk.lines


def last_lines(path: Path, *, at_most: int = 64 * 1024) -> list[bytes]:
    """The whole lines within the last `at_most` bytes: where a run stands, without reading its history."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return []
    start = max(0, size - at_most)
    lines = read_lines(path, start, at_most=at_most).lines
    return lines[1:] if start > 0 else lines


def lines_throughout(path: Path, count: int) -> list[bytes]:
    """Up to `count` whole lines at even distances through the file: the shape of a history at the cost of a glance."""
    found: dict[int, bytes] = {}
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            for index in range(count):
                file.seek(max(0, size * index // count - 1))
                if index:
                    file.readline(READ_AT_MOST)  # the rest of a line that began before
                start, line = file.tell(), file.readline(READ_AT_MOST)
                if line.endswith(b"\n"):
                    found[start] = line[:-1]
    except FileNotFoundError:
        pass
    return [found[start] for start in sorted(found)]
