"""A proof of samplers: the verdict in words, orders, laws, diffusers' images, and what steps buy."""

from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFrame, QGridLayout, QLabel, QScrollArea, QWidget

from engine.contract.proof import OrderCheck, Proof, named_sampler, verdict
from workbench import theme
from workbench.state import figures
from workbench.state.lab import LogLine
from workbench.theme import Theme
from workbench.views.labels import card, column, label, row
from workbench.views.log_plot import LogPlot
from workbench.views.tables import Column, PlainTable
from workbench.views.z_strip import ZStrip

ORDERS = "Error against the exact flow, and its order"
LAWS = "Samples against their sampler's own law, in standard errors"
PARITY = "Largest difference to diffusers, same noise"
STEPS = "Distance to the data, by looks of the network"
COLUMNS = (Column("sampler"), Column("steps", 60, is_figure=True), Column("differs by", 92, is_figure=True),
           Column("limit", 76, is_figure=True))  # fmt: skip
MARK = 16
#: Narrower, and the cards stand under each other.
TWO_COLUMNS = 720


class ProofPane(QScrollArea):
    """Shows a proof as far as it is."""

    def __init__(self) -> None:
        super().__init__()
        self._mark, self._words = QLabel(), label(role="strong", selectable=True, wrap=True)
        self._schedule = label(role="muted", selectable=True, wrap=True)
        self._failed = label(selectable=True, wrap=True)
        self._orders, self._steps = LogPlot(ORDERS, "steps"), LogPlot(STEPS, "looks")
        self._laws = ZStrip()
        self._parity = PlainTable("Against diffusers", COLUMNS)
        self._left_out = label(role="muted", selectable=True, wrap=True)
        parts = ((ORDERS, self._orders), (LAWS, self._laws), (STEPS, self._steps), (PARITY, self._parity))
        self._cards = [_titled(title, part) for title, part in parts]
        self._grid = QGridLayout()
        self._columns = 0
        self._colours = theme.LIGHT
        self._proof: Proof | None = None
        self._lay_out()

    def show_proof(self, proof: Proof | None) -> None:
        """None: nothing was found out yet."""
        if proof is not None and proof == self._proof:
            return
        self._proof = proof
        found = None if proof is None else verdict(proof)
        self._words.setText("Waiting for the first check." if found is None else found.words)
        self._failed.setText("" if found is None else "\n".join(found.failed))
        self._failed.setVisible(bool(found and found.failed))
        self._schedule.setText(_schedule_words(proof))
        self._orders.show_lines([] if proof is None else [_order_line(check) for check in proof.orders])
        self._laws.show_checks(() if proof is None else proof.laws)
        budgets = () if proof is None else proof.budgets
        self._steps.show_lines([LogLine(b.sampler, tuple(map(float, b.looks)), b.distances) for b in budgets])
        self._left_out.setText("" if proof is None or not proof.left_out else f"Left out: {'; '.join(proof.left_out)}.")
        self._left_out.setVisible(bool(self._left_out.text()))
        self._fill()

    def set_theme(self, colours: Theme) -> None:
        self._colours = colours
        for plot in (self._orders, self._steps, self._laws):
            plot.set_theme(colours)
        self._fill()

    @property
    def words(self) -> str:
        """The verdict as it stands."""
        return self._words.text()

    @property
    def failed(self) -> str:
        """What does not hold, a line each."""
        return self._failed.text()

    def _lay_out(self) -> None:
        theme.set_role(self._failed, "failed")
        head = row(self._mark, self._words, space=2)
        head.setStretch(1, 1)
        self._grid.setSpacing(theme.SPACE[2])
        self._arrange(2)
        inside = column(space=1, margin=1)
        inside.addLayout(head)
        for words in (self._schedule, self._failed, self._left_out):
            inside.addWidget(words)
        inside.addLayout(self._grid, 1)
        body = QWidget()
        body.setLayout(inside)
        self.setWidget(body)
        for ground in (body, self.viewport()):
            ground.setAutoFillBackground(False)  # the card behind shows through
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._arrange(2 if event.size().width() >= TWO_COLUMNS else 1)

    def _arrange(self, columns: int) -> None:
        """So many cards beside each other."""
        if columns == self._columns:
            return
        self._columns = columns
        for place, one in enumerate(self._cards):
            self._grid.addWidget(one, place // columns, place % columns)
        self._grid.setColumnStretch(0, 1)
        self._grid.setColumnStretch(1, 1 if columns == 2 else 0)

    def _fill(self) -> None:
        proof = self._proof
        self._parity.setRowCount(0 if proof is None else len(proof.parity))
        for at, check in enumerate(() if proof is None else proof.parity):
            cells = (
                named_sampler(check.sampler, check.eta), figures.count(check.steps),
                figures.number(check.difference, 2), figures.number(check.limit, 1),
            )  # fmt: skip
            colour = self._colours.colour("text" if check.holds else "failed")
            for place, text in enumerate(cells):
                self._parity.set_cell(at, place, text, colour)
        self._paint_mark()

    def _paint_mark(self) -> None:
        if self._proof is None:
            self._mark.clear()
            return
        found = verdict(self._proof)
        name, token = ("check", "finished") if found.holds else ("failed", "failed")
        self._mark.setPixmap(theme.pixmap(name, self._colours.colour(token), MARK, self.devicePixelRatioF()))


def _order_line(check: OrderCheck) -> LogLine:
    note = f"order {figures.fixed(check.order)}"
    return LogLine(check.sampler, tuple(map(float, check.steps)), check.errors, note, is_dashed=not check.holds)


def _schedule_words(proof: Proof | None) -> str:
    return "" if proof is None else f"On {proof.schedule}; {figures.count(proof.timesteps)} timesteps."


def _titled(title: str, part: QWidget) -> QFrame:
    made = card()
    inside = column(label(title, role="muted"), part, space=1)
    inside.setContentsMargins(theme.SPACE[2], theme.SPACE[1], theme.SPACE[2], theme.SPACE[1])
    inside.setStretch(1, 1)
    made.setLayout(inside)
    made.setMinimumHeight(190)
    return made
