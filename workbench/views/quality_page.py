"""How good a set's labels are, and which model they prefer: sentences first, then the numbers, then the curves."""

import math

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QCheckBox, QFrame, QGridLayout, QPushButton, QScrollArea, QWidget

from workbench import theme
from workbench.state import figures, quality_words
from workbench.state.comparison import Place
from workbench.state.label_quality import Comparison, Quality, running_share
from workbench.state.quality_words import Row
from workbench.state.series import Series
from workbench.theme import Theme
from workbench.views.labels import card, column, label, row
from workbench.views.plotting import Chart
from workbench.views.quality_parts import IntervalStrip, ScaleBars
from workbench.views.set_list import fill_training_menu, training_button
from workbench.views.tables import ROW_HEIGHT, Column, PlainTable
from workbench.views.x_link import XLink

WIDEST = 1200
CHART_HEIGHT = 200
BOARD = (
    Column("model"),
    Column("strength, log-odds", 140, is_figure=True),
    Column("95% interval", 140, is_figure=True),
    Column("judgements", 100, is_figure=True),
)


class QualityPage(QScrollArea):
    """Emits `left` when the person is done reading, `training_wanted` with a method, `settling_wanted`, and
    `equal_length_wanted` with whether the comparison is to be made as if all answers were as long."""

    left = Signal()
    training_wanted = Signal(str)
    settling_wanted = Signal()
    equal_length_wanted = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self._colours = theme.LIGHT
        self._shown: Quality | None = None
        self._what = "answer"
        self._back = QPushButton("Back to the sets")
        self._back.clicked.connect(self.left)
        self._title = label(role="page-title")
        self._headline = label(selectable=True, wrap=True)
        self._train = training_button()
        self._train.menu().triggered.connect(lambda action: self.training_wanted.emit(action.data()))
        self.settle = QPushButton()
        self.settle.clicked.connect(self.settling_wanted)
        self.equal_length = QCheckBox("At equal length")
        self.equal_length.setToolTip("Take off what longer answers win by their length alone")
        self.equal_length.clicked.connect(self.equal_length_wanted)
        self._preferred = label(role="title", selectable=True, wrap=True)
        self._compared = label(role="muted", selectable=True, wrap=True)
        self._board = PlainTable("Models, the strongest first", BOARD)
        self._comparison = card()
        self._measures = QGridLayout()
        self.scale = ScaleBars()
        self._bars = card()
        self._link = XLink(self)
        self.times = Chart("Seconds each", self._link, theme.LIGHT, x_name="judgement")
        self.leaning = Chart("Share that won so far", self._link, theme.LIGHT, x_name="judgement")
        self._lay_out()
        self.setFocusProxy(self._back)

    def show_quality(self, name: str, found: Quality, kind: str = "text") -> None:
        """kind: what is judged, text or image."""
        self._what = "picture" if kind == "image" else "answer"
        fill_training_menu(self._train, kind)
        self.equal_length.setVisible(kind != "image")
        self._title.setText(name)
        self._shown = found
        said = [quality_words.headline(found), quality_words.drift(found)]
        self._headline.setText("  ".join(part for part in said if part))
        self._train.setEnabled(found.judgements > 0)
        self.settle.setText(quality_words.to_settle(found))
        self.settle.setVisible(bool(self.settle.text()))
        self._show_measures(quality_words.rows(found, self._what))
        self._show_comparison(found.comparison)
        self._compared.setText(quality_words.how_compared(found))
        self._compared.setVisible(bool(self._compared.text()))
        self.scale.show_counts(found.scale)
        self._bars.setVisible(any(found.scale))  # only a pair is judged on the scale
        self.leaning.setVisible(found.leaned_left.size > 0)
        self._show_curves(found)
        self.verticalScrollBar().setValue(0)

    def set_theme(self, colours: Theme) -> None:
        self._colours = colours
        for part in (self.scale, self.times, self.leaning):
            part.set_theme(colours)
        if self._shown is not None:
            self._show_measures(quality_words.rows(self._shown, self._what))

    @property
    def text(self) -> str:
        """What it says in sentences."""
        return f"{self._headline.text()} {self._preferred.text()}".strip()

    def _show_measures(self, rows: list[Row]) -> None:
        while (item := self._measures.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.hide()
                widget.deleteLater()
        for at, one in enumerate(rows):
            value = label(figures.share(one.share.value))
            value.setFont(theme.font("value"))
            value.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            strip = IntervalStrip(one.share, one.against, is_warning=one.is_warning, colours=self._colours)
            count = label(f"of {figures.count(one.share.total)}", "muted")
            meaning = label(one.meaning, "warning" if one.is_warning else "", wrap=True, selectable=True)
            for place, part in enumerate((label(one.title, "strong"), value, count, strip, meaning)):
                self._measures.addWidget(part, at, place)

    def _show_comparison(self, found: Comparison | None) -> None:
        self._comparison.setVisible(found is not None)
        self.equal_length.setChecked(found is not None and found.is_at_equal_length)
        self._preferred.setText(quality_words.preferred(found) if found is not None else "")
        places: list[Place] = found.board if found is not None else []
        short = quality_words.short_names([place.model for place in places])
        self._board.setVisible(bool(places))
        self._board.setRowCount(len(places))
        self._board.setFixedHeight(ROW_HEIGHT * (len(places) + 1) + theme.SPACE[3])
        for at, place in enumerate(places):
            known = f"{figures.signed(place.low, 2)} to {figures.signed(place.high, 2)}"
            interval = known if math.isfinite(place.low) else "too few prompts"
            cells = (short[place.model], figures.signed(place.strength, 2), interval, figures.count(place.votes))
            for column_at, text in enumerate(cells):
                self._board.set_cell(at, column_at, text)

    def _show_curves(self, found: Quality) -> None:
        self.times.clear()
        self.leaning.clear()
        self._link.clear()
        self._link.set_total(float(found.times.size or found.leaned_left.size))
        self.times.show_series("times", _series(found.times), "seconds", 0)
        left, long = running_share(found.leaned_left), running_share(found.leaned_long)
        self.leaning.show_series("left", _series(left), "left", 0, is_smoothed=False)
        if np.isfinite(found.leaned_long).any():
            self.leaning.show_series("longer", _series(long), "longer", 1, is_smoothed=False)
        self._link.reset()

    def _lay_out(self) -> None:
        top = row(self._title, None, self.settle, self._train, self._back)
        measures = card()
        self._measures.setHorizontalSpacing(theme.SPACE[4])
        self._measures.setVerticalSpacing(theme.SPACE[3])
        self._measures.setContentsMargins(theme.SPACE[5], theme.SPACE[4], theme.SPACE[5], theme.SPACE[4])
        self._measures.setColumnStretch(3, 2)
        self._measures.setColumnStretch(4, 5)
        measures.setLayout(self._measures)
        heading = row(label("Which model is preferred", "muted"), None, self.equal_length)
        compared = column(self._preferred, self._compared, self._board, space=1)
        compared.insertLayout(0, heading)
        compared.setContentsMargins(theme.SPACE[5], theme.SPACE[3], theme.SPACE[5], theme.SPACE[3])
        self._comparison.setLayout(compared)
        self._bars.setLayout(column(label("How often each key", "muted"), self.scale, margin=3))
        curves = row(self._bars, self.times, self.leaning)
        for part in (self._bars, self.times, self.leaning):
            part.setFixedHeight(CHART_HEIGHT)
        inside = column(space=3)
        inside.addLayout(top)
        for widget in (self._headline, self._comparison, measures):
            inside.addWidget(widget)
        inside.addLayout(curves)
        inside.addStretch(1)
        room = QWidget()
        room.setMaximumWidth(WIDEST)
        room.setLayout(inside)
        body = QWidget()
        theme.set_role(body, "scrolled")
        outer = row(space=0)
        outer.addStretch(1)
        outer.addWidget(room, 1000)
        outer.addStretch(1)
        body.setLayout(outer)
        self.setWidget(body)


def _series(values: np.typing.NDArray[np.float64]) -> Series:
    """Over the number of the judgement, from 1."""
    made = Series()
    made.extend(np.arange(1, values.size + 1, dtype=np.float64), values)
    return made
