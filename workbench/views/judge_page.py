"""The Judge page: the labelling sets, a sitting with one of them, and how good its labels are."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from PySide6.QtCore import Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QStackedWidget, QWidget

from engine.contract.labels import LabelDir
from workbench import theme
from workbench.io.label_sets import Summary
from workbench.io.labelling import Event, Labelling
from workbench.state.label_preset import Method, preset_for
from workbench.state.label_quality import Quality
from workbench.theme import Theme
from workbench.views.set_list import SetList
from workbench.views.sitting_view import SittingView

if TYPE_CHECKING:
    from workbench.views.quality_page import QualityPage


class JudgePage(QStackedWidget):
    """Emits `preset_wanted` with the text and name of a preset, and `said` with a sentence for the person."""

    preset_wanted = Signal(str, str)
    said = Signal(str)

    def __init__(self, labelling: Labelling, keys: Mapping[str, str]) -> None:
        """keys: how the key of each action of a sitting is written."""
        super().__init__()
        self._labelling = labelling
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
        page.show_quality(name, found)
        self._assessed = name, found.judgements
        self._show_part(page)

    def set_theme(self, colours: Theme) -> None:
        self._colours = colours
        self.sets.set_theme(colours)
        self.sitting.set_theme(colours)
        if self.quality is not None:
            self.quality.set_theme(colours)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._labelling.list_sets()

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
        labelling.quality_read.connect(self.show_quality)
        self.sitting.aside.training_wanted.connect(self._train_on_open)
        self.sitting.aside.quality_wanted.connect(self._read_quality_of_open)

    def _follow(self, event: Event) -> None:
        if event.what == "closed":
            self._labelling.list_sets()
            self._show_part(self.sets)
            return
        self.sitting.follow(event)
        if event.what == "opened":
            self._show_part(self.sitting)

    def _show_failure(self, sentence: str) -> None:
        if self.is_judging:
            self.sitting.show_failure(sentence)
        else:
            self.said.emit(sentence)

    def _train(self, summary: Summary, method: Method) -> None:
        self._offer(summary.name, method, summary.answered)

    def _offer(self, name: str, method: Method, judged: int) -> None:
        self.preset_wanted.emit(preset_for(name, method, judged), f"{name}-{method.replace('_', '-')}")

    def _train_on_open(self) -> None:
        if (opened := self._labelling.opened) is not None:
            self._offer(opened.label_dir.path.name, "dpo", opened.sitting.progress.done)

    def _read_quality_of_open(self) -> None:
        if (opened := self._labelling.opened) is not None:
            self._labelling.read_quality(opened.label_dir)

    def _show_part(self, part: QWidget) -> None:
        self.setCurrentWidget(part)
        self.setFocusProxy(part)
        if self.isVisible():
            part.setFocus()
