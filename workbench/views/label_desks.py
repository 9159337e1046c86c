"""The pages where a labelling set is planned, imported and exported; each is made when it is first wanted."""

from collections.abc import Collection
from pathlib import Path

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QWidget

from engine.contract.labels import LabelDir
from workbench.io.label_desk import LabelDesk
from workbench.state.new_set import Start
from workbench.theme import Theme
from workbench.views.export_page import ExportPage
from workbench.views.import_page import ImportPage
from workbench.views.new_set_page import NewSetPage


class LabelDesks(QObject):
    """Emits `left` when the person is done with any of them."""

    left = Signal()

    def __init__(self, io: LabelDesk, labels: Path) -> None:
        """labels: the folder of the sets; exports go beside it."""
        super().__init__()
        self._io = io
        self._exports = labels.parent / "exports"
        self.new: NewSetPage | None = None
        self.imported: ImportPage | None = None
        self.exported: ExportPage | None = None

    @property
    def pages(self) -> list[QWidget]:
        return [page for page in (self.new, self.imported, self.exported) if page is not None]

    def new_set(self, start: Start, taken: Collection[str]) -> NewSetPage:
        if self.new is None:
            self.new = NewSetPage(self._io)
            self.new.left.connect(self.left)
        self.new.begin(start, taken)
        return self.new

    def importing(self, taken: Collection[str]) -> ImportPage:
        if self.imported is None:
            self.imported = ImportPage(self._io)
            self.imported.left.connect(self.left)
        self.imported.begin(taken)
        return self.imported

    def exporting(self, label_dir: LabelDir, kind: str) -> ExportPage:
        """kind: what is judged in the set, text or image."""
        if self.exported is None:
            self.exported = ExportPage(self._io)
            self.exported.left.connect(self.left)
        self.exported.begin(label_dir, self._exports, kind)
        return self.exported

    def is_importing(self, page: QWidget | None) -> bool:
        return page is self.imported

    def press(self, page: QWidget | None) -> None:
        """What the main button of a page does."""
        if self.new is not None and page is self.new:
            self.new.make()
        elif self.imported is not None and page is self.imported:
            self.imported.form.press()
        elif self.exported is not None and page is self.exported:
            self.exported.form.press()

    def set_theme(self, colours: Theme) -> None:
        for page in (self.new, self.imported, self.exported):
            if page is not None:
                page.set_theme(colours)
