"""Where rows come from: JSON Lines, JSON, CSV, Parquet, the hub, and tasks that make their own.

Rows are read when they are asked for, so a source may be larger than the memory. What reaches a method is canonical, as
`formats` describes it; rows that cannot be used are left out, by number and reason.
"""

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import accumulate, chain, islice
from pathlib import Path
from typing import NamedTuple, overload

from engine.contract.jsonl import LONGEST_LINE
from engine.contract.settings import Source
from engine.data import left_out
from engine.data.files import InTurn, Line, Reader, reader_of
from engine.data.formats import canonical
from engine.data.left_out import LeftOut, Origin, Reasons
from engine.data.mixture import Part
from engine.data.rows import DataError as DataError  # methods know rows and their faults by this module
from engine.data.rows import Row as Row
from engine.data.rows import UnusableRow
from engine.data.split import is_held_out
from engine.data.tasks import Task, TaskError, find_task

#: The column that tells which task made a row, so that its verifier can be found again.
TASK = "_task"
#: Rows between two signs of life.
AT_ONCE = 1000
#: Rows that a task makes where nobody says how many.
TASK_ROWS = 10_000


@dataclass(frozen=True)
class Table:
    """Rows of one or several sources, one after the other, and the tasks among those by name.

    numbers, origins: by what each row is told, and in which file, see `left_out`; without them rows count from 1.
    left_out: rows of the sources that cannot be used, and why. seen: how many rows the sources have.
    """

    rows: Sequence[Row]
    tasks: dict[str, Task] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    numbers: Sequence[int] = ()
    origins: tuple[Origin, ...] = ()
    left_out: LeftOut = field(default_factory=dict)
    seen: int = 0

    def numbered(self, rows: LeftOut) -> LeftOut:
        """By the numbers in their files, what is given by rows of this table, from 1."""
        return {reason: array("q", map(self._number, places)) for reason, places in rows.items()}

    def parts_without(self, rows: LeftOut) -> tuple[Part, ...]:
        """How many rows of each source stay when these, by their numbers, are left out."""
        firsts = [origin.first for origin in self.origins]
        lost = Counter(bisect_right(firsts, number) - 1 for numbers in rows.values() for number in numbers)
        return tuple(part._replace(rows=part.rows - lost[i]) for i, part in enumerate(self.parts))

    def _number(self, place: int) -> int:
        return self.numbers[place - 1] if self.numbers else place

    @property
    def unusable(self) -> str:
        """Which rows of the sources cannot be used and why, in words; empty if all can."""
        return left_out.told(self.left_out, self.seen, "rows", self.origins)

    def first(self, count: int) -> "Table":
        """The same with its first rows only."""
        return replace(self, rows=self.rows[:count], parts=())


class UsableRows(Sequence[Row]):
    """Rows of several sources, each read when it is asked for; until then it takes 8 bytes."""

    def __init__(self, sources: Sequence[tuple[Callable[[int], Row], Sequence[int]]]) -> None:
        """sources: what finds a row by its key, and the keys."""
        self._sources = sources
        self._ends = list(accumulate(len(keys) for _, keys in sources))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        which = bisect_right(self._ends, place)
        read, keys = self._sources[which]
        return read(keys[place - self._ends[which]])


def load_rows(sources: list[Source], method: str | None = None, *, breathe: Callable[[], None] = lambda: None) -> Table:
    """What `method` can use of the sources; without a method, every row as it is. Raises DataError, TaskError.

    breathe: called often, as a large file takes minutes.
    """
    return _load(sources, method, lambda row: False, breathe)[0]


def load_split(
    sources: list[Source], method: str, *, share: float, seed: int, breathe: Callable[[], None] = lambda: None
) -> tuple[Table, Table]:
    """What trains, and what is held out: a share of the prompts, chosen by seed. Raises DataError, TaskError."""
    train, held_out = _load(sources, method, partial(is_held_out, share=share, seed=seed), breathe)
    if not train.rows or not held_out.rows:
        what = "holds out nothing" if train.rows else "leaves nothing to train on"
        total = len(train.rows) + len(held_out.rows)
        raise DataError(f"data.eval_share: {share:g} of {total} rows {what}; choose another share, or give more rows")
    return train, replace(held_out, left_out={})


class _Found(NamedTuple):
    """What a source has. keys, numbers: of the rows that train, and of those that are held out. lines: in all."""

    read: Callable[[int], Row]
    keys: "tuple[array[int], array[int]]"
    numbers: "tuple[array[int], array[int]]"
    left_out: LeftOut
    lines: int


def _load(
    sources: list[Source], method: str | None, is_held_out: Callable[[Row], bool], breathe: Callable[[], None]
) -> tuple[Table, Table]:
    """The table that trains, and the table of what is held out."""
    tasks: dict[str, Task] = {}
    reasons = Reasons()
    origins: list[Origin] = []
    found: list[_Found] = []
    before = 0
    for source in sources:
        reader = _open(source, tasks)
        own = _look_through(source, reader, method, is_held_out, breathe, before)
        for reason, numbers in own.left_out.items():
            reasons.found.setdefault(reason, array("q")).extend(numbers)
        origins.append(Origin(Path(source.path).name, reader.unit, before + 1))
        found.append(own)
        before += own.lines
    weights = [source.weight for source in sources]
    train, held_out = (
        Table(
            rows=UsableRows([(own.read, own.keys[side]) for own in found]),
            tasks=tasks,
            parts=tuple(Part(len(own.keys[side]), w) for own, w in zip(found, weights, strict=True)),
            numbers=array("q", chain.from_iterable(own.numbers[side] for own in found)),
            origins=tuple(origins),
            left_out=reasons.found,
            seen=sum(len(keys) for own in found for keys in own.keys) + sum(map(len, reasons.found.values())),
        )
        for side in (0, 1)
    )
    return train, held_out


def _open(source: Source, tasks: dict[str, Task]) -> Reader:
    """What reads the source; a task is also put among the tasks."""
    if not source.path.startswith("task:"):
        return reader_of(source)
    task = tasks[source.path] = find_task(source.path, source.options)
    try:
        rows = task.rows(source.rows or TASK_ROWS, source.seed, source.split)
    except TaskError as error:
        raise TaskError(f"{source.path}: {error}") from error
    return InTurn([{**row, TASK: source.path} for row in rows])


def _look_through(
    source: Source,
    reader: Reader,
    method: str | None,
    is_held_out: Callable[[Row], bool],
    breathe: Callable[[], None],
    before: int,
) -> _Found:
    """Which rows can be used. before: lines of earlier sources. Raises DataError if none can."""
    use = partial(_used, source=source, method=method)
    keys, numbers, reasons = (array("q"), array("q")), (array("q"), array("q")), Reasons()
    seen = last = 0
    for line in islice(_lines(source, reader), source.rows):
        if seen % AT_ONCE == 0:
            breathe()
        seen, last = seen + 1, line.number
        try:
            side = int(is_held_out(use(line.row)))
        except UnusableRow as why:
            reasons.add(str(why), before + last)
            continue
        keys[side].append(line.key)
        numbers[side].append(before + last)
    if not any(map(len, keys)):
        origins = [Origin(Path(source.path).name, reader.unit, before + 1)]
        none = f"no row can be used: {left_out.reasons(reasons.found, origins)}; mend it, or choose other data"
        raise DataError(f"{source.path}: {none if seen else 'no rows; give a source that has some'}")
    return _Found(lambda key: use(reader.at(key)), keys, numbers, reasons.found, last)


def _lines(source: Source, reader: Reader) -> Iterator[Line]:
    try:
        yield from reader.lines()
    except OSError as error:
        raise DataError(f"{source.path}: could not be read: {error.strerror or error}; check the file") from error


def _used(row: Row | str, *, source: Source, method: str | None) -> Row:
    """The row as the method reads it. Raises UnusableRow."""
    if isinstance(row, str):
        raise UnusableRow(row)
    if any(isinstance(value, str) and len(value) > LONGEST_LINE for value in row.values()):
        raise UnusableRow(f"is longer than {LONGEST_LINE // 2**20} MB")
    return row if method is None else canonical(row, method, format=source.format, columns=source.columns)
