"""The Judge page: the labelling sets, a sitting with one of them, and how good its labels are."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from PySide6.QtCore import Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QStackedWidget, QWidget

from engine.contract.labels import LabelDir
from workbench import theme
from workbench.io.fillings import Fillings
from workbench.io.label_desk import LabelDesk
from workbench.io.label_engine import Order
from workbench.io.label_sets import Summary
from workbench.io.labelling import Event, Labelling
from workbench.state.label_preset import Method, preset_for, usual
from workbench.state.label_quality import Quality
from workbench.state.new_set import EMPTY, Start, new_draft, recipe_text
from workbench.theme import Theme
from workbench.views.label_desks import LabelDesks
from workbench.views.set_list import SetList
from workbench.views.sitting_view import SittingView

if TYPE_CHECKING:
    from workbench.views.quality_page import QualityPage


class JudgePage(QStackedWidget):
    """Emits `preset_wanted` with the text and name of a preset, and `said` with a sentence for the person."""

    preset_wanted = Signal(str, str)
    said = Signal(str)

    def __init__(self, labelling: Labelling, desk: LabelDesk, fillings: Fillings, keys: Mapping[str, str]) -> None:
        """keys: how the key of each action of a sitting is written."""
        super().__init__()
        self._labelling = labelling
        self._desk = desk
        self._fillings = fillings
        self.desks = LabelDesks(desk, labelling.folder)
        self.sets = SetList()
        self.sitting = SittingView(labelling, keys)
        self.quality: QualityPage | None = None
        self._assessed = "", 0
        self._colours = theme.LIGHT
        for page in (self.sets, self.sitting):
            self.addWidget(page)
        self._connect()
        self._show_part(self.sets)

    @property
    def is_judging(self) -> bool:
        return self.currentWidget() is self.sitting

    def act(self, action: str) -> None:
        self.sitting.act(action)

    def let_go(self) -> bool:
        """Out of what is open, one step; False if nothing is."""
        if self.currentWidget() is self.sets:
            return False
        if not self.is_judging:
            self._show_part(self.sets)
        elif not self.sitting.let_go():
            self._labelling.close_set()
        return True

    def open(self, label_dir: LabelDir) -> None:
        """Sit down with a set."""
        self._labelling.open(label_dir)

    def show_quality(self, name: str, found: Quality) -> None:
        """Out of the sitting, to what can be said of its labels."""
        self._labelling.close_set()
        page = self._quality_page()
        page.show_quality(name, found, self._kind_of(name))
        self._assessed = name, found.judgements
        self._show_part(page)

    def set_theme(self, colours: Theme) -> None:
        self._colours = colours
        self.sets.set_theme(colours)
        self.sitting.set_theme(colours)
        self.desks.set_theme(colours)
        if self.quality is not None:
            self.quality.set_theme(colours)

    @property
    def label_dir(self) -> LabelDir | None:
        """The set that is judged or whose labels are assessed, or else the one that is chosen in the list."""
        if self._labelling.opened is not None:
            return self._labelling.opened.label_dir
        if self.quality is not None and self.currentWidget() is self.quality:
            return self._assessed_set()
        chosen = self.sets.chosen
        return chosen.label_dir if chosen is not None and self.currentWidget() is self.sets else None

    @property
    def is_at_desk(self) -> bool:
        """Whether a set is being planned, imported or exported."""
        return self.currentWidget() in self.desks.pages

    @property
    def label_state(self) -> str:
        """Whether the chosen set is "filling", "unfinished" or just "there"; "" without one."""
        if (label_dir := self.label_dir) is None:
            return ""
        filling = self._fillings.of(label_dir.path.name)
        return "there" if filling is None else "filling" if filling.status.is_alive else "unfinished"

    def label_set(self, action: str) -> None:
        """What a command asks for: new, import, export, press, train, stop, go_on."""
        actions = {
            "new": self.new_set,
            "import": self.import_set,
            "export": self.export_set,
            "press": lambda: self.desks.press(self.currentWidget()),
            "train": self.train_on_set,
            "stop": self.stop_items,
            "go_on": self.go_on_with_items,
        }
        actions[action]()

    def new_set(self, start: Start = EMPTY) -> None:
        """Plan a set: where its items come from."""
        self._sit_at(self.desks.new_set(start, self._names()))

    def _make_at_once(self, start: Start) -> None:
        """Make a set as it stands in `start`, and sit down with it."""
        draft = new_draft(start, ())
        values = draft.values
        question = str(values.get("question", ""))
        self._desk.make(Order(str(values["name"]), question, str(values["guideline"]), recipe_text(draft)))

    def import_set(self) -> None:
        self._sit_at(self.desks.importing(self._names()))

    def export_set(self) -> None:
        """Write the chosen set in another form."""
        if (label_dir := self.label_dir) is not None:
            self._sit_at(self.desks.exporting(label_dir, self._kind_of(label_dir.path.name)))

    def train_on_set(self) -> None:
        """Begin the preset that learns from the chosen set as sets of its kind usually are learned from."""
        if (label_dir := self.label_dir) is not None:
            summary = self._summary_of(label_dir.path.name)
            if self._has_just_judged(label_dir):  # the list counts a set when it is closed
                self._train_on_open()
            elif summary is not None and summary.answered:
                self._train(summary, usual(summary.kind))
            else:
                self.said.emit(f"{label_dir.path.name} has no judgements yet; judge some of it first.")

    def stop_items(self) -> None:
        """Stop what fills the chosen set, after the prompt that is being answered."""
        if (label_dir := self.label_dir) is not None:
            self._desk.ask(label_dir.generation, "stop")

    def go_on_with_items(self) -> None:
        if (label_dir := self.label_dir) is not None:
            self._desk.go_on(label_dir)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._labelling.list_sets()

    def _names(self) -> list[str]:
        return [summary.name for summary in self._labelling.sets]

    def _sit_at(self, page: QWidget) -> None:
        self._labelling.close_set()
        if self.indexOf(page) < 0:
            self.addWidget(page)
        self.desks.set_theme(self._colours)
        self._show_part(page)

    def _quality_page(self) -> "QualityPage":
        """Made when it is first wanted, as charts take their time to import."""
        if self.quality is None:
            from workbench.views.quality_page import QualityPage

            self.quality = QualityPage()
            self.quality.set_theme(self._colours)
            self.quality.left.connect(lambda: self._show_part(self.sets))
            self.quality.training_wanted.connect(
                lambda method: self._offer(self._assessed[0], method, self._assessed[1])
            )
            self.quality.settling_wanted.connect(lambda: self._labelling.open(self._assessed_set(), is_settling=True))
            self.quality.equal_length_wanted.connect(
                lambda is_on: self._labelling.read_quality(self._assessed_set(), at_equal_length=is_on)
            )
            self.addWidget(self.quality)
        return self.quality

    def _assessed_set(self) -> LabelDir:
        return LabelDir(self._labelling.folder / self._assessed[0])

    def _connect(self) -> None:
        labelling = self._labelling
        labelling.listed.connect(lambda found: self.sets.show_sets(found, labelling.labeller))
        labelling.happened.connect(self._follow)
        labelling.failed.connect(self._show_failure)
        labelling.told.connect(self.said)
        self.sets.opened.connect(labelling.open)
        self.sets.demo_wanted.connect(labelling.make_demo)
        self.sets.labeller_chosen.connect(labelling.judge_as)
        self.sets.training_wanted.connect(self._train)
        self.sets.quality_wanted.connect(labelling.read_quality)
        self.sets.new_wanted.connect(self.new_set)
        self.sets.import_wanted.connect(self.import_set)
        self.sets.export_wanted.connect(self.export_set)
        self.sets.stop_wanted.connect(self.stop_items)
        self.sets.go_on_wanted.connect(self.go_on_with_items)
        self.sets.strip.run_asked.connect(self._desk.ask)
        self.desks.left.connect(lambda: self._show_part(self.sets))
        self._desk.made.connect(self._made)
        self._desk.failed.connect(lambda _, sentence: self._tell(sentence))
        self._desk.refused.connect(lambda _, faults: self._tell("\n".join(map(str, faults))))
        self._desk.suggested.connect(self.new_set)
        self._desk.ready.connect(self._make_at_once)
        self._fillings.changed.connect(self.sets.show_fillings)
        self._fillings.changed.connect(lambda _: self._show_growth())
        self._fillings.grown.connect(labelling.list_sets)
        self.sets.show_fillings(self._fillings.unfinished)
        labelling.quality_read.connect(self.show_quality)
        self.sitting.aside.training_wanted.connect(self._train_on_open)
        self.sitting.aside.quality_wanted.connect(self._read_quality_of_open)
        self.sitting.aside.going_on_wanted.connect(self.go_on_with_items)

    def _follow(self, event: Event) -> None:
        if event.what == "closed":
            self._labelling.list_sets()
            self._show_part(self.sets)
            return
        self.sitting.follow(event)
        if event.what == "opened":
            self._show_growth()
            self._show_part(self.sitting)

    def _show_growth(self) -> None:
        opened = self._labelling.opened
        self.sitting.aside.show_filling(self._fillings.of(opened.label_dir.path.name) if opened is not None else None)

    def _tell(self, sentence: str) -> None:
        """What went wrong where no form is open in which it could stand."""
        if not self.is_at_desk:
            self.said.emit(sentence)

    def _made(self, label_dir: LabelDir) -> None:
        """Judging begins with the first item there is; what was imported is judged already."""
        self._fillings.look()
        self.sets.choose(label_dir)
        self._labelling.list_sets()
        if self.is_at_desk and self.desks.is_importing(self.currentWidget()):
            self._show_part(self.sets)
        else:
            self._labelling.open(label_dir)

    def _show_failure(self, sentence: str) -> None:
        if self.is_judging:
            self.sitting.show_failure(sentence)
        else:
            self.said.emit(sentence)

    def _train(self, summary: Summary, method: Method) -> None:
        self._offer(summary.name, method, summary.answered)

    def _offer(self, name: str, method: Method, judged: int) -> None:
        summary = self._summary_of(name)
        text = preset_for(name, method, judged, summary.made_by if summary is not None else "")
        self.preset_wanted.emit(text, f"{name}-{method.replace('_', '-')}")

    def _has_just_judged(self, label_dir: LabelDir) -> bool:
        opened = self._labelling.opened
        return opened is not None and opened.label_dir == label_dir and opened.sitting.progress.done > 0

    def _train_on_open(self) -> None:
        if (opened := self._labelling.opened) is not None:
            method = usual(self._kind_of(opened.label_dir.path.name))
            self._offer(opened.label_dir.path.name, method, opened.sitting.progress.done)

    def _summary_of(self, name: str) -> Summary | None:
        return next((summary for summary in self._labelling.sets if summary.name == name), None)

    def _kind_of(self, name: str) -> str:
        summary = self._summary_of(name)
        return summary.kind if summary is not None else ""

    def _read_quality_of_open(self) -> None:
        if (opened := self._labelling.opened) is not None:
            self._labelling.read_quality(opened.label_dir)

    def _show_part(self, part: QWidget) -> None:
        self.setCurrentWidget(part)
        self.setFocusProxy(part)
        if self.isVisible():
            part.setFocus()
