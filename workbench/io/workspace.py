"""The folder a window works in: runs, presets, and who else looks at it."""

from pathlib import Path
from typing import IO

from PySide6.QtCore import QSettings

from engine.contract import locks

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

    def open(self) -> bool:
        """Make the folder and take its lock; False if another window has it. Raises OSError."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = locks.hold(self.path / ".window.lock", patience=0.1)
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
    return Path(__file__).resolve().parents[2] / "presets"


def list_presets(workspace: Workspace) -> list[Path]:
    """Every preset file at hand: the person's own first."""
    folders = (workspace.presets, own_presets())
    return [path for folder in folders if folder.is_dir() for path in sorted(folder.glob("*.yaml"))]
