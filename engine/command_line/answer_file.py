"""The file that `sample` and `evaluate` write answers to."""

import json
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from engine.contract.faults import Fault, PresetError


def check_new(path: Path | None) -> None:
    """Raises PresetError if the file is there already, or cannot be made."""
    if path is None:
        return
    if path.exists():
        raise PresetError(str(path), [Fault((), "", "is there already", "name a new file")])
    if not path.parent.is_dir():
        raise PresetError(str(path), [Fault((), "", "its folder does not exist", "make the folder, or name another")])


class AnswerFile:
    """A new file that is made with its first line and grows line by line, so that what an interruption leaves is whole
    lines, and a failure before the first answer leaves nothing."""

    def __init__(self, path: Path | None) -> None:
        """path: None writes nowhere."""
        self._path = path
        self._file: TextIO | None = None

    def __enter__(self) -> "AnswerFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, told: dict[str, Any]) -> None:
        """One answer."""
        if self._path is None:
            return
        if self._file is None:
            self._file = self._path.open("x", encoding="utf-8")
        self._file.write(json.dumps(told, ensure_ascii=False) + "\n")
        self._file.flush()
