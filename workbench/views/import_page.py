"""Judgements from elsewhere become a labelling set: which file, what it is called here, and its first rows."""

from collections.abc import Collection
from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from engine.contract.faults import Key
from engine.contract.labels_formats import Import
from workbench.io.label_desk import LabelDesk
from workbench.state.new_set import free_name
from workbench.theme import Theme
from workbench.views.desk import Desk
from workbench.views.file_desk import FileDesk, joined
from workbench.views.labels import column


class ImportPage(QWidget):
    """Emits `left` when the person is done with it."""

    left = Signal()

    def __init__(self, io: LabelDesk) -> None:
        super().__init__()
        self._taken: Collection[str] = ()
        self._names_itself = True
        self.form = FileDesk(Import, Desk("Import judgements", "Import", "The first rows of the file"), ("source",))
        self.form.left.connect(self.left)
        self.form.look_wanted.connect(io.look_at_import)
        self.form.wanted.connect(io.run_import)
        self.form.edited.connect(self._edited)
        joined(io.looked, "import", self.form.show_plan)
        joined(io.refused, "import", self.form.show_faults)
        joined(io.failed, "import", self.form.show_failure)
        self.setLayout(column(self.form))
        self.setFocusProxy(self.form)

    def begin(self, taken: Collection[str]) -> None:
        """Begin a form. taken: names of the sets there are."""
        self._taken, self._names_itself = taken, True
        self.form.begin({"source": "", "name": ""})

    def set_theme(self, colours: Theme) -> None:
        self.form.set_theme(colours)

    def _edited(self, key: Key) -> None:
        """Until somebody names the set, it takes the name of the file."""
        if key == ("name",):
            self._names_itself = False
        elif key == ("source",) and self._names_itself:
            stem = Path(str(self.form.draft.values.get("source", ""))).stem
            self.form.set(("name",), free_name(stem, self._taken) if stem else "")
