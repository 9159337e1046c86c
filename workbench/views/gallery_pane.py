"""All pictures of a run: in rows or as a grid by their settings, one of them large, some beside each other."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QFocusEvent, QGuiApplication, QShowEvent
from PySide6.QtWidgets import QPushButton, QStackedWidget, QWidget

from engine.contract.events import Image
from engine.contract.image_record import ImageRecord
from workbench.io.picture_store import PictureStore
from workbench.io.run_pictures import RunPictures, place_of
from workbench.state import figures
from workbench.state.gallery import SAID, Gallery, details
from workbench.state.gallery_plan import Settings
from workbench.theme import Theme
from workbench.views.choices import choice, offer, turn
from workbench.views.gallery_table import GalleryTable
from workbench.views.labels import Elided, column, label, row
from workbench.views.picture_look import PictureLook
from workbench.views.picture_pane import NOTCH

#: Records arrive in small lots; words and grids follow at a pace at which they can be read.
REFRESH_MS = 120
#: So many are looked at together at most; more would be as small as in the rows.
MOST_TOGETHER = 6
EMPTY = (
    "All pictures that this run draws will be here, each with what draws it again.\n"
    "Runs of diffusion_sample draw them; trainings draw some after each checkpoint."
)
#: Lines of the details that fit into one.
CAPTION = 14
EVERY_KIND, IN_ROWS = "all kinds", "in rows"


class GalleryPane(QWidget):
    """again_wanted: the record of a picture whose seed is wanted with other settings. said: a sentence."""

    again_wanted = Signal(object)
    said = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.gallery = Gallery()
        self._pictures: RunPictures | None = None
        self._shown: list[Image] = []
        self._paths: dict[str, Path | None] = {}
        self._across = ""  # the setting that stands across, until a person chooses
        self._keys: Mapping[str, str] = {}
        self.table = GalleryTable(lambda place: self.name(place))
        self.look: PictureLook | None = None
        self._kind, self._axis = choice("Kind of pictures"), choice("Order of the pictures")
        self._count = label(role="muted")
        self._caption = Elided("muted", Qt.TextElideMode.ElideRight)
        self._again = QPushButton("Same seed, other settings")
        self._closer = QPushButton("Look closer")
        self._empty = label(EMPTY, "muted", wrap=True)
        self._rows = QWidget()
        self._stack = QStackedWidget()
        self._refresh = QTimer(self, singleShot=True, interval=REFRESH_MS)
        self._refresh.timeout.connect(self._show)
        self._lay_out()
        self._connect()

    # ------------------------------------------------------------------------------------------------ what it is told

    def set_keys(self, keys: Mapping[str, str]) -> None:
        """How the key of each action is written."""
        self._keys = keys

    def show_run(self, pictures: RunPictures) -> None:
        """Follow another run."""
        self._leave()
        if self.look is not None:
            self._stack.removeWidget(self.look)
            self.look.deleteLater()
            self.look = None
        self.gallery, self._pictures, self._shown, self._paths = Gallery(), pictures, [], {}
        self._across = ""
        self.table.show_run(pictures.small)
        pictures.told.connect(self._tell)
        self._show()

    def show_images(self, images: Sequence[Image]) -> None:
        """What the run has drawn so far."""
        fresh = self.gallery.follow(images)
        if fresh and self._pictures is not None:
            self._pictures.read_records(fresh)
        if len(self.gallery.pictures) != len(self._shown) or fresh:
            self._schedule()

    def expect(self, planned: Mapping[str, Settings], across: str) -> None:
        """What the run is going to draw, and which setting stands across; empty where there is no grid."""
        self.gallery.expect(planned)
        self._across = across
        self._offer_axes()
        self._schedule()

    def set_theme(self, colours: Theme) -> None:
        self.table.set_theme(colours)

    def close_down(self) -> None:
        self._refresh.stop()
        self.table.close_down()

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Hand the keyboard on; after a focus proxy Tab would leave out all that is beside it."""
        self.table.setFocus()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._schedule()

    # ------------------------------------------------------------------------------------------------ what keys mean

    def act(self, action: str) -> None:
        """Do what a key means here: of a picture that is looked at, or of those in rows."""
        if self.is_looking and self.look is not None and action in ("blink", "details", "copy"):
            self.look.act(action)
        elif action.startswith("zoom"):
            self._zoom(action)
        elif (do := self._acts.get(action)) is not None:
            do()

    def let_go(self) -> bool:
        """Back to all pictures; False if they are on show already."""
        if not self.is_looking:
            return False
        self._leave()
        self.table.setFocus()
        return True

    @property
    def is_looking(self) -> bool:
        return self.look is not None and self._stack.currentWidget() is self.look

    @property
    def store(self) -> PictureStore | None:
        """Where the small pictures are."""
        return self._pictures.small if self._pictures is not None else None

    @property
    def is_empty(self) -> bool:
        return not self.gallery.pictures

    # ------------------------------------------------------------------------------------------------ the shelf

    def path(self, place: int) -> Path | None:
        image = self._shown[place]
        if image.path not in self._paths and self._pictures is not None:
            self._paths[image.path] = place_of(self._pictures.run, image.path)
        return self._paths.get(image.path)

    def name(self, place: int) -> str:
        return self.gallery.label(self._shown[place]) if place < len(self._shown) else ""

    def details(self, place: int) -> str:
        image = self._shown[place]
        return details(image, self.gallery.records.get(image.path))

    # ------------------------------------------------------------------------------------------------ showing

    @cached_property
    def _acts(self) -> dict[str, Callable[[], None]]:
        return {
            "look": self._look_closer,
            "mark": self.table.toggle_mark,
            "copy": lambda: QGuiApplication.clipboard().setText(self._details_of_current()),
            "details": self._look_closer,
            "again": self._draw_again,
            "kind": lambda: turn(self._kind),
            "axis": lambda: turn(self._axis),
        }

    def _schedule(self) -> None:
        if self.isVisible() and not self._refresh.isActive():
            self._refresh.start()

    def _tell(self, records: Mapping[str, ImageRecord | None]) -> None:
        if self.gallery.tell(records):
            self._offer_axes()
        self._schedule()

    def _offer_axes(self) -> None:
        axes = self.gallery.axes()
        offer(self._axis, [IN_ROWS, *map(_worded_axis, axes)])
        if self._across in axes:
            self._axis.setCurrentIndex(axes.index(self._across) + 1)

    def _choose_axis(self) -> None:
        self._across = ""
        self._show()

    def _show(self) -> None:
        """Take over which pictures there are, in the kind and the order that are chosen."""
        roles = self.gallery.roles()
        offer(self._kind, [EVERY_KIND, *(role or "pictures" for role in roles)] if len(roles) > 1 else [])
        at = self._kind.currentIndex() - 1
        before, self._shown = self._shown, self.gallery.of_role(roles[at] if 0 <= at < len(roles) else None)
        axes = self.gallery.axes()
        axis = self._axis.currentIndex() - 1
        plot = self.gallery.plot(self._shown, axes[axis]) if 0 <= axis < len(axes) else None
        self.table.lines = 2 if len(self.gallery.varying()) > 2 else 1
        has_only_grown = self._shown[: len(before)] == before
        self.table.show_pictures(len(self._shown), self.path, plot, has_only_grown=has_only_grown)
        self._count.setText(_counted(len(self._shown), self.gallery.expected))
        if self.table.current is None and self._shown:
            self.table.go_to(0)
        if self.is_looking and self.look is not None:
            self.look.follow(self._among())
        else:
            self._stack.setCurrentWidget(self._rows if self._shown or plot is not None else self._empty)
        self._show_caption()

    def _show_caption(self) -> None:
        marks = self.table.marks
        self._closer.setText(f"Compare {len(marks)}" if len(marks) > 1 else "Look closer")
        current = self.table.current
        self._again.setVisible(self._record_of(current) is not None)
        if current is None:
            self._caption.set_full_text("")
            return
        self._caption.set_full_text("   ·   ".join(self._details_of_current().splitlines()[:CAPTION]))

    def _details_of_current(self) -> str:
        current = self.table.current
        return self.details(current) if current is not None and current < len(self._shown) else ""

    # ------------------------------------------------------------------------------------------------ doing

    def _zoom(self, action: str) -> None:
        if self.is_looking and self.look is not None:
            self.look.act(action)
        else:
            self.table.resize_pictures({"zoom_in": NOTCH, "zoom_out": 1 / NOTCH}.get(action, 0))

    def _look_closer(self) -> None:
        places = self.table.marks[:MOST_TOGETHER] or [at for at in (self.table.current,) if at is not None]
        if places and not self.is_looking:
            self._look_at(places)

    def _look_at(self, places: list[int]) -> None:
        if self._pictures is None:
            return
        if self.look is None:
            self.look = PictureLook(self._pictures.whole, self, self._keys)
            self.look.left.connect(self.let_go)
            self.look.asked.connect(self.act)
            self._stack.addWidget(self.look)
        self._stack.setCurrentWidget(self.look)
        self.look.show_places(places, self._among())
        self.look.take_keys()

    def _among(self) -> list[int]:
        return list(range(len(self._shown)))

    def _leave(self) -> None:
        if self.look is None or not self.is_looking:
            return
        if len(self.look.places) == 1:
            self.table.go_to(self.look.places[0])
        self.look.forget()
        self._stack.setCurrentWidget(self._rows)

    def _draw_again(self) -> None:
        at = self.look.places[0] if self.is_looking and self.look is not None else self.table.current
        record = self._record_of(at)
        if record is None:
            self.said.emit("This picture does not say how it was drawn; those of diffusion_sample do.")
        else:
            self.again_wanted.emit(record)

    def _record_of(self, place: int | None) -> ImageRecord | None:
        if place is None or place >= len(self._shown):
            return None
        return self.gallery.records.get(self._shown[place].path)

    # ------------------------------------------------------------------------------------------------ placing

    def _connect(self) -> None:
        self.table.chosen.connect(lambda place: self._look_at([place]))
        self.table.looked.connect(lambda _: self._show_caption())
        self.table.marked.connect(self._show_caption)
        self._kind.activated.connect(lambda _: self._show())
        self._axis.activated.connect(lambda _: self._choose_axis())
        self._again.clicked.connect(self._draw_again)
        self._closer.clicked.connect(self._look_closer)

    def _lay_out(self) -> None:
        self._empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        inside = column(space=1)
        inside.addLayout(row(self._count, self._kind, self._axis, None, self._again, self._closer))
        inside.addWidget(self.table, 1)
        inside.addWidget(self._caption)
        self._rows.setLayout(inside)
        for part in (self._empty, self._rows):
            self._stack.addWidget(part)
        self.setLayout(column(self._stack, space=0))


def _counted(there: int, expected: int) -> str:
    """How many pictures there are, of how many there will be."""
    if expected > there:
        return f"{figures.count(there)} of {figures.count(expected)} pictures"
    return f"{figures.count(there)} pictures" if there != 1 else "1 picture"


def _worded_axis(name: str) -> str:
    return f"grid by {(SAID.get(name) or name).replace('_', ' ')}"
