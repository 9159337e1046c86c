"""Trajectories: whole records only, found by step, and a stranger's sizes believed by nobody."""

import json
from pathlib import Path

import pytest

from engine.contract.trajectory import (
    ABOUT,
    FRAMES,
    About,
    Frame,
    Point,
    TrajectoryError,
    TrajectoryWriter,
    begin,
    list_trajectories,
    open_trajectory,
)

ABOUT_TWO = About(
    what="digits", sampler="ddim", steps=20, count=2, width=3, height=2, seeds=(7, 8), model="assets:digits-denoiser"
)


def frame(step: int) -> Frame:
    size = 2 * 3 * 2 * 3
    return Frame(Point(step, 1 - step / 20, 1.5, 0.5, step / 4), bytes([step]) * size, bytes([100 + step]) * size)


@pytest.fixture
def writer(tmp_path: Path) -> TrajectoryWriter:
    return begin(tmp_path / "trajectories" / "first", ABOUT_TWO)


def test_frames_come_back_as_they_were_written(writer):
    writer.append([frame(1), frame(2)])
    writer.append([frame(5)])
    trajectory = open_trajectory(writer.path.parent)
    assert trajectory.about == ABOUT_TWO
    assert [point.step for point in trajectory.points()] == [1, 2, 5]
    assert trajectory.points(2)[0].seconds == 1.25
    found = trajectory.frame(2)
    assert found is not None
    assert (found.x, found.x0) == (frame(5).x, frame(5).x0)
    assert trajectory.frame(3) is None


def test_every_prefix_of_the_file_shows_whole_records_only(writer):
    writer.append([frame(1), frame(2)])
    whole = writer.path.read_bytes()
    record = ABOUT_TWO.record_bytes
    assert len(whole) == 2 * record
    for cut, expected in [(0, 0), (record - 1, 0), (record, 1), (2 * record - 1, 1)]:
        writer.path.write_bytes(whole[:cut])
        trajectory = open_trajectory(writer.path.parent)
        assert len(trajectory) == len(trajectory.points()) == expected
        assert trajectory.frame(expected) is None


def test_a_step_is_found_where_steps_were_left_out(writer):
    assert open_trajectory(writer.path.parent).at_step(3) is None
    writer.append([frame(step) for step in (2, 3, 7, 20)])
    trajectory = open_trajectory(writer.path.parent)
    assert [trajectory.at_step(step) for step in (1, 2, 6, 7, 19, 99)] == [0, 0, 1, 2, 2, 3]


def test_a_trajectory_begun_again_has_nothing_of_the_one_before(writer):
    writer.append([frame(1)])
    begin(writer.path.parent, ABOUT_TWO)
    assert len(open_trajectory(writer.path.parent)) == 0


def test_a_frame_of_another_size_is_not_written(writer):
    with pytest.raises(ValueError, match="not 36"):
        writer.append([frame(1)._replace(x=b"123")])
    assert len(open_trajectory(writer.path.parent)) == 0


def test_trajectories_of_a_run_are_listed(writer, tmp_path):
    assert list_trajectories(tmp_path) == [writer.path.parent]
    assert list_trajectories(tmp_path / "nothing") == []


@pytest.mark.parametrize(
    "said",
    [
        {"width": 4096, "height": 4096, "count": 256, "seeds": [0] * 256},  # 26 GB a record
        {"width": 0},
        {"width": "3x"},
        {"count": 3},
        {"version": 2},
        {"steps": 10**12},
    ],
)
def test_sizes_from_a_stranger_are_not_believed(writer, said):
    path = writer.path.parent / ABOUT
    path.write_text(json.dumps(ABOUT_TWO.model_dump(mode="json") | said))
    with pytest.raises(TrajectoryError, match=r"trajectory\.json"):
        open_trajectory(writer.path.parent)


@pytest.mark.parametrize("text", [b"", b"[" * 100_000, b" " * 300_000, b"\xff", b'{"what": NaN}'])
def test_a_file_that_is_no_trajectory_is_told(writer, text):
    (writer.path.parent / ABOUT).write_bytes(text)
    with pytest.raises(TrajectoryError, match="draw the pictures again"):
        open_trajectory(writer.path.parent)


def test_frames_that_are_missing_are_none(writer):
    (writer.path.parent / FRAMES).unlink()
    trajectory = open_trajectory(writer.path.parent)
    assert (len(trajectory), trajectory.points(), trajectory.frame(0)) == (0, [], None)
