"""The folder a window works in: runs, presets, and who else looks at it."""

import re
from pathlib import Path
from typing import IO, Any

from PySide6.QtCore import QSettings

from engine.contract import locks
from engine.contract.image_settings import ASSETS

DEFAULT = Path("~/Plumbline")


class Workspace:
    """Paths within a workspace, and its lock while a window holds it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[bytes] | None = None

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    @property
    def presets(self) -> Path:
        return self.path / "presets"

    @property
    def labels(self) -> Path:
        return self.path / "labels"

    @property
    def shown(self) -> str:
        """The path as a person would type it."""
        try:
            return f"~/{self.path.relative_to(Path.home())}"
        except ValueError:
            return str(self.path)

    def as_written(self, given: Any) -> Any:
        """Settings with paths as a person would write them: what ships by its name, the workspace's own from within."""
        match given:
            case dict():
                return {name: self.as_written(value) for name, value in given.items()}
            case list():
                return [self.as_written(value) for value in given]
            case str():
                return self._path_as_written(given)
        return given

    def text_as_written(self, preset: str) -> str:
        """A preset's text with its paths so, and all else, comments too, as it stands."""
        homes = "|".join(re.escape(str(home)) for home in (*self._homes(), _shipped()))
        scalar = rf"(?:(?<=[:,-] )|(?<=\[))(['\"]?)((?:{homes})[^'\"\n,}}\]]*)"
        return re.sub(scalar, lambda found: found[1] + self._path_as_written(found[2]), preset)

    def _path_as_written(self, text: str) -> str:
        path = Path(text)
        if path.parent == _shipped():
            return f"{ASSETS}{path.name}"
        home = next((home for home in self._homes() if path.is_relative_to(home) and path != home), None)
        return text if home is None else path.relative_to(home).as_posix()

    def _homes(self) -> tuple[Path, ...]:
        """The workspace as it is called, and where that is: engines write down the latter."""
        return self.path, self.path.resolve()

    def open(self) -> bool:
        """Make the folder and take its lock; False if another window has it. Raises OSError."""
        self.path.mkdir(parents=True, exist_ok=True)
        return self.take(patience=0.1)

    def take(self, patience: float = 0.0) -> bool:
        """Take the lock unless another window has it; whether this one has it now. patience: seconds to wait for it."""
        self._lock = self._lock or locks.hold(self.path / ".window.lock", patience=patience)
        return self._lock is not None

    def close(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def settings(self) -> QSettings:
        """Where this workspace's window keeps its arrangement."""
        return QSettings(str(self.path / ".window.ini"), QSettings.Format.IniFormat)


def own_presets() -> Path:
    """The presets that ship with the application."""
    return _application() / "presets"


def list_presets(workspace: Workspace) -> list[Path]:
    """Every preset file at hand: the person's own first."""
    folders = (workspace.presets, own_presets())
    return [path for folder in folders if folder.is_dir() for path in sorted(folder.glob("*.yaml"))]


def _shipped() -> Path:
    """Where the models of images lie that `assets:<name>` means."""
    return _application() / "assets" / "diffusion"


def _application() -> Path:
    return Path(__file__).resolve().parents[2]
