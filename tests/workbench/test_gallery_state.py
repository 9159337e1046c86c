"""What varies between pictures, how they lie in a grid, and the preset that draws one of them again."""

import yaml

from engine.contract.drawing_settings import Among
from engine.contract.events import Image
from engine.contract.image_presets import DiffusionSamplePreset
from engine.contract.image_record import ImageRecord, Picture
from engine.contract.image_tools import Told
from engine.contract.preset import read_draft
from workbench.state import gallery_plan, picture_preset
from workbench.state.gallery import MOST_IN_A_GRID, Gallery, details


def image(number: int, *, step: int = 0, role: str = "sample") -> Image:
    return Image(step=step, time=1.0, path=f"images/{number}.png", role=role)


def record(**settings: object) -> ImageRecord:
    told = {"model": "assets:digits-denoiser", "sampler": "ddim", "steps": 20, "seed": 0, "width": 8, "height": 8}
    return ImageRecord.model_validate(told | settings)


def filled(*records: ImageRecord | None) -> Gallery:
    gallery = Gallery()
    images = [image(number) for number in range(len(records))]
    gallery.follow(images)
    gallery.tell({one.path: told for one, told in zip(images, records, strict=True)})
    return gallery


def labels(gallery: Gallery) -> list[str]:
    return [gallery.label(one) for one in gallery.pictures]


def test_a_label_says_what_varies_and_nothing_else():
    gallery = filled(*(record(guidance=g, label=c) for g in (1.0, 4.0) for c in (3, 5)))
    assert labels(gallery) == [
        "class 3  guidance 1",
        "class 5  guidance 1",
        "class 3  guidance 4",
        "class 5  guidance 4",
    ]


def test_numbers_are_said_only_where_nothing_else_tells_pictures_apart():
    assert labels(filled(record(label=1, index=0), record(label=2, index=1))) == ["class 1", "class 2"]
    assert labels(filled(record(index=0), record(index=1))) == ["no. 0", "no. 1"]


def test_pictures_that_say_nothing_are_called_by_their_step_or_file():
    gallery = Gallery()
    gallery.follow([image(1, step=1500), image(2)])
    assert labels(gallery) == ["sample  step 1,500", "2"]


def test_a_grid_has_one_setting_across_and_all_others_down():
    gallery = filled(*(record(guidance=g, label=c, seed=s) for s in (1, 0) for g in (4.0, 1.0) for c in (3, 5)))
    assert gallery.axes() == ["label", "guidance", "seed"]
    plot = gallery.plot(gallery.pictures, "guidance")
    assert plot.columns.values == (1.0, 4.0)
    assert plot.rows == ("class 3\nseed 1", "class 5\nseed 1", "class 3\nseed 0", "class 5\nseed 0")
    assert plot.cells[0, 1] == 0
    assert plot.cells[3, 0] == 7


def test_cells_of_a_grid_fill_as_pictures_come():
    gallery = filled(record(guidance=1.0, label=0), record(guidance=1.0, label=1), record(guidance=2.0, label=0))
    plot = gallery.plot(gallery.pictures, "guidance")
    assert (1, 1) not in plot.cells
    assert len(plot.cells) == 3


def test_a_checkpoint_of_a_grid_is_said_though_no_record_has_such_a_field():
    cells = [{"checkpoint": 100, "class": 3}, {"checkpoint": 200, "class": 3}]
    assert labels(filled(*(record(cell=cell, label=3) for cell in cells))) == ["checkpoint 100", "checkpoint 200"]


def test_thousands_of_pictures_are_no_grid():
    assert filled(*(record(seed=s, label=s % 2) for s in range(MOST_IN_A_GRID + 1))).axes() == []


def test_a_new_life_forgets_what_it_has_not_drawn_yet():
    gallery = filled(record(seed=1), record(seed=2), record(seed=3))
    assert gallery.follow([image(0), image(1)]) == []
    assert labels(gallery) == ["seed 1", "seed 2"]
    assert gallery.follow([image(0), image(1), image(2)]) == ["images/2.png"]


def test_a_picture_drawn_anew_under_its_path_is_one_picture():
    gallery = Gallery()
    assert gallery.follow([image(0, step=1), image(0, step=2)]) == ["images/0.png"]
    assert [one.step for one in gallery.pictures] == [2]


def test_details_say_all_of_the_record_a_line_each():
    told = details(image(0, step=5), record(cell={"guidance": 2}, prompt="a cat\nand a dog"))
    assert "sampler: ddim" in told.splitlines()
    assert "  guidance: 2" in told.splitlines()
    assert "negative_prompt" not in told
    assert "kind: strip" in details(image(0, role="strip"), None)


def test_the_preset_of_a_picture_asks_for_the_same_noise_among_as_many():
    told = record(seed=7, index=5, label=3, guidance=2.5, eta=0.5, rows=16, place=5)
    preset = read_draft(picture_preset.drawn_again(told)).preset
    assert isinstance(preset, DiffusionSamplePreset)
    section = preset.diffusion_sample
    assert (preset.model.path, preset.model.dtype) == ("assets:digits-denoiser", "float32")
    assert (section.sampler, section.steps, section.eta, section.guidance) == ("ddim", 20, 0.5, 2.5)
    assert (section.classes, section.seeds, section.first, section.count) == ([3], [7], 5, 1)
    assert section.among == Among(rows=16, place=5)
    assert "among" not in yaml.safe_load(picture_preset.with_its_seed(told))["diffusion_sample"]


def test_what_a_stranger_wrote_stays_a_text_in_the_preset():
    prompt = "x\nmethod: sft\n- {model: {path: evil}} # !!python/object:os.system"
    preset = yaml.safe_load(picture_preset.drawn_again(record(prompt=prompt, model="a: b\nc")))
    assert preset["diffusion_sample"]["prompts"] == [prompt]
    assert preset["model"]["path"] == "a: b\nc"
    assert preset["method"] == "diffusion_sample"


def test_a_strangers_picture_gets_one_sentence():
    assert "a1111" in picture_preset.why_not("x.png", Picture(8, 8, None, Told(tool="a1111", prompt="a cat")))
    assert picture_preset.why_not("x.png", Picture(8, 8, None, Told())).count(".") == 2
    assert picture_preset.why_not("x.png", Picture(8, 8, record(), Told())) == ""


GRID = {
    "method": "diffusion_sample",
    "diffusion_sample": {
        "count": 2,
        "grid": [{"vary": "sampler", "values": ["ddim", "ddpm"]}, {"vary": "steps", "values": [5, 10]}],
    },
}


def test_a_grid_shows_its_cells_before_they_are_drawn_and_fills_them_one_by_one():
    gallery = Gallery()
    gallery.expect(gallery_plan.planned(GRID))
    across = gallery_plan.columns(GRID)
    assert (gallery.expected, across, gallery.axes()) == (8, "steps", ["sampler", "steps", "index"])
    empty = gallery.plot([], across)
    assert empty.columns.values == (5, 10)
    assert empty.rows == ("ddim\nno. 0", "ddim\nno. 1", "ddpm\nno. 0", "ddpm\nno. 1")
    assert empty.cells == {}

    drawn = [image(0), image(1)]
    drawn = [one.model_copy(update={"path": f"images/cell0000-seed0-0000{n}.png"}) for n, one in enumerate(drawn)]
    gallery.follow(drawn)
    told = (record(steps=5, label=n + 7, index=n, cell={"sampler": "ddim", "steps": 5}) for n in range(2))
    gallery.tell({one.path: each for one, each in zip(drawn, told, strict=True)})
    plot = gallery.plot(drawn, across)
    assert plot.rows == ("class 7\nddim", "class 8\nddim", "class 7\nddpm", "class 8\nddpm")
    assert plot.cells == {(0, 0): 0, (1, 0): 1}


def test_nothing_is_planned_where_there_is_no_grid_or_models_are_its_axis():
    by_model = [{"vary": "model", "values": ["a", "b"]}]
    for section in ({"count": 3}, {"grid": by_model}, {"grid": "what"}):
        assert gallery_plan.planned({"diffusion_sample": section}) == {}
    assert gallery_plan.planned({}) == {}
