"""Markdown as blocks of styled text: what counts as what, nothing lost, and no text that takes long."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.contract.labels_log import without_garbage_collection
from workbench.state.literal_text import literal
from workbench.state.markdown import LONGEST_BLOCK, Block, blocks
from workbench.state.markdown_inline import BOLD, CODE, ITALIC, LINK, MUTED, PLAIN, STRUCK, Span, spans


def words(of: Block) -> str:
    cells = [cell for row in of.rows for cell in row] or [of.spans]
    return "|".join("".join(span.text for span in cell) for cell in cells)


def read(text: str) -> list[tuple[str, int, str]]:
    """Kind, level and words of each block."""
    return [(block.kind, block.level, words(block)) for block in blocks(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("**bold**", [("bold", BOLD)]),
        ("*it* and _it_", [("it", ITALIC), (" and ", PLAIN), ("it", ITALIC)]),
        ("***both***", [("both", BOLD | ITALIC)]),
        ("**bold *and* on**", [("bold ", BOLD), ("and", BOLD | ITALIC), (" on", BOLD)]),
        ("~~no~~", [("no", STRUCK)]),
        ("`*code*`", [("*code*", CODE)]),
        ("`` a`b ``", [("a`b", CODE)]),
        ("[words](https://x.org)", [("words", LINK), (" (https://x.org)", MUTED)]),
        ("![alt](file:///x)", [("image: alt", LINK), (" (file:///x)", MUTED)]),
        (r"\*plain\*", [("*plain*", PLAIN)]),
    ],
)
def test_marks_within_a_line_become_styles(text: str, expected: list[tuple[str, object]]) -> None:
    assert [tuple(span) for span in spans(text)] == expected


@pytest.mark.parametrize(
    "text",
    [
        "snake_case_word", "2 * 3 * 4", "**open", "open*", "a ~ b ~ c", "****", "*" * 100_000, "`open", "[a](b c)",
        "[a]", "<b>html</b> &amp; <img src=x>", r"\(x_1\) and \frac{a}{b}", "* a *", "a*\u200b",
    ],
)  # fmt: skip
def test_what_is_no_mark_stays_as_it_was_written(text: str) -> None:
    assert spans(text) == (Span(text, PLAIN),)


def test_headings_have_levels_and_closing_marks_go() -> None:
    assert read("# One #\n###### Six\n####### Seven\n#tag") == [
        ("heading", 1, "One"),
        ("heading", 6, "Six"),
        ("paragraph", 0, "####### Seven\n#tag"),
    ]


def test_lists_nest_by_how_far_in_they_stand_and_keep_their_numbers() -> None:
    found = list(blocks("7. seven\n   - within\n     more of it\n8) eight\n\n   a paragraph of eight\n\nout\n"))
    assert [(block.kind, block.level, block.marker, words(block)) for block in found] == [
        ("item", 0, "7.", "seven"),
        ("item", 1, "-", "within\nmore of it"),
        ("item", 0, "8)", "eight"),
        ("paragraph", 1, "", "a paragraph of eight"),
        ("paragraph", 0, "", "out"),
    ]


def test_code_is_literal_up_to_its_closing_fence_or_the_end() -> None:
    assert read("```py\nx = **1**\n\n# no heading\n```\nafter") == [
        ("code", 0, "py\nx = **1**\n\n# no heading"),
        ("paragraph", 0, "after"),
    ]
    assert read("~~~~\n```\n~~~\nopen") == [("code", 0, "```\n~~~\nopen")]
    assert read("1. a\n   ```\n     deep\n   ```") == [("item", 0, "a"), ("code", 1, "  deep")]
    assert read("a\n\n    def\n      x\n") == [("paragraph", 0, "a"), ("code", 0, "def"), ("code", 0, "  x")]


def test_quotes_and_what_stands_within_them() -> None:
    found = [(block.kind, block.quote, words(block)) for block in blocks("> a\n> - b\n> > c\n\nd")]
    assert found == [("paragraph", 1, "a"), ("item", 1, "b"), ("paragraph", 2, "c"), ("paragraph", 0, "d")]


def test_a_table_has_a_row_of_dashes_under_its_heading() -> None:
    (table,) = blocks("| a | **b** |\n|---|:-:|\n| 1 | x\\|y |\n| 2 |\n| 3 | 4 | 5 |")
    assert [["".join(span.text for span in cell) for cell in row] for row in table.rows] == [
        ["a", "b"], ["1", "x|y"], ["2", ""], ["3", "4"],
    ]  # fmt: skip
    assert read("no | table\nhere | neither") == [("paragraph", 0, "no | table\nhere | neither")]


def test_a_rule_and_an_item_are_told_apart() -> None:
    assert [block.kind for block in blocks("---\n- a\n* * *\n- - b")] == ["rule", "item", "rule", "item"]


def test_nothing_hides_in_a_text_that_is_drawn() -> None:
    (block,) = blocks("<!-- hidden --> user\u202egnp \x1b[31m \0 \ud800 zero\u200bwidth")
    assert words(block) == "<!-- hidden --> user⟨202E⟩gnp ␛[31m ␀ ⟨D800⟩ zero⟨200B⟩width"


#: Characters that may go away as marks, or for a mark that is drawn instead.
MARKS = set("*_`~#>|\\-+=.:()[]! \n\t0123456789") | set("image")


@given(st.text(st.sampled_from("ab *_`~#>|\\-\n\t1.[]()!<é\u202e\0")))
def test_no_word_is_lost_whatever_the_marks(text: str) -> None:
    drawn = "".join(words(block) for block in blocks(text))
    left = [character for character in literal(text) if character not in MARKS]
    assert [character for character in drawn if character not in MARKS] == left


SLOW = {
    "asterisks": "*" * 100_000,
    "openers": "*a " * 330_000,
    "closers": "a* " * 330_000,
    "both": "a**b" * 250_000,
    "four kinds": "*a _b ~~c **d " * 70_000,
    "brackets": "[" * 1_000_000,
    "links": "[a](" * 250_000,
    "images": "![x](y" * 160_000,
    "backticks": "".join("`" * (i % 50 + 1) + "a" for i in range(40_000)),
    "quotes": ">" * 1_000_000,
    "lists": "\n".join("  " * i + "- a" for i in range(1_400)),
    "table": "|a|b|\n|-|-|\n" + "|x|y|\n" * 150_000,
    "bars": "|" * 1_000_000,
    "open fence": "```\n" + "x\n" * 500_000,
    "hashes": "# " * 500_000,
    "spaces": " " * 1_000_000,
}


@pytest.mark.parametrize("name", SLOW)
def test_each_block_of_a_hostile_million_takes_a_moment_and_is_small(name: str) -> None:
    """Of the processor's time, so that a busy machine does not count; the window has 250 ms for everything."""
    reader, longest = blocks(SLOW[name]), 0.0
    with without_garbage_collection():  # of what other tests left
        for _ in range(40):
            began = time.thread_time()
            block = next(reader, None)
            longest = max(longest, time.thread_time() - began)
            if block is None:
                break
            assert len(words(block)) <= 2 * LONGEST_BLOCK
    assert longest < 0.1


def test_reading_takes_time_in_proportion_to_the_text() -> None:
    def seconds(times: int) -> float:
        began = time.process_time()
        for _ in blocks("*a _b `c **d [e](f\n- " * times):
            pass
        return time.process_time() - began

    assert seconds(5_000) < 12 * min(seconds(1_000) for _ in range(3))
