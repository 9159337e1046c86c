"""Where rows come from, and what is said of a source that cannot be used."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from engine.contract.settings import Source
from engine.data.sources import TASK, DataError, load_rows, read_rows

ROWS = [{"prompt": f"{n}+{n}=", "completion": str(2 * n), "level": f"{n:03}"} for n in range(10)]


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """The rows in the format that the file's name asks for."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows, indent=1), "utf-8")
    elif path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        from datasets import Dataset

        Dataset.from_list(rows).to_parquet(str(path))
    return path


def source(path: Path, **how: Any) -> Source:
    return Source(path=str(path), **how)


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet"])
def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path, suffix: str) -> None:
    assert read_rows(source(write(tmp_path / f"rows{suffix}", ROWS))) == ROWS


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet"])
def test_only_the_first_rows_are_used_where_asked(tmp_path: Path, suffix: str) -> None:
    assert read_rows(source(write(tmp_path / f"rows{suffix}", ROWS), rows=3)) == ROWS[:3]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_messages_stay_lists_of_messages(tmp_path: Path, suffix: str) -> None:
    rows = [{"messages": [{"role": "user", "content": "ä"}, {"role": "assistant", "content": "日本"}]}]
    assert read_rows(source(write(tmp_path / f"rows{suffix}", rows))) == rows


@pytest.mark.parametrize("cell", ["007", "1.50", "NA", "null", "", "true", "1e5", 'a "b", c\nd', "ä 日本"])
def test_a_cell_of_a_table_stays_what_it_says(tmp_path: Path, cell: str) -> None:
    rows = [{"prompt": cell, "completion": cell}, {"prompt": "1", "completion": "2"}]
    assert read_rows(source(write(tmp_path / "rows.csv", rows))) == rows


def test_a_table_saved_by_a_spreadsheet_keeps_its_first_column(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"\xef\xbb\xbfprompt,completion\r\na,b\r\n")  # it begins with a byte order mark
    assert read_rows(source(path)) == [{"prompt": "a", "completion": "b"}]


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", ROWS)
    read_rows(source(path))
    write(path, ROWS[:2])
    assert read_rows(source(path)) == ROWS[:2]


def test_several_sources_follow_each_other(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a.jsonl", ROWS[:2]), write(tmp_path / "b.json", ROWS[5:])
    assert load_rows([source(first), source(second, rows=1)]).rows == [*ROWS[:2], ROWS[5]]


def test_rows_of_a_task_remember_it_and_rows_of_a_file_do_not(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", ROWS[:1])
    table = load_rows([source(path), Source(path="task:arithmetic", rows=2, seed=5)])
    assert [row.get(TASK) for row in table.rows] == [None, "task:arithmetic", "task:arithmetic"]
    assert table.tasks["task:arithmetic"].score(table.rows[1], table.rows[1]["completion"]) == 1.0


# ----------------------------------------------------------------------------------------------------- what is wrong


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b'{"prompt": "a"', "is not JSON"),
        (b"not json", "is not JSON"),
        (b"[1, 2]", "should be an object"),
        (b'"text"', "should be an object"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"[" * 200_000, "is not JSON"),
    ],
    ids=["torn", "words", "list", "string", "bytes", "deep"],
)
def test_a_broken_line_is_named_with_its_file(tmp_path: Path, line: bytes, told: str) -> None:
    path = tmp_path / "rows.jsonl"
    good = b'{"prompt": "a", "completion": "b"}'
    path.write_bytes(b"\n".join([good] * 6 + [line] + [good] * 3) + b"\n")
    with pytest.raises(DataError, match=told) as error:
        read_rows(source(path))
    assert str(error.value).startswith(f"{path}, line 7: ")


def test_empty_lines_are_passed_over_and_still_counted(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('\n{"text": "a"}\n  \n\n{"text": "b"}\n\noops\n', "utf-8")
    with pytest.raises(DataError, match="line 7"):
        read_rows(source(path))
    path.write_text('\n{"text": "a"}\n  \n\n{"text": "b"}', "utf-8")
    assert read_rows(source(path)) == [{"text": "a"}, {"text": "b"}]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json"])
def test_a_source_without_rows_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=rf"{name}: no rows"):
        load_rows([source(write(tmp_path / name, []))])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"a": 1}', "should be a list of objects"),
        ("[1, 2]", "should be a list of objects"),
        ('{"a": 1}\n{"a": 2}', "is it JSON Lines"),
    ],
)
def test_a_json_file_of_another_shape_is_named(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text, "utf-8")
    with pytest.raises(DataError, match=told) as error:
        read_rows(source(path))
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize("name", ["missing.jsonl", "missing.csv", "missing.parquet"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="could not be read") as error:
        read_rows(source(tmp_path / name))
    assert str(error.value).startswith(str(tmp_path / name))


def test_a_file_that_is_not_what_its_name_says_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match="could not be read") as error:
        read_rows(source(path))
    assert str(error.value).startswith(str(path))
