"""The only user of threads: work that may wait for a disk or a process, off the thread that draws."""

import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from PySide6.QtCore import QObject, Qt, Signal

T = TypeVar("T")
Job = tuple[Callable[[], Any], Callable[[Any], None], Callable[[Exception], None]]


class Background(QObject):
    """A few threads that take jobs in order; results are handed over on the thread that owns this object."""

    _done = Signal(object, object)

    def __init__(self, threads: int = 2, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._is_closed = False
        self._done.connect(self._deliver, Qt.ConnectionType.QueuedConnection)
        # Daemons: a scan that hangs on a network disk must not keep a closed window's process alive.
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def submit(
        self, job: Callable[[], T], done: Callable[[T], None], failed: Callable[[Exception], None] | None = None
    ) -> None:
        """Run `job` elsewhere, then `done` with its result here. Without `failed` an error reaches sys.excepthook."""
        if not self._is_closed:
            self._jobs.put((job, done, failed or _raise))

    def close(self, patience: float = 2.0) -> None:
        """Take no more jobs and wait up to `patience` seconds for the running ones. Their results are dropped."""
        self._is_closed = True
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join(patience)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            run, done, failed = job
            try:
                result = run()
            except Exception as error:  # noqa: BLE001  whatever it is, it is told on the thread that asked
                self._hand_over(failed, error)
            else:
                self._hand_over(done, result)

    def _hand_over(self, receiver: Callable[[Any], None], result: object) -> None:
        if not self._is_closed:
            self._done.emit(receiver, result)

    def _deliver(self, receiver: Callable[[Any], None], result: object) -> None:
        if not self._is_closed:
            receiver(result)


def _raise(error: Exception) -> None:
    raise error
