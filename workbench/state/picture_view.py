"""Which part of a picture shows: one view for all pictures of a pair, so that they zoom and move together."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CLOSEST = 64.0


class View(NamedTuple):
    """zoom: 1 shows all of it. x, y: what stands in the middle of the pane, from 0 to 1 of the picture."""

    zoom: float = 1.0
    x: float = 0.5
    y: float = 0.5


class Frame(NamedTuple):
    """A picture in a pane, all four in the same unit."""

    pane_width: float
    pane_height: float
    width: float
    height: float

    def scale(self, view: View) -> float:
        """Pane units to one of the picture."""
        return view.zoom * min(self.pane_width / self.width, self.pane_height / self.height)


WHOLE = View()


def held(view: View, frame: Frame) -> View:
    """The view moved as little as it takes to leave no empty room beside a picture that fills the pane."""
    scale = frame.scale(view)
    x = _held(view.x, frame.pane_width / (frame.width * scale))
    y = _held(view.y, frame.pane_height / (frame.height * scale))
    return View(view.zoom, x, y)


def zoomed(view: View, factor: float, frame: Frame, right: float = 0.0, down: float = 0.0) -> View:
    """Closer or further; what stands `right` and `down` of the pane's middle stays where it is."""
    zoom = min(max(view.zoom * factor, 1.0), CLOSEST)
    before, after = frame.scale(view), frame.scale(view._replace(zoom=zoom))
    x = view.x + right / frame.width * (1 / before - 1 / after)
    y = view.y + down / frame.height * (1 / before - 1 / after)
    return held(View(zoom, x, y), frame)


def moved(view: View, right: float, down: float, frame: Frame) -> View:
    """As if the picture had been pushed so far, in units of the pane."""
    scale = frame.scale(view)
    pushed = View(view.zoom, view.x - right / (frame.width * scale), view.y - down / (frame.height * scale))
    return held(pushed, frame)


def halved(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(height, width, 4) -> (height // 2, width // 2, 4): the mean of each four.

    Numpy lets other threads run meanwhile, where Qt's own scaling holds Python's lock for half a second.
    """
    height, width = (side // 2 * 2 for side in pixels.shape[:2])
    made = pixels[0:height:2, 0:width:2].astype(np.uint16)
    for down, right in ((0, 1), (1, 0), (1, 1)):
        made += pixels[down:height:2, right:width:2]
    return ((made + 2) >> 2).astype(np.uint8)


def _held(middle: float, shown: float) -> float:
    """shown: how much of the picture the pane is wide."""
    return 0.5 if shown >= 1 else min(max(middle, shown / 2), 1 - shown / 2)
