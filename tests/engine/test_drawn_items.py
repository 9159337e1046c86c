"""Image models draw pairs of pictures: from equal noise, blind, whole after a kill, and never twice."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.contract.faults import PresetError
from engine.contract.image_record import read_picture
from engine.contract.labels import Item, LabelDir, LabelSet
from engine.contract.labels_log import create_set, read_items, read_set
from engine.contract.labels_recipe import Drawn, Recipe, recipe_text
from engine.contract.run_dir import RunDir
from engine.data.rows import DataError
from engine.labelling import drawing, generate
from engine.reporting import Reporter
from engine.starting import items as starting
from engine.starting.launch import environment
from tests import tiny_images
from tests.engine.test_items import fill

CLASSES = 3


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`base`, `tuned` with other weights, `copy` with the same as base, `words` that reads text."""
    folder = tmp_path_factory.mktemp("models")
    tiny_images.denoiser(folder / "base", classes=CLASSES, seed=0)
    tiny_images.denoiser(folder / "tuned", classes=CLASSES, seed=1)
    shutil.copytree(folder / "base", folder / "copy")
    tiny_images.stable_diffusion(folder / "words")
    return folder


@pytest.fixture
def labels(tmp_path: Path) -> LabelDir:
    made = create_set(tmp_path / "labels" / "art", LabelSet(name="art", kind="image"))
    made.generation.mkdir()
    return made


def drawn(models: Path, *names: str, **more: Any) -> dict[str, Any]:
    how = {"steps": 2, "device": "cpu", **more.pop("how", {})}
    artists = [{"model": str(models / name), **how} for name in names]
    return {"kind": "drawn", "artists": artists, "pairs": 2, **more}


def models_of(item: Item) -> list[str]:
    return [Path(str(candidate.origin["model"])).name for candidate in item.candidates]


def easels(part: dict[str, Any], labels: LabelDir) -> list[drawing.Easel]:
    return drawing._easels(Drawn.model_validate(part), Reporter(RunDir(labels.generation)), lambda: None)


def test_two_models_draw_each_class_in_turn_and_every_pair_from_the_same_noise(models: Path, labels: LabelDir) -> None:
    assert fill(labels, drawn(models, "base", "tuned"))
    items = read_items(labels)
    assert [item.prompt for item in items] == ["class 0", "class 1", "class 2"] * 2
    for number, item in enumerate(items):
        assert sorted(models_of(item)) == ["base", "tuned"]
        records = [read_picture(labels.path / str(one.image)).record for one in item.candidates]
        assert {(record.seed, record.index, record.label) for record in records if record} == {(0, number, number % 3)}


def test_equal_seeds_are_equal_noise_in_both_models(models: Path, labels: LabelDir) -> None:
    seen: list[torch.Tensor] = []
    for easel in easels(drawn(models, "base", "tuned"), labels):
        hook = easel.painter.network.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
        easel.draw([drawing.Target(1, None, (4,)), drawing.Target(2, None, (7,))], lambda: None)
        hook.remove()
    of_base, of_tuned = seen[0], seen[2]  # the first of two steps each
    assert torch.equal(of_base, of_tuned)
    assert not torch.equal(of_base[0], of_base[1])


def test_the_same_model_under_two_names_draws_the_same_so_nothing_is_compared_unless_the_seeds_differ(
    models: Path, labels: LabelDir
) -> None:
    part = drawn(models, "base", "copy")
    assert fill(labels, part)
    assert read_items(labels) == []
    part["artists"][1]["seed"] = 1
    assert fill(labels, part)
    assert len(read_items(labels)) == 6


def test_one_model_draws_two_of_everything_from_noise_that_no_other_pair_has(models: Path, labels: LabelDir) -> None:
    assert fill(labels, drawn(models, "base", classes=[2], pairs=3))
    records = [[one.model_dump()["origin"]["record"] for one in item.candidates] for item in read_items(labels)]
    numbers = [{record.get("index", 0) for record in two} for two in records]
    assert numbers == [{0, 1}, {2, 3}, {4, 5}]


def test_a_picture_has_all_that_draws_it_again_and_its_item_what_differs(models: Path, labels: LabelDir) -> None:
    assert fill(labels, drawn(models, "base", classes=[2], pairs=1))
    (item,) = read_items(labels)
    for candidate in item.candidates:
        record = read_picture(labels.path / str(candidate.image)).record
        assert record is not None
        assert (record.label, record.dtype) == (2, "float32")
        assert record.versions.keys() >= {"torch", "diffusers"}
        assert {"schedule", "versions"}.isdisjoint(candidate.model_dump()["origin"]["record"])


def test_a_model_that_reads_text_draws_what_prompts_say(models: Path, labels: LabelDir, tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "a cat"}\n{"prompt": "a dog"}\n')
    assert fill(labels, drawn(models, "words", pairs=1, prompts=str(tmp_path / "prompts.jsonl")))
    assert [item.prompt for item in read_items(labels)] == ["a cat", "a dog"]


def test_neither_names_nor_order_tell_which_model_drew_a_picture(models: Path, labels: LabelDir) -> None:
    assert fill(labels, drawn(models, "base", "tuned", pairs=8))
    items = read_items(labels)
    first = [models_of(item)[0] for item in items]
    assert 4 < first.count("base") < 20
    for item in items:
        names = [str(candidate.image) for candidate in item.candidates]
        assert names == sorted(names)
        assert all(set(Path(name).stem) <= set("0123456789abcdef") for name in names)


def test_a_set_that_was_stopped_goes_on_where_it_was_and_draws_nothing_twice(models: Path, tmp_path: Path) -> None:
    part = drawn(models, "base", "tuned", at_once=2)
    made = [create_set(tmp_path / name, LabelSet(name=name, kind="image")) for name in ("whole", "parts")]
    for one in made:
        one.generation.mkdir()
    assert fill(made[0], part)
    assert not fill(made[1], part, patience=1)
    # As a kill leaves it: a picture in halves, and half a line.
    (made[1].path / "images" / ".new-1-half.png").write_bytes(b"\x89PNG")
    with made[1].items.open("ab") as file:
        file.write(b'{"id": "')
    assert fill(made[1], part)
    assert read_items(made[1]) == read_items(made[0])
    files = [sorted(path.name for path in (one.path / "images").iterdir()) for one in made]
    assert files[0] == files[1]


@pytest.mark.slow
def test_a_process_that_was_killed_while_it_drew_leaves_whole_items_and_goes_on(models: Path, labels: LabelDir) -> None:
    part = drawn(models, "base", "tuned", pairs=8, at_once=2, how={"steps": 10})
    (labels.generation / "recipe.yaml").write_text(recipe_text(Recipe.model_validate({"parts": [part]})))
    command = [sys.executable, "-m", "engine.labelling.generate", str(labels.generation)]
    first = subprocess.Popen(command, env=environment())
    deadline = time.monotonic() + 120
    while labels.items.stat().st_size == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    some = read_items(labels)
    assert 0 < len(some) < 24
    assert all((labels.path / str(one.image)).is_file() for item in some for one in item.candidates)
    assert subprocess.run(command, env=environment(), check=False).returncode == generate.FINISHED
    assert read_items(labels)[: len(some)] == some
    assert len({item.id for item in read_items(labels)}) == 24


# --------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("names", "more", "told"),
    [
        (["base"], {"classes": [0, 7]}, "knows 0 to 2 .got 7."),
        (["words"], {}, "draws what a text says, and there is none"),
        (["words", "base"], {"prompts": "prompts.jsonl"}, "reads no text"),
    ],
)
def test_what_a_model_cannot_be_asked_for_is_told(
    models: Path, labels: LabelDir, names: list[str], more: dict[str, Any], told: str
) -> None:
    with pytest.raises(DataError, match=told):
        fill(labels, drawn(models, *names, **more))


def test_pictures_that_are_no_numbers_cost_their_pairs_and_are_told(
    models: Path, labels: LabelDir, tmp_path: Path
) -> None:
    shutil.copytree(models / "base", tmp_path / "broken")
    [file] = (tmp_path / "broken" / "unet").glob("*.safetensors")
    save_file({name: torch.full_like(tensor, torch.nan) for name, tensor in load_file(file).items()}, file)
    assert fill(labels, drawn(tmp_path, "broken"))
    assert read_items(labels) == []
    events = [json.loads(line) for line in (labels.generation / "events.jsonl").read_text().splitlines()]
    assert any("no numbers" in str(event.get("what")) for event in events if event["kind"] == "notice")


def test_a_plan_tells_how_many_pairs_there_will_be_without_opening_a_model(models: Path, tmp_path: Path) -> None:
    label_dir = LabelDir(tmp_path / "labels" / "new")
    data = {"parts": [drawn(models, "base", "tuned")]}
    plan = starting.look(label_dir, data, told_by=tmp_path / "r.yaml", workspace=tmp_path, new={"name": "new"})
    [part] = plan.parts
    assert (part.rows, part.items, part.is_rough, plan.seconds) == (12, 6, False, None)
    assert part.first[0]["asked for"] == "class 0"


def test_a_set_of_drawn_pictures_is_one_of_images_and_takes_no_texts(models: Path, tmp_path: Path) -> None:
    label_dir = LabelDir(tmp_path / "labels" / "new")
    more: dict[str, Any] = {"told_by": tmp_path / "r.yaml", "workspace": tmp_path, "new": LabelSet(name="new")}
    recipe = Recipe.model_validate({"parts": [drawn(models, "base")]})
    prepared = starting.prepare(label_dir, recipe, **more)
    assert prepared.new is not None
    assert (prepared.new.kind, prepared.new.question) == ("image", "Which picture is better?")
    (tmp_path / "a.jsonl").write_text('{"prompt": "?", "completions": ["a", "b"]}\n')
    texts = Recipe.model_validate({"parts": [{"kind": "completions", "source": str(tmp_path / "a.jsonl")}]})
    create_set(label_dir.path, prepared.new)
    assert read_set(label_dir).kind == "image"
    with pytest.raises(PresetError, match="gives texts, unlike the set new"):
        starting.prepare(label_dir, texts, **more)
