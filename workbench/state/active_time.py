"""How long somebody was really there: between two signs of life, and not while the clock was paused."""

from engine.contract.labels import Protocol
from engine.contract.labels_protocol import active_seconds


class ActiveTime:
    """A clock for one pair. Times are seconds of any clock that only goes forward."""

    def __init__(self, protocol: Protocol, now: float) -> None:
        self._protocol = protocol
        self._began = self._last = now
        self._active = 0.0
        self.is_paused = False

    def touch(self, now: float) -> None:
        """A key, a scroll, a move of the mouse: somebody is there."""
        if not self.is_paused:
            self._active += active_seconds([now - self._last], self._protocol)
        self._last = now

    def pause(self, now: float) -> None:
        self.touch(now)
        self.is_paused = True

    def go_on(self, now: float) -> None:
        self.touch(now)
        self.is_paused = False

    def read(self, now: float) -> tuple[float, float]:
        """Seconds since it was shown, and those of them that somebody was there."""
        self.touch(now)
        return now - self._began, self._active
