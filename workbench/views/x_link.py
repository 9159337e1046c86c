"""What the charts of a board share: one range of x and one cursor."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from workbench.views.scales import Span, stepped


class XLink(QObject):
    """One x for many charts. A chart tells it what it holds and where the user points; it tells all."""

    range_changed = Signal(float, float)
    cursor_moved = Signal(object)  # float, or None when the cursor left

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._total: float | None = None
        self._held: Span | None = None
        self._auto: Span | None = None
        self._zoom: Span | None = None
        self._cursor: float | None = None

    @property
    def x_range(self) -> Span:
        return self._zoom or self.whole_range

    @property
    def whole_range(self) -> Span:
        """What is shown when nothing is zoomed."""
        return self._auto or (0.0, self._total or 1.0)

    @property
    def is_zoomed(self) -> bool:
        return self._zoom is not None

    @property
    def cursor(self) -> float | None:
        return self._cursor

    def set_total(self, total: float | None) -> None:
        """The x at which the run will end, where that is known."""
        if total != self._total:
            self._total = total
            before, self._auto = self.x_range, stepped(*self._held, None, total) if self._held else None
            self._tell(before)

    def include(self, first: float, last: float) -> None:
        """A chart has samples from first to last. The range grows in steps, and never shrinks by itself."""
        before, held = self.x_range, self._held or (first, last)
        self._held = min(first, held[0]), max(last, held[1])
        self._auto = stepped(*self._held, self._auto, self._total)
        self._tell(before)

    def clear(self) -> None:
        """Another run is shown: forget the range, the zoom and the cursor."""
        before = self.x_range
        self._held = self._auto = self._zoom = None
        self.set_cursor(None)
        self._tell(before)

    def zoom(self, first: float, last: float) -> None:
        before, self._zoom = self.x_range, (first, last)
        self._tell(before)

    def reset(self) -> None:
        """Show everything again. Told even where x stays, as a chart may have zoomed its own y."""
        self._zoom = None
        self.range_changed.emit(*self.x_range)

    def set_cursor(self, x: float | None) -> None:
        if x != self._cursor:
            self._cursor = x
            self.cursor_moved.emit(x)

    def _tell(self, before: Span) -> None:
        if self.x_range != before:
            self.range_changed.emit(*self.x_range)
