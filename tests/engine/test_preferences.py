"""From rows to pairs: where the prompt ends, what counts, and which rows are left out and said to be."""

from pathlib import Path
from typing import Any

import pytest

from engine.contract.settings import Source
from engine.data.byte_tokenizer import END, byte_tokenizer
from engine.data.chat import ChatEncoder, Example
from engine.data.preferences import Encoded, Pair, encode_pairs, told
from engine.data.sources import Row, load_rows
from tests.engine.test_chat import chat_tokenizer, merging_tokenizer

DATA = Path(__file__).parents[2] / "assets" / "data"
USER = {"role": "user", "content": "Hi"}
GOOD = {"role": "assistant", "content": "Yo"}
BAD = {"role": "assistant", "content": "Greetings"}


def encode(rows: list[dict[str, Any]], tokenizer: Any = None, *, longest: int = 1000) -> Encoded:
    encoder = ChatEncoder(tokenizer or byte_tokenizer())
    return encode_pairs(rows, encoder, max_length=longest, breathe=lambda index: None)


def parts(example: Example, tokenizer: Any = None) -> tuple[str, str]:
    """The text before the targets, and the text of the targets."""
    tokenizer = tokenizer or byte_tokenizer()
    begins = example.is_target.index(True)
    assert all(example.is_target[begins:])
    return str(tokenizer.decode(example.ids[:begins])), str(tokenizer.decode(example.ids[begins:]))


def shipped(name: str) -> list[Row]:
    return list(load_rows([Source(path=str(DATA / name))], "dpo").rows)


def only(row: dict[str, Any], tokenizer: Any = None, *, longest: int = 1000) -> Pair:
    [pair] = encode([row], tokenizer, longest=longest).pairs
    return pair


# ------------------------------------------------------------------------------------------------------- the prompt


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "2+2=", "chosen": "4", "rejected": "5"},
        {"chosen": "2+2=4", "rejected": "2+2=5"},
    ],
    ids=["explicit", "implicit"],
)
def test_text_is_a_prompt_and_two_answers_with_their_ends(row: dict[str, Any]) -> None:
    pair = only(row)
    assert parts(pair.chosen) == ("2+2=", "4" + END)
    assert parts(pair.rejected) == ("2+2=", "5" + END)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": [USER], "chosen": "Yo", "rejected": "Greetings"},
        {"chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"prompt": "Hi", "chosen": [USER, GOOD], "rejected": [USER, BAD]},
    ],
    ids=["explicit", "answers as text", "implicit", "prompt repeated"],
)
def test_messages_are_a_prompt_and_two_answers_with_their_ends(row: dict[str, Any]) -> None:
    tokenizer = chat_tokenizer()
    pair = only(row, tokenizer)
    prompt = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert parts(pair.chosen, tokenizer) == (prompt, "Yo<|im_end|>\n")
    assert parts(pair.rejected, tokenizer) == (prompt, "Greetings<|im_end|>\n")


def test_an_implicit_prompt_leaves_the_space_to_the_answer() -> None:
    pair = only({"chosen": "the sky is blue", "rejected": "the sky is green"})
    assert parts(pair.chosen) == ("the sky is", " blue" + END)
    assert parts(pair.rejected) == ("the sky is", " green" + END)


def test_an_answer_that_begins_like_the_other_keeps_something_to_say() -> None:
    pair = only({"chosen": "1+1=2", "rejected": "1+1=22"})
    assert parts(pair.chosen) == ("1+1=", "2" + END)
    assert parts(pair.rejected) == ("1+1=", "22" + END)


def test_both_answers_begin_where_the_tokenizer_first_merges_across_the_border() -> None:
    """`=4` is one token and `=5` two: the prompt of both is `2+2`, or their tokens would differ within it."""
    tokenizer = merging_tokenizer()
    pair = only({"prompt": "2+2=", "chosen": "4", "rejected": "5"}, tokenizer)
    assert parts(pair.chosen, tokenizer) == ("2+2", "=4" + END)
    assert parts(pair.rejected, tokenizer) == ("2+2", "=5" + END)


def test_a_long_answer_is_cut_at_the_end() -> None:
    pair = only({"prompt": "2+2=", "chosen": "4", "rejected": "five"}, longest=6)
    assert parts(pair.chosen) == ("2+2=", "4" + END)
    assert parts(pair.rejected) == ("2+2=", "fi")


# --------------------------------------------------------------------------------------------------- of no use, or none


def test_rows_of_no_use_are_counted_named_and_left_out() -> None:
    good = {"prompt": "p", "chosen": "a", "rejected": "b"}
    rows = [
        good,
        {**good, "chosen": ""},
        {**good, "rejected": "a"},
        good,
        {**good, "prompt": "p" * 20},
        {**good, "rejected": " \n"},
        {"chosen": "yes", "rejected": "no"},
        {**good, "chosen": "b" * 30, "rejected": "b" * 40},
    ]
    encoded = encode(rows, longest=16)
    assert len(encoded.pairs) == 2
    assert told(encoded) == (
        "6 of 8 pairs are left out: an answer is empty (rows 2, 6); "
        "both answers are the same (row 3); nothing of an answer fits into 16 tokens (row 5); "
        "nothing stands before the answers (row 7); both answers are the same within 16 tokens (row 8)"
    )


def test_of_many_rows_only_the_first_are_named() -> None:
    assert told(encode([{"prompt": "p", "chosen": "", "rejected": "b"}] * 11)).endswith(
        "(rows 1, 2, 3, 4, 5, 6, 7, 8 and 3 more)"
    )


def test_where_all_can_be_used_there_is_nothing_to_tell() -> None:
    assert told(encode([{"prompt": "p", "chosen": "a", "rejected": "b"}])) == ""


def test_messages_that_say_nothing_are_an_empty_answer() -> None:
    row = {"prompt": [USER], "chosen": [GOOD], "rejected": [{"role": "assistant", "content": ""}]}
    [(why, rows)] = encode([row], chat_tokenizer()).left_out.items()
    assert (why, list(rows)) == ("an answer is empty", [1])


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prompt": "p", "completion": "a"}, "no `chosen` and `rejected` (it has `prompt`, `completion`)"),
        ({"prompt": "p", "chosen": "a", "rejected": None}, "no `chosen` and `rejected`"),
        ({"prompt": "p", "chosen": "a", "rejected": [BAD]}, "text as one answer and messages as the other"),
    ],
)
def test_a_row_that_is_no_pair_is_left_out_and_says_why(row: dict[str, Any], words: str) -> None:
    [(why, rows)] = encode([row]).left_out.items()
    assert words in why
    assert list(rows) == [1]


# -------------------------------------------------------------------------------------------------------- what ships


@pytest.mark.parametrize(("name", "count"), [("preferences.jsonl", 60), ("preferences_eval.jsonl", 12)])
def test_every_pair_that_ships_can_be_learned_from(name: str, count: int) -> None:
    encoded = encode(shipped(name), chat_tokenizer())
    assert len(encoded.pairs) == count
    assert told(encoded) == ""


def test_no_question_that_measures_is_one_that_trains() -> None:
    train, held_out = (
        {row["prompt"][0]["content"] for row in shipped(name)}
        for name in ("preferences.jsonl", "preferences_eval.jsonl")
    )
    assert len(train) == 60
    assert train & held_out == set()
