"""Noise becomes a picture: live while a run samples, step by step afterwards, two samplers beside each other."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from PySide6.QtCore import QSize, Qt, QTimer, Signal
from PySide6.QtGui import QFocusEvent, QHideEvent, QShowEvent
from PySide6.QtWidgets import QPushButton, QSizePolicy, QWidget

from workbench import theme
from workbench.io.run_pictures import RunPictures
from workbench.io.track_reader import Shown, TrackReader, Wanted
from workbench.state import figures
from workbench.state.picture_view import WHOLE, View, moved, zoomed
from workbench.state.trajectory import Playback, nearest
from workbench.theme import Theme
from workbench.views.choices import choice, offer, turn
from workbench.views.labels import Elided, column, label, row
from workbench.views.norm_scrubber import NormScrubber
from workbench.views.picture_pane import NOTCH
from workbench.views.step_panes import StepPanes

#: Twenty pictures a second are a film; what a run writes is looked for twice as often, so that none waits long.
FRAME_MS = 50
#: Which trajectories there are is looked up this often while the run lives.
LIST_MS = 1000
EMPTY = (
    "Here noise becomes pictures, step by step, while a run samples.\n"
    "Run a preset of the method diffusion_sample: its trajectory is kept unless the preset says otherwise."
)
BESIDE_NONE = "nothing beside it"


class TrajectoryPane(QWidget):
    """Reads only while it is to be seen. filmed: a run that lives has begun to draw."""

    filmed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._pictures: RunPictures | None = None
        self._folders: list[Path] = []
        self._titles: list[str] = []
        self._is_alive = False
        self._is_frame = False  # every other look
        self._is_chosen = False  # by a person, so no newer one takes its place
        self._playback = Playback()
        self._view = WHOLE
        self._shown: list[Shown | None] = [None, None]
        self._which = choice("Trajectory")
        self._beside = choice("Trajectory beside it")
        self._facts = Elided("muted", Qt.TextElideMode.ElideRight)
        self._failure = label(role="fault", wrap=True, selectable=True)
        self.lanes = (StepPanes(), StepPanes())
        self.scrubber = NormScrubber()
        self._back, self._play, self._forward = QPushButton(), QPushButton("Play"), QPushButton()
        self._empty = label(EMPTY, "muted", wrap=True)
        self._full = QWidget()
        self._acts: dict[str, Callable[[], None]] = {
            "play": self._toggle,
            "back": lambda: self._step(-1),
            "forward": lambda: self._step(1),
            "first": lambda: self._seek(0),
            "last": lambda: self._seek(self._playback.count - 1),
            "next": lambda: turn(self._which),
            "beside": lambda: turn(self._beside),
            "zoom_in": lambda: self._zoom(0, NOTCH, 0, 0),
            "zoom_out": lambda: self._zoom(0, 1 / NOTCH, 0, 0),
            "zoom_whole": lambda: self._set_view(WHOLE),
        }
        self._lay_out()
        self._connect()
        self._film = QTimer(self, interval=FRAME_MS // 2)
        self._film.timeout.connect(self._tick)
        self._lister = QTimer(self, interval=LIST_MS)
        self._lister.timeout.connect(self._list)

    # ------------------------------------------------------------------------------------------------ what it is told

    def show_run(self, pictures: RunPictures) -> None:
        """Follow another run."""
        self._pictures, self._folders, self._titles, self._is_alive = pictures, [], [], False
        self._playback, self._view = Playback(), WHOLE
        pictures.trajectories.connect(self._list_folders)
        for lane, track in enumerate(pictures.tracks):
            track.grew.connect(lambda lane=lane: self._grew(lane))
            track.drawn.connect(lambda shown, lane=lane: self._draw(lane, shown))
            track.failed.connect(self._show_failure)
        self._is_chosen = False
        for lane, panes in enumerate(self.lanes):
            self._shown[lane] = None
            panes.show_step(None)
            self.scrubber.show_points(lane, [], 1)
        self.lanes[1].hide()
        self._list_folders({})
        self._go_on()

    def show_alive(self, is_alive: bool) -> None:
        """Whether more is to come."""
        if is_alive != self._is_alive:
            self._is_alive = is_alive
            self._follow_newest(range(len(self._folders)))
            self._go_on()
        elif is_alive and self.is_empty:
            self._list()

    def act(self, action: str) -> None:
        """Do what a key means here."""
        self._acts[action]()

    @property
    def playback(self) -> Playback:
        return self._playback

    @property
    def is_empty(self) -> bool:
        return not self._folders

    @property
    def is_drawn(self) -> bool:
        """Whether the record that is looked at is on the screen."""
        shown = self._shown[0]
        return shown is not None and shown.wanted.record == self._playback.at

    @property
    def shown(self) -> tuple[Shown | None, ...]:
        """What is drawn of the trajectory, and of the one beside it."""
        return tuple(self._shown)

    @property
    def track(self) -> TrackReader | None:
        """What reads the trajectory that is stepped."""
        return self._pictures.tracks[0] if self._pictures is not None else None

    @property
    def failure(self) -> str:
        return self._failure.text() if not self._failure.isHidden() else ""

    @property
    def view(self) -> View:
        return self._view

    @property
    def facts(self) -> str:
        return self._facts.full_text

    def set_theme(self, colours: Theme) -> None:
        self.scrubber.set_theme(colours)
        for button, name in ((self._back, "chevron-left"), (self._forward, "chevron-right")):
            button.setIcon(theme.icon(name, colours.colour("text"), 14))

    def close_down(self) -> None:
        self._film.stop()
        self._lister.stop()

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Hand the keyboard on; after a focus proxy Tab would leave out all that is beside it."""
        self.scrubber.setFocus()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._go_on()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self.close_down()

    # ------------------------------------------------------------------------------------------------ reading

    def _tracks(self) -> tuple[TrackReader, TrackReader] | None:
        return self._pictures.tracks if self._pictures is not None else None

    def _go_on(self) -> None:
        """Look at once, and again while there is something to come or to play."""
        self._list()
        self._look()
        if self.isVisible() and self._is_alive:
            self._lister.start()
        else:
            self._lister.stop()
        self._run_film()

    def _run_film(self) -> None:
        if self.isVisible() and (self._is_alive or self._playback.is_playing):
            if not self._film.isActive():
                self._film.start()
        else:
            self._film.stop()

    def _tick(self) -> None:
        if self._is_alive:
            self._look()
        self._is_frame = not self._is_frame
        if self._playback.is_playing and self._is_frame and self.is_drawn:
            self._playback.advance()
            self._go()
            self._run_film()

    def _look(self) -> None:
        for lane, track in enumerate(self._tracks() or ()):
            follows = lane == 0 and self._playback.is_at_end
            track.look(self.lanes[lane].sheet(track.about) if follows and track.about is not None else None)

    def _list(self) -> None:
        if self._pictures is not None:
            self._pictures.list_trajectories()

    def _list_folders(self, titles: Mapping[Path, str]) -> None:
        folders, names = list(titles), list(titles.values())
        self._empty.setVisible(not folders)
        self._full.setVisible(bool(folders))
        if folders and (folders, names) == (self._folders, self._titles):
            return
        fresh = [at for at, folder in enumerate(folders) if folder not in self._folders]
        kept = [self._chosen(lane) for lane in range(2)]
        self._folders, self._titles = folders, names
        offer(self._which, names)
        offer(self._beside, [BESIDE_NONE, *names] if len(names) > 1 else [])
        for box, folder, first in ((self._which, kept[0], 0), (self._beside, kept[1], 1)):
            if folder in folders:  # under another name, maybe: a picture says more once it is there
                box.setCurrentIndex(folders.index(folder) + first)
        if folders and self._chosen(0) != kept[0]:
            self._open(0)
        self._follow_newest(fresh)

    def _chosen(self, lane: int) -> Path | None:
        """The trajectory that is chosen for a lane."""
        at = self._which.currentIndex() if lane == 0 else self._beside.currentIndex() - 1
        return self._folders[at] if 0 <= at < len(self._folders) else None

    def _follow_newest(self, fresh: Sequence[int]) -> None:
        """Show what is being drawn now, unless somebody chose what to see. fresh: places of trajectories."""
        if fresh and self._is_alive and not self._is_chosen:
            if self._which.currentIndex() != fresh[-1]:
                self._which.setCurrentIndex(fresh[-1])
                self._open(0)
            self.filmed.emit()

    def _choose(self) -> None:
        self._is_chosen = True
        self._open(0)

    def _open(self, lane: int) -> None:
        """Read what is chosen for a lane."""
        tracks = self._tracks()
        if tracks is None:
            return
        folder = self._chosen(lane)
        self._shown[lane] = None
        self.lanes[lane].show_step(None)
        self.lanes[lane].setVisible(lane == 0 or folder is not None)
        self._failure.hide()
        if lane == 0:
            self._playback = Playback()
        tracks[lane].open(folder)
        self._show_points(lane)

    def _grew(self, lane: int) -> None:
        self._failure.hide()
        self._show_points(lane)
        tracks = self._tracks()
        if lane == 0 and tracks is not None:
            self._playback.grew(len(tracks[0].points))
        self._go()

    def _show_points(self, lane: int) -> None:
        if (tracks := self._tracks()) is not None:
            about = tracks[lane].about
            self.scrubber.show_points(lane, tracks[lane].points, about.steps if about is not None else 1)

    def _go(self) -> None:
        """Ask for the records that belong to where one is."""
        tracks = self._tracks()
        if tracks is None or not tracks[0].points:
            return
        at = self._playback.at
        self.scrubber.setValue(at)
        place = float(self.scrubber.places(0)[at])
        for lane, track in enumerate(tracks):
            if track.about is not None and track.points:
                record = at if lane == 0 else nearest(self.scrubber.places(lane), place)
                wanted = Wanted(record, self.lanes[lane].sheet(track.about))
                shown = self._shown[lane]
                if shown is None or shown.wanted != wanted:
                    track.want(wanted)
        self._show_words()

    # ------------------------------------------------------------------------------------------------ drawing

    def _draw(self, lane: int, shown: Shown) -> None:
        self._shown[lane] = shown
        self.lanes[lane].show_step(shown)
        self.lanes[lane].set_view(self._view)
        self._show_words()

    def _show_words(self) -> None:
        tracks = self._tracks()
        if tracks is None or tracks[0].about is None or not tracks[0].points:
            self._facts.set_full_text("")
            return
        about, point = tracks[0].about, tracks[0].points[min(self._playback.at, len(tracks[0].points) - 1)]
        parts = [
            about.what if len(self._folders) == 1 else "",
            figures.progress(point.step, about.steps),
            f"t {figures.number(point.t)}",
        ]
        parts += [f"{figures.fixed(point.seconds)} s"]
        parts += ["a cheap look at latents"] if about.is_latent else []
        self._facts.set_full_text("   ·   ".join(part for part in parts if part))
        is_beside = self.lanes[1].isVisibleTo(self)
        for lane, shown in zip(self.lanes, self._shown, strict=True):
            box = self._which if lane is self.lanes[0] else self._beside
            lane.show_words(box.currentText() if is_beside else "", _norms_of(shown))
        self._play.setText("Pause" if self._playback.is_playing else "Play")

    def _show_failure(self, sentence: str) -> None:
        self._failure.setText(sentence)
        self._failure.show()

    # ------------------------------------------------------------------------------------------------ what keys mean

    def _toggle(self) -> None:
        self._playback.toggle()
        self._go()
        self._show_words()
        self._run_film()

    def _step(self, by: int) -> None:
        self._seek(self._playback.at + by)

    def _seek(self, at: int) -> None:
        self._playback.seek(at)
        self._go()
        self._show_words()
        self._run_film()

    def _zoom(self, lane: int, factor: float, right: float, down: float) -> None:
        if (frame := self.lanes[lane].panes[0].frame) is not None:
            self._set_view(zoomed(self._view, factor, frame, right, down))

    def _push(self, lane: int, right: float, down: float) -> None:
        if (frame := self.lanes[lane].panes[0].frame) is not None:
            self._set_view(moved(self._view, right, down, frame))

    def _set_view(self, view: View) -> None:
        self._view = view
        for lane in self.lanes:
            lane.set_view(view)

    # ------------------------------------------------------------------------------------------------ placing

    def _connect(self) -> None:
        self._which.activated.connect(lambda _: self._choose())
        self._beside.activated.connect(lambda _: self._open(1))
        self.scrubber.sliderMoved.connect(self._seek)
        self.scrubber.actionTriggered.connect(lambda _: self._seek(self.scrubber.sliderPosition()))
        for button, action in ((self._back, "back"), (self._play, "play"), (self._forward, "forward")):
            button.clicked.connect(lambda _=False, action=action: self.act(action))
        for at, lane in enumerate(self.lanes):
            lane.zoomed.connect(lambda *how, at=at: self._zoom(at, *how))
            lane.pushed.connect(lambda *how, at=at: self._push(at, *how))
            lane.resized.connect(self._go)

    def _lay_out(self) -> None:
        for button, name in ((self._back, "One step back  ←"), (self._forward, "One step on  →")):
            button.setIconSize(QSize(14, 14))
            button.setAccessibleName(name)
            button.setToolTip(name)
        self._play.setMinimumWidth(64)
        self._empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        top = row(self._which, self._beside, self._facts, space=2)
        top.setStretch(2, 1)
        below = row(self._back, self._play, self._forward, self.scrubber, space=1)
        below.setStretch(3, 1)
        inside = column(space=2)
        inside.addLayout(top)
        inside.addWidget(self._failure)
        for lane in self.lanes:
            lane.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
            inside.addWidget(lane, 1)
        inside.addLayout(below)
        self._full.setLayout(inside)
        self._failure.hide()
        self.lanes[1].hide()
        self._full.hide()
        self.setLayout(column(self._empty, self._full, space=0))


def _norms_of(shown: Shown | None) -> tuple[str, str]:
    if shown is None:
        return "", ""
    return f"norm {figures.fixed(shown.point.norm_x)}", f"norm {figures.fixed(shown.point.norm_x0)}"
