"""The charts of a run: the method's own first, the rest below, all over one x."""

import time

from PySide6.QtCore import QEvent, QObject, Qt, QTimer
from PySide6.QtWidgets import QFrame, QGridLayout, QPushButton, QScrollArea, QVBoxLayout, QWidget

from engine.contract import metrics
from workbench import theme
from workbench.state.run import RunChanges, RunState
from workbench.theme import Theme
from workbench.views.chart_overlay import Marker
from workbench.views.labels import label
from workbench.views.plotting import Chart
from workbench.views.x_link import XLink

NARROWEST = 250
LOWEST = 148
HIGHEST = 360
MOST_COLUMNS = 4
FRAME_MS = 33
#: A redraw may take a third of the time, so that a window full of charts still answers.
REST = 2.0
#: Smoothing 100,000 steps anew takes 10 ms a chart, and a window that is busy for longer than 50 ms feels stuck.
TURN_SECONDS = 0.016
#: Set, not measured: a smoothed line of them would show what never was.
EXACT = frozenset({"learning_rate", "num_tokens"})


def columns_for(width: int, charts: int) -> int:
    """How many charts stand side by side: as fits, without leaving a lone one in the last row where that helps."""
    fitting = max(1, min(MOST_COLUMNS, width // NARROWEST, charts))
    return 3 if fitting == 4 and charts <= 6 and width < 1800 else fitting


def title_of(name: str) -> str:
    """What a chart is called, with its unit."""
    known = metrics.describe(name)
    return f"{known.title}, {known.unit}" if known.unit else known.title


def hint_of(name: str) -> str:
    """A metric's name as it is reported, what it means, and who defined it."""
    known = metrics.describe(name)
    wish = {"up": "higher is better", "down": "lower is better"}.get(known.direction, "")
    return "\n".join(line for line in (name, known.meaning, wish, known.paper) if line)


class MetricBoard(QScrollArea):
    """Redraws at most thirty times a second, and only charts whose metric changed."""

    def __init__(self) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.link = XLink(self)
        self._colours = theme.LIGHT
        self._smoothing = 0.9
        self._state: RunState | None = None
        self._charts: dict[str, Chart] = {}
        self._markers: list[Marker] = []
        self._first: list[str] = []
        self._rest: list[str] = []
        self._is_open = False
        self._body = QWidget()
        theme.set_role(self._body, "scrolled")
        self._grid, self._more_grid = QGridLayout(), QGridLayout()
        self._more = QPushButton()
        theme.set_role(self._more, "quiet")
        self._more.clicked.connect(self._toggle_more)
        self._waiting = label("", "muted")
        self._waiting.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._lay_out()
        self._dirty: set[str] = set()
        self._drawn_at = 0.0
        self._cost = 0.0
        self._frame = QTimer(self, singleShot=True)
        self._frame.timeout.connect(self._draw)
        self.link.range_changed.connect(lambda *_: self._touch(set(self._charts)))
        self.verticalScrollBar().valueChanged.connect(lambda _: self._touch(set(self._charts)))
        self.viewport().installEventFilter(self)

    def show_state(self, state: RunState, changes: RunChanges) -> None:
        """Draw what changed of this run; another `state` object replaces all curves."""
        if state is not self._state:
            self._state = state
            changes = RunChanges(set(state.series), facts=True)
            self._charts_follow(state)
        self.link.set_total(float(state.steps) if state.steps else None)
        names = state.charted() if state.series else []
        board = metrics.board(state.method) if state.method else []
        first, rest = [n for n in names if n in board], [n for n in names if n not in board]
        if (first, rest) != (self._first, self._rest):
            self._first, self._rest = first, rest
            self._arrange()
        self._adopt(changes.metrics)
        if changes.facts:
            self._mark(state)
        self._touch(changes.metrics)

    def show_waiting(self, text: str) -> None:
        """What is being waited for, while there is no curve yet."""
        self._waiting.setText(text)
        self._waiting.setVisible(bool(text))

    def forget(self) -> None:
        """Another run comes: keep the charts that it will need too, without their curves."""
        self._state = None
        self._markers = []
        self.link.clear()
        self.verticalScrollBar().setValue(0)
        for chart in self._charts.values():
            chart.clear()
            chart.set_markers([])
        self._touch(set(self._charts))

    def set_smoothing(self, weight: float) -> None:
        self._smoothing = weight
        for chart in self._charts.values():
            chart.set_smoothing(weight)

    def set_theme(self, colours: Theme) -> None:
        self._colours = colours
        for chart in self._charts.values():
            chart.set_theme(colours)

    def let_go(self) -> bool:
        """Give up the cursor or the zoom, whichever there is; False if there was neither."""
        if self.link.cursor is not None:
            self.link.set_cursor(None)
        elif self.link.is_zoomed:
            self.link.reset()
        else:
            return False
        return True

    def close_down(self) -> None:
        self._frame.stop()

    @property
    def charts(self) -> dict[str, Chart]:
        """Those that stand on the board, by metric."""
        return dict(self._charts)

    @property
    def not_drawn(self) -> frozenset[str]:
        """Metrics that changed since their chart was drawn."""
        return frozenset(self._dirty)

    @property
    def is_drawn(self) -> bool:
        """Whether the charts show all they were told of."""
        return bool(self._charts) and not self._dirty

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if watched is self.viewport() and event.type() == QEvent.Type.Resize:
            self._arrange()
        return False

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self._body)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(theme.SPACE[2])
        for grid in (self._grid, self._more_grid):
            grid.setContentsMargins(0, 0, 0, 0)
            grid.setSpacing(theme.SPACE[2])
        layout.addWidget(self._waiting, 1)
        layout.addLayout(self._grid)
        layout.addWidget(self._more, 0, Qt.AlignmentFlag.AlignLeft)
        layout.addLayout(self._more_grid)
        layout.addStretch(0)
        self.setWidget(self._body)
        self._more.hide()
        self._waiting.hide()

    def _arrange(self) -> None:
        """Put the charts into their cells; only those that stand elsewhere now are moved."""
        shown = self._rest if self._is_open else []
        for name in [name for name in self._charts if name not in self._first and name not in shown]:
            self._charts.pop(name).deleteLater()
        columns = columns_for(self.viewport().width(), len(self._first) or 1)
        self._place(self._grid, self._first, columns)
        self._place(self._more_grid, shown, columns)
        word = "Fewer charts" if self._is_open else f"{len(self._rest)} more charts"
        self._more.setText(word)
        sign = "chevron-up" if self._is_open else "chevron-down"
        self._more.setIcon(theme.icon(sign, self._colours.colour("muted")))
        self._more.setVisible(bool(self._rest))

    def _place(self, grid: QGridLayout, names: list[str], columns: int) -> None:
        rows = -(-len(names) // columns)
        free = self.viewport().height() - (self._more.sizeHint().height() if self._rest else 0)
        height = min(max((free - rows * theme.SPACE[2]) // max(min(rows, 2), 1), LOWEST), HIGHEST)
        for at, name in enumerate(names):
            chart = self._charts.get(name) or self._make(name, at)
            chart.setFixedHeight(height)
            grid.addWidget(chart, at // columns, at % columns)
        for at in range(MOST_COLUMNS):
            grid.setColumnStretch(at, 1 if at < columns else 0)

    def _make(self, name: str, at: int) -> Chart:
        chart = Chart(title_of(name), self.link, self._colours)
        chart.set_title(title_of(name), hint_of(name))
        chart.set_smoothing(self._smoothing)
        chart.set_markers(self._markers)
        self._charts[name] = chart
        self._adopt({name})
        self._touch({name})
        return chart

    def _adopt(self, names: set[str]) -> None:
        """Give charts their series once there is one."""
        for name in names & self._charts.keys():
            series = self._state.series.get(name) if self._state else None
            if series is not None and self._state is not None:
                at = (self._first + self._rest).index(name) if name in self._first + self._rest else 0
                is_dense = name not in self._state.measured and name not in EXACT
                self._charts[name].show_series(name, series, colour_index=at % 8, is_smoothed=is_dense)

    def _mark(self, state: RunState) -> None:
        """A hairline where a new life of the run began."""
        self._markers = [Marker(float(resumed.from_step), "resume", "resumed") for resumed in state.resumes]
        for chart in self._charts.values():
            chart.set_markers(self._markers)

    def _charts_follow(self, state: RunState) -> None:
        """Take the curves of another state of the same run; zoom and cursor stay."""
        for name in self._charts.keys() - state.series.keys():
            self._charts[name].clear()
        self._adopt(set(self._charts))

    def _toggle_more(self) -> None:
        self._is_open = not self._is_open
        self._arrange()

    def _touch(self, names: set[str]) -> None:
        """Redraw these soon: at once if the last redraw was long enough ago."""
        self._dirty |= names & self._charts.keys()
        if self._dirty and not self._frame.isActive():
            pause = max(FRAME_MS / 1000, REST * self._cost)
            self._frame.start(max(0, round(1000 * (self._drawn_at + pause - time.perf_counter()))))

    def _draw(self) -> None:
        """Draw what is due, in the order it stands; what does not fit into a turn waits for the next."""
        began = time.perf_counter()
        for name in [name for name in self._charts if name in self._dirty]:
            self._dirty.discard(name)
            self._charts[name].refresh()
            if time.perf_counter() - began > TURN_SECONDS:
                break
        self._dirty &= self._charts.keys()
        self._drawn_at = time.perf_counter()
        self._cost = self._drawn_at - began
        if self._dirty:
            self._frame.start(1)
