"""The pages of a window: each is made when it is first wanted, and joined to those it asks something of."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFileDialog, QStackedWidget, QWidget

from engine.contract.image_record import Picture
from workbench import theme
from workbench.commands import Command, Keys, shown_key
from workbench.io import preset_files
from workbench.io.session import Session
from workbench.state import picture_preset
from workbench.theme import Theme
from workbench.views.help_page import HelpPage
from workbench.views.runs_page import RunsPage

if TYPE_CHECKING:
    from workbench.views.judge_page import JudgePage
    from workbench.views.preset_page import PresetPage
    from workbench.views.run_page import RunPage

#: Name, title and key of each page on the rail, and of the one at its end.
PAGES = [("runs", "Runs", "Ctrl+1"), ("presets", "Presets", "Ctrl+2"), ("judge", "Judge", "Ctrl+3")]
HELP = ("help", "Help", "F1")
TITLES = {name: title for name, title, _ in [*PAGES, HELP]}


class Pages(QStackedWidget):
    """`runs` is there from the beginning, the others once they were shown.

    said: a sentence for the person. preset_wanted: text and name of a preset to open. typed: there may be something
    new to autosave.
    """

    said = Signal(str)
    preset_wanted = Signal(str, str)
    typed = Signal()

    def __init__(self, session: Session, commands: Sequence[Command], keys: Keys) -> None:
        super().__init__()
        self._session = session
        self._commands = commands
        self._keys = keys
        self._settings = session.workspace.settings()
        self._colours = theme.LIGHT
        self.runs = RunsPage()
        self.presets: PresetPage | None = None
        self.judging: JudgePage | None = None
        self.help: HelpPage | None = None
        self.addWidget(self.runs)
        session.picture_read.connect(self._draw_again)
        self.runs.run_page_built.connect(self._join_pictures)

    def show_page(self, name: str) -> QWidget:
        page = self.page(name)
        self.setCurrentWidget(page)
        return page

    def page(self, name: str) -> QWidget:
        """The page of that name, made if it is not there."""
        match name:
            case "presets":
                return self.preset_page()
            case "judge":
                return self.judge_page()
            case "help":
                return self._help_page()
        return self.runs

    def preset_page(self) -> "PresetPage":
        if self.presets is None:
            from workbench.views.preset_page import PresetPage

            self.presets = PresetPage()
            self._join_presets(self.presets)
            self.addWidget(self.presets)
        return self.presets

    def judge_page(self) -> "JudgePage":
        if self.judging is None:
            from workbench.views.judge_page import JudgePage

            session = self._session
            self.judging = JudgePage(session.labelling, session.desk, session.fillings, self._keys.written("judge"))
            self._join_judging(self.judging)
            self.addWidget(self.judging)
        return self.judging

    def choose_picture(self) -> None:
        """Ask for a PNG whose record is wanted as a preset."""
        path, _ = QFileDialog.getOpenFileName(self, "A picture to draw again", "", "PNG pictures (*.png)")
        if path:
            self._session.read_picture(Path(path))

    def set_theme(self, colours: Theme) -> None:
        self._colours = colours
        self.runs.set_theme(colours)
        if self.presets is not None:
            self.presets.apply_theme(colours)
        if self.judging is not None:
            self.judging.set_theme(colours)

    def _help_page(self) -> HelpPage:
        if self.help is None:
            self.help = HelpPage([(c.title, shown_key(c.shortcut)) for c in self._commands if c.shortcut])
            self.addWidget(self.help)
        return self.help

    def _join_pictures(self, page: "RunPage") -> None:
        page.gallery.said.connect(self.said)
        page.gallery.again_wanted.connect(
            lambda record: self.preset_wanted.emit(picture_preset.with_its_seed(record), picture_preset.name_of(record))
        )
        page.gallery.set_keys(self._keys.written("gallery"))
        self._keys.attach("gallery", page.gallery)
        self._keys.attach("trajectory", page.trajectory, repeats=True)

    def _draw_again(self, path: Path, picture: Picture) -> None:
        """A picture was given to the window: offer the preset that makes it, or say why there is none."""
        if picture.record is None:
            self.said.emit(picture_preset.why_not(path.name, picture))
        else:
            text = picture_preset.drawn_again(picture.record)
            self.preset_wanted.emit(text, picture_preset.name_of(picture.record))

    def _join_presets(self, page: "PresetPage") -> None:
        session = self._session
        page.set_workspace(session.workspace.path)
        page.run_requested.connect(session.launch)
        page.check_requested.connect(session.check)
        page.deep_check_requested.connect(lambda text, origin: session.check(text, origin, deeply=True))
        page.save_requested.connect(session.save_preset)
        session.preset_saved.connect(page.show_saved)
        page.draft_changed.connect(self.typed)
        page.apply_theme(self._colours)
        if (kept := preset_files.read_unsaved(session.workspace.path)) is not None:
            page.open_text(kept.text, kept.name)

    def _join_judging(self, page: "JudgePage") -> None:
        page.said.connect(self.said)
        page.preset_wanted.connect(self.preset_wanted)
        self._keys.attach("judge", page.sitting)
        page.sitting.draw_markdown(bool(self._settings.value("judge/markdown", False, type=bool)))
        page.sitting.markdown_changed.connect(lambda is_drawn: self._settings.setValue("judge/markdown", is_drawn))
        page.set_theme(self._colours)
