"""The labelling sets of the workspace: how far each is judged, and what can be done with it."""

import time
from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QLineEdit, QMenu, QPushButton, QStackedWidget, QToolButton, QWidget

from engine.contract.labels import LabelDir
from workbench import theme
from workbench.io.label_sets import Summary
from workbench.state import figures
from workbench.state.filling import Filling, in_brief
from workbench.state.label_preset import offered
from workbench.theme import Theme
from workbench.views.filling_strip import FillingStrip
from workbench.views.labels import card, column, label, row
from workbench.views.tables import Column, PlainTable

COLUMNS = (
    Column("set", 200),
    Column("what is asked"),
    Column("items", 150, is_figure=True),
    Column("judged by you", 140, is_figure=True),
    Column("by anybody", 110, is_figure=True),
    Column("last", 120, is_figure=True),
)
#: Place of the column that tells how far a set is filled.
ITEMS = 2
PURPOSE = (
    "Here you say which of two answers is better, with one key each. Nothing tells which model wrote which, each "
    "judgement is on the disk before the next pair appears, and what you said trains a reward model or DPO."
)
DEMO = "The demo set holds 60 pairs that a small model wrote. It needs no model and no download; ten take a minute."


class SetList(QStackedWidget):
    """opened: a set is to be judged. quality_wanted, training_wanted: with a set, and a method. new_wanted,
    import_wanted, export_wanted (with a set): another page is to open. stop_wanted, go_on_wanted: of a set that is
    being filled."""

    opened = Signal(object)
    quality_wanted = Signal(object)
    training_wanted = Signal(object, str)
    demo_wanted = Signal()
    new_wanted = Signal()
    import_wanted = Signal()
    export_wanted = Signal(object)
    stop_wanted = Signal(object)
    go_on_wanted = Signal(object)
    labeller_chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._summaries: list[Summary] = []
        self._wanted: LabelDir | None = None
        self._colours = theme.LIGHT
        self.table = PlainTable("Labelling sets", COLUMNS)
        # What tells two sets of one run apart stands at the end of their names.
        self.table.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.labeller = QLineEdit()
        self.labeller.setMaximumWidth(160)
        self.labeller.setAccessibleName("You judge as")
        self.judge = QPushButton("Judge")
        self._quality = QPushButton("How good are these labels?")
        self._train = training_button()
        self._export = QPushButton("Export…")
        self._new = [QPushButton("New set…"), QPushButton("Make a set of your own")]
        self._import = [QPushButton("Import…"), QPushButton("Import judgements")]
        self._fillings: dict[str, Filling] = {}
        self.strip = FillingStrip()
        self._demo = QPushButton("Make the demo set")
        self.first = QPushButton("Judge the 60 demo pairs")
        self._fault = label(role="fault", wrap=True, selectable=True)
        self._fill_pages()
        self._connect()

    def show_sets(self, summaries: list[Summary], labeller: str) -> None:
        """List them; the chosen one stays chosen."""
        chosen = self.chosen
        self._summaries = summaries
        if not self.labeller.hasFocus():
            self.labeller.setText(labeller)
        self._demo.setVisible(all(summary.name != "demo" for summary in summaries))
        self._fill()
        places = {summary.label_dir: at for at, summary in enumerate(summaries)}
        at = places.get(chosen.label_dir, 0) if chosen is not None else 0
        if self._wanted in places:
            at, self._wanted = places[self._wanted], None
        self.table.setCurrentCell(at, 0)
        self._show_chosen()
        page = 2 if summaries else 1
        if self.currentIndex() != page:
            self.setCurrentIndex(page)
            self.setFocusProxy(self.table if summaries else self.first)
            if self.isVisible():
                self.setFocus()

    @property
    def chosen(self) -> Summary | None:
        at = self.table.currentRow()
        return self._summaries[at] if 0 <= at < len(self._summaries) else None

    def set_theme(self, colours: Theme) -> None:
        self._colours = colours
        self.strip.set_theme(colours)
        self._fill()

    def choose(self, label_dir: LabelDir) -> None:
        """Choose this set as soon as it is listed."""
        self._wanted = label_dir

    def show_fillings(self, fillings: Sequence[Filling]) -> None:
        """Which sets are being filled, or were until something ended it."""
        self._fillings = {filling.name: filling for filling in fillings}
        for at, summary in enumerate(self._summaries):
            self.table.set_cell(at, ITEMS, self._items_of(summary), self._colours.colour("muted"))
        self._show_filling()

    def _show_filling(self) -> None:
        summary = self.chosen
        self.strip.show_filling(self._fillings.get(summary.name) if summary is not None else None)

    def _items_of(self, summary: Summary) -> str:
        """How many there are; while they are being written, how far that is."""
        filling = self._fillings.get(summary.name)
        return in_brief(filling) if filling is not None else figures.count(summary.items)

    def _fill(self) -> None:
        muted = self._colours.colour("muted")
        self.table.setRowCount(len(self._summaries))
        for at, summary in enumerate(self._summaries):
            age = figures.ago(time.time() - summary.latest) if summary.latest else ""
            judged = f"{figures.count(summary.judged)} of {figures.count(summary.items)}"
            cells = (
                summary.name,
                summary.question or "cannot be opened",
                self._items_of(summary),
                judged,
                figures.count(summary.answered),
                age,
            )
            for place, text in enumerate(cells):
                self.table.set_cell(at, place, text, None if place in (0, 3) else muted)

    def _show_chosen(self) -> None:
        summary = self.chosen
        is_sound = summary is not None and not summary.fault
        self.judge.setEnabled(is_sound)
        for button in (self._quality, self._train, self._export):
            button.setEnabled(is_sound and summary is not None and summary.answered > 0)
        fill_training_menu(self._train, summary.kind if summary is not None else "")
        self._fault.setText(summary.fault if summary is not None else "")
        self._fault.setVisible(bool(self._fault.text()))
        self._show_filling()

    def _with_chosen(self, signal: object) -> None:
        if (summary := self.chosen) is not None and not summary.fault:
            signal.emit(summary.label_dir)  # type: ignore[attr-defined]

    def _fill_pages(self) -> None:
        blank = QWidget()  # nothing to say until the folder was read
        box = card()
        box.setFixedWidth(520)
        theme.set_role(self.first, "primary")
        self.first.setMinimumHeight(40)
        words = [label("Judge pairs of answers", "page-title"), label(PURPOSE, wrap=True), label(DEMO, wrap=True)]
        for button in (self._new[1], self._import[1]):
            theme.set_role(button, "quiet")
        inner = column(*words, self.first, self._new[1], self._import[1], space=3)
        inner.setContentsMargins(32, 32, 32, 24)
        box.setLayout(inner)
        first_time = QWidget()
        outer = column(None, None, space=0)
        outer.insertLayout(1, row(None, box, None))
        first_time.setLayout(outer)
        for page in (blank, first_time, self._list_page()):
            self.addWidget(page)

    def _list_page(self) -> QWidget:
        theme.set_role(self.judge, "primary")
        theme.set_role(self._demo, "quiet")
        page = QWidget()
        top = row(self.judge, self._quality, self._train, self._export, None, self._new[0], self._import[0])
        below = row(None, self._demo, label("You judge as", "muted"), self.labeller)
        layout = column(space=3)
        layout.addLayout(top)
        layout.addWidget(self._fault)
        layout.addWidget(self.strip)
        layout.addWidget(self.table, 1)
        layout.addLayout(below)
        page.setLayout(layout)
        return page

    def _connect(self) -> None:
        self.table.currentCellChanged.connect(lambda *_: self._show_chosen())
        self.table.activated.connect(lambda _: self._with_chosen(self.opened))
        self.judge.clicked.connect(lambda: self._with_chosen(self.opened))
        self._export.clicked.connect(lambda: self._with_chosen(self.export_wanted))
        for button in self._new:
            button.clicked.connect(self.new_wanted)
        for button in self._import:
            button.clicked.connect(self.import_wanted)
        self.strip.stopped.connect(lambda: self._with_chosen(self.stop_wanted))
        self.strip.went_on.connect(lambda: self._with_chosen(self.go_on_wanted))
        self._quality.clicked.connect(lambda: self._with_chosen(self.quality_wanted))
        self._train.menu().triggered.connect(lambda action: self._ask_to_train(action.data()))
        for button in (self._demo, self.first):
            button.clicked.connect(self.demo_wanted)
        self.labeller.editingFinished.connect(lambda: self.labeller_chosen.emit(self.labeller.text().strip()))

    def _ask_to_train(self, method: str) -> None:
        if (summary := self.chosen) is not None:
            self.training_wanted.emit(summary, method)


def training_button() -> QToolButton:
    """A button with a menu of the methods that learn from judgements; see `fill_training_menu`."""
    button = QToolButton()
    button.setText("Train on these…")
    button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
    button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextOnly)
    button.setMenu(QMenu(button))
    fill_training_menu(button, "text")
    return button


def fill_training_menu(button: QToolButton, kind: str) -> None:
    """Offer what learns from judgements of texts, or of pictures where `kind` is image."""
    menu = button.menu()
    menu.clear()
    for method, title in offered(kind).items():
        menu.addAction(title).setData(method)
