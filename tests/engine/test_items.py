"""Items are made from models, runs and files, one by one, and never twice."""

import json
from pathlib import Path
from typing import Any

import pytest

from engine import __main__ as command_line
from engine.contract import events
from engine.contract.commands import send
from engine.contract.labels import Candidate, Item, LabelDir, LabelSet
from engine.contract.labels_log import create_set, read_items, read_set
from engine.contract.labels_recipe import Recipe, load_recipe, recipe_text
from engine.contract.rollouts import completion_line
from engine.contract.run_dir import RunDir
from engine.contract.status import summarise
from engine.labelling import generate, writing
from engine.labelling.items import compared
from engine.reporting import Reporter
from tests.tiny import CHATML, tiny_policy

ROWS: dict[str, list[dict[str, Any]]] = {
    "completions.jsonl": [
        {"prompt": "Name a colour.", "completions": ["Red.", "Blue.", "Red.", "Green."]},
        {"prompt": "Name a bird.", "completion": "Owl."},
        {"prompt": "Name a bird.", "completion": "Wren.", "model": "b"},
        {"prompt": "Name a fish.", "completion": "Cod."},
    ],
    "preferences.jsonl": [
        {"prompt": "Two and two?", "chosen": "Four.", "rejected": "Five."},
        {"chosen": "\n\nHuman: Hi\n\nAssistant: Hello.", "rejected": "\n\nHuman: Hi\n\nAssistant: Go away."},
    ],
    "prompts.jsonl": [{"prompt": [{"role": "user", "content": text}]} for text in ("one", "two", "one")],
}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, rows in ROWS.items():
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


@pytest.fixture
def labels(tmp_path: Path) -> LabelDir:
    made = create_set(tmp_path / "labels" / "kind", LabelSet(name="kind"))
    made.generation.mkdir()
    return made


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    policy: Any = tiny_policy()
    policy.tokenizer.chat_template = CHATML
    policy.model.save_pretrained(folder)
    policy.tokenizer.save_pretrained(folder)
    return folder


class Obeying(generate.Requests):
    """Requests without the signals, which belong to a process of its own; stops after so many looks."""

    def __init__(self, run: RunDir, reporter: Reporter, *, patience: int = 10**9) -> None:
        self._run, self._reporter, self._offset = run, reporter, 0
        self._stop = self._paused = False
        self._patience = patience

    def wants_stop(self) -> bool:
        self._patience -= 1
        return super().wants_stop() or self._patience <= 0


def fill(labels: LabelDir, *parts: dict[str, Any], patience: int = 10**9) -> bool:
    """Follow a recipe in this process; whether it came to its end."""
    run = RunDir(labels.generation)
    reporter = Reporter(run)
    requests = Obeying(run, reporter, patience=patience)
    return generate.follow(Recipe.model_validate({"parts": list(parts)}), labels, reporter, requests)


def texts(labels: LabelDir) -> list[tuple[str | None, ...]]:
    return [tuple(candidate.text for candidate in item.candidates) for item in read_items(labels)]


def written(files: Path, model: Path, **more: Any) -> dict[str, Any]:
    writers = [
        {"model": str(model), "max_new_tokens": 6, "seed": seed, "temperature": 1.0, "device": "cpu"} for seed in (1, 2)
    ]
    return {"kind": "written", "prompts": str(files / "prompts.jsonl"), "writers": writers, **more}


# ---------------------------------------------------------------------------------------------------- what is compared


def candidates(*words: str) -> list[Candidate]:
    return [Candidate(text=word) for word in words]


def shown(items: list[Item]) -> list[list[str | None]]:
    return [[candidate.text for candidate in item.candidates] for item in items]


def test_the_answers_of_one_writer_are_compared_two_by_two() -> None:
    assert shown(compared("?", [candidates("a", "b", "c", "d", "e")], "pairs")) == [["a", "b"], ["c", "d"]]


def test_each_two_writers_are_compared_answer_by_answer() -> None:
    groups = [candidates("a", "b"), candidates("c", "d"), candidates("e")]
    assert shown(compared("?", groups, "pairs")) == [["a", "c"], ["b", "d"], ["a", "e"], ["c", "e"]]


def test_a_ranking_has_every_answer_once_and_equal_answers_are_never_compared() -> None:
    assert shown(compared("?", [candidates("a", "b"), candidates("b", "c")], "ranking")) == [["a", "b", "c"]]
    assert compared("?", [candidates("a", "a")], "pairs") == []


# --------------------------------------------------------------------------------------------------------------- files


def test_a_file_of_completions_is_grouped_by_prompt(labels: LabelDir, files: Path) -> None:
    assert fill(labels, {"kind": "completions", "source": str(files / "completions.jsonl")})
    assert texts(labels) == [("Red.", "Blue."), ("Red.", "Green."), ("Owl.", "Wren.")]
    bird = read_items(labels)[-1]
    assert bird.candidates[1].origin == {"file": str(files / "completions.jsonl"), "row": 3, "model": "b"}


def test_a_file_of_preferences_is_judged_anew_and_its_verdict_kept_in_the_origin(labels: LabelDir, files: Path) -> None:
    assert fill(labels, {"kind": "preferences", "source": str(files / "preferences.jsonl")})
    assert texts(labels) == [("Four.", "Five."), ("Hello.", "Go away.")]
    first, second = read_items(labels)
    assert [candidate.origin["was"] for candidate in first.candidates] == ["chosen", "rejected"]
    assert second.prompt == [{"role": "user", "content": "Hi"}]
    assert first.gold is None


def test_known_preferences_become_gold(labels: LabelDir, files: Path) -> None:
    fill(labels, {"kind": "preferences", "source": str(files / "preferences.jsonl"), "gold": True})
    assert {item.gold for item in read_items(labels)} == {((0,), (1,))}


def test_following_a_recipe_again_makes_nothing_twice(labels: LabelDir, files: Path) -> None:
    parts = [
        {"kind": "completions", "source": str(files / "completions.jsonl")},
        {"kind": "preferences", "source": str(files / "preferences.jsonl")},
    ]
    assert not fill(labels, *parts, patience=2)
    before = texts(labels)
    with labels.items.open("ab") as file:
        file.write(b'{"id": "torn')
    assert fill(labels, *parts)
    assert texts(labels)[: len(before)] == before
    assert len(texts(labels)) == len({item.id for item in read_items(labels)}) == 5
    assert fill(labels, *parts)
    assert len(texts(labels)) == 5


def test_a_file_without_answers_is_told_with_its_row_and_columns(labels: LabelDir, files: Path) -> None:
    with pytest.raises(ValueError, match=r"prompts.jsonl, row 1: has no `completion`.*it has `prompt`.*rename"):
        fill(labels, {"kind": "completions", "source": str(files / "prompts.jsonl")})
    with pytest.raises(ValueError, match=r"prompts.jsonl, row 1: has no `chosen` and `rejected` \(it has `prompt`\)"):
        fill(labels, {"kind": "preferences", "source": str(files / "prompts.jsonl")})
    assert texts(labels) == []


# ----------------------------------------------------------------------------------------------------------- rollouts


def test_answers_that_a_step_gave_to_one_prompt_are_compared(labels: LabelDir, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "20260101-000000-sums"
    run.mkdir(parents=True)
    lines = [
        completion_line(step=step, prompt="?", prompt_id=prompt, completion=f"{step}{prompt}{answer}")
        for step in (1, 2)
        for prompt in (0, 1)
        for answer in "abc"
    ]
    (run / "rollouts.jsonl").write_text("\n".join(lines) + "\n")
    assert fill(labels, {"kind": "rollouts", "run": str(run), "first_step": 2, "answers": 3, "compare": "ranking"})
    assert texts(labels) == [("20a", "20b", "20c"), ("21a", "21b", "21c")]
    assert read_items(labels)[0].candidates[1].origin == {"run": run.name, "step": 2, "answer": 1}


# ------------------------------------------------------------------------------------------------------------- models


def test_two_writers_answer_each_prompt_and_their_settings_are_on_record(
    labels: LabelDir, files: Path, model: Path
) -> None:
    assert fill(labels, written(files, model))
    items = read_items(labels)
    assert [item.prompt[0]["content"] for item in items if isinstance(item.prompt, list)] == ["one", "two", "one"]
    assert items[0].candidates[1].origin == {
        "model": str(model),
        "answer": 0,
        "finish": items[0].candidates[1].origin["finish"],
        "sampling": {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "max_new_tokens": 6, "seed": 2},
    }


def test_what_a_model_writes_depends_neither_on_the_batch_nor_on_a_stop(
    labels: LabelDir, files: Path, model: Path
) -> None:
    together = create_set(labels.path.with_name("together"), LabelSet(name="together"))
    together.generation.mkdir()
    assert fill(together, written(files, model, prompts_at_once=3))
    assert not fill(labels, written(files, model), patience=1)
    assert len(texts(labels)) == 1
    assert fill(labels, written(files, model))
    assert texts(labels) == texts(together)


def test_how_far_an_answer_is_and_how_many_tokens_were_written_is_told(
    labels: LabelDir, files: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "TELL_SECONDS", 0.0)
    (files / "prompts.jsonl").write_text(json.dumps({"prompt": "one"}) + "\n")
    assert fill(labels, written(files, model))
    told = [events.read_event(line) for line in RunDir(labels.generation).events.read_bytes().splitlines()]
    shares = [event.progress for event in told if isinstance(event, events.Phase) and event.progress is not None]
    assert shares == sorted(shares)
    assert shares[0] == pytest.approx(1 / 12)
    [step] = [event for event in told if isinstance(event, events.Step)]
    assert step.values["tokens"] == len(shares)  # each writer writes one answer


# ------------------------------------------------------------------------------------------------- process and command


def call(*words: object) -> int:
    try:
        return command_line.main([str(word) for word in words])
    except SystemExit as left:
        return int(left.code or 0)


def test_a_set_is_filled_by_a_process_that_is_watched_like_a_run(files: Path, capsys: Any) -> None:
    assert call("items", "new", "--preferences", files / "preferences.jsonl", "--workspace", files) == 0
    labels = LabelDir(files / "labels" / "new")
    assert "new has 2 items" in capsys.readouterr().out
    assert read_set(labels).name == "new"
    assert len(read_items(labels)) == 2
    summary = summarise(RunDir(labels.generation))
    assert (summary.status.state, summary.method, summary.step) == ("finished", "items", 2)
    assert call("items", "new", "--workspace", files) == 0
    assert len(read_items(labels)) == 2


def test_a_request_to_stop_is_obeyed_between_items(labels: LabelDir, files: Path) -> None:
    send(RunDir(labels.generation).commands, "stop")
    assert not fill(labels, {"kind": "preferences", "source": str(files / "preferences.jsonl")})
    assert len(texts(labels)) == 1
    told = [events.read_event(line) for line in RunDir(labels.generation).events.read_bytes().splitlines()]
    assert any(isinstance(event, events.CommandDone) and event.ask == "stop" for event in told)


def test_a_stop_while_waiting_for_a_run_is_a_stop_and_not_the_end(
    labels: LabelDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDir(tmp_path / "runs" / "20260101-000000-sums")
    run.path.mkdir(parents=True)
    monkeypatch.setattr("engine.labelling.from_run.is_alive", lambda run: True)
    send(RunDir(labels.generation).commands, "stop")
    assert not fill(labels, {"kind": "rollouts", "run": str(run.path), "follow": True})


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--preferences", "none.jsonl"], "none.jsonl"),
        (["--prompts", "prompts.jsonl"], "needs --model too"),
        (["--rollouts", "completions.jsonl"], "is no run directory"),
        ([], "has no recipe to go on with"),
        (["--recipe", "recipe.yaml"], "parts.0.kind: is not a kind there is"),
    ],
    ids=["no file", "no model", "no run", "nothing", "no such kind"],
)
def test_what_cannot_be_followed_is_told_and_nothing_is_written(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, words: list[str], told: str
) -> None:
    (files / "recipe.yaml").write_text("parts: [{kind: writen}]\n")
    monkeypatch.chdir(files)
    assert call("items", "new", *words) == 2
    assert told in capsys.readouterr().err
    assert not (files / "labels").exists()


def test_a_recipe_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    part = {"kind": "written", "prompts": "p.jsonl", "writers": [{"model": "a", "answers": 2}]}
    recipe = Recipe.model_validate({"parts": [part, {"kind": "completions", "source": ["a.jsonl", "b.jsonl"]}]})
    (tmp_path / "recipe.yaml").write_text(recipe_text(recipe))
    assert load_recipe(tmp_path / "recipe.yaml") == recipe
