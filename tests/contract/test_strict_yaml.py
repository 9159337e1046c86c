"""YAML as people mean it, and no text that hangs or crashes the reader."""

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.contract.strict_yaml import MAX_DEPTH, YamlError, dump_yaml, load_yaml

plain = st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | st.text(max_size=20)
documents = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("1E5", 1e5),
        ("-2.5e+3", -2500.0),
        (".5", 0.5),
        ("1.", 1.0),
        (".inf", float("inf")),
        ("12", 12),
        ("-7", -7),
        ("007", 7),
        ("true", True),
        ("null", None),
        ("~", None),
    ],
)
def test_a_number_is_a_number_however_it_is_written(text, value):
    read = load_yaml(f"key: {text}")[0]["key"]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    "text", ["no", "on", "yes", "off", "y", "1:30", "0o17", "0x1f", "2024-01-01", "1_000", "1e", "e5"]
)
def test_a_word_stays_a_word(text):
    assert load_yaml(f"key: {text}")[0] == {"key": text}


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 3", "s:\n  x: 1\n  x: 1"])
def test_a_key_given_twice_is_an_error_on_its_line(text):
    with pytest.raises(YamlError, match="given twice") as caught:
        load_yaml(text)
    assert caught.value.line == 3


@pytest.mark.parametrize(
    "text",
    ["[" * 200_000, "{" * 5_000, "- " * 5_000, "a: " + "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)],
    ids=["brackets", "braces", "dashes", "just too deep"],
)
def test_deep_nesting_is_refused_at_once(text):
    started = time.process_time()
    with pytest.raises(YamlError):
        load_yaml(text)
    assert time.process_time() - started < 2


def test_nesting_up_to_the_limit_is_read():
    assert load_yaml("[" * MAX_DEPTH + "]" * MAX_DEPTH)[0] is not None


def test_aliases_that_multiply_are_refused():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(YamlError, match="more than"):
        load_yaml("\n".join(lines))


def test_an_alias_within_what_it_names_is_refused():
    with pytest.raises(YamlError, match="inside what it names"):
        load_yaml("a: &a [1, *a]")


def test_an_honest_alias_is_read():
    assert load_yaml("a: &a [1, 2]\nb: *a")[0] == {"a": [1, 2], "b": [1, 2]}


def test_a_text_of_a_megabyte_is_refused():
    with pytest.raises(YamlError, match="longer than"):
        load_yaml("a: " + "x" * 1_000_001)


def test_no_tag_makes_an_object():
    with pytest.raises(YamlError, match="line 1"):
        load_yaml("a: !!python/object/apply:os.system ['true']")


@pytest.mark.parametrize("text", ["a: [1", "a: 'x", "a:\n\t- 1", "a: b: c", "a: \x00", "? [a]: 1\n: 2", "--- a\n--- b"])
def test_bad_syntax_is_one_error_and_never_a_crash(text):
    with pytest.raises(YamlError):
        load_yaml(text)


def test_each_key_and_item_knows_its_line():
    lines = load_yaml("# first\na:\n  b: 1\n  c:\n    - x\n    - y\n")[1]
    assert (lines[("a",)], lines[("a", "b")], lines[("a", "c")], lines[("a", "c", 1)]) == (2, 3, 4, 6)


@pytest.mark.parametrize(
    "text", ["\x85", "a\u2028b", "\u2029", "a\nb\n", " x ", "1e5", "yes", "null", "", "\ufeff", "#x"]
)
def test_a_text_that_looks_like_something_else_comes_back_as_it_was(text):
    assert load_yaml(dump_yaml({"key": text, text: 1}))[0] == {"key": text, text: 1}


@given(documents)
def test_what_is_written_reads_back_the_same(data):
    assert load_yaml(dump_yaml(data))[0] == data


def test_a_key_that_is_no_word_is_an_error_on_its_line():
    with pytest.raises(YamlError, match="line 2: a key should be a word"):
        load_yaml("a: 1\n? [b]\n: 2")


@given(st.text(alphabet=" \n\t:-[]{}&*!|>'\"%@`#,?<~0a.e", max_size=60) | st.text(max_size=100))
def test_any_text_gives_data_or_a_yaml_error(text):
    with contextlib.suppress(YamlError):
        load_yaml(text)
