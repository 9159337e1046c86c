"""How long the phases of a step take."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from engine.tally import Mean, Values


class Timer:
    """Seconds spent in each phase of a step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

    def told(self) -> Values:
        return {f"timing/{name}": Mean(seconds, 1) for name, seconds in self.seconds.items()}
