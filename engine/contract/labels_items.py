"""The items of a set by name, each read when it is asked for: 100,000 of them open in a tenth of a second."""

from collections.abc import Iterator, Mapping, Sequence

from engine.contract import jsonl
from engine.contract.labels import Item, LabelDir
from engine.contract.labels_log import CHUNK, damaged_item, read_item

_HEAD, _QUOTE, _ESCAPE, _END = b'{"id":"', b'"', b"\\", b"}"


class ItemLines(Mapping[str, Item]):
    """Items in their order. offset: the byte at which the next one will begin.

    A line that begins and ends as ours do counts as an item until somebody looks at it; every other is read at once.
    Raises ValueError with the line of one that is none: when it is made, when that item is asked for, and in `check`.
    """

    def __init__(self, label_dir: LabelDir, offset: int = 0) -> None:
        self._path = label_dir.items
        self._start = self.offset = offset
        self._lines: dict[str, bytes] = {}
        for chunk in jsonl.chunks(self._path, offset, at_most=CHUNK):
            self._add(chunk.lines)
            self.offset = chunk.offset

    def __getitem__(self, name: str) -> Item:
        try:
            return read_item(self._lines[name])
        except ValueError as error:
            raise damaged_item(self._path, list(self._lines).index(name), self._start, error) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def check(self) -> None:
        """Read every item once. Raises ValueError with the line of the first that is none."""
        for name in self._lines:
            self[name]

    def _add(self, lines: Sequence[bytes]) -> None:
        found, begin = self._lines, len(_HEAD)
        for line in lines:
            name = line[begin : line.find(_QUOTE, begin)]
            if name and line.startswith(_HEAD) and line.endswith(_END) and _ESCAPE not in name:
                found[name.decode("utf-8", "replace")] = line
            else:
                found[self._read(line).id] = line

    def _read(self, line: bytes) -> Item:
        try:
            return read_item(line)
        except ValueError as error:
            raise damaged_item(self._path, len(self._lines), self._start, error) from error
