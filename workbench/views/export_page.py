"""A labelling set leaves in a form that others read: which one, where to, its first rows, and where it lies then."""

from pathlib import Path

from PySide6.QtCore import QUrl, Signal
from PySide6.QtGui import QDesktopServices, QGuiApplication
from PySide6.QtWidgets import QFileDialog, QPushButton, QWidget

from engine.contract.faults import Key
from engine.contract.labels import LabelDir
from engine.contract.labels_formats import EXPORTS, Export
from workbench import theme
from workbench.io.label_desk import LabelDesk
from workbench.theme import Theme
from workbench.views.desk import Desk
from workbench.views.file_desk import FileDesk, joined
from workbench.views.labels import column, label, row

USUAL = "preference"
USUAL_OF_PICTURES = "pick_a_pic"


class ExportPage(QWidget):
    """Emits `left` when the person is done with it."""

    left = Signal()

    def __init__(self, io: LabelDesk) -> None:
        super().__init__()
        self._io = io
        self._label_dir: LabelDir | None = None
        self._folder = Path()
        self._names_itself = True
        self._written: Path | None = None
        self.desk = Desk("Export", "Export", "The first rows as they will be written")
        self.form = FileDesk(Export, self.desk, ("dest",))
        self.purpose = label(role="muted", wrap=True)
        self._choose = QPushButton("Choose where to…")
        self.open_folder = QPushButton("Open the folder")
        self.copy_path = QPushButton("Copy its path")
        self._lay_out()
        self._connect()

    def begin(self, label_dir: LabelDir, folder: Path, kind: str) -> None:
        """Begin a form. folder: where exports go unless another place is chosen. kind: what is judged in the set."""
        usual = USUAL_OF_PICTURES if kind == "image" else USUAL
        self._label_dir, self._folder, self._names_itself = label_dir, folder, True
        self.desk.set_title(f"Export {label_dir.path.name}")
        self.form.begin({"dest": self._dest(usual), "format": usual})
        self._show_written(None)
        self._show_purpose()

    def set_theme(self, colours: Theme) -> None:
        self.form.set_theme(colours)

    def _connect(self) -> None:
        io, form = self._io, self.form
        form.left.connect(self.left)
        form.look_wanted.connect(self._look)
        form.wanted.connect(self._write)
        form.edited.connect(self._edited)
        joined(io.looked, "export", form.show_plan)
        joined(io.refused, "export", form.show_faults)
        joined(io.failed, "export", form.show_failure)
        io.exported.connect(self._show_written)
        self._choose.clicked.connect(self._choose_folder)
        self.open_folder.clicked.connect(self._open)
        self.copy_path.clicked.connect(self._copy)

    def _look(self, wish: Export) -> None:
        if self._label_dir is not None and self._written is None:
            self._io.look_at_export(self._label_dir, wish)

    def _write(self, wish: Export) -> None:
        if self._label_dir is not None:
            self._io.run_export(self._label_dir, wish)

    def _edited(self, key: Key) -> None:
        """Until somebody says where to, the folder is named after set and format."""
        self._show_written(None)
        self._show_purpose()
        if key == ("dest",):
            self._names_itself = False
        elif self._names_itself:
            self.form.set(("dest",), self._dest(str(self.form.draft.values.get("format", USUAL))))

    def _dest(self, format: str) -> str:
        """A folder of that format that is not there yet."""
        name = f"{self._label_dir.path.name if self._label_dir else 'set'}-{format}"
        found, number = self._folder / name, 2
        while found.exists():
            found, number = self._folder / f"{name}-{number}", number + 1
        return str(found)

    def _choose_folder(self) -> None:
        if chosen := QFileDialog.getExistingDirectory(self, "Where the export goes", str(self._folder.parent)):
            self._folder, self._names_itself = Path(chosen), True
            self._edited(("format",))

    def _show_purpose(self) -> None:
        self.purpose.setText(EXPORTS.get(str(self.form.draft.values.get("format", USUAL)), ""))

    def _show_written(self, path: Path | None) -> None:
        self._written = path
        for button in (self.open_folder, self.copy_path):
            button.setVisible(path is not None)
        if path is not None:
            self.desk.say(f"Written: {path}")
            self.open_folder.setFocus()

    def _open(self) -> None:
        if self._written is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._written)))

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(str(self._written))

    def _lay_out(self) -> None:
        below = column(space=2)
        below.addLayout(row(self._choose, None))
        below.addWidget(self.purpose)
        below.setContentsMargins(26, theme.SPACE[2], theme.SPACE[2], 0)
        self.form.body.insertLayout(1, below)
        self.desk.add_buttons(self.open_folder, self.copy_path)
        self.setLayout(column(self.form))
        self.setFocusProxy(self.form)
