"""Which words differ, and how long it takes to find out."""

import difflib
import gc
import time

from hypothesis import given
from hypothesis import strategies as st

from workbench.state.word_difference import Span, differences

WORDS = st.lists(st.sampled_from("abcd"), max_size=12).map(" ".join)


def shown(text: str, spans: list[Span]) -> list[str]:
    return [text[span.start : span.end] for span in spans]


def test_the_words_that_differ_are_found_and_neighbours_joined() -> None:
    one, other = "the cat sat on a mat", "the dog sat down on a mat"
    mine, yours = differences(one, other)
    assert shown(one, mine) == ["cat"]
    assert shown(other, yours) == ["dog", "down"]


def test_equal_texts_do_not_differ_and_strange_ones_differ_whole() -> None:
    assert differences("a b\nc", "a  b c") == ([], [])
    assert differences("", "x y") == ([], [Span(0, 3)])


@given(WORDS, WORDS)
def test_what_is_left_over_is_the_same_in_both_texts_and_as_long_as_can_be(one: str, other: str) -> None:
    rest = []
    for text, spans in zip((one, other), differences(one, other), strict=True):
        kept = [at for at in range(0, len(text), 2) if not any(a <= at < b for a, b in spans)]
        rest.append([text[at] for at in kept])
    assert rest[0] == rest[1]
    found = difflib.SequenceMatcher(None, one.split(), other.split(), autojunk=False).get_matching_blocks()
    assert len(rest[0]) >= sum(block.size for block in found)


def test_thousands_of_equal_words_take_a_moment() -> None:
    one, other = "a b " * 5000, "b a a " * 5000
    gc.disable()  # to collect what other tests left is no work of this one
    try:
        began = time.thread_time()
        differences(one, other)
        took = time.thread_time() - began
    finally:
        gc.enable()
    assert took < 0.25
