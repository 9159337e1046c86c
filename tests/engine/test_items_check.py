"""What a recipe would make is told before anything is written: how much, what first, and all that is wrong at once."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine import __main__ as command_line
from engine.contract.labels_plan import FilePlan, ItemsPlan
from engine.contract.labels_recipe import Rollouts, Written
from engine.contract.rollouts import completion_line
from engine.contract.run_dir import RunDir
from engine.contract.status import Status
from engine.labelling import from_run
from engine.labelling.plans import items_a_prompt
from engine.starting import writing_time

PROMPTS = [{"prompt": "one"}, {"prompt": "two"}, {"text": "no prompt"}]
PAIRS = [
    {"prompt": "Two and two?", "chosen": "Four.", "rejected": "Five."},
    {"prompt": "Say hi.", "chosen": "Hi.", "rejected": "x" * 5000},
]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, rows in {"prompts.jsonl": PROMPTS, "pairs.jsonl": PAIRS}.items():
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "model").mkdir()
    return tmp_path


def call(*words: object) -> int:
    return command_line.main([str(word) for word in words])


def checked(files: Path, capsys: Any, recipe: str, name: str = "new") -> tuple[int, dict[str, Any]]:
    """Exit code and JSON of `items --check` with a recipe."""
    (files / "recipe.yaml").write_text(recipe)
    code = call("items", name, "--recipe", files / "recipe.yaml", "--workspace", files, "--check", "--json")
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert not (files / "labels").exists()
    return code, told


def test_a_check_tells_how_much_there_will_be_and_what_comes_first(files: Path, capsys: Any) -> None:
    recipe = (
        "parts:\n"
        "- {kind: written, prompts: prompts.jsonl, writers: [{model: model, answers: 4, max_new_tokens: 10}]}\n"
        "- {kind: preferences, source: pairs.jsonl}\n"
    )
    code, told = checked(files, capsys, recipe)
    plan = ItemsPlan.model_validate(told)
    written, pairs = plan.parts
    assert (code, plan.name, plan.is_new, plan.items, plan.tokens) == (0, "new", True, 2 * 2 + 2, 2 * 4 * 10)
    assert (written.rows, written.first) == (2, [{"prompt": "one"}, {"prompt": "two"}])
    assert "has no `prompt` (it has `text`) (prompts.jsonl, line 3)" in written.left_out
    assert set(map(str, pairs.first[0].values())) == {"Two and two?", "Four.", "Five."}
    assert set(map(str, pairs.first[1].values())) == {"Say hi.", "Hi.", "x" * 2000 + "…"}


def test_what_comes_first_does_not_give_away_what_a_file_prefers(files: Path, capsys: Any) -> None:
    rows = [{"prompt": str(n), "chosen": f"good {n}", "rejected": f"bad {n}"} for n in range(8)]
    (files / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    _, told = checked(files, capsys, "parts: [{kind: preferences, source: pairs.jsonl}]")
    [part] = ItemsPlan.model_validate(told).parts
    assert {str(row["answer 1"])[:3] for row in part.first} == {"goo", "bad"}


def test_all_that_is_wrong_is_told_at_once_with_its_place(files: Path, capsys: Any) -> None:
    recipe = (
        "parts:\n"
        "- {kind: written, prompts: none.jsonl, writers: [{model: nowhere.gguf}]}\n"
        "- {kind: written, prompts: prompts.jsonl, writers: [{model: model, temperature: 0}]}\n"
        "- {kind: preferences, source: prompts.jsonl}\n"
        "- {kind: rollouts, run: model}\n"
    )
    code, told = checked(files, capsys, recipe, name="no such name!")
    assert code == 2
    assert [fault["key"] for fault in told["faults"]] == [
        "name",
        "parts.0.writers.0.model",
        "parts.0.prompts",
        "parts.0.writers",
        "parts.1.writers.0.temperature",
        "parts.2.source",
        "parts.3.run",
    ]
    assert "has no `chosen` and `rejected` (it has `prompt`)" in told["faults"][5]["problem"]


def test_items_a_prompt_are_those_that_are_made_of_it() -> None:
    def of(*answers: int, compare: str = "pairs") -> int:
        writers = [{"model": "m", "answers": count} for count in answers]
        part = {"kind": "written", "prompts": "p", "writers": writers, "compare": compare}
        return items_a_prompt(Written.model_validate(part))

    assert (of(2), of(5), of(1, 1), of(2, 2, 1)) == (1, 2, 1, 2 + 1 + 1)
    assert of(2, 2, compare="ranking") == 1


def test_the_time_is_the_weights_once_a_token_over_the_speed_of_the_memory(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (files / "model.gguf").write_bytes(bytes(1000))  # four times as large in memory
    monkeypatch.setattr(writing_time, "memory_speed", lambda: 100.0)
    monkeypatch.setattr(writing_time, "nvidia_devices", lambda: 0)
    writer = {"model": str(files / "model.gguf"), "max_new_tokens": 5, "answers": 2}
    part = Written.model_validate({"kind": "written", "prompts": "p", "writers": [writer], "prompts_at_once": 2})
    assert writing_time.seconds_to_write(part, prompts=3) == 2 * 5 * 4000 / 100
    on_gpu = part.model_copy(update={"writers": [part.writers[0].model_copy(update={"device": "cuda"})]})
    assert writing_time.seconds_to_write(on_gpu, prompts=3) is None


def run_with(tmp_path: Path, steps: int) -> RunDir:
    run = RunDir(tmp_path / "runs" / "20260101-000000-sums")
    run.path.mkdir(parents=True)
    lines = [
        completion_line(step=step, prompt="?", completion=f"{step}{which}") for step in range(steps) for which in "ab"
    ]
    run.rollouts.write_text("\n".join(lines) + "\n")
    run.events.touch()
    return run


def test_a_large_run_is_told_by_its_beginning(files: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_with(files, steps=200)
    monkeypatch.setattr("engine.labelling.plans.READ_OF_RUN", run.rollouts.stat().st_size // 4)
    _, told = checked(files, capsys, f"parts: [{{kind: rollouts, run: {run.path}}}]")
    [part] = ItemsPlan.model_validate(told).parts
    assert part.is_rough
    assert part.items == pytest.approx(200, rel=0.05)


def test_what_a_run_wrote_before_it_was_paused_can_be_judged_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_with(tmp_path, steps=1)
    monkeypatch.setattr(from_run, "is_alive", lambda run: True)
    monkeypatch.setattr(from_run, "summarise", lambda run: SimpleNamespace(status=Status("paused")))
    part = Rollouts.model_validate({"kind": "rollouts", "run": str(run.path), "follow": True})
    _, batches = from_run.open_part(part, wants_stop=lambda: True)
    assert [len(batch.items) for batch in batches] == [1]


# ------------------------------------------------------------------------------------------------ import and export


def test_an_import_is_looked_at_before_it_is_made(files: Path, capsys: Any) -> None:
    assert call("import", files / "pairs.jsonl", "new", "--workspace", files, "--check", "--json") == 0
    plan = FilePlan.model_validate_json(capsys.readouterr().out)
    assert (plan.format, plan.counts) == ("preference", {"rows": 2, "items": 2, "judgements": 2})
    assert plan.first[0] == PAIRS[0]
    assert not (files / "labels").exists()


def test_an_export_is_looked_at_before_it_is_written(files: Path, capsys: Any) -> None:
    assert call("import", files / "pairs.jsonl", "new", "--workspace", files) == 0
    capsys.readouterr()
    where = ["export", "labels:new", files / "out", "--workspace", files, "--check", "--json"]
    assert call(*where, "--format", "kto") == 0
    plan = FilePlan.model_validate_json(capsys.readouterr().out)
    assert (plan.format, plan.counts) == ("kto", {"train": 4})
    assert plan.first[0] | {"group": ""} == {
        "prompt": "Two and two?",
        "completion": "Four.",
        "label": True,
        "group": "",
    }
    assert call(*where, "--format", "native") == 0
    assert FilePlan.model_validate_json(capsys.readouterr().out).counts == {"items": 2, "judgements": 2}
    assert not (files / "out").exists()
