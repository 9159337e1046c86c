"""Append-only files: whole lines only, whatever is being written meanwhile and wherever a writer was killed."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.contract import jsonl

# What our writers write: JSON escapes every control character, so a line has none.
one_line = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def read_all(path: Path, *, at_most: int) -> list[bytes]:
    lines, offset = [], 0
    while True:
        chunk = jsonl.read_lines(path, offset, at_most=at_most)
        lines += chunk.lines
        if chunk.offset == offset:
            return lines
        offset = chunk.offset


def test_lines_come_back_in_order(file):
    for line in ("one", "zwei äöü", ""):
        jsonl.append_line(file, line)
    assert jsonl.read_lines(file, 0).lines == [b"one", "zwei äöü".encode(), b""]


def test_a_missing_file_has_no_lines(file):
    assert jsonl.read_lines(file, 0) == jsonl.Chunk([], 0, at_end=True)
    assert jsonl.last_lines(file) == []
    assert jsonl.lines_throughout(file, 5) == []
    assert not jsonl.end_torn_line(file)


def test_a_torn_last_line_waits_until_it_is_whole(file):
    file.write_bytes(b'{"a": 1}\n{"b"')
    chunk = jsonl.read_lines(file, 0)
    assert chunk.lines == [b'{"a": 1}']
    with file.open("ab") as out:
        out.write(b": 2}\n")
    assert jsonl.read_lines(file, chunk.offset).lines == [b'{"b": 2}']


@given(lines=st.lists(one_line, max_size=8), data=st.data())
def test_any_prefix_of_a_file_yields_only_whole_lines(tmp_path_factory, lines, data):
    whole = "".join(f"{line}\n" for line in lines).encode()
    cut = data.draw(st.integers(0, len(whole)))
    path = tmp_path_factory.mktemp("cut") / "x.jsonl"
    path.write_bytes(whole[:cut])
    chunk = jsonl.read_lines(path, 0)
    assert chunk.lines == [line.encode() for line in lines][: whole[:cut].count(b"\n")]
    path.write_bytes(whole)
    assert chunk.lines + jsonl.read_lines(path, chunk.offset).lines == [line.encode() for line in lines]


@given(lines=st.lists(one_line, max_size=20), at_most=st.integers(1, 64))
def test_reading_in_slices_equals_reading_whole(tmp_path_factory, lines, at_most):
    path = tmp_path_factory.mktemp("slices") / "x.jsonl"
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())
    assert read_all(path, at_most=at_most) == [line.encode() for line in lines]


def test_a_slice_says_whether_the_end_is_reached(file):
    file.write_bytes(b"one\ntwo\nthree\n")
    assert not jsonl.read_lines(file, 0, at_most=8).at_end
    assert jsonl.read_lines(file, 8, at_most=8).at_end


def test_a_killed_writers_line_is_closed_so_the_next_stands_alone(file):
    file.write_bytes(b'{"a": 1}\n{"b"')
    assert jsonl.end_torn_line(file)
    jsonl.append_line(file, '{"c": 3}')
    assert jsonl.read_lines(file, 0).lines == [b'{"a": 1}', b'{"b"', b'{"c": 3}']


@pytest.mark.parametrize("content", [b"", b"one\n"])
def test_a_file_that_ends_well_is_left_alone(file, content):
    file.write_bytes(content)
    assert not jsonl.end_torn_line(file)
    assert file.read_bytes() == content


def test_a_line_beyond_all_reason_is_passed_over_and_the_next_is_read(file):
    file.write_bytes(b"x" * (jsonl.LONGEST_LINE + 5_000_000) + b"\nafter\n")
    read = read_all(file, at_most=1024 * 1024)
    assert read[-1] == b"after"
    assert all(len(line) <= jsonl.LONGEST_LINE for line in read)


def test_the_last_lines_are_whole_and_the_newest(file):
    file.write_bytes(b"".join(b"%06d\n" % n for n in range(10_000)))
    tail = jsonl.last_lines(file, at_most=1000)
    assert tail[-1] == b"009999"
    assert all(len(line) == 6 for line in tail)
    assert len(tail) == pytest.approx(1000 / 7, abs=2)


def test_lines_throughout_a_file_are_whole_in_order_and_evenly_spread(file):
    file.write_bytes(b"".join(b"%06d\n" % n for n in range(10_000)) + b"torn")
    numbers = [int(line) for line in jsonl.lines_throughout(file, 50)]
    assert numbers == pytest.approx([200 * n for n in range(50)], abs=2)


@given(lines=st.lists(one_line, max_size=8), count=st.integers(1, 40))
def test_asking_for_more_lines_than_there_are_gives_some_of_them_once_each(tmp_path_factory, lines, count):
    path = tmp_path_factory.mktemp("throughout") / "x.jsonl"
    numbered = [f"{index} {line}" for index, line in enumerate(lines)]
    path.write_bytes("".join(f"{line}\n" for line in numbered).encode())
    found = [line.decode() for line in jsonl.lines_throughout(path, count)]
    assert found == [line for line in numbered if line in found]
    assert found[:1] == numbered[:1]


def test_several_writers_never_mix_their_lines(file):
    code = (
        "import sys; from pathlib import Path; from engine.contract.jsonl import append_line\n"
        f"for _ in range(300): append_line(Path({str(file)!r}), sys.argv[1] * 500)"
    )
    root = Path(__file__).parents[2]
    writers = [subprocess.Popen([sys.executable, "-S", "-c", code, letter], cwd=root) for letter in "abc"]
    assert [writer.wait(30) for writer in writers] == [0, 0, 0]
    lines = list(jsonl.follow(file))
    assert sorted(lines) == sorted([letter * 500 for letter in (b"a", b"b", b"c") for _ in range(300)])
