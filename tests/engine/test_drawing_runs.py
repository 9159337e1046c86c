"""Runs that draw: stopped, killed and gone on with; from the command line; and a picture drawn again from itself."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import load_file, save_file

from engine import __main__ as command_line
from engine.contract import events, run_dir
from engine.contract.image_record import read_picture
from engine.contract.preset import Preset, check
from engine.contract.run_dir import RunDir
from engine.diffusion.png_files import is_whole
from engine.starting import launch
from tests import tiny_images
from tests.engine import running


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return tiny_images.denoiser(tmp_path_factory.mktemp("denoiser"))


def drawing(model: Path, **section: Any) -> Preset:
    usual = {"steps": 2, "count": 6, "batch_size": 2, "trajectory": 1, "threads": 1}
    data = {"model": {"path": str(model), "device": "cpu"}, "diffusion_sample": usual | section}
    preset, faults = check({"method": "diffusion_sample", **data})
    assert preset is not None, faults
    return preset


def pictures(run: RunDir) -> dict[str, bytes]:
    return {path.name: Pillow.open(path).tobytes() for path in sorted(run.images.glob("*.png"))}


@pytest.fixture(scope="module")
def finished(model, tmp_path_factory) -> RunDir:
    return running.done(tmp_path_factory.mktemp("drawing") / "run", drawing(model))


def test_a_run_tells_what_it_draws_and_how_far_it_is(finished):
    [started] = running.of_kind(finished, events.RunStarted)
    assert (started.method, started.steps) == ("diffusion_sample", 3)
    assert running.values_of(finished, "images/drawn") == [2, 4, 6]
    assert running.values_of(finished, "images/seconds_left")[-1] == 0
    assert [image.step for image in running.of_kind(finished, events.Image)] == [1, 1, 2, 2, 3, 3]


def test_a_stopped_run_goes_on_with_what_is_missing(finished, model, tmp_path):
    run = running.new_run(tmp_path / "run", drawing(model))
    ask = '{"id": "1", "time": 0.0, "ask": "stop"}\n'
    stop_at_1 = lambda step: run.commands.write_text(ask) if step == 1 else None  # noqa: E731
    assert running.run_here_watched(run, stop_at_1) == running.STOPPED
    first = {path: path.stat().st_mtime_ns for path in run.images.iterdir()}
    assert len(first) == 2
    assert running.run_here(run, commands_from=len(ask)) == running.FINISHED
    assert {path: path.stat().st_mtime_ns for path in first} == first
    assert pictures(run) == pictures(finished)
    counted = [(event.step, event.path) for event in running.history(run) if isinstance(event, events.Image)]
    assert counted == [(event.step, event.path) for event in running.of_kind(finished, events.Image)]


def kill_while_writing(number: int) -> None:
    """In the life of a run: half of the picture of this number reaches the disk, and that is the end."""
    write, written = Path.write_bytes, [0]

    def write_half(self: Path, data: bytes) -> int:
        if ".png" in self.name:
            written[0] += 1
            if written[0] == number:
                write(self, data[: len(data) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
        return write(self, data)

    Path.write_bytes = write_half  # type: ignore[method-assign, assignment]


@pytest.mark.usefixtures("fork_server")
def test_a_run_killed_while_it_writes_a_picture_leaves_none_in_halves(finished, model, tmp_path):
    run = running.new_run(tmp_path / "run", drawing(model))
    assert running.live(run, kill_while_writing, 4) == running.KILLED
    left = sorted(run.images.glob("*.png"))
    assert [path.name for path in left] == [f"seed0-0000{index}.png" for index in range(3)]
    assert all(is_whole(path) for path in left)
    assert running.run_here(run) == running.FINISHED
    assert pictures(run) == pictures(finished)


# ------------------------------------------------------------------------------------------------- on the command line


@pytest.fixture
def here(monkeypatch) -> None:
    """Runs that a command starts go through in this process."""

    def start(prepared: launch.Prepared) -> RunDir:
        run = launch.create(prepared)
        assert running.run_here(run) == running.FINISHED, running.last_word(run)
        run.process.unlink()  # the engine is this process, which lives on
        return run

    monkeypatch.setattr(launch, "start", start)


def call(*words: object) -> int:
    try:
        return command_line.main([str(word) for word in words])
    except SystemExit as left:
        return int(left.code or 0)


def newest(workspace: Path) -> RunDir:
    return max(run_dir.list_runs(workspace / "runs"), key=lambda run: run.preset.stat().st_mtime_ns)


@pytest.mark.usefixtures("here")
def test_a_picture_is_drawn_again_from_what_it_says_bit_for_bit(model, tmp_path, capsys):
    words = ["--seed", 5, "--count", 4, "--steps", 3, "--class", 2, "--class", 0, "--guidance", 2, "--threads", 1]
    assert call("sample", model, *words, "--workspace", tmp_path) == 0
    source = newest(tmp_path).images / "seed5-00002.png"
    assert "pictures are in" in capsys.readouterr().out
    picture = Path(shutil.copy(source, tmp_path / "kept.png"))
    assert call("sample", "--from", picture, "--workspace", tmp_path) == 0
    again = newest(tmp_path).images / "seed5-00002.png"
    assert "it is the same picture, bit for bit" in capsys.readouterr().out
    assert Pillow.open(again).tobytes() == Pillow.open(source).tobytes()
    before, after = read_picture(source).record, read_picture(again).record
    assert before is not None
    assert after is not None
    assert after == before.model_copy(update={"run": after.run})


@pytest.mark.usefixtures("here")
def test_a_picture_of_a_model_that_has_changed_since_is_told_to_differ(model, finished, tmp_path, capsys):
    changed = Path(shutil.copytree(model, tmp_path / "changed"))
    weights = changed / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({name: tensor * 1.1 for name, tensor in load_file(weights).items()}, weights)
    source = finished.images / "seed0-00001.png"
    assert call("sample", changed, "--from", source, "--workspace", tmp_path) == 0
    assert "it differs from seed0-00001.png: not the same as then are the model's weights" in capsys.readouterr().out


@pytest.mark.usefixtures("here")
def test_another_programs_picture_gives_its_settings(model, tmp_path, capsys):
    said = PngInfo()
    said.add_text("parameters", "Steps: 2, Sampler: Euler a, CFG scale: 3, Seed: 9, Size: 8x8")
    Pillow.new("L", (8, 8)).save(tmp_path / "theirs.png", pnginfo=said)
    assert call("sample", "--from", tmp_path / "theirs.png") == 2
    assert "name a model before --from" in capsys.readouterr().err
    assert call("sample", model, "--from", tmp_path / "theirs.png", "--workspace", tmp_path) == 0
    assert "is of a1111, whose noise is its own" in capsys.readouterr().err
    record = read_picture(newest(tmp_path).images / "seed9-00000.png").record
    assert record is not None
    assert (record.sampler, record.steps, record.guidance, record.seed) == ("euler_a", 2, 3.0, 9)


def test_a_picture_that_is_none_is_refused(tmp_path, capsys):
    (tmp_path / "no.png").write_bytes(b"GIF89a")
    assert call("sample", "--from", tmp_path / "no.png") == 2
    assert "is not a PNG file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "settings", "problem"),
    [
        ("weights.safetensors", {}, "holds weights without their configuration"),
        ("weights.ckpt", {}, "pickles, which can run any code"),
        ("nothing.safetensors", {}, "does not exist"),
    ],
)
def test_weights_in_one_file_are_refused_before_anything_is_written(tmp_path, capsys, name, settings, problem):
    (tmp_path / "weights.safetensors").write_bytes(b"x")
    (tmp_path / "weights.ckpt").write_bytes(b"x")
    preset = {"method": "diffusion_sample", "model": {"path": str(tmp_path / name), **settings}}
    (tmp_path / "p.yaml").write_text(json.dumps(preset))
    assert call("run", tmp_path / "p.yaml", "--workspace", tmp_path) == 2
    assert problem in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_models_of_a_grid_are_found_as_model_path_is(model, tmp_path, capsys):
    grid = [{"vary": "model", "values": [model.name, "no/such/model"]}]
    preset = {"method": "diffusion_sample", "model": {"path": str(model)}, "diffusion_sample": {"grid": grid}}
    (model.parent / "p.yaml").write_text(json.dumps(preset))
    assert call("check", model.parent / "p.yaml", "--quick", "--workspace", tmp_path) == 2
    told = capsys.readouterr().err
    assert "diffusion_sample.grid.0.values" in told
    assert "does not exist (got no/such/model)" in told
    assert told.count("does not exist") == 1
