"""Where rows come from, and what is said of a source that cannot be used."""

import csv
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from engine.contract.settings import Source
from engine.data.left_out import told
from engine.data.sources import TASK, DataError, Row, Table, load_rows, load_split
from engine.data.split import prompt_of

ASK, YES, NO = ({"role": r, "content": c} for r, c in (("user", "ok?"), ("assistant", "yes"), ("assistant", "no")))
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


def read_rows(*sources: Source, method: str | None = None) -> list[Row]:
    return list(load_rows(list(sources), method).rows)


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
    rows = load_rows([source(first), source(second, rows=1)]).rows
    assert list(rows) == [*ROWS[:2], ROWS[5]]
    assert [rows[-1], *rows[:2]] == [ROWS[5], *ROWS[:2]]
    with pytest.raises(IndexError):
        rows[3]


def test_rows_of_a_task_remember_it_and_rows_of_a_file_do_not(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", ROWS[:1])
    table = load_rows([source(path), Source(path="task:arithmetic", rows=2, seed=5)])
    assert [row.get(TASK) for row in table.rows] == [None, "task:arithmetic", "task:arithmetic"]
    assert table.tasks["task:arithmetic"].score(table.rows[1], table.rows[1]["completion"]) == 1.0


# ------------------------------------------------------------------------------------------- rows that cannot be used

GOOD = b'{"prompt": "a", "completion": "b"}'


def written(path: Path, *lines: bytes) -> Table:
    """What SFT can use of a file of these lines."""
    path.write_bytes(b"\n".join(lines) + b"\n")
    return load_rows([source(path)], "sft")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"prompt": "a"', "is not JSON (Expecting ',' delimiter)"),
        (b"not json", "is not JSON (Expecting value)"),
        (b"[1, 2]", "is no object such as"),
        (b'"text"', "is no object such as"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"[" * 200_000, "is not JSON (it is nested too deep"),
        (b'{"prompt": "a"}', "has neither `messages`, nor `prompt` and `completion`"),
        (b'{"prompt": "a", "completion": ""}', "its completion is empty"),
        (b'{"prompt": {"a": 1}, "completion": "b"}', "`prompt` should be text or a list of messages (it is a mapping)"),
    ],
    ids=["torn", "words", "list", "string", "bytes", "deep", "columns", "empty", "type"],
)
def test_a_line_that_cannot_be_used_is_left_out_and_named(tmp_path: Path, line: bytes, words: str) -> None:
    table = written(tmp_path / "rows.jsonl", *[GOOD] * 6, line, *[GOOD] * 3)
    assert len(table.rows) == 9
    assert table.unusable.startswith(f"1 of 10 rows is left out: {words}")
    assert table.unusable.endswith("(rows.jsonl, line 7)")


def test_lines_with_one_fault_are_told_together_and_of_many_the_first(tmp_path: Path) -> None:
    empty = b'{"prompt": "a", "completion": ""}'
    table = written(tmp_path / "rows.jsonl", GOOD, *[empty, b"oops"] * 10)
    assert table.unusable == (
        "20 of 21 rows are left out: its completion is empty (rows.jsonl, lines 2, 4, 6, 8, 10, 12, 14, 16 and 2 more);"
        " is not JSON (Expecting value) (rows.jsonl, lines 3, 5, 7, 9, 11, 13, 15, 17 and 2 more)"
    )


def test_a_row_is_told_by_the_file_it_is_in(tmp_path: Path) -> None:
    for name, at in (("a.jsonl", 1), ("b.jsonl", 3)):
        lines = [GOOD] * 4
        lines[at - 1] = b"oops"
        (tmp_path / name).write_bytes(b"\n".join(lines))
    whole = write(tmp_path / "c.json", [*ROWS[:2], {"prompt": "a"}])
    table = load_rows([source(tmp_path / "a.jsonl"), source(tmp_path / "b.jsonl"), source(whole)], "sft")
    assert "(a.jsonl, line 1; b.jsonl, line 3)" in table.unusable
    assert "(c.json, row 3)" in table.unusable
    assert list(table.numbers) == [2, 3, 4, 5, 6, 8, 9, 10]
    useless = table.numbered({"is too long": [1, 4, 8]})
    assert told(useless, 8, "rows", table.origins) == (
        "3 of 8 rows are left out: is too long (a.jsonl, line 2; b.jsonl, line 1; c.json, row 2)"
    )
    assert [part.rows for part in table.parts] == [3, 3, 2]
    assert [part.rows for part in table.parts_without(useless)] == [2, 2, 1]


def test_a_row_longer_than_a_book_is_left_out_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.data.files.LONGEST_LINE", 2**20)
    long = json.dumps({"text": "x" * (5 * 2**20)}).encode()
    table = written(tmp_path / "rows.jsonl", b'{"text": "a"}', long, b'{"text": "b"}')
    assert list(table.rows) == [{"text": "a"}, {"text": "b"}]
    assert table.unusable == "1 of 3 rows is left out: is longer than 1 MB (rows.jsonl, line 2)"


def test_a_row_of_100_mb_costs_neither_the_others_nor_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with path.open("wb") as file:
        file.write(b'{"text": "a"}\n{"text": "')
        for _ in range(100):
            file.write(b"x" * 2**20)
        file.write(b'"}\n{"text": "b"}\n')
    tracemalloc.start()
    table = load_rows([source(path)], "sft")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert list(table.rows) == [{"text": "a"}, {"text": "b"}]
    assert table.unusable == "1 of 3 rows is left out: is longer than 16 MB (rows.jsonl, line 2)"
    assert most < 80 * 2**20  # some times the longest line that is read


def test_a_cell_longer_than_a_book_is_left_out_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.data.sources.LONGEST_LINE", 2**20)
    path = write(tmp_path / "rows.parquet", [{"text": "a"}, {"text": "x" * (2 * 2**20)}])
    assert load_rows([source(path)], "sft").unusable == (
        "1 of 2 rows is left out: is longer than 1 MB (rows.parquet, row 2)"
    )


def test_a_column_of_mixed_types_is_judged_row_by_row(tmp_path: Path) -> None:
    talk = [{"role": "user", "content": "a"}]
    rows = [{"prompt": value, "completion": "b"} for value in ("a", 5, talk, True, {"a": "b"}, None)]
    table = load_rows([source(write(tmp_path / "rows.jsonl", rows))], "sft")
    assert [row["prompt"] for row in table.rows] == ["a", "5", talk]
    assert "3 of 6 rows are left out" in table.unusable


def test_a_source_of_which_nothing_can_be_used_is_refused_by_name(tmp_path: Path) -> None:
    good = write(tmp_path / "good.jsonl", ROWS)
    bad = write(tmp_path / "bad.jsonl", [{"question": "a"}, {"question": "b"}])
    with pytest.raises(DataError) as error:
        load_rows([source(good), source(bad)], "sft")
    assert str(error.value) == (
        f"{bad}: no row can be used: has neither `messages`, nor `prompt` and `completion`, "
        "nor `text`, nor `input_ids` (it has `question`) (bad.jsonl, lines 1, 2); mend it, or choose other data"
    )


def test_a_file_in_another_encoding_is_refused_and_told_to_be(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "ä"}\n', "utf-16")
    with pytest.raises(DataError, match="is not UTF-8 text"):
        load_rows([source(path)], "sft")


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    assert len(written(tmp_path / "rows.jsonl", b"\xef\xbb\xbf" + GOOD, GOOD).rows) == 2


def test_empty_lines_are_passed_over_and_still_counted(tmp_path: Path) -> None:
    table = written(tmp_path / "rows.jsonl", b"", b'{"text": "a"}', b"  ", b"", b'{"text": "b"}', b"", b"oops")
    assert list(table.rows) == [{"text": "a"}, {"text": "b"}]
    assert table.unusable.endswith("(rows.jsonl, line 7)")


def test_a_row_that_is_no_longer_there_ends_the_run(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    table = written(path, GOOD, GOOD)
    path.write_bytes(b"x")
    with pytest.raises(DataError, match="changed while the run was reading it"):
        table.rows[1]


def test_what_a_source_says_of_its_rows_holds_for_it_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [{"frage": "a", "text": "b", "completion": "c"}])
    renamed, as_text = source(path, columns={"prompt": "frage"}), source(path, format="text")
    assert read_rows(renamed, as_text, method="sft") == [
        {"prompt": "a", "completion": "c"},
        {"frage": "a", "text": "b"},
    ]


def test_rows_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    """A file of any size takes 16 bytes a row; what is read is let go of."""
    path = tmp_path / "rows.jsonl"
    path.write_text((json.dumps({"text": "x" * 20_000}) + "\n") * 500, "utf-8")
    tracemalloc.start()
    table = load_rows([source(path)], "sft")
    longest = max(len(row["text"]) for row in table.rows)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert longest == 20_000
    assert path.stat().st_size > 10_000_000
    assert most < 1_000_000


# ------------------------------------------------------------------------------------------------------- held out


def test_no_prompt_is_on_both_sides(tmp_path: Path) -> None:
    rows = [{"prompt": f"{n % 100}?", "completion": str(n)} for n in range(400)]
    path = write(tmp_path / "rows.jsonl", rows)
    train, held_out = load_split([source(path)], "sft", share=0.25, seed=3)
    asked, measured = ({row["prompt"] for row in table.rows} for table in (train, held_out))
    assert not asked & measured
    assert len(asked) + len(measured) == 100
    assert 15 <= len(measured) <= 35
    assert len(train.rows) + len(held_out.rows) == 400


def test_rows_that_cannot_be_used_are_told_once_of_both_sides(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [{"text": str(n)} for n in range(20)] + [{"text": ""}])
    train, held_out = load_split([source(path)], "sft", share=0.5, seed=0)
    assert train.unusable == "1 of 21 rows is left out: its text is empty (rows.jsonl, line 21)"
    assert held_out.unusable == ""


def test_the_seed_alone_decides_what_is_held_out(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [{"text": str(n)} for n in range(100)])

    def held_out(seed: int) -> list[Row]:
        return list(load_split([source(path)], "sft", share=0.2, seed=seed)[1].rows)

    assert held_out(1) == held_out(1)
    assert held_out(1) != held_out(2)


@pytest.mark.parametrize(("share", "words"), [(1e-9, "holds out nothing"), (1 - 1e-9, "leaves nothing to train on")])
def test_a_share_that_leaves_one_side_empty_is_refused(tmp_path: Path, share: float, words: str) -> None:
    path = write(tmp_path / "rows.jsonl", ROWS)
    with pytest.raises(DataError, match=words):
        load_split([source(path)], "sft", share=share, seed=0)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"messages": [ASK, YES, ASK, NO]}, {"messages": [ASK, NO]}),
        ({"prompt": [ASK], "chosen": [YES], "rejected": [NO]}, {"prompt": [ASK], "completion": [YES]}),
        ({"input_ids": [1, 2, 3], "is_target": [False, False, True]}, {"input_ids": [1, 2], "is_target": [False] * 2}),
        ({"chosen_ids": [1, 2, 3], "rejected_ids": [1, 2, 4]}, {"chosen_ids": [1, 2, 5, 6], "rejected_ids": [1, 2, 6]}),
        ({"text": "a", "id": 1}, {"text": "a", "id": 2}),
    ],
)
def test_rows_that_ask_the_same_stand_on_one_side(one: Row, other: Row) -> None:
    assert prompt_of(one) == prompt_of(other)


# ----------------------------------------------------------------------------------------------------- what is wrong


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
