"""A new labelling set: how it is called, what is asked, where its items come from; beside it the first of them."""

from collections.abc import Collection, Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QPlainTextEdit, QPushButton, QWidget

from engine.contract.faults import Fault, Key
from engine.contract.labels_plan import ItemsPlan
from workbench import theme
from workbench.io.label_desk import LabelDesk, Model
from workbench.io.label_engine import Order
from workbench.state import new_set
from workbench.state.items_words import about_plan, said_of_plan
from workbench.state.new_set import EMPTY, SOURCES, Kind, Start, new_draft
from workbench.state.preset_draft import Change
from workbench.theme import Theme
from workbench.views.desk import Desk
from workbench.views.labels import column, label, row
from workbench.views.preset_entry import leave_fields
from workbench.views.preset_form import SectionGroup
from workbench.views.preset_row import LABEL_WIDTH, WIDE, SettingRow
from workbench.views.source_card import SourceCard

GUIDELINE_HEIGHT = 64
ASK = "Say where the items come from"
HINT = "The first prompts, or pairs, of what you choose on the left show here before anything is made."
LOOKING = "Looking at the files …"


class NewSetPage(QWidget):
    """Emits `left` when the person is done with it."""

    left = Signal()

    def __init__(self, io: LabelDesk) -> None:
        super().__init__()
        self._io = io
        self._plan: tuple[Order, ItemsPlan] | None = None
        self._asked: Order | None = None
        self._wants_items = False
        self._fault_at = -1
        self._models: Sequence[Model] = ()
        self._colours = theme.LIGHT
        self.draft = new_draft(EMPTY, ())
        self.desk = Desk("New judging set", "Make the items", "What comes first")
        self.set_group = SectionGroup(new_set.set_section(), is_inner=True)
        self.guideline = QPlainTextEdit()
        self.cards: list[SourceCard] = []
        self.adding = {kind: QPushButton(title) for kind, (title, _) in SOURCES.items()}
        self._lay_out()
        self._connect()

    def begin(self, start: Start, taken: Collection[str]) -> None:
        """Begin a form. taken: names of the sets there are."""
        self.draft = new_draft(start, taken)
        self.guideline.setPlainText("")
        self._plan, self._wants_items = None, False
        for group in self.cards:
            self._drop(group)
        self.cards = []
        self.desk.table.show_rows([])
        self.desk.about.setText(start.why or HINT)
        self._io.list_models()
        self._follow()
        self.desk.touch()
        first = self.cards[0].source.rows[0].entry() if self.cards and self.cards[0].source.rows else None
        self.setFocusProxy(first or self.adding["written"])

    def make(self) -> None:
        """Fill the set, once the engine has looked at exactly what is entered; all that is wrong is told first."""
        leave_fields(self)
        self.draft.is_pressed = True
        self.desk.hold()
        order = self._order()
        if self.draft.is_whole and self._plan is not None and self._plan[0] == order:
            self._io.make(order)
            return
        self._wants_items = True
        self._follow()
        self._look()

    def set_theme(self, colours: Theme) -> None:
        self._colours = colours
        self.desk.set_theme(colours)
        self.set_group.apply_theme(colours)
        for source in self.cards:
            source.set_theme(colours)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def go_to_next_fault(self) -> None:
        """Put the keyboard into the next field that is wrong."""
        faults = self.draft.faults
        if faults:
            self._fault_at = (self._fault_at + 1) % len(faults)
            found = self._row_at(faults[self._fault_at].key)
            target = found.entry() if found is not None else self.adding["written"]
            target.setFocus(Qt.FocusReason.ShortcutFocusReason)
            self.desk.show_widget(found or target)

    # ------------------------------------------------------------------------------------------------- what happens

    def _connect(self) -> None:
        io, desk = self._io, self.desk
        desk.left.connect(self.left)
        desk.wanted.connect(self.make)
        desk.rested.connect(self._look)
        desk.next_fault.connect(self.go_to_next_fault)
        self.set_group.changed.connect(self._apply)
        self.guideline.textChanged.connect(self._take_guideline)
        for kind, button in self.adding.items():
            button.clicked.connect(lambda _=False, kind=kind: self._add(kind))
        io.looked.connect(lambda which, plan: self._show_plan(plan) if which == "items" else None)
        io.refused.connect(lambda which, faults: self._show_faults(faults) if which == "items" else None)
        io.failed.connect(lambda which, message: self._show_failure(message) if which == "items" else None)
        io.offered.connect(self._offer)

    def _apply(self, change: Change) -> None:
        self.draft.apply(change)
        self._changed()

    def _changed(self) -> None:
        self._wants_items = False
        self._fault_at = -1
        self._follow()
        self.desk.touch()

    def _take_guideline(self) -> None:
        self.draft.values["guideline"] = self.guideline.toPlainText()

    def _add(self, kind: Kind) -> None:
        new_set.add_source(self.draft, kind)
        self._changed()
        self.cards[-1].source.rows[0].entry().setFocus(Qt.FocusReason.OtherFocusReason)
        self.desk.show_widget(self.cards[-1])

    def _order(self) -> Order:
        values = self.draft.values
        question = str(values.get("question", ""))
        return Order(str(values["name"]), question, str(values["guideline"]), new_set.recipe_text(self.draft))

    def _look(self) -> None:
        if self.draft.values["parts"]:
            self.desk.say(LOOKING)
            self._asked = self._order()
            self._io.look_at_items(self._asked)

    def _show_plan(self, plan: ItemsPlan) -> None:
        order = self._asked or self._order()
        self._plan = order, plan  # of what was entered when the engine was asked; more may have been typed since
        self.desk.table.show_rows([row for part in plan.parts for row in part.first])
        self.desk.about.setText(about_plan(plan))
        self._follow()
        if self._wants_items and self.draft.is_whole and order == self._order():
            self._wants_items = False
            self._io.make(order)

    def _show_faults(self, faults: list[Fault]) -> None:
        self._plan = None
        self.draft.tell(faults)
        self._follow()
        if self._wants_items:
            self._wants_items = False
            self.go_to_next_fault()

    def _show_failure(self, message: str) -> None:
        self._wants_items = False
        self.desk.say(message)

    def _offer(self, models: Sequence[Model]) -> None:
        self._models = models
        for source in self.cards:
            source.set_models(models)

    # --------------------------------------------------------------------------------------------------- what it shows

    def _follow(self) -> None:
        """Show the draft as it is; sources are built anew only where their shape differs."""
        shapes = [
            (part["kind"], new_set.writers_of(self.draft, at)) for at, part in enumerate(self.draft.values["parts"])
        ]
        if shapes != [source.shape for source in self.cards]:
            self._rebuild()
        self.set_group.show_draft(self.draft)
        for source in self.cards:
            source.show_draft(self.draft)
        faults = self.draft.faults
        self.desk.show_faults(faults)
        self.desk.say(self._sentence(bool(faults)))
        self.desk.action.setEnabled(bool(self.cards))

    def _sentence(self, has_faults: bool) -> str:
        if not self.cards:
            return ASK
        if has_faults:
            return "Mend what is marked, then the items can be made"
        is_fresh = self._plan is not None and self._plan[0] == self._order()
        return said_of_plan(self._plan[1]) if self._plan is not None and is_fresh else ""

    def _rebuild(self) -> None:
        for source in self.cards:
            self._drop(source)
        self.cards = [SourceCard(self.draft, at) for at in range(len(self.draft.values["parts"]))]
        for at, source in enumerate(self.cards):
            source.set_theme(self._colours)
            source.set_models(self._models)
            source.changed.connect(self._apply)
            source.removed.connect(lambda at=at: self._restructure(new_set.remove_source, at))
            source.writer_added.connect(lambda at=at: self._restructure(new_set.add_writer, at))
            source.writer_removed.connect(lambda writer, at=at: self._restructure(new_set.remove_writer, at, writer))
            self._sources.addWidget(source)
        self._fit()

    def _restructure(self, change: object, *places: int) -> None:
        change(self.draft, *places)  # type: ignore[operator]
        self._changed()

    def _drop(self, source: SourceCard) -> None:
        self._sources.removeWidget(source)
        # Hidden at once, gone later: the press that led here may come from a button of this very card.
        source.hide()
        source.deleteLater()

    def _row_at(self, key: Key) -> SettingRow | None:
        if key[:1] == ("parts",):
            return next((found for card in self.cards if (found := card.row_at(key)) is not None), None)
        setting = next((s for s in self.set_group.section.settings if s.key == key), None)
        return self.set_group.reveal(setting) if setting is not None else None

    def _fit(self) -> None:
        is_wide = self.desk.form_width >= WIDE
        self.set_group.set_wide(is_wide)
        for source in self.cards:
            source.set_wide(is_wide)

    def _lay_out(self) -> None:
        self.guideline.setAccessibleName("Guideline")
        self.guideline.setPlaceholderText("What people are told to look at (optional); each judgement records it")
        self.guideline.setTabChangesFocus(True)
        self.guideline.setFixedHeight(GUIDELINE_HEIGHT)
        name = label("Guideline")
        name.setFixedWidth(LABEL_WIDTH)
        name.setBuddy(self.guideline)
        told = row(name, self.guideline, space=1)
        told.setAlignment(name, Qt.AlignmentFlag.AlignTop)
        told.setContentsMargins(26, theme.SPACE[1], theme.SPACE[2], theme.SPACE[2])
        self._sources = column(space=2)
        offers = column(label("Add items from", "strong"), space=1)
        for kind, button in self.adding.items():
            about = label(SOURCES[kind][1], "muted", wrap=True)
            about.setBuddy(button)
            button.setFixedWidth(190)
            line = row(button, about)
            line.setStretch(1, 1)
            offers.addLayout(line)
        offers.setContentsMargins(26, theme.SPACE[2], theme.SPACE[2], theme.SPACE[4])
        body = column(self.set_group, space=1)
        body.setContentsMargins(theme.SPACE[1], 0, theme.SPACE[3], 0)
        body.addLayout(told)
        body.addLayout(self._sources)
        body.addLayout(offers)
        body.addStretch(1)
        self.desk.body.setLayout(body)
        self.setLayout(column(self.desk))
