"""The section `diffusion_sample`: its grid, what is drawn together, and every fault in it told by its key."""

from typing import Any

import pytest

from engine.contract.drawing_again import again, as_told, sampler_named, with_its_noise
from engine.contract.drawing_plan import batches, cells, pictures
from engine.contract.drawing_settings import DiffusionSample
from engine.contract.image_record import ImageRecord
from engine.contract.image_tools import Told
from engine.contract.preset import check
from engine.contract.sampler_names import SAMPLERS


def section(**values: Any) -> DiffusionSample:
    return DiffusionSample.model_validate(values)


def faults(**values: Any) -> dict[str, str]:
    """Key -> problem."""
    _, found = check({"method": "diffusion_sample", "model": {"path": "m"}, "diffusion_sample": values})
    return {fault.dotted: fault.problem for fault in found}


def test_without_a_grid_there_is_one_cell():
    assert list(cells(section())) == [({}, section())]


def test_the_last_axis_of_a_grid_is_the_fastest():
    grid = [{"vary": "steps", "values": [5, 10]}, {"vary": "sampler", "values": ["ddim", "heun"]}]
    found = [(cell["steps"], one.sampler) for cell, one in cells(section(grid=grid))]
    assert found == [(5, "ddim"), (5, "heun"), (10, "ddim"), (10, "heun")]


def test_pictures_are_counted_before_they_are_drawn():
    grid = [{"vary": "steps", "values": [5, 10]}, {"vary": "seed", "values": [1, 2, 3]}]
    assert pictures(section(count=4, seeds=[1, 2])) == 8
    assert pictures(section(count=4, seeds=[1, 2], grid=grid)) == 24
    assert sum(len(batch.shots) for batch in batches(section(count=4, seeds=[1, 2], grid=grid), "m")) == 24


def test_pictures_of_one_setting_are_drawn_together_whatever_cell_they_are_of():
    grid = [{"vary": "seed", "values": [1, 2, 3]}, {"vary": "steps", "values": [5, 10]}]
    found = batches(section(count=2, batch_size=4, grid=grid), "m")
    assert [(batch.how.steps, len(batch.shots), batch.is_first) for batch in found] == [
        (5, 4, True), (5, 2, False), (10, 4, True), (10, 2, False),
    ]  # fmt: skip


def test_classes_and_prompts_are_taken_in_turn_by_number():
    [batch] = batches(section(count=4, first=1, classes=[7, 8, 9]), "m")
    assert [(shot.number, shot.label) for shot in batch.shots] == [(1, 8), (2, 9), (3, 7), (4, 8)]
    [batch] = batches(section(count=2, prompts=["a", "b"]), "m")
    assert [shot.prompt for shot in batch.shots] == ["a", "b"]


def test_no_two_pictures_have_one_name():
    grid = [{"vary": "seed", "values": [1, 2]}, {"vary": "eta", "values": [0.0, 1.0]}]
    names = [shot.name for batch in batches(section(count=3, grid=grid), "m") for shot in batch.shots]
    assert len(set(names)) == 12


def test_eta_is_ddims_alone():
    grid = [{"vary": "sampler", "values": ["ddim", "heun"]}]
    assert [batch.how.eta for batch in batches(section(eta=1.0, grid=grid), "m")] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("values", "key", "problem"),
    [
        ({"eta": 2.0}, "diffusion_sample.eta", "at most 1.0"),
        ({"seeds": [-1]}, "diffusion_sample.seeds.0", "at least 0"),
        ({"sampler": "dim"}, "diffusion_sample.sampler", "should be 'ddim'"),
        ({"grid": [{"vary": "eta", "values": [0.0, 2.0]}]}, "diffusion_sample.grid.0.values.1", "cannot be eta"),
        ({"grid": [{"vary": "steps", "values": ["x"]}]}, "diffusion_sample.grid.0.values.0", "cannot be steps"),
        ({"grid": [{"vary": "seed", "values": [1, 1]}]}, "diffusion_sample.grid.0.values.1", "already"),
        ({"grid": [{"vary": "model", "values": [3]}]}, "diffusion_sample.grid.0.values.0", "cannot be a model"),
        ({"grid": [{"vary": "colour", "values": [3]}]}, "diffusion_sample.grid.0.vary", "should be"),
        ({"grid": [{"vary": "eta", "values": [0.1]}] * 2}, "diffusion_sample.grid", "axis twice"),
        ({"classes": [1], "prompts": ["a"]}, "diffusion_sample.prompts", "beside classes"),
        ({"among": {"rows": 2, "place": 2}}, "diffusion_sample.among.place", "not one of the rows"),
        ({"count": 60_000, "seeds": [1, 2]}, "diffusion_sample.count", "too many"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_told_by_its_key(values, key, problem):
    found = faults(**values)
    assert key in found, found
    assert problem in found[key]


def test_nothing_is_drawn_by_a_network_that_learned_nothing():
    _, found = check({"method": "diffusion_sample", "model": {"path": "scratch", "scratch": {}}})
    assert [fault.problem for fault in found] == ["has learned nothing to draw"]


# ------------------------------------------------------------------------------------------- from a picture

RECORD = ImageRecord(
    model="runs/x/final", sampler="ddim", steps=5, eta=0.5, guidance=3.0, label=4, seed=9, index=18, width=8, height=8,
    cell={"steps": 5}, rows=16, place=2, dtype="float32", device="cpu", threads=1,
)  # fmt: skip


def test_a_record_is_a_preset_of_the_one_picture():
    preset, found = check(again(RECORD))
    assert found == []
    assert preset is not None
    drawn: DiffusionSample = preset.diffusion_sample  # type: ignore[union-attr]
    [batch] = batches(drawn, "runs/x/final")
    [shot] = batch.shots
    assert (shot.seed, shot.number, shot.label, batch.how.eta, batch.how.steps) == (9, 18, 4, 0.5, 5)
    assert drawn.among is not None
    assert (drawn.among.rows, drawn.among.place, drawn.threads) == (16, 2, 1)


def test_what_a_stranger_calls_a_device_or_a_number_format_is_not_taken_over():
    stranger = RECORD.model_copy(update={"device": "cpu; rm", "dtype": "int3"})
    assert again(stranger)["model"] == {"path": "runs/x/final", "dtype": "auto", "device": "auto"}
    assert "among" not in with_its_noise(RECORD)["diffusion_sample"]


def test_as_much_of_another_programs_settings_is_taken_as_is_known():
    told = Told("a1111", "a house", "rain", 5, 12, 7.5, "Euler a", "x", 64, 32)
    preset, found = check(as_told(told, "m"))
    assert (found, preset is not None) == ([], True)
    assert as_told(told, "m")["diffusion_sample"]["sampler"] == "euler_a"
    assert as_told(Told("a1111", sampler="Restart"), "m")["diffusion_sample"] == {"count": 1}


def test_every_sampler_is_known_by_its_own_name():
    assert all(sampler_named(name) == name for name in SAMPLERS)
