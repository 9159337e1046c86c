"""What would go wrong is told before anything is written: which key, what was given, what to do."""

import importlib.util
import json
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine import patterns
from engine.command_line import plan
from engine.contract import run_dir, settings
from engine.contract.faults import Fault, PresetError
from engine.contract.preset import TextPreset, load_preset, preset_text
from engine.data.sources import load_rows
from engine.starting import estimates, launch, preflight, resolution
from engine.starting.resolution import APPLICATION

GOOD_ROWS = [{"prompt": f"{n} + 1 = ", "completion": str(n + 1), "answer": str(n + 1)} for n in range(20)]


@pytest.fixture(autouse=True)
def _somewhere_else(tmp_path, monkeypatch):
    """Relative paths are looked up in the current folder first, which should be an empty one."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.jsonl", GOOD_ROWS)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_text("{}")
    return folder


def write_rows(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def prepare(
    tmp_path: Path, method: str, *, model: object = "scratch", train: object, more: str = ""
) -> launch.Prepared:
    """Sections as JSON, which is YAML too."""
    sections = {"path": model, "scratch": {}} if model == "scratch" else {"path": str(model)}
    text = f"method: {method}\nmodel: {json.dumps(sections)}\ndata: {json.dumps({'train': train}, default=str)}\n{more}"
    preset = tmp_path / "preset.yaml"
    preset.write_text(text)
    return launch.prepare(preset, [], workspace=tmp_path / "workspace")


def text_of(prepared: launch.Prepared) -> TextPreset:
    assert isinstance(prepared.preset, TextPreset)
    return prepared.preset


def faults(tmp_path: Path, method: str = "sft", **parts: Any) -> list[Fault]:
    with pytest.raises(PresetError) as caught:
        prepare(tmp_path, method, **parts)
    assert not (tmp_path / "workspace").exists()
    return caught.value.faults


def only_fault(tmp_path: Path, method: str = "sft", **parts: Any) -> Fault:
    [fault] = faults(tmp_path, method, **parts)
    assert fault.remedy
    return fault


VERIFIER = "rewards: [{kind: verifier}]\n"
MATCH = "rewards: [{kind: exact_match}]\n"


# ------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize(("reference", "words"), [("nowhere/at/all", "does not exist"), (".", "is no model folder")])
def test_a_reference_that_is_no_model_is_told_as_a_model_is(tmp_path, rows, model, reference, words):
    (tmp_path / "preset.yaml").write_text(
        f"method: dpo\nmodel: {{path: {model}, reference: {reference}}}\ndata: {{train: 'task:arithmetic'}}\n"
    )
    with pytest.raises(PresetError) as caught:
        launch.prepare(tmp_path / "preset.yaml", [], workspace=tmp_path / "workspace")
    [fault] = caught.value.faults
    assert fault.dotted == "model.reference"
    assert words in fault.problem


def test_a_run_that_is_gone_is_no_name_for_the_hub(tmp_path, rows):
    fault = only_fault(tmp_path, train="runs/gone")
    assert (fault.dotted, fault.given, fault.problem) == ("data.train", "runs/gone", "does not exist")
    gone = resolution.resolve_named("runs/gone", resolution.places(tmp_path / "a.yaml", tmp_path), ("model", "path"))
    assert isinstance(gone, Fault)
    assert gone.problem == "does not exist"
    assert resolution.resolve_named("org/kept", resolution.places(tmp_path, tmp_path), ("model",)) == "org/kept"


def test_a_good_file_has_no_fault_and_its_rows_are_counted(tmp_path, rows):
    [counted] = prepare(tmp_path, "sft", train=rows).survey.train
    assert (counted.rows, counted.is_exact) == (20, True)


def test_a_missing_file_is_told_with_where_it_was_looked_for(tmp_path):
    fault = only_fault(tmp_path, train="data/none.jsonl")
    assert (fault.dotted, fault.given, fault.problem) == ("data.train", "data/none.jsonl", "does not exist")
    assert str(tmp_path / "here" / "data") in fault.remedy
    assert fault.line == 3


def test_a_broken_seventh_line_is_left_out_and_told_by_its_number(tmp_path, rows):
    lines = rows.read_text().splitlines()
    lines[6] = '{"prompt": "7", "completion" "8"}'
    rows.write_text("\n".join(lines))
    prepared = prepare(tmp_path, "sft", train=rows)
    [counted] = prepared.survey.train
    told = "1 of 20 rows is left out: is not JSON (Expecting ':' delimiter) (rows.jsonl, line 7)"
    assert (counted.rows, counted.left_out) == (19, told)
    assert f"left out    {told}" in plan.as_lines(prepared)
    assert plan.as_json(prepared)["train"][0]["left_out"] == told


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.jsonl", b"", "is empty"),
        ("x.jsonl", b"\n\n", "has no rows"),
        ("x.jsonl", b'"text"\n[1]\n', "no row can be used: is no object such as"),
        ("x.jsonl", b'{"text": "\xe9"}\n', "no row can be used: is not UTF-8 text (x.jsonl, line 1)"),
        ("x.jsonl", b'{"text": "a", "text' + b"[" * 50_000, "no row can be used: is not JSON"),
        ("x.json", b"[]", "has no rows"),
        ("x.json", b'{"text": "a"}', "should be a list of objects"),
        ("x.json", b'[{"text": "a"},\n\n{]', "line 3: is not JSON"),
        ("x.json", b"[" * 200_000, "nested too deep"),
        ("x.json", b'[{"text": "\xe9"}]', "is not UTF-8 text"),
        ("x.csv", b"prompt,completion\n", "has no rows"),
        ("x.csv", b"prompt,completion\na,b\nc,d,e\n", "line 3: has more cells than the header"),
        ("x.csv", b"title,body\na,b\n", "has neither `messages`"),
        ("x.csv", b"text\n\xe9\n", "is not UTF-8 text"),
        ("x.parquet", b"PAR1 no", "is not a Parquet file"),
        ("x.txt", b"hello", "is of no kind that can be read"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    fault = only_fault(tmp_path, train=tmp_path / name)
    assert words in fault.problem
    assert fault.problem.startswith(name)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.jsonl", b'\n{"text": "a"}\n\n{"text": "b"}'),
        ("x.json", b'[{"text": "a"}, {"text": "b"}]'),
        ("x.csv", b'\xef\xbb\xbftext\n"a,\nstill a"\nb\n'),
    ],
)
def test_every_kind_of_file_is_read_and_counted(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert prepare(tmp_path, "sft", train=tmp_path / name).survey.train[0].rows == 2


def test_a_parquet_file_is_judged_by_its_footer(tmp_path):
    import pyarrow  # type: ignore[import-untyped]
    import pyarrow.parquet  # type: ignore[import-untyped]

    pyarrow.parquet.write_table(pyarrow.table({"text": ["a", "b", "c"]}), tmp_path / "x.parquet")
    assert prepare(tmp_path, "sft", train=tmp_path / "x.parquet").survey.train[0].rows == 3
    pyarrow.parquet.write_table(pyarrow.table({"title": ["a"]}), tmp_path / "y.parquet")
    assert "has neither" in only_fault(tmp_path, train=tmp_path / "y.parquet").problem


def test_a_folder_is_no_data_file(tmp_path):
    assert "is a folder" in only_fault(tmp_path, train=tmp_path).problem


def test_only_the_rows_that_will_be_used_are_looked_at(tmp_path, rows):
    rows.write_text(rows.read_text() + "broken\n")
    assert prepare(tmp_path, "sft", train={"path": str(rows), "rows": 5}).survey.train[0].rows == 5


def test_of_a_large_file_the_beginning_is_read_and_the_rest_estimated(tmp_path, rows, monkeypatch):
    write_rows(rows, GOOD_ROWS * 100)
    monkeypatch.setattr("engine.starting.row_scan.SCAN_AT_MOST", 10_000)
    [counted] = prepare(tmp_path, "sft", train=rows).survey.train
    assert not counted.is_exact
    assert counted.rows == pytest.approx(2000, rel=0.05)


# ----------------------------------------------------------------------------------------------------- columns

TALK = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
OTHER = [TALK[0], {"role": "assistant", "content": "hm"}]


@pytest.mark.parametrize(
    ("method", "row"),
    [
        ("sft", {"messages": TALK}),
        ("sft", {"prompt": "a", "completion": "b"}),
        ("sft", {"prompt": TALK[:1], "completion": TALK[1:]}),
        ("sft", {"prompt": TALK[:1], "completion": "b"}),
        ("sft", {"text": "a"}),
        ("dpo", {"prompt": "a", "chosen": "b", "rejected": "c"}),
        ("dpo", {"chosen": "ab", "rejected": "ac"}),
        ("dpo", {"prompt": TALK[:1], "chosen": TALK[1:], "rejected": OTHER[1:]}),
        ("dpo", {"prompt": "hi", "chosen": TALK, "rejected": OTHER, "messages": TALK}),
        ("reward_model", {"prompt": "a", "chosen": "b", "rejected": "c", "margin": 1}),
        ("reward_model", {"prompt": "a", "answers": ["b", "c"], "ranks": [1, 2]}),
        ("reward_model", {"prompt": "a", "answers": ["b", "c"], "scores": [1, 2]}),
        ("reward_model", {"chosen_ids": [1], "rejected_ids": [2]}),
        ("grpo", {"prompt": "a", "answer": "b"}),
        ("grpo", {"prompt": TALK[:1], "answer": "b"}),
        ("grpo", {"messages": TALK, "answer": "b"}),
    ],
)
def test_rows_a_method_can_use_have_no_fault(tmp_path, method, row):
    file = write_rows(tmp_path / "x.jsonl", [row])
    prepare(tmp_path, method, train=file, more=MATCH if method == "grpo" else "")


def test_a_task_without_wrong_answers_makes_no_pairs(tmp_path):
    prepare(tmp_path, "dpo", train="task:arithmetic")
    assert "makes no pairs of answers" in only_fault(tmp_path, "dpo", train="task:reasoning_gym/chain_sum").problem


@pytest.mark.parametrize(
    ("method", "row", "words"),
    [
        ("sft", {"prompt": "a"}, "has neither `messages`, nor `prompt` and `completion`, nor `text`"),
        ("sft", {"prompt": "a", "completion": ""}, "its completion is empty"),
        ("sft", {"messages": [{"content": "hi"}]}, "`messages` should hold messages such as"),
        ("sft", {"prompt": {}, "completion": "b"}, "`prompt` should be text or a list of messages"),
        ("dpo", {"prompt": "a", "completion": "b"}, "has no `chosen` and `rejected` (it has `prompt`, `completion`)"),
        ("dpo", {"prompt": "a", "chosen": "b", "rejected": "b"}, "both answers are the same"),
        ("grpo", {"text": "a", "answer": "b"}, "has no `prompt` (it has `text`, `answer`)"),
    ],
)
def test_rows_a_method_cannot_use_are_told_with_where_and_why(tmp_path, method, row, words):
    good = {"prompt": "a", "completion": "b", "answer": "c", "chosen": "d", "rejected": "e"}
    file = write_rows(tmp_path / "x.jsonl", [good, row])
    [counted] = prepare(tmp_path, method, train=file, more=MATCH if method == "grpo" else "").survey.train
    assert counted.rows == 1
    assert counted.left_out.startswith(f"1 of 2 rows is left out: {words}")
    assert counted.left_out.endswith("(x.jsonl, line 2)")


def test_rows_of_a_table_are_named_as_the_engine_names_them(tmp_path):
    """A cell may have line breaks, so rows are counted, not lines."""
    file = tmp_path / "x.csv"
    file.write_text('prompt,completion\n"a\nb",c\nd,\n')
    [counted] = prepare(tmp_path, "sft", train=file).survey.train
    told = "1 of 2 rows is left out: its completion is empty (x.csv, row 2)"
    assert counted.left_out == told
    assert load_rows([settings.Source(path=str(file))], "sft").unusable == told


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({}, "200 steps of 16, 32 times through the data"),
        ({"eval_share": 0.5}, "200 steps of 16, 64 times through the data"),
        ({"weights": (3.0, 1.0)}, "200 steps of 16, 60 and 13 times through the sources"),
    ],
    ids=["whole", "half held out", "weights"],
)
def test_the_plan_tells_how_often_rows_are_seen(tmp_path, data, told):
    """100 rows, of which 40 and 60 are in two files."""
    files = [write_rows(tmp_path / f"{n}.jsonl", [GOOD_ROWS[0]] * n) for n in (40, 60)]
    weights = data.pop("weights", (None, None))
    train = [{"path": str(f), "weight": w} if w else str(f) for f, w in zip(files, weights, strict=True)]
    text = {"method": "sft", "model": {"path": "scratch", "scratch": {}}, "data": {"train": train, **data}}
    (tmp_path / "preset.yaml").write_text(json.dumps(text))
    lines = plan.as_lines(launch.prepare(tmp_path / "preset.yaml", [], workspace=tmp_path / "workspace"))
    assert f"training    {told}" in lines


def test_a_file_in_which_no_row_can_be_used_is_a_fault(tmp_path):
    file = write_rows(tmp_path / "x.jsonl", [{"text": "a"}, {"text": "b"}])
    fault = only_fault(tmp_path, "dpo", train=file)
    assert fault.problem == (
        "x.jsonl: no row can be used: has no `chosen` and `rejected` (it has `text`) (x.jsonl, lines 1, 2)"
    )
    assert "`columns`" in fault.remedy


def test_what_a_source_says_of_its_columns_is_heard(tmp_path):
    file = write_rows(tmp_path / "x.jsonl", [{"frage": "a", "antwort": "b"}])
    assert "has neither" in only_fault(tmp_path, train=file).problem
    told = {"path": str(file), "columns": {"prompt": "frage", "completion": "antwort"}}
    assert prepare(tmp_path, "sft", train=told).survey.train[0].rows == 1
    assert "of which sft has no use" in only_fault(tmp_path, train={"path": str(file), "format": "ranking"}).problem


def test_a_row_without_the_column_of_a_reward_would_end_the_run_so_it_is_a_fault(tmp_path):
    file = write_rows(tmp_path / "x.jsonl", [{"prompt": "a", "answer": "b"}, {"prompt": "a"}])
    fault = only_fault(tmp_path, "grpo", train=file, more=MATCH)
    assert fault.problem == "x.jsonl, line 2: has no `answer`, which a reward needs (it has `prompt`)"


def test_the_column_a_reward_reads_is_looked_for_by_its_name(tmp_path, rows):
    more = "rewards: [{kind: exact_match, column: solution}]\n"
    assert "has no `solution`" in only_fault(tmp_path, "grpo", train=rows, more=more).problem


@pytest.mark.parametrize(
    ("pattern", "words"),
    [("(", "is not a regular expression"), (r"(.{1,20}){1,20}\d", "takes more than 0.05 s on an ordinary answer")],
)
def test_a_pattern_that_is_none_or_hangs_on_an_ordinary_answer_is_a_fault(tmp_path, rows, monkeypatch, pattern, words):
    monkeypatch.setattr(patterns, "SECONDS", 0.05)
    more = f"rewards: [{{kind: pattern, pattern: '{pattern}'}}]\n"
    fault = only_fault(tmp_path, "grpo", train=rows, more=more)
    assert fault.dotted == "rewards.0.pattern"
    assert fault.problem.startswith(words)


def test_a_verifier_needs_a_task(tmp_path, rows):
    fault = only_fault(tmp_path, "grpo", train=rows, more=VERIFIER)
    assert fault.dotted == "rewards.0.kind"
    assert "rows.jsonl" in fault.problem


# ------------------------------------------------------------------------------------------------------- tasks


@pytest.mark.parametrize("task", ["task:arithmetic", "task:reasoning_gym/chain_sum"])
def test_a_known_task_has_no_fault(tmp_path, task):
    pytest.importorskip("reasoning_gym")
    prepare(tmp_path, "grpo", train=task, more=VERIFIER)


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("task:arithmetics", "did you mean arithmetic?"),
        ("task:reasoning_gym/chain_some", "did you mean chain_sum?"),
        ("task:", "choose one of arithmetic, reasoning_gym/<name>"),
    ],
)
def test_a_misspelt_task_is_recognised(tmp_path, task, words):
    pytest.importorskip("reasoning_gym")
    fault = only_fault(tmp_path, "grpo", train=task, more=VERIFIER)
    assert (fault.dotted, fault.given, fault.remedy) == ("data.train", task, words)


def test_the_names_read_from_the_source_are_those_that_are_registered():
    reasoning_gym = pytest.importorskip("reasoning_gym")
    from reasoning_gym.factory import DATASETS

    found = preflight.generators(Path(reasoning_gym.__file__).parent)
    assert set(DATASETS) <= {*found, "composite"}


def test_a_task_whose_package_is_missing_says_what_to_type(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    fault = only_fault(tmp_path, "grpo", train="task:reasoning_gym/chain_sum", more=VERIFIER)
    assert fault.remedy == 'pip install "plumbline-workbench[reasoning]"'


@pytest.mark.parametrize("options", [{"digits": 99}, {"digitz": 2}])
def test_a_tasks_wrong_options_are_told(tmp_path, options):
    fault = only_fault(tmp_path, train={"path": "task:arithmetic", "options": options})
    assert fault.dotted == "data.train.path"
    assert "digit" in fault.problem


def test_a_split_that_tasks_do_not_have_is_told(tmp_path):
    fault = only_fault(tmp_path, train={"path": "task:arithmetic", "split": "tests"})
    assert (fault.dotted, fault.problem, fault.remedy) == (
        "data.train.path",
        "has no split 'tests'",
        "did you mean test?",
    )


def test_a_labelling_set_that_is_not_there_is_told(tmp_path):
    assert only_fault(tmp_path, train="labels:mine").problem == "is not a labelling set"


# ------------------------------------------------------------------------------------------------------ models


def test_a_whole_model_folder_has_no_fault(tmp_path, rows, model):
    assert text_of(prepare(tmp_path, "sft", model=model, train=rows)).model.path == str(model)


def test_a_model_folder_without_a_tokenizer_is_told(tmp_path, rows, model):
    (model / "tokenizer.json").unlink()
    fault = only_fault(tmp_path, model=model, train=rows)
    assert (fault.dotted, fault.problem) == ("model.path", "has no tokenizer")
    assert "tokenizer.json" in fault.remedy


def test_a_folder_without_a_config_is_no_model(tmp_path, rows, model):
    (model / "config.json").unlink()
    assert "config.json" in only_fault(tmp_path, model=model, train=rows).problem


def test_a_file_that_is_no_gguf_is_told_whatever_its_name(tmp_path, rows):
    (tmp_path / "m.gguf").write_bytes(b"GGUF" + bytes(100))
    prepare(tmp_path, "sft", model=tmp_path / "m.gguf", train=rows)
    (tmp_path / "m.gguf").write_bytes(b"<html>404")
    assert "is not a GGUF file" in only_fault(tmp_path, model=tmp_path / "m.gguf", train=rows).problem


def test_a_model_file_of_another_kind_is_told(tmp_path, rows):
    (tmp_path / "m.bin").write_bytes(b"x")
    assert "no kind that can be loaded" in only_fault(tmp_path, model=tmp_path / "m.bin", train=rows).problem


def test_a_run_without_a_model_is_told(tmp_path, rows):
    run = run_dir.create(tmp_path / "runs", "young", "")
    assert "without a model" in only_fault(tmp_path, model=run.path, train=rows).problem
    run.checkpoint(3).mkdir(parents=True)
    assert text_of(prepare(tmp_path, "sft", model=run.path, train=rows)).model.path == str(run.path)


def test_a_missing_model_file_is_told_and_a_hub_id_is_left_for_the_hub(tmp_path, rows):
    assert only_fault(tmp_path, model="models/none.gguf", train=rows).problem == "does not exist"
    assert only_fault(tmp_path, model="./none", train=rows).problem == "does not exist"
    for hub_id in ("gpt2", "HuggingFaceTB/SmolLM2-135M-Instruct"):
        assert text_of(prepare(tmp_path, "sft", model=hub_id, train=rows)).model.path == hub_id


def test_smaller_weights_without_a_gpu_or_their_package_are_told(tmp_path, rows, monkeypatch):
    text = f"method: sft\nmodel: {{path: gpt2, quantization: 4bit, adapter: {{}}}}\ndata: {{train: {rows}}}\n"
    (tmp_path / "p.yaml").write_text(text)
    monkeypatch.setattr(estimates, "nvidia_devices", lambda: 0)
    with pytest.raises(PresetError, match=r"model\.quantization: needs an NVIDIA GPU, and this run has none"):
        launch.prepare(tmp_path / "p.yaml", [], workspace=tmp_path)
    monkeypatch.setattr(estimates, "nvidia_devices", lambda: 1)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        PresetError, match=r'needs one more package .* pip install "plumbline-workbench\[quantization\]"'
    ):
        launch.prepare(tmp_path / "p.yaml", [], workspace=tmp_path)


def test_a_gpu_that_is_not_there_is_told(tmp_path, rows, monkeypatch):
    monkeypatch.setattr(estimates, "nvidia_devices", lambda: 0)
    device = 'model: {path: scratch, scratch: {}, device: "cuda"}\n'
    text = f"method: sft\n{device}data: {{train: {rows}}}\n"
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(PresetError, match=r"model\.device: there is no NVIDIA device .* use auto or cpu"):
        launch.prepare(tmp_path / "p.yaml", [], workspace=tmp_path)
    monkeypatch.setattr(estimates, "nvidia_devices", lambda: 2)
    launch.prepare(tmp_path / "p.yaml", [], workspace=tmp_path)
    with pytest.raises(PresetError, match="2 NVIDIA devices"):
        launch.prepare(tmp_path / "p.yaml", ["model.device=cuda:2"], workspace=tmp_path)
    with pytest.raises(PresetError, match=r"training\.processes: there are fewer GPUs"):
        launch.prepare(tmp_path / "p.yaml", ["training.processes=4"], workspace=tmp_path)


# ----------------------------------------------------------------------------------------- paths, disk, all at once


def test_relative_paths_are_looked_up_here_then_by_the_preset_then_in_the_application(tmp_path, rows):
    here = tmp_path / "here"
    assert text_of(prepare(tmp_path, "sft", train="rows.jsonl")).data.train[0].path == str(rows)
    nearer = write_rows(here / "rows.jsonl", GOOD_ROWS)
    assert text_of(prepare(tmp_path, "sft", train="rows.jsonl")).data.train[0].path == str(nearer)
    ours = text_of(prepare(tmp_path, "sft", train="assets/data/instructions.jsonl")).data.train[0].path
    assert ours == str(APPLICATION / "assets" / "data" / "instructions.jsonl")


def test_run_and_a_name_means_the_newest_run_of_it_that_has_a_model(tmp_path, rows):
    runs = tmp_path / "workspace" / "runs"
    for stamp in ("20250101-000000", "20250102-000000"):
        made = run_dir.create_at(runs / f"{stamp}-sums", "")
        assert made is not None
        made.final.mkdir()
    found = text_of(prepare(tmp_path, "sft", model="run:sums", train=rows)).model.path
    assert found == str(runs / "20250102-000000-sums")
    with pytest.raises(PresetError, match="did you mean sums"):
        prepare(tmp_path, "sft", model="run:sum", train=rows)


def test_a_name_no_run_has_yet_is_told(tmp_path, rows):
    fault = only_fault(tmp_path, model="run:tour-sft", train=rows)
    assert "start that run first" in fault.remedy


def test_a_full_disk_is_told_with_what_is_needed_and_what_is_free(tmp_path, rows, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=60_000_000))
    fault = only_fault(tmp_path, train=rows)
    assert "the disk has 60 MB free, and this run writes up to" in fault.problem


def test_a_large_model_needs_more_disk_and_an_adapter_little(tmp_path, rows, model):
    with (model / "model.safetensors").open("wb") as file:
        file.truncate(3_000_000_000)
    whole = prepare(tmp_path, "sft", model=model, train=rows).survey.writes
    assert whole == preflight.LEAST_FREE + 3 * 3 * 3_000_000_000
    text = f"method: sft\nmodel: {{path: {model}, adapter: {{}}}}\ndata: {{train: {rows}}}\n"
    (tmp_path / "adapter.yaml").write_text(text)
    assert launch.prepare(tmp_path / "adapter.yaml", [], workspace=tmp_path).survey.writes < whole / 10


def test_everything_wrong_with_settings_model_and_data_is_told_at_once(tmp_path, model):
    (model / "tokenizer.json").unlink()
    more = "training: {steps: 0}\ncolour: red\n"
    found = faults(tmp_path, model=model, train=["none.jsonl", "task:arithmetik", "labels:x"], more=more)
    assert {fault.dotted for fault in found} == {
        "training.steps", "colour", "model.path", "data.train.0", "data.train.1", "data.train.2",
    }  # fmt: skip
    assert all(fault.line for fault in found)


def test_a_frozen_preset_reads_back_as_what_was_checked(tmp_path, rows, model):
    prepared = prepare(tmp_path, "sft", model=model, train=["rows.jsonl", "task:arithmetic"])
    (tmp_path / "frozen.yaml").write_text(preset_text(prepared.preset))
    assert load_preset(tmp_path / "frozen.yaml") == prepared.preset
    assert text_of(prepared).data.train[0].path == str(rows)


def test_it_takes_moments(tmp_path, rows, model):
    write_rows(rows, GOOD_ROWS * 500)
    prepare(tmp_path, "sft", model=model, train=rows)
    started = time.process_time()
    prepare(tmp_path, "sft", model=model, train=rows)
    assert time.process_time() - started < 2
