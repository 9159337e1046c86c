"""The Judge page: the labelling sets, a sitting with one of them, and how good its labels are."""

from collections.abc import Mapping

from PySide6.QtCore import Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QStackedWidget

from engine.contract.labels import LabelDir
from workbench.io.label_sets import Summary
from workbench.io.labelling import Event, Labelling
from workbench.state.label_preset import Method, preset_for
from workbench.theme import Theme
from workbench.views.set_list import SetList
from workbench.views.sitting_view import SittingView


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
        if not self.is_judging:
            return False
        if not self.sitting.let_go():
            self._labelling.close_set()
        return True

    def open(self, label_dir: LabelDir) -> None:
        """Sit down with a set."""
        self._labelling.open(label_dir)

    def set_theme(self, colours: Theme) -> None:
        self.sets.set_theme(colours)
        self.sitting.set_theme(colours)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._labelling.list_sets()

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
        self.sitting.aside.training_wanted.connect(self._train_on_open)

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

    def _show_part(self, part: SetList | SittingView) -> None:
        self.setCurrentWidget(part)
        self.setFocusProxy(part)
        if self.isVisible():
            part.setFocus()
