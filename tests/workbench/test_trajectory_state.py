"""Where somebody is in a trajectory, how its pictures are laid out, and how two are stepped together."""

import math

import numpy as np
import pytest

from engine.contract.trajectory import About, Point
from workbench.state.trajectory import Playback, Sheet, mosaic, nearest, norms, places, sheet_for


def about(count: int = 4, side: int = 64, steps: int = 20) -> About:
    seeds = tuple(range(count))
    return About(
        what="digits", sampler="ddim", steps=steps, count=count, width=side, height=side, seeds=seeds, model="m"
    )


def points(*times: float) -> list[Point]:
    return [Point(at, t, 1.0, 0.5, 0.0) for at, t in enumerate(times, start=1)]


def test_the_newest_step_is_followed_until_somebody_looks_back():
    playback = Playback()
    playback.grew(3)
    assert playback.at == 2
    playback.seek(1)
    playback.grew(9)
    assert playback.at == 1
    playback.seek(99)
    playback.grew(12)
    assert playback.at == 11


def test_a_trajectory_that_is_drawn_anew_is_followed_from_its_beginning():
    playback = Playback()
    playback.grew(20)
    playback.grew(0)
    assert (playback.at, playback.count) == (0, 0)
    playback.grew(2)
    assert playback.at == 1


def test_play_goes_from_here_to_the_end_and_from_the_end_to_the_beginning():
    playback = Playback()
    playback.grew(3)
    playback.toggle()
    assert (playback.at, playback.is_playing) == (0, True)
    playback.advance()
    assert (playback.at, playback.is_playing) == (1, True)
    playback.advance()
    assert (playback.at, playback.is_playing) == (2, False)
    playback.seek(1)
    playback.toggle()
    playback.seek(0)
    assert not playback.is_playing


def test_one_step_alone_cannot_be_played():
    playback = Playback()
    playback.grew(1)
    playback.toggle()
    assert not playback.is_playing


@pytest.mark.parametrize(("width", "height", "columns"), [(400, 400, 2), (900, 200, 4), (100, 900, 1)])
def test_pictures_stand_in_the_rows_in_which_they_are_largest(width, height, columns):
    assert sheet_for(about(4), width, height).columns == columns


def test_tiny_pictures_get_dots_for_pixels_and_large_ones_do_not():
    assert sheet_for(about(1, side=8), 300, 300) == Sheet(1, 16, 0)
    assert sheet_for(about(1, side=512), 300, 300) == Sheet(1, 1, 0)


def test_a_mosaic_keeps_every_pixel_and_is_clear_in_between():
    two = about(2, side=2)
    rgb = np.arange(2 * 2 * 2 * 3, dtype=np.uint8)
    made = mosaic(rgb.tobytes(), two, Sheet(columns=2, dots=3, gap=1))
    assert made.shape == (6, 13, 4)
    assert made[0, 0].tolist() == made[2, 2].tolist() == [2, 1, 0, 255]  # blue, green, red of the first pixel
    assert made[5, 12].tolist() == [23, 22, 21, 255]
    assert not made[:, 6].any()


def test_two_samplers_of_different_steps_are_stepped_together_by_their_noise():
    few, many = places(points(900, 450, 0), 3), places(points(900, 675, 450, 225, 0), 5)
    assert few.tolist() == [0.0, 0.5, 1.0]
    assert [nearest(many, place) for place in few] == [0, 2, 4]
    assert nearest(np.empty(0), 0.5) == 0


@pytest.mark.parametrize("times", [(math.nan, 3.0), (0.0, 0.0), (10.0, 500.0), (math.inf, 1.0)])
def test_times_that_make_no_sense_give_way_to_steps(times):
    assert places(points(*times), 4).tolist() == [0.25, 0.5]


def test_a_norm_that_is_no_number_leaves_a_gap():
    x, x0 = norms([Point(1, 1.0, math.inf, 0.25, 0.0), Point(2, 0.0, 2.0, math.nan, 0.0)])
    assert (math.isnan(x[0]), x[1], x0[0], math.isnan(x0[1])) == (True, 2.0, 0.25, True)
