"""`diffusion_sample`: the same seed is the same picture, whoever is drawn beside it and however often a run stops."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image as Pillow
from safetensors.torch import load_file, save_file

from engine.contract import events, image_presets
from engine.contract.image_record import read_picture
from engine.contract.jsonl import follow
from engine.contract.run_dir import RunDir
from engine.contract.trajectory import list_trajectories, open_trajectory
from engine.diffusion.painters import PainterError
from engine.diffusion.studio import Spoilt, Studio
from engine.loop import StopNow
from engine.reporting import Reporter
from tests import tiny_images


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return tiny_images.denoiser(tmp_path_factory.mktemp("denoiser"))


@pytest.fixture(scope="module")
def other_model(tmp_path_factory) -> Path:
    return tiny_images.denoiser(tmp_path_factory.mktemp("other"), classes=0, seed=1)


def studio(folder: Path, model: Path, *, breathe=lambda: None, **settings: Any) -> Studio:
    folder.mkdir(exist_ok=True)
    section = {"steps": 3, "count": 4, "trajectory": 0, **settings}
    data = {"method": "diffusion_sample", "model": {"path": str(model)}, "diffusion_sample": section}
    preset = image_presets.DiffusionSamplePreset.model_validate(data)
    run = RunDir(folder)
    return Studio(preset, run, Reporter(run), breathe, torch.device("cpu"), torch.float32)


def drawn(studio: Studio) -> dict[str, bytes]:
    """Every picture of a finished run by name, as its pixels."""
    work = studio.work()
    for number in range(work.done + 1, work.steps + 1):
        work.step(number)
    return {path.stem: Pillow.open(path).tobytes() for path in sorted(studio.run.images.glob("*.png"))}


def told(studio: Studio, kind: type) -> list[Any]:
    lines = list(follow(studio.run.events)) if studio.run.events.exists() else []
    return [event for line in lines if isinstance(event := events.read_event(line), kind)]


# ----------------------------------------------------------------------------------------------------- same seed


def test_the_same_seed_is_the_same_picture_bit_for_bit(tmp_path, model):
    first = drawn(studio(tmp_path / "a", model))
    assert first == drawn(studio(tmp_path / "b", model))
    assert list(first) == [f"seed0-0000{index}" for index in range(4)]
    assert len(set(first.values())) == 4
    assert first["seed0-00000"] != drawn(studio(tmp_path / "c", model, seeds=[1], count=1))["seed1-00000"]


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "euler_a"])
def test_a_picture_is_the_same_whoever_is_drawn_beside_it(tmp_path, model, sampler):
    eta = {"eta": 1.0} if sampler == "ddim" else {}
    together = drawn(studio(tmp_path / "a", model, sampler=sampler, **eta))
    alone = drawn(studio(tmp_path / "b", model, sampler=sampler, batch_size=1, **eta))
    for name, pixels in together.items():
        assert max(abs(a - b) for a, b in zip(pixels, alone[name], strict=True)) <= 1  # a rounding to eight bits


def test_one_picture_is_repeated_bit_for_bit_among_as_many(tmp_path, model):
    whole = drawn(studio(tmp_path / "a", model, seeds=[5], batch_size=4))
    again = drawn(
        studio(tmp_path / "b", model, seeds=[5], first=2, count=1, classes=[2], among={"rows": 4, "place": 2})
    )
    assert again == {"seed5-00002": whole["seed5-00002"]}


# -------------------------------------------------------------------------------------------------- what it says


def test_a_picture_says_how_it_was_drawn(tmp_path, model):
    at = studio(tmp_path / "a", model, guidance=2.0, eta=0.5, seeds=[3], batch_size=3)
    drawn(at)
    picture = read_picture(at.run.images / "seed3-00003.png")
    record = picture.record
    assert record is not None
    assert (picture.width, picture.height, record.width, record.height) == (8, 8, 8, 8)
    assert (record.sampler, record.steps, record.eta, record.guidance) == ("ddim", 3, 0.5, 2.0)
    assert (record.seed, record.index, record.label, record.rows, record.place) == (3, 3, 0, 1, 0)
    assert (record.model, record.device, record.dtype) == (str(model), "cpu", "float32")
    assert record.schedule["num_train_timesteps"] == 1000
    assert record.versions["torch"] == torch.__version__


def test_another_model_has_another_fingerprint_and_the_same_one_the_same(tmp_path, model, other_model):
    at = studio(tmp_path / "a", model, count=1, grid=[{"vary": "model", "values": [str(model), str(other_model)]}])
    drawn(at)
    records = [read_picture(path).record for path in sorted(at.run.images.iterdir())]
    prints = [record.fingerprint for record in records if record is not None]
    assert len(set(prints)) == 2
    drawn(again := studio(tmp_path / "b", model, count=1))
    record = read_picture(again.run.images / "seed0-00000.png").record
    assert record is not None
    assert record.fingerprint == prints[0]


def test_each_picture_is_told_with_its_step(tmp_path, model):
    at = studio(tmp_path / "a", model, batch_size=2)
    drawn(at)
    images = told(at, events.Image)
    assert [(image.step, image.path, image.role) for image in images] == [
        (1 + index // 2, f"images/seed0-0000{index}.png", "sample") for index in range(4)
    ]


# ----------------------------------------------------------------------------------------------------------- grids


def test_a_grid_has_a_cell_for_every_value_with_every_other(tmp_path, model):
    grid = [{"vary": "steps", "values": [2, 3]}, {"vary": "class", "values": [0, 1, 3]}]
    at = studio(tmp_path / "a", model, count=1, grid=grid)
    pictures = drawn(at)
    assert len(pictures) == 6
    assert len(at.batches) == 2  # classes of one setting are drawn together
    cells = [read_picture(path).record for path in sorted(at.run.images.iterdir())]
    assert [(record.cell, record.steps, record.label) for record in cells if record] == [
        ({"steps": steps, "class": label}, steps, label) for steps in (2, 3) for label in (0, 1, 3)
    ]


def test_a_cell_of_a_grid_is_the_picture_that_is_drawn_alone(tmp_path, model):
    grid = [{"vary": "seed", "values": [1, 2]}, {"vary": "sampler", "values": ["ddim", "ode_heun"]}]
    cells = drawn(studio(tmp_path / "a", model, count=1, batch_size=1, grid=grid))
    alone = drawn(studio(tmp_path / "b", model, count=1, seeds=[2], sampler="ode_heun"))
    assert cells["cell0003-seed2-00000"] == alone["seed2-00000"]


def test_a_checkpoint_that_is_not_there_is_named_with_those_that_are(tmp_path, model):
    at = studio(tmp_path / "a", model, grid=[{"vary": "checkpoint", "values": [100]}])
    with pytest.raises(ValueError, match="no checkpoint of step 100"):
        drawn(at)


def test_a_class_that_the_model_does_not_know_is_refused(tmp_path, model, other_model):
    with pytest.raises(PainterError, match="no class 7\nits classes are 0 to 2"):
        drawn(studio(tmp_path / "a", model, classes=[7]))
    with pytest.raises(PainterError, match="it knows no classes"):
        drawn(studio(tmp_path / "b", other_model, classes=[0]))
    with pytest.raises(PainterError, match="reads no text"):
        drawn(studio(tmp_path / "c", model, prompts=["a cat"]))


# ------------------------------------------------------------------------------------------------ stop and resume


def test_pictures_that_are_there_are_not_drawn_again(tmp_path, model):
    first = studio(tmp_path / "a", model, batch_size=1)
    first.step(1)
    first.step(2)
    times = {path: path.stat().st_mtime_ns for path in first.run.images.iterdir()}
    second = studio(tmp_path / "a", model, batch_size=1)
    assert second.work().done == 2
    whole = drawn(second)
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert whole == drawn(studio(tmp_path / "b", model, batch_size=1))


def test_a_picture_in_halves_is_drawn_again(tmp_path, model):
    at = studio(tmp_path / "a", model)
    whole = drawn(at)
    path = at.run.images / "seed0-00001.png"
    path.write_bytes(path.read_bytes()[:-5])
    again = studio(tmp_path / "a", model)
    assert again.work().done == 0
    assert drawn(again) == whole


def test_stopping_within_a_step_leaves_no_picture_of_it(tmp_path, model):
    breaths = iter(range(100))

    def breathe() -> None:
        if next(breaths) == 4:
            raise StopNow

    at = studio(tmp_path / "a", model, batch_size=2, breathe=breathe)
    with pytest.raises(StopNow):
        drawn(at)
    assert sorted(path.name for path in at.run.images.iterdir()) == ["seed0-00000.png", "seed0-00001.png"]
    assert drawn(studio(tmp_path / "a", model, batch_size=2)) == drawn(studio(tmp_path / "b", model, batch_size=2))


# ---------------------------------------------------------------------------------------------------- trajectories


def test_the_way_from_noise_is_kept_step_by_step(tmp_path, model):
    at = studio(tmp_path / "a", model, trajectory=2, steps=5, batch_size=3)
    drawn(at)
    (folder,) = list_trajectories(at.run.path)
    trajectory = open_trajectory(folder)
    assert trajectory.about.images == ("images/seed0-00000.png", "images/seed0-00001.png")
    points = trajectory.points()
    assert [point.step for point in points] == [1, 2, 3, 4, 5]
    assert [point.t for point in points] == [800, 600, 400, 200, 0]
    last = trajectory.frame(4)
    assert last is not None
    assert last.x[: 8 * 8 * 3 : 3] == Pillow.open(at.run.path / trajectory.about.images[0]).tobytes()
    assert last.x == last.x0  # where DDIM ends, the picture is what it predicts


def test_each_setting_of_a_grid_has_a_trajectory_of_its_own(tmp_path, model):
    grid = [{"vary": "sampler", "values": ["ddim", "heun"]}, {"vary": "seed", "values": [1, 2]}]
    at = studio(tmp_path / "a", model, count=1, trajectory=8, grid=grid)
    drawn(at)
    found = [open_trajectory(folder).about for folder in list_trajectories(at.run.path)]
    assert [(about.sampler, about.seeds) for about in found] == [("ddim", (1, 2)), ("heun", (1, 2))]


# --------------------------------------------------------------------------------------------------- not a number


@pytest.fixture
def spoilt_model(tmp_path) -> Path:
    """A network that makes no numbers of class 1, and numbers of all others."""
    folder = tiny_images.denoiser(tmp_path / "spoilt")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    tensors["class_embedding.weight"][1] = float("nan")
    save_file(tensors, weights)
    return folder


def test_a_picture_of_no_numbers_is_told_with_its_step_and_not_written(tmp_path, spoilt_model):
    at = studio(tmp_path / "a", spoilt_model, count=3)
    assert list(drawn(at)) == ["seed0-00000", "seed0-00002"]
    (notice,) = told(at, events.Notice)
    assert notice.what == "seed0-00001.png is not there: after step 1 of 3 not all of it was numbers any more"
    assert "sampler" in notice.advice


def test_a_run_of_which_nothing_is_numbers_fails_in_words(tmp_path, spoilt_model):
    at = studio(tmp_path / "a", spoilt_model, classes=[1], steps=50)
    with pytest.raises(Spoilt, match="made of numbers\ntry another sampler"):
        drawn(at)
    assert not at.run.images.exists()
