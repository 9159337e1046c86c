"""A run directory appears whole or not at all, and its small files are replaced whole."""

import json
import time
from pathlib import Path

import pytest

from engine.contract import run_dir
from engine.contract.run_dir import RunDir


def test_a_new_run_has_its_preset_and_no_events_yet(tmp_path):
    run = run_dir.create(tmp_path / "runs", "mine", "method: sft\n")
    assert run.path.parent == tmp_path / "runs"
    assert run.preset.read_text() == "method: sft\n"
    assert run.events.read_bytes() == b""
    assert run_dir.is_run_dir(run.path)
    assert run.name == "mine"


def test_runs_started_in_the_same_second_get_names_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "strftime", lambda _format: "20250101-000000")
    made = [run_dir.create(tmp_path, "twin", "") for _ in range(3)]
    assert [run.path.name for run in made] == [f"20250101-000000-twin{suffix}" for suffix in ("", "-2", "-3")]


def test_a_folder_that_is_there_is_never_taken_over(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious").touch()
    assert run_dir.create_at(tmp_path / "mine", "") is None
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "precious"]


def test_a_run_that_cannot_be_made_leaves_nothing(tmp_path, monkeypatch):
    def no_rename(self, target):
        raise OSError("no")

    monkeypatch.setattr(Path, "rename", no_rename)
    with pytest.raises(OSError, match="no"):
        run_dir.create(tmp_path / "runs", "mine", "")
    assert list((tmp_path / "runs").iterdir()) == []


def test_runs_are_listed_newest_first_and_other_folders_left_out(tmp_path):
    for name in ("20250102-000000-b", "20250101-000000-a", "20250103-000000-c"):
        run_dir.create_at(tmp_path / name, "")
    (tmp_path / "notes").mkdir()
    (tmp_path / ".new-1-x").mkdir()
    assert [run.name for run in run_dir.list_runs(tmp_path)] == ["c", "b", "a"]
    assert run_dir.list_runs(tmp_path / "none") == []


def test_the_newest_of_a_name_is_one_that_has_a_model(tmp_path):
    for day in (1, 2, 3):
        run_dir.create_at(tmp_path / f"2025010{day}-000000-sums", "")
    RunDir(tmp_path / "20250101-000000-sums").final.mkdir()
    RunDir(tmp_path / "20250102-000000-sums").checkpoint(5).mkdir(parents=True)
    newest = run_dir.newest_named(tmp_path, "sums")
    assert newest is not None
    assert newest.path.name == "20250102-000000-sums"
    assert run_dir.newest_named(tmp_path, "others") is None


def test_saved_steps_are_told_oldest_first_and_unfinished_ones_left_out(tmp_path):
    run = RunDir(tmp_path)
    for name in ("step-000100", "step-000020", ".step-000300", "step-2", "step-1000000"):
        (run.checkpoints / name).mkdir(parents=True)
    assert run.saved_steps() == [20, 100, 1_000_000]
    assert run.checkpoint(20).name == "step-000020"


def test_a_small_file_is_replaced_whole(tmp_path, monkeypatch):
    file = tmp_path / "process.json"
    run_dir.write_json(file, {"pid": 1})
    monkeypatch.setattr(json, "dump", lambda *_args, **_named: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_dir.write_json(file, {"pid": 2})
    assert json.loads(file.read_text()) == {"pid": 1}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"null"])
def test_a_damaged_small_file_reads_as_empty(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    assert run_dir.read_json(tmp_path / "x.json") == {}
    assert run_dir.read_json(tmp_path / "none.json") == {}
