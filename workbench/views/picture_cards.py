"""The pictures of an item side by side: one view moves them all, and blinking lets them change places."""

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QGridLayout, QWidget

from workbench import theme
from workbench.io.picture_store import Picture, PictureStore
from workbench.state.picture_view import WHOLE, View, moved, zoomed
from workbench.views.answer_card import LIT_MS, AnswerCard, columns_of, name_of
from workbench.views.picture_pane import NOTCH, PicturePane

#: What takes longer to be read than this says so.
LATE_MS = 300
#: What is shown for a path that leads out of the set.
OUTSIDE = Picture(fault="gone")


class PictureCards(QWidget):
    """Emits `chosen` with the place of a picture that was double-clicked, `touched` when somebody moves one, and
    `complete` once all of them were read."""

    chosen = Signal(int)
    touched = Signal()
    complete = Signal()

    def __init__(self, store: PictureStore) -> None:
        super().__init__()
        self.cards: list[AnswerCard] = []
        self.panes: list[PicturePane] = []
        self._store = store
        self._paths: list[Path | None] = []
        self._names: list[str] = []
        self._view = WHOLE
        self._is_blinking = False
        self._grid = QGridLayout()
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(theme.SPACE[3])
        self.setLayout(self._grid)
        self._dim = QTimer(self, singleShot=True, interval=LIT_MS)
        self._dim.timeout.connect(lambda: self.light([]))
        self._late = QTimer(self, singleShot=True, interval=LATE_MS)
        self._late.timeout.connect(self._draw)
        store.arrived.connect(self._take)

    def show_pictures(
        self,
        paths: Sequence[Path | None],
        coming: Sequence[Path | None] = (),
        *,
        names: Sequence[str] = (),
        view: View = WHOLE,
    ) -> None:
        """Show these, from the left, and read those that come next meanwhile; None is no place of the set.

        names: what stands over them; by default the keys that judge them.
        """
        self._paths, self._view, self._is_blinking, self._names = list(paths), view, False, list(names)
        while len(self.cards) < len(paths):
            self._add_card()
        if sum(not card.isHidden() for card in self.cards) != len(paths):
            self._arrange(len(paths))
        self._late.start()
        self._store.want([path for path in paths if path], [path for path in coming if path])
        self._draw()

    @property
    def why_not(self) -> str:
        """Why nothing can be said of them yet, or at all; "" if all of them are there to be seen."""
        if any(path is not None and self._store.get(path) is None for path in self._paths):
            return "The pictures are still being read."
        if any(pane.picture is None or pane.picture.fault for pane in self.panes[: len(self._paths)]):
            return "A picture cannot be shown, so nothing can be said of it; skip it, and flag it before if you like."
        return ""

    @property
    def view(self) -> View:
        return self._view

    @property
    def is_blinking(self) -> bool:
        return self._is_blinking

    def blink(self, is_wanted: bool) -> None:
        """Each picture in its neighbour's place, to see what differs; the names go with them."""
        self._is_blinking = is_wanted
        self._draw()

    def zoom(self, notches: float) -> None:
        """Closer, or further with fewer than none; 0 shows all."""
        if not notches:
            self._set_view(WHOLE)
        else:
            self._zoom(NOTCH**notches, 0, 0)

    def light(self, places: Sequence[int]) -> None:
        """Light these cards up for a moment."""
        for at, card in enumerate(self.cards):
            card.light(at in places)
        if places:
            self._dim.start()

    def forget(self) -> None:
        """The sitting is over: keep no picture in memory."""
        self._late.stop()
        self._paths = []
        for pane in self.panes:
            pane.show_picture(None)
        self._store.drop()

    def _add_card(self) -> None:
        place = len(self.cards)
        pane = PicturePane(f"Picture {place + 1}")
        card = AnswerCard(f"{place + 1}", pane)
        card.pressed.connect(lambda: self.chosen.emit(place))
        pane.zoomed.connect(self._zoom)
        pane.pushed.connect(self._push)
        self.cards.append(card)
        self.panes.append(pane)

    def _arrange(self, count: int) -> None:
        columns = columns_of(count)
        for at, card in enumerate(self.cards):
            self._grid.removeWidget(card)
            if at < count:
                self._grid.addWidget(card, at // columns, at % columns)
            card.setVisible(at < count)

    def _draw(self) -> None:
        count = len(self._paths)
        for at, (card, pane) in enumerate(zip(self.cards[:count], self.panes, strict=False)):
            shown = (at + 1) % count if self._is_blinking else at
            name = self._names[shown] if self._names else name_of(shown, count)
            card.show_name(name + ("   in this place for now" if self._is_blinking and count > 1 else ""))
            path = self._paths[shown]
            picture = self._store.get(path) if path is not None else OUTSIDE
            pane.show_picture(picture, is_late=not self._late.isActive())
            pane.set_view(self._view)

    def _take(self, path: Path) -> None:
        if path in self._paths:
            self._draw()
            if all(pane.picture is not None for pane in self.panes[: len(self._paths)]):
                self._late.stop()
                self.complete.emit()

    def _zoom(self, factor: float, right: float, down: float) -> None:
        frame = next((pane.frame for pane in self.panes if pane.frame is not None), None)
        if frame is not None:
            self._set_view(zoomed(self._view, factor, frame, right, down))

    def _push(self, right: float, down: float) -> None:
        frame = next((pane.frame for pane in self.panes if pane.frame is not None), None)
        if frame is not None:
            self._set_view(moved(self._view, right, down, frame))

    def _set_view(self, view: View) -> None:
        self._view = view
        for pane in self.panes:
            pane.set_view(view)
        self.touched.emit()
