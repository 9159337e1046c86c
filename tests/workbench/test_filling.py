"""How far a set is filled, in words and figures, from the tail of its engine's events."""

import math
from pathlib import Path
from typing import Any

import pytest

from engine.contract import events
from engine.contract.labels_plan import FilePlan, ItemsPlan, PartPlan
from engine.contract.status import Status
from tests.workbench.label_sets import made
from workbench.io.label_sets import open_set
from workbench.state import new_set
from workbench.state.filling import Filling, folded, in_brief, in_full, in_one_line
from workbench.state.items_words import about_plan, said_of_file, said_of_plan
from workbench.state.new_set import answers_of_run, free_name, new_draft, run_against_base
from workbench.state.preset_draft import Change
from workbench.views.sitting_aside import SittingAside

RUNNING = Status("running")


def step(number: int, time: float, items: int, tokens: int) -> events.Step:
    return events.Step(step=number, time=time, values={"items": float(items), "tokens": float(tokens)})


def filled(*told: events.Event, state: Status = RUNNING) -> Filling:
    return folded(Filling("colours", state), told)


STARTED = events.RunStarted(time=0.0, method="items", steps=10)


def test_pace_rate_and_time_left_come_from_the_last_steps() -> None:
    filling = filled(STARTED, step(1, 10.0, 1, 100), step(2, 14.0, 2, 180), step(3, 18.0, 3, 260))
    assert (filling.items, filling.pace, filling.rate) == (3, 4.0, 20.0)
    assert filling.seconds_left == 7 * 4.0
    assert in_brief(filling) == "3 items, 30%"
    assert in_full(filling) == "3 items, 30%   ·   20.0 tokens/s   ·   28 s left"


def test_a_batch_of_many_pictures_counts_as_so_many_items() -> None:
    filling = filled(STARTED, step(4, 10.0, 64, 0))
    assert (in_brief(filling), in_full(filling)) == ("64 items, 40%", "64 items, 40%")


def test_an_answer_under_way_counts_for_its_share() -> None:
    phase = events.Phase(time=15.0, what="writing answers to prompt 3", progress=0.5)
    filling = filled(STARTED, step(1, 10.0, 1, 100), step(2, 14.0, 2, 180), phase)
    assert filling.fraction == 0.25
    assert filling.seconds_left == 7.5 * 4.0
    assert in_full(filling).startswith("writing answers to prompt 3 50%   ·   2 items, 25%")


def test_what_an_earlier_life_took_says_nothing_of_the_pace() -> None:
    resumed = events.Resumed(time=1000.0, from_step=0)
    filling = filled(STARTED, step(1, 10.0, 1, 5), step(2, 14.0, 2, 9), resumed, STARTED, step(3, 1010.0, 3, 5))
    assert math.isnan(filling.pace)
    assert in_full(filling) == "3 items, 30%"


def test_a_set_that_was_stopped_or_failed_says_so_and_one_that_is_whole_says_nothing() -> None:
    stopped = filled(STARTED, step(3, 18.0, 3, 0), state=Status("stopped", "stopped on request"))
    failed = filled(STARTED, state=Status("failed", "p.jsonl has no prompt"))
    whole = filled(STARTED, step(10, 18.0, 10, 0), state=Status("finished"))
    assert (in_brief(stopped), in_brief(failed), in_brief(whole)) == (
        "stopped at 3 items, 30%",
        "failed",
        "",
    )
    assert in_full(failed) == "p.jsonl has no prompt; 0 items are there"
    loading = filled(STARTED, events.Phase(time=1.0, what="loading a.gguf"))
    assert in_one_line([loading]) == "colours: starting, loading a.gguf"
    assert in_one_line([stopped, filled(STARTED, step(3, 18.0, 3, 0))]) == "colours: 3 items, 30%"


def test_nobody_knows_how_much_a_run_has_yet_to_write() -> None:
    filling = Filling("live", RUNNING, items=4, steps=1, source=Path("runs/1-a"))
    assert in_brief(filling) == "4 items so far"
    assert in_full(filling) == "waiting for the run to write more   ·   4 items so far"


# ------------------------------------------------------------------------------------------------- what will be made


def plan(*parts: PartPlan, seconds: float | None = None, is_new: bool = True) -> ItemsPlan:
    return ItemsPlan(name="mine", is_new=is_new, parts=list(parts), seconds=seconds)


def test_a_plan_is_told_in_one_line() -> None:
    written = PartPlan(kind="written", rows=10, items=10, tokens=5120)
    pairs = PartPlan(kind="preferences", rows=1, items=1)
    assert said_of_plan(plan(written, seconds=90.0)) == (
        "up to 10 items  ·  5,120 tokens at most  ·  1 min 30 s or more on this processor"
    )
    assert said_of_plan(plan(written)).endswith("the time shows with the first item")
    assert said_of_plan(plan(pairs, is_new=False)) == "1 item  ·  added to mine, which is there already"
    assert said_of_plan(plan(PartPlan(kind="completions", rows=3, items=0))).startswith("Nothing to compare")
    assert about_plan(plan(written, pairs)) == "1   10 prompts, 10 items\n2   1 pair, 1 item"
    assert said_of_file(FilePlan(format="kto", counts={"train": 4})) == "kto: 4 train"


# ------------------------------------------------------------------------------------------------ the form's draft


def test_a_name_is_one_that_a_set_may_have_and_none_has() -> None:
    assert free_name("my file (2).v1", []) == "my-file-2-v1"
    assert free_name("a", ["a", "a-2"]) == "a-3"
    assert free_name("…", []) == "answers"


def test_a_typed_number_keeps_its_spelling_until_sources_move() -> None:
    draft = new_draft(new_set.EMPTY, ())
    new_set.add_source(draft, "written")
    [temperature] = [s for s in new_set.writer_section(draft, 0, 0).settings if s.name == "temperature"]
    draft.apply(Change("type", temperature.key, "7e-1"))
    assert (draft.value(temperature), draft.spelling(temperature)) == (0.7, "7e-1")
    draft.apply(Change("type", temperature.key, "warm"))
    assert [fault.dotted for fault in draft.faults] == ["parts.0.writers.0.temperature"]
    draft.apply(Change("reset", temperature.key))
    assert draft.value(temperature) == 1.0
    new_set.add_writer(draft, 0)
    assert draft.spelling(temperature) == ""


def test_a_run_without_answers_of_its_own_writes_new_ones_to_what_it_held_out() -> None:
    preset = {
        "model": {"path": "scratch"},
        "data": {
            "train": "t.jsonl",
            "eval": [{"path": "e.jsonl", "rows": 400, "weight": None}],
            "system_prompt": "Be.",
        },
        "rollout": {"max_new_tokens": 32},
    }
    start = answers_of_run(Path("/runs/1-a"), "a", preset, has_several=False, is_alive=False)
    assert start.parts == [
        {
            "kind": "written",
            "prompts": {"path": "e.jsonl", "rows": 50},
            "writers": [{"model": "/runs/1-a", "answers": 2, "system_prompt": "Be.", "max_new_tokens": 32}],
        }
    ]
    live = answers_of_run(Path("/runs/1-a"), "a", preset, has_several=True, is_alive=True)
    assert live.parts == [{"kind": "rollouts", "run": "/runs/1-a", "follow": True}]


@pytest.mark.parametrize("source", ["labels:tea", {"path": "labels:tea", "rows": 10}], ids=["word", "section"])
def test_a_run_that_learned_from_judgements_answers_the_prompts_of_its_copy_of_the_set(source: Any) -> None:
    start = run_against_base(Path("/runs/1-a"), "a", {"model": {"path": "m"}, "data": {"train": source}})
    prompts = start.parts[0]["prompts"]
    path = prompts["path"] if isinstance(prompts, dict) else prompts
    assert path == "/runs/1-a/labels/tea/items.jsonl"


def test_a_run_from_random_weights_has_no_base_and_the_form_says_so() -> None:
    start = run_against_base(Path("/runs/1-a"), "a", {"model": {"path": "scratch"}, "data": {"train": "t.jsonl"}})
    assert [writer["model"] for writer in start.parts[0]["writers"]] == ["", "/runs/1-a"]
    assert "no base" in start.why


@pytest.mark.parametrize(
    ("filling", "title", "offers_more"),
    [
        (filled(STARTED), "The first pair is on its way", False),
        (filled(STARTED, state=Status("failed", "strokes has no model yet")), "No pair was made", True),
        (None, "Nothing to judge", False),
    ],
)
def test_a_set_without_a_pair_says_what_becomes_of_it(
    qtbot: Any, workspace: Path, filling: Filling | None, title: str, offers_more: bool
) -> None:
    aside = SittingAside()
    qtbot.addWidget(aside)
    found = open_set(made(workspace, items=0), "ada")
    aside.show_what("done", found)
    aside.show_filling(filling)
    found.close()
    assert aside.title == title
    assert aside.go_on.isVisibleTo(aside) == offers_more
    assert (filling is None) or in_full(filling) in aside.text
