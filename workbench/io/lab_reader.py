"""Reads what a proof of samplers or a toy of two dimensions has left so far, off the thread that draws."""

from typing import NamedTuple

from PySide6.QtCore import QObject, Signal

from engine.contract.proof import Proof, read_proof
from engine.contract.run_dir import RunDir
from engine.contract.toy import Toy, read_moment, read_toy, steps_in
from workbench.io.background import Background
from workbench.state.lab import Plane, plane_of


class Found(NamedTuple):
    """proof, toy: what there is of both. steps: the training step of each of the toy's records."""

    proof: Proof | None
    toy: Toy | None
    steps: list[int]


class Seen(NamedTuple):
    """One moment of one of the toy's records."""

    record: int
    moment: int
    plane: Plane


class LabReader(QObject):
    """found: Found. seen: Seen; of several moments that were asked for, the last one counts."""

    found = Signal(object)
    seen = Signal(object)

    def __init__(self, run: RunDir, background: Background) -> None:
        super().__init__()
        self._run = run
        self._background = background
        self._toy: Toy | None = None
        self._wanted: tuple[int, int] | None = None
        self._is_looking = False
        self._is_reading = False
        self._is_closed = False

    def close(self) -> None:
        self._is_closed = True

    def look(self) -> None:
        """See what is there now; `found` tells."""
        if not self._is_looking and not self._is_closed:
            self._is_looking = True
            self._background.submit(self._find, self._tell, lambda _: self._tell(Found(None, None, [])))

    def want(self, record: int, moment: int) -> None:
        """Read a moment; `seen` gives it."""
        self._wanted = (record, moment)
        self._read_next()

    def _find(self) -> Found:
        path = self._run.path
        toy = read_toy(path)
        return Found(read_proof(path), toy, [] if toy is None else steps_in(path, toy))

    def _tell(self, found: Found) -> None:
        self._is_looking = False
        self._toy = found.toy
        if not self._is_closed:
            self.found.emit(found)

    def _read_next(self) -> None:
        if self._wanted is None or self._is_reading or self._toy is None or self._is_closed:
            return
        (record, moment), self._wanted, toy = self._wanted, None, self._toy
        self._is_reading = True

        def read() -> Seen | None:
            data = read_moment(self._run.path, toy, record, moment)
            return None if data is None else Seen(record, moment, plane_of(toy, data))

        self._background.submit(read, self._was_read, lambda _: self._was_read(None))

    def _was_read(self, seen: Seen | None) -> None:
        self._is_reading = False
        if seen is not None and not self._is_closed:
            self.seen.emit(seen)
        self._read_next()
