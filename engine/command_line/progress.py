"""How far long work has come, on standard error: a bar on a terminal, else a line every few seconds."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from engine.command_line import terminal

if TYPE_CHECKING:
    from engine.sampling import Pace


class Progress:
    """Entered while the work lasts. Standard output is left to the results."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._told_at = time.monotonic()

    def __enter__(self) -> "Progress":
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bar

            columns = (TextColumn("{task.description}", markup=False), BarColumn())
            self._bar = Bar(
                *columns,
                TextColumn("{task.fields[pace]}", markup=False),
                console=Console(file=sys.stderr),
                transient=True,
                # Answers are printed meanwhile as they are: a model's text is not rich's to mark up.
                redirect_stdout=True,
            )
            self._task = self._bar.add_task("", total=None, pace="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def phase(self, what: str) -> None:
        """Something that has no measure yet, such as loading."""
        if self._bar is None:
            terminal.complain(f"{what} …")
        else:
            self._bar.update(self._task, description=terminal.clean(what), total=None, pace="")

    def tell(self, what: str, *, share: float, pace: str, seconds_left: float | None) -> None:
        """share: of the work, 0 to 1. pace: how fast, in words."""
        left = f"{terminal.duration(seconds_left)} left" if seconds_left is not None else ""
        told = "  ".join(filter(None, [pace, left]))
        if self._bar is not None:
            self._bar.update(self._task, description=terminal.clean(what), total=1.0, completed=share, pace=told)
        elif time.monotonic() - self._told_at >= terminal.PLAIN_SECONDS:
            self._told_at = time.monotonic()
            terminal.complain(f"{what}: {share:.0%}  {told}")

    def of_share(self, what: str, share: float) -> None:
        """How far work has come whose pace nobody asks for."""
        self.tell(what, share=share, pace="", seconds_left=None)

    def of_sampling(self, pace: "Pace") -> None:
        """How far sampling has come."""
        what = f"answer {min(pace.done + 1, pace.wanted)} of {pace.wanted}"
        rate = f"{pace.tokens_per_second:.0f} tokens/s" if pace.tokens else ""
        self.tell(what, share=pace.share, pace=rate, seconds_left=pace.seconds_left)
