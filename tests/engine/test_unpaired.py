"""From rows to judged answers: what is wanted, where the answer begins, and which rows are left out."""

from typing import Any

import pytest

from engine.data.byte_tokenizer import byte_tokenizer
from engine.data.chat import ChatEncoder, Example
from engine.data.mixture import Part
from engine.data.sources import DataError
from engine.data.unpaired import Encoded, answers_of_sources, encode_judged, mismatched


def encode(rows: list[dict[str, Any]], *, longest: int = 16) -> Encoded:
    return encode_judged(rows, ChatEncoder(byte_tokenizer()), max_length=longest, breathe=lambda index: None)


def text(example: Example) -> str:
    return str(byte_tokenizer().decode(example.ids, skip_special_tokens=True))


def test_a_row_is_one_answer_and_a_pair_is_two() -> None:
    encoded = encode(
        [
            {"prompt": "2+2=", "completion": "4", "label": True},
            {"prompt": "2+3=", "completion": "4", "label": False},
            {"prompt": "1+1=", "chosen": "2", "rejected": "3"},
        ]
    )
    assert [text(answer) for answer in encoded.answers] == ["2+2=4", "2+3=4", "1+1=2", "1+1=3"]
    assert list(encoded.is_wanted) == [True, False, True, False]
    assert [answer.is_target.index(True) for answer in encoded.answers] == [4, 4, 4, 4]
    assert list(encoded.given) == [1, 1, 2]


def test_rows_of_no_use_are_left_out_with_the_reason() -> None:
    good = {"prompt": "p", "completion": "a", "label": True}
    rows: list[dict[str, Any]] = [
        good,
        {**good, "completion": " "},
        {**good, "prompt": "p" * 20},
        {**good, "prompt": ""},
        {"prompt": "p", "chosen": "a", "rejected": "a"},
    ]
    encoded = encode(rows)
    assert len(encoded.answers) == 1
    assert {reason: list(rows) for reason, rows in encoded.left_out.items()} == {
        "an answer is empty": [2],
        "nothing of the answer fits into 16 tokens": [3],
        "nothing stands before the answer": [4],
        "both answers are the same": [5],
    }


@pytest.mark.parametrize(
    "row",
    [{"prompt": "p", "completion": "a"}, {"prompt": "p", "completion": "a", "label": 1}, {"text": "a", "label": True}],
)
def test_a_row_that_is_not_judged_is_an_error(row: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="a `label` of true or false"):
        encode([row])


def test_a_stranger_is_one_prompt_with_the_answer_of_another_cut_at_the_limit() -> None:
    one, two = encode([{"prompt": p, "completion": c, "label": True} for p, c in (("ab", "cd"), ("x", "yz!"))]).answers
    found = mismatched(one, two, max_length=16)
    assert text(found) == "abyz!"
    assert found.is_target == [False, False, True, True, True, True]
    assert text(mismatched(one, two, max_length=4)) == "abyz"


def test_the_answers_of_each_source_are_counted() -> None:
    encoded = Encoded([Example([1, 2], [False, True])] * 5, [True] * 5, [2, 1, 2], {})
    parts = (Part(2, 0.25), Part(1, 0.75))
    assert answers_of_sources(encoded, parts) == (Part(3, 0.25), Part(2, 0.75))
