"""How busy this machine is, sampled off the thread that draws."""

from dataclasses import dataclass

import psutil
from PySide6.QtCore import QObject, QTimer, Signal

from workbench.io.background import Background

INTERVAL_MS = 2000
#: Over which the load is measured; the first reading would have nothing to compare with otherwise.
WINDOW_SECONDS = 0.1


@dataclass(frozen=True)
class Gpu:
    """busy: 0 to 1, or None where the driver does not say. Memory in bytes."""

    index: int
    name: str
    busy: float | None
    used: int
    total: int


@dataclass(frozen=True)
class Readings:
    """busy: of all cores, 0 to 1. Memory in bytes."""

    busy: float
    used: int
    total: int
    gpus: tuple[Gpu, ...]


class SystemReadings(QObject):
    """Emits `read` every two seconds while started."""

    read = Signal(object)

    def __init__(self, background: Background) -> None:
        super().__init__()
        self._background = background
        self._is_reading = False
        self._timer = QTimer(self, interval=INTERVAL_MS)
        self._timer.timeout.connect(self._ask)

    def start(self) -> None:
        self._timer.start()
        self._ask()

    def stop(self) -> None:
        self._timer.stop()

    def _ask(self) -> None:
        if not self._is_reading:
            self._is_reading = True
            self._background.submit(sample, self._answer, self._could_not)

    def _answer(self, readings: Readings) -> None:
        self._is_reading = False
        self.read.emit(readings)

    def _could_not(self, error: Exception) -> None:
        self._timer.stop()  # a machine that does not tell its load is no reason to disturb anyone


def sample() -> Readings:
    """The load just now. Takes a moment: the GPU driver is asked too."""
    busy, memory = psutil.cpu_percent(WINDOW_SECONDS) / 100, psutil.virtual_memory()
    return Readings(busy, memory.total - memory.available, memory.total, tuple(_gpus()))


def _gpus() -> list[Gpu]:
    import pynvml  # late: it costs start-up time, and most machines have no use for it

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        return [_gpu(index) for index in range(pynvml.nvmlDeviceGetCount())]
    finally:
        pynvml.nvmlShutdown()


def _gpu(index: int) -> Gpu:
    import pynvml

    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    try:
        busy = pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
    except pynvml.NVMLError:
        busy = None
    return Gpu(index, str(pynvml.nvmlDeviceGetName(handle)), busy, int(memory.used), int(memory.total))
