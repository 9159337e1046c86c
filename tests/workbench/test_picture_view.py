"""Zoom and pan as arithmetic, with the same view for every picture of a pair."""

import numpy as np
import pytest

from workbench.state.picture_view import CLOSEST, WHOLE, Frame, View, halved, held, moved, zoomed

FRAME = Frame(400, 300, 800, 300)


def under(view: View, right: float, down: float, frame: Frame = FRAME) -> tuple[float, float]:
    """The point of the picture, in its pixels, that stands there from the pane's middle."""
    scale = frame.scale(view)
    return view.x * frame.width + right / scale, view.y * frame.height + down / scale


def test_at_first_all_of_the_picture_shows() -> None:
    assert FRAME.scale(WHOLE) == 0.5
    assert held(WHOLE, FRAME) == WHOLE


def test_what_is_under_the_pointer_stays_there_while_it_zooms() -> None:
    near = View(4.0, 0.4, 0.5)
    closer = zoomed(near, 2.0, FRAME, right=60, down=-40)
    assert closer.zoom == 8.0
    assert under(closer, 60, -40) == pytest.approx(under(near, 60, -40))


def test_a_push_moves_the_picture_as_far_as_the_hand() -> None:
    near = View(8.0, 0.5, 0.5)
    pushed = moved(near, 30, -10, FRAME)
    assert under(pushed, 30, -10) == pytest.approx(under(near, 0, 0))


def test_no_push_and_no_zoom_leaves_the_picture() -> None:
    far = moved(View(2.0, 0.5, 0.5), 10_000, 10_000, FRAME)
    assert far == View(2.0, 0.25, 0.5)  # half of its width shows, and all of its height
    assert zoomed(far, 1e-9, FRAME) == WHOLE
    assert zoomed(far, 1e9, FRAME).zoom == CLOSEST


def test_half_as_large_is_the_mean_of_each_four() -> None:
    pixels = np.zeros((3, 4, 4), dtype=np.uint8)
    pixels[0, 0] = 255
    pixels[:2, 2:] = 100
    small = halved(pixels)
    assert small.shape == (1, 2, 4)
    assert (small[0, 0] == 64).all()
    assert (small[0, 1] == 100).all()
