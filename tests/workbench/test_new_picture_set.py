"""Sets of drawn pictures are planned: by hand, from a run, and against the model that a run began from."""

from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from engine.contract import run_dir
from engine.contract.labels import Candidate, Item, Judgement
from engine.contract.labels_log import append_judgement, read_items
from engine.contract.labels_recipe import PICTURES_ASKED, Recipe
from engine.contract.strict_yaml import load_yaml
from tests.workbench.label_sets import made_of_pictures, said
from tests.workbench.opened import PATIENCE_MS, opened
from workbench.io import label_engine
from workbench.io.engine_process import Started
from workbench.io.label_engine import Order
from workbench.state import new_set
from workbench.state.label_votes import votes
from workbench.state.new_set import EMPTY, Start, answers_of_run, new_draft, recipe_text, run_against_base

CTRL = Qt.KeyboardModifier.ControlModifier
RUN = Path("runs") / "20261121-120000-strokes"
TUNED: dict[str, Any] = {"method": "diffusion_dpo", "model": {"path": "assets:digits-denoiser"}}


def recipe_of(start: Start) -> Recipe:
    return Recipe.model_validate(load_yaml(recipe_text(new_draft(start, ())))[0])


def test_a_source_of_pictures_asks_which_picture_is_better_and_of_texts_which_answer() -> None:
    draft = new_draft(EMPTY, ())
    new_set.add_source(draft, "drawn")
    assert draft.values["question"] == PICTURES_ASKED
    other = new_draft(EMPTY, ())
    new_set.add_source(other, "written")
    assert "question" not in other.values


def test_a_second_artist_begins_from_the_same_noise_and_a_second_writer_does_not() -> None:
    seeds = []
    for kind, where in (("drawn", "artists"), ("written", "writers")):
        draft = new_draft(EMPTY, ())
        new_set.add_source(draft, kind)  # type: ignore[arg-type]
        new_set.add_writer(draft, 0)
        seeds.append([model.get("seed", 0) for model in draft.values["parts"][0][where]])
    assert seeds == [[0, 0], [0, 1]]


def test_a_run_of_images_offers_its_own_pictures() -> None:
    start = answers_of_run(RUN, "strokes", TUNED, has_several=False, is_alive=False)
    [part] = recipe_of(start).parts
    assert part.kind == "drawn"
    assert [artist.model for artist in part.artists] == [str(RUN)]
    assert start.name == "strokes-pictures"


def test_a_run_that_only_drew_offers_its_model_as_it_drew_with_it() -> None:
    section = {"sampler": "ode_heun", "steps": 7, "guidance": 2.0, "count": 5}
    preset = {"method": "diffusion_sample", "model": {"path": "assets:digits-denoiser"}, "diffusion_sample": section}
    [part] = recipe_of(answers_of_run(RUN, "look", preset, has_several=False, is_alive=False)).parts
    assert part.kind == "drawn"
    [artist] = part.artists
    assert (artist.model, artist.sampler, artist.steps, artist.guidance) == (
        "assets:digits-denoiser",
        "ode_heun",
        7,
        2.0,
    )


def test_a_tuned_run_meets_its_base_at_equal_seeds_that_it_did_not_learn_from() -> None:
    [part] = recipe_of(run_against_base(RUN, "strokes", TUNED)).parts
    assert part.kind == "drawn"
    assert [artist.model for artist in part.artists] == ["assets:digits-denoiser", str(RUN)]
    first, second = (artist.seed for artist in part.artists)
    assert first == second != 0
    assert part.artists[0].model_copy(update={"model": ""}) == part.artists[1].model_copy(update={"model": ""})


def test_a_run_from_nothing_has_no_base_to_meet() -> None:
    start = run_against_base(RUN, "strokes", {"method": "denoiser", "model": {"path": "scratch"}})
    assert "began from random weights" in start.why


@pytest.mark.parametrize("differs", [True, False])
def test_two_ways_of_one_model_are_compared_only_if_they_differ(differs: bool) -> None:
    steps = (20, 5 if differs else 20)
    two = tuple(
        Candidate(image=f"{n}.png", origin={"model": "m", "record": {"sampler": "ddim", "steps": n}}) for n in steps
    )
    item = Item(id="i", prompt="class 7", candidates=two)
    judgement: Judgement = said(item, 0)
    cast = votes([judgement], {"i": item})
    assert [(vote.first, vote.second, vote.score) for vote in cast] == (
        [("m, ddim in 20 steps", "m, ddim in 5 steps", 0.0)] if differs else []
    )


def test_a_run_that_only_drew_has_no_model_to_meet_its_base() -> None:
    preset = {"method": "diffusion_sample", "model": {"path": "assets:digits-denoiser"}, "diffusion_sample": {}}
    start = run_against_base(RUN, "look", preset)
    assert "made none of its own" in start.why
    assert [artist["model"] for artist in start.parts[0]["artists"]] == ["assets:digits-denoiser", ""]


def test_a_run_that_saved_nothing_is_not_compared_and_no_other_set_takes_its_keys(qtbot: Any, workspace: Path) -> None:
    text = f"method: diffusion_dpo\nmodel: {{path: {workspace / 'base'}}}\ntraining: {{steps: 3}}\n"
    run_dir.create(workspace / "runs", "strokes", text)
    other = made_of_pictures(workspace)
    with opened(qtbot, workspace) as window:
        qtbot.waitUntil(lambda: window.run_path is not None, timeout=PATIENCE_MS)
        window.show_page("judge")
        window.session.labelling.open(other)
        qtbot.waitUntil(lambda: window.is_judging, timeout=PATIENCE_MS)
        window.show_page("runs")
        QTest.keyClick(window, Qt.Key.Key_J, CTRL | Qt.KeyboardModifier.AltModifier)
        assert not window.is_judging
        qtbot.waitUntil(lambda: "strokes has saved no model yet" in window.notice.sentence, timeout=PATIENCE_MS)
        assert sorted(path.name for path in (workspace / "labels").iterdir()) == ["drawn"]


def test_one_key_judges_a_tuned_run_against_its_base_and_sits_down(
    qtbot: Any, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workspace / "base").mkdir()
    text = f"method: diffusion_dpo\nmodel: {{path: {workspace / 'base'}}}\ntraining: {{steps: 3}}\n"
    run = run_dir.create(workspace / "runs", "strokes", text)
    run.final.mkdir()
    made_of_pictures(workspace, "strokes-against-base")
    orders: list[Order] = []

    def start(order: Order, home: Path) -> Started:
        """As the engine does it, but for the drawing, which takes seconds to begin."""
        orders.append(order)
        generation = made_of_pictures(workspace, order.name, items=2).generation
        generation.mkdir()
        return Started(generation)

    monkeypatch.setattr(label_engine, "start_items", start)
    with opened(qtbot, workspace) as window:
        qtbot.waitUntil(lambda: window.run_path is not None, timeout=PATIENCE_MS)
        QTest.keyClick(window, Qt.Key.Key_J, CTRL | Qt.KeyboardModifier.AltModifier)
        qtbot.waitUntil(lambda: window.is_judging, timeout=PATIENCE_MS)
        assert window.session.labelling.opened is not None
        assert window.session.labelling.opened.label_dir.path.name == "strokes-against-base-2"
    [order] = orders
    [part] = Recipe.model_validate(load_yaml(order.recipe)[0]).parts
    assert order.question == PICTURES_ASKED
    assert part.kind == "drawn"
    assert [artist.model for artist in part.artists] == ["base", f"runs/{run.path.name}"]


def test_one_key_begins_the_preset_that_learns_from_a_set_of_pictures(qtbot: Any, workspace: Path) -> None:
    label_dir = made_of_pictures(workspace)
    append_judgement(label_dir.judgements, said(read_items(label_dir)[0], 0))
    with opened(qtbot, workspace) as window:
        window.show_page("judge")
        qtbot.waitUntil(lambda: window.label_state == "there", timeout=PATIENCE_MS)
        QTest.keyClick(window, Qt.Key.Key_T, CTRL | Qt.KeyboardModifier.ShiftModifier)
        qtbot.waitUntil(lambda: window.page == "presets", timeout=PATIENCE_MS)
        text = window.pages.preset_page().text.text
    assert "method: diffusion_dpo" in text
    assert "train: labels:drawn" in text
