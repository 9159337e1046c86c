"""The top line: which page this is, the way to everything, and how busy the machine is."""

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QPushButton, QWidget

from workbench import theme
from workbench.io.system_readings import Gpu, Readings
from workbench.state import figures
from workbench.views.labels import label, row, tip


class Header(QWidget):
    """Emits `search_wanted` when the palette's field is pressed."""

    search_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._title = label(role="page-title")
        self._search = QPushButton("Search or do…      Ctrl+K")
        self._search.setMinimumWidth(230)
        theme.set_role(self._search, "search")
        self._search.clicked.connect(self.search_wanted)
        self._readings = label(role="muted")
        self.setLayout(row(self._title, None, self._search, self._readings, space=4))

    def show_title(self, title: str) -> None:
        self._title.setText(title)

    def show_readings(self, readings: Readings) -> None:
        machine = f"CPU {figures.share(round(readings.busy, 2))}   {_memory(readings.used, readings.total)}"
        gpus = "   ".join(_gpu(gpu) for gpu in readings.gpus)
        self._readings.setText(gpus or machine)
        names = "\n".join(f"GPU {gpu.index}: {gpu.name}" for gpu in readings.gpus)
        self._readings.setToolTip(tip(f"{machine}\n{names}".strip()))


def _gpu(gpu: Gpu) -> str:
    busy = "" if gpu.busy is None else f"{figures.share(gpu.busy)}  "
    return f"GPU {gpu.index}  {busy}{_memory(gpu.used, gpu.total)}"


def _memory(used: int, total: int) -> str:
    """Both in GB, the unit said once."""
    return f"{used / 1e9:.1f} of {figures.size(total)}"
