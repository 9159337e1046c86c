"""The cursor of a chart: which sample keys and mouse put it on, and what is read out there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtCore import Qt

from workbench.state import figures
from workbench.state.series import Series
from workbench.views.chart_line import ChartLine
from workbench.views.chart_overlay import Area, Marker, Readout
from workbench.views.scales import Scale, Span
from workbench.views.x_link import XLink

PAGE = 0.1  # of the shown range: what Page Up and Page Down move by
MARKER_REACH = 4  # px from the cursor within which a marker's words are read out


class ChartCursor:
    """Moves the shared cursor from sample to sample of one chart's lines. lines: read, never written."""

    def __init__(self, link: XLink, lines: Mapping[str, ChartLine], x_name: str) -> None:
        self._link = link
        self._lines = lines
        self._x_name = x_name

    def take_key(self, key: int) -> bool:
        """Do what a key asks for; False if it asks for nothing here."""
        first, last = self._link.x_range
        page = PAGE * (last - first)
        match key:
            case Qt.Key.Key_Left:
                self._step(-1)
            case Qt.Key.Key_Right:
                self._step(1)
            case Qt.Key.Key_PageUp:
                self.point_at(self._or(last) - page)
            case Qt.Key.Key_PageDown:
                self.point_at(self._or(first) + page)
            case Qt.Key.Key_Home:
                self._link.set_cursor(None)
                self._link.reset()
            case Qt.Key.Key_Escape if self._link.cursor is not None:
                self._link.set_cursor(None)
            case _:
                return False
        return True

    def point_at(self, x: float) -> None:
        """Put the cursor on the sample nearest to x."""
        found = [s for line in self._lines.values() if (s := line.series.value_at(x)) is not None]
        if found:
            self._link.set_cursor(min(found, key=lambda sample: abs(sample.x - x)).x)

    def readout(self, x: float | None, scale: Scale, area: Area, markers: Sequence[Marker]) -> Readout | None:
        """The value of every line at x, and what happened there."""
        if x is None or not self._lines:
            return None
        points = tuple(
            line.reading(sample, scale, is_named=len(self._lines) > 1)
            for line in self._lines.values()
            if (sample := line.series.value_at(x)) is not None
        )
        reach = MARKER_REACH * (area.x[1] - area.x[0]) / max(area.rect.width(), 1.0)
        near = [marker.text for marker in markers if abs(marker.x - x) <= reach and marker.text]
        heading = " · ".join([f"{self._x_name} {figures.tick(x, 1)}", *near[:1]])
        return Readout(x, heading, points, lambda x0, x1: self._heights_between(x0, x1, scale))

    def _heights_between(self, x0: float, x1: float, scale: Scale) -> Span | None:
        found = [e for line in self._lines.values() if (e := line.series.extrema(x0, x1)) is not None]
        if not found:
            return None
        return scale.height(min(e.low for e in found)), scale.height(max(e.high for e in found))

    def _step(self, offset: int) -> None:
        series = max((line.series for line in self._lines.values()), key=len, default=Series())
        at = self._link.cursor
        found = series.last if at is None else series.neighbour(at, offset)
        if found is not None:
            self._link.set_cursor(found.x)

    def _or(self, start: float) -> float:
        return start if self._link.cursor is None else self._link.cursor
