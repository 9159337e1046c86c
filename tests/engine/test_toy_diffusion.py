"""Diffusion in the plane: what it shows is read back as it was written, and it learns what it is shown."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.contract import events
from engine.contract.preset import Preset, check
from engine.contract.run_dir import RunDir
from engine.contract.toy import FOLDER, FRAMES, append_record, read_moment, read_toy, steps_in
from engine.diffusion.noise import generator_of
from engine.diffusion.schedules import alpha_bar, schedule_of
from engine.diffusion.toy import energy_distance, field_of, grid_of, points_of
from tests.engine import running

TRAINING = {"steps": 6, "batch_size": 16, "eval_every": 3, "checkpoint_every": 3, "threads": 1}


def toy(**sections: Any) -> Preset:
    own = {"particles": 12, "steps": 5, **sections.pop("toy_diffusion", {})}
    data = {"method": "toy_diffusion", "model": {"width": 8, "layers": 1}, "training": TRAINING, "toy_diffusion": own}
    preset, faults = check(data | sections)
    assert preset is not None, faults
    return preset


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return running.done(tmp_path_factory.mktemp("toy") / "run", toy())


def test_every_evaluation_leaves_a_record_of_particles_and_field(finished: RunDir) -> None:
    about = read_toy(finished.path)
    assert about is not None
    assert steps_in(finished.path, about) == [0, 3, 6]
    assert about.times[0] == pytest.approx(1.0, abs=1e-3)  # from noise to the data
    assert len(about.times) == 6
    seen = [read_moment(finished.path, about, record, 0) for record in (0, 2)]
    starts = [np.frombuffer(data or b"", "<f4").reshape(-1, 2)[:12] for data in seen]
    assert np.array_equal(starts[0], starts[1])  # the same particles each time
    assert read_moment(finished.path, about, 3, 0) is None


def test_a_run_that_was_stopped_leaves_the_very_records(finished: RunDir, tmp_path: Path) -> None:
    run = running.new_run(tmp_path / "run", toy())
    ask = '{"id": "1", "time": 0.0, "ask": "stop"}\n'
    assert running.run_here_watched(run, lambda step: run.commands.write_text(ask) if step == 4 else None) == 3
    assert running.run_here(run, commands_from=len(ask)) == 0
    assert (run.path / FOLDER / FRAMES).read_bytes() == (finished.path / FOLDER / FRAMES).read_bytes()


def test_a_torn_record_is_not_there_and_an_earlier_life_is_cut_off(finished: RunDir, tmp_path: Path) -> None:
    about = read_toy(finished.path)
    assert about is not None
    (tmp_path / FOLDER).mkdir()
    moment = [bytes(4 * about.moment_floats)] * len(about.times)
    for step in (1, 3, 6):
        append_record(tmp_path, about, step, moment)
    with (tmp_path / FOLDER / FRAMES).open("ab") as file:
        file.write(b"torn")
    assert steps_in(tmp_path, about) == [1, 3, 6]
    append_record(tmp_path, about, 3, moment)
    assert steps_in(tmp_path, about) == [1, 3]


@pytest.mark.parametrize("data", ["moons", "mixture", "spiral"])
def test_points_are_about_as_wide_as_the_noise_they_come_from(data: str) -> None:
    points = points_of(data, 4000, generator_of(0, 0))
    assert points.shape == (4000, 2)
    assert 0.5 < points.std() < 1.3
    assert points.abs().max() < 2.6
    assert energy_distance(points, points_of(data, 4000, generator_of(0, 1))) < 0.01


def test_noise_that_is_the_data_does_not_move() -> None:
    """With x0 ~ N(0, I) the best denoiser says sqrt(1 - a) x, and the flow stands still."""
    schedule = schedule_of({})
    points = grid_of(2.0, 5)

    def best(x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        return (1 - alpha_bar(schedule, timestep)).sqrt()[:, None].float() * x

    assert field_of(best, schedule, points, 400.0).abs().max() < 1e-5
    assert field_of(lambda x, t: 0 * x, schedule, points, 400.0)[-1].tolist() == pytest.approx([8.05, 8.05], abs=0.2)


@pytest.mark.slow
def test_particles_come_to_the_moons(tmp_path: Path) -> None:
    training = {**TRAINING, "steps": 400, "batch_size": 256, "eval_every": 400}
    preset = toy(
        training=training,
        model={"width": 96, "layers": 3},
        optimizer={"learning_rate": 2e-3, "schedule": "cosine"},
        toy_diffusion={"particles": 500, "steps": 20},
    )
    measured = running.of_kind(running.done(tmp_path / "run", preset), events.Evaluation)
    distances = [evaluation.values["eval_energy_distance"] for evaluation in measured]
    assert distances[0] > 0.1
    assert distances[-1] < 0.03
