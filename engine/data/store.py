"""What was tokenised, kept where it takes little memory: five bytes a token, on disk once there are many."""

import tempfile
import weakref
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar, overload

from engine.data.chat import Example

#: Bytes that are kept in memory; beyond it all goes to a file without a name, of which nothing is left.
IN_MEMORY = 64 * 2**20
#: An id of four bytes, and one that says whether it counts.
BYTES_A_TOKEN = 5

Item = TypeVar("Item")


class StoredExamples(Sequence[Example]):
    """Examples that are read when they are asked for. As lists they would take up to 50 bytes a token."""

    def __init__(self, folder: Path | None = None) -> None:
        """folder: on whose disk they go when they are many; None is the system's for such files."""
        where = None if folder is None else str(folder)
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY, mode="w+b", dir=where)  # noqa: SIM115 - see below
        weakref.finalize(self, self._file.close)
        self._ends = array("q", [0])
        self._is_cut = array("b")

    def append(self, example: Example) -> None:
        """One more. Raises OSError where the disk is full."""
        self._file.seek(BYTES_A_TOKEN * self._ends[-1])
        self._file.write(array("i", example.ids).tobytes() + bytes(example.is_target))
        self._ends.append(self._ends[-1] + len(example.ids))
        self._is_cut.append(example.is_cut)

    def __len__(self) -> int:
        return len(self._is_cut)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        start, end = self._ends[place], self._ends[place + 1]
        self._file.seek(BYTES_A_TOKEN * start)
        data = self._file.read(BYTES_A_TOKEN * (end - start))
        border = 4 * (end - start)
        flags = list(map(bool, data[border:]))
        return Example(array("i", data[:border]).tolist(), flags, bool(self._is_cut[place]))


def one_by_one(examples: Sequence[Example]) -> "Grouped[Sequence[Example]]":
    """Each example as an item of its own."""
    return Grouped(examples, range(1, len(examples) + 1), lambda _, one: one)


class Grouped(Sequence[Item], Generic[Item]):
    """Some examples at a time, as the items that are made of them."""

    def __init__(
        self, examples: Sequence[Example], ends: Sequence[int], make: Callable[[int, list[Example]], Item]
    ) -> None:
        """ends: after how many examples each item ends. make: from an item's place and its examples to the item."""
        self._examples = examples
        self._ends = ends
        self._make = make

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        start = self._ends[place - 1] if place else 0
        return self._make(place, list(self._examples[start : self._ends[place]]))
