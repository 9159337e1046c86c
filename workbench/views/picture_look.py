"""One picture large, or some beside each other under one view: zoomed and moved together, blinking to compare."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QGuiApplication, QKeyEvent, QKeySequence
from PySide6.QtWidgets import QPlainTextEdit, QPushButton, QSlider, QSplitter, QWidget

from workbench import theme
from workbench.io.picture_store import PictureStore
from workbench.state import figures
from workbench.state.picture_view import WHOLE, View
from workbench.views.held_key import HeldKey
from workbench.views.labels import column, label, row
from workbench.views.picture_cards import PictureCards

#: Details stand beside the pictures from this width on, unless somebody wants them otherwise.
ROOMY = 640
DETAILS = 250


class Shelf(Protocol):
    """What the pictures of a run are called and where they are, by their places."""

    def path(self, place: int) -> Path | None: ...
    def name(self, place: int) -> str: ...
    def details(self, place: int) -> str: ...


class PictureLook(QWidget):
    """left: back to the others. asked: the id of an action of this page."""

    left = Signal()
    asked = Signal(str)

    def __init__(self, store: PictureStore, shelf: Shelf, keys: Mapping[str, str]) -> None:
        super().__init__()
        self._shelf = shelf
        self._keys = keys
        self.places: list[int] = []
        self._row: list[int] = []
        self._are_details_wanted: bool | None = None
        self._blinking = HeldKey(self)
        self.cards = PictureCards(store)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self._where = label(role="muted")
        self._text = QPlainTextEdit(readOnly=True)
        self._split = QSplitter(Qt.Orientation.Horizontal)
        self._blink = QPushButton("Blink")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._lay_out()
        self._blinking.changed.connect(self._show_blinking)

    def show_places(self, places: list[int], among: list[int]) -> None:
        """These beside each other. among: those that a single one is stepped through."""
        self.places, self._row = places, among if len(places) == 1 else []
        self.slider.setVisible(len(self._row) > 1)
        self.slider.setRange(0, max(len(self._row) - 1, 0))
        self._blink.setVisible(len(places) > 1)
        self._show(WHOLE)
        self._show_details()

    def take_keys(self) -> None:
        """The keyboard's place: the slider, where there is something to step through."""
        (self.slider if len(self._row) > 1 else self).setFocus()

    def follow(self, among: list[int]) -> None:
        """More were drawn."""
        if self._row and among != self._row:
            self._row = among
            self.slider.setRange(0, len(among) - 1)
        self._show_words()

    def act(self, action: str) -> None:
        match action:
            case "blink":
                self._blinking.press()
            case "zoom_in" | "zoom_out" | "zoom_whole":
                self.cards.zoom({"zoom_in": 1, "zoom_out": -1}.get(action, 0))
            case "details":
                self._are_details_wanted = not self._text.isVisibleTo(self)
                self._show_details()
            case "copy":
                QGuiApplication.clipboard().setText(self.details)

    @property
    def details(self) -> str:
        return self._text.toPlainText()

    def forget(self) -> None:
        """Nothing is looked at any more."""
        self._blinking.turn_off()
        self.cards.forget()

    def keyReleaseEvent(self, event: QKeyEvent) -> None:
        if QKeySequence(event.key()).toString() == self._keys.get("blink") and not event.isAutoRepeat():
            self._blinking.release()
        super().keyReleaseEvent(event)

    def _step_to(self, at: int) -> None:
        """Another picture in the same place: the view stays, so that one sees what changed."""
        if self._row and 0 <= at < len(self._row) and [self._row[at]] != self.places:
            self.places = [self._row[at]]
            self._show(self.cards.view)

    def _show(self, view: View) -> None:
        self._blinking.turn_off()
        paths = [self._shelf.path(place) for place in self.places]
        names = [self._shelf.name(place) for place in self.places]
        coming: list[Path | None] = []
        if self._row:
            at = self._row.index(self.places[0]) if self.places[0] in self._row else 0
            self.slider.setValue(at)
            coming = [self._shelf.path(place) for place in self._row[max(at - 1, 0) : at + 3] if place != self._row[at]]
        self.cards.show_pictures(paths, coming, names=names, view=view)
        self._show_words()

    def _show_words(self) -> None:
        text = "\n\n".join(self._shelf.details(place) for place in self.places)
        if text != self.details:
            self._text.setPlainText(text)
        at = self.slider.value() + 1
        self._where.setText(f"{figures.count(at)} of {figures.count(len(self._row))}" if len(self._row) > 1 else "")

    def _show_details(self) -> None:
        wanted = self._are_details_wanted
        self._text.setVisible(self.width() >= ROOMY if wanted is None else wanted)

    def _show_blinking(self, is_on: bool) -> None:
        self.cards.blink(is_on)
        theme.set_role(self._blink, "on" if is_on else "")

    def _lay_out(self) -> None:
        back = QPushButton("Back to all")
        back.clicked.connect(self.left)
        top = row(back, None, self._blink, space=1)
        self._blink.clicked.connect(self._blinking.press)
        for text, action in (("Details", "details"), ("Copy details", "copy"), ("Same seed, other settings", "again")):
            button = QPushButton(text)
            button.clicked.connect(lambda _=False, action=action: self.asked.emit(action))
            top.addWidget(button)
        self.slider.setAccessibleName("Which picture")
        self.slider.sliderMoved.connect(self._step_to)
        self.slider.actionTriggered.connect(lambda _: self._step_to(self.slider.sliderPosition()))
        self._text.setAccessibleName("How the picture was drawn")
        self._text.setFont(theme.font("mono"))
        theme.set_role(self._text, "bare")
        self._text.setMinimumWidth(160)
        self._split.addWidget(self.cards)
        self._split.addWidget(self._text)
        self._split.setStretchFactor(0, 1)
        self._split.setSizes([1000, DETAILS])
        self._split.setChildrenCollapsible(False)
        layout = column(space=2)
        layout.addLayout(top)
        layout.addWidget(self._split, 1)
        below = row(self.slider, self._where, space=2)
        below.setStretch(0, 1)
        layout.addLayout(below)
        self.setLayout(layout)
