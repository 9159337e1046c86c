"""Every form of row that people have, and the one form of each kind that methods read."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.contract.preset import TextPreset
from engine.contract.settings import Source
from engine.data.byte_tokenizer import byte_tokenizer
from engine.data.formats import FORMATS, KINDS, canonical, recognise
from engine.data.rows import UnusableRow
from engine.data.sources import load_rows
from engine.models import Policy
from tests.engine import running
from tests.tiny import CHATML, run_steps, tiny_policy, tiny_reward_model, with_lora

Row = dict[str, Any]

ASK = {"role": "user", "content": "2+2"}
FOUR = {"role": "assistant", "content": "4"}
FIVE = {"role": "assistant", "content": "5"}
SYSTEM = {"role": "system", "content": "Add."}
HUMAN = {"from": "human", "value": "2+2"}
GPT = {"from": "gpt", "value": "4"}
TOOL = {"type": "function", "function": {"name": "add", "parameters": {}}}
CALL = {"type": "function", "function": {"name": "add", "arguments": {"a": 2}}}

#: (method, a row as people have it, the row as the method reads it)
KNOWN: dict[str, tuple[str, Row, Row]] = {
    # ------------------------------------------------------------------------------------------------ for SFT
    "text": ("sft", {"text": "2+2=4"}, {"text": "2+2=4"}),
    "plain": ("sft", {"prompt": "2+2=", "completion": "4"}, {"prompt": "2+2=", "completion": "4"}),
    "a number": ("sft", {"prompt": "2+2=", "completion": 4}, {"prompt": "2+2=", "completion": "4"}),
    "other names": ("sft", {"question": "2+2=", "response": "4"}, {"prompt": "2+2=", "completion": "4"}),
    "openrlhf": ("sft", {"input": "2+2=", "output": "4"}, {"prompt": "2+2=", "completion": "4"}),
    "gsm8k": ("sft", {"question": "2+2=", "answer": "4"}, {"prompt": "2+2=", "completion": "4"}),
    "messages": ("sft", {"messages": [ASK, FOUR], "text": "left"}, {"messages": [ASK, FOUR]}),
    "two lists": ("sft", {"prompt": [ASK], "completion": [FOUR]}, {"prompt": [ASK], "completion": [FOUR]}),
    "a list and text": ("sft", {"prompt": [ASK], "completion": "4"}, {"prompt": [ASK], "completion": [FOUR]}),
    "text and a list": ("sft", {"prompt": "2+2", "completion": [FOUR]}, {"prompt": [ASK], "completion": [FOUR]}),
    "in a table": (
        "sft",
        {"messages": '[{"role": "user", "content": "2+2"}, {"role": "assistant", "content": "4"}]'},
        {"messages": [ASK, FOUR]},
    ),
    "in parts": (
        "sft",
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "2+"}, {"type": "text", "text": "2"}]},
                {"role": "assistant", "content": "4", "name": None, "tool_calls": None},
            ]
        },
        {"messages": [ASK, FOUR]},
    ),
    "alpaca": (
        "sft",
        {"instruction": "Add.", "input": "2+2", "output": "4", "text": "### Instruction: …"},
        {"messages": [{"role": "user", "content": "Add.\n2+2"}, FOUR]},
    ),
    "alpaca without input": (
        "sft",
        {"instruction": "2+2", "input": "", "output": "4", "system": "", "history": ""},
        {"messages": [ASK, FOUR]},
    ),
    "alpaca with history": (
        "sft",
        {"instruction": "2+2", "output": "4", "system": "Add.", "history": [["1+1", "2"]]},
        {
            "messages": [
                *(SYSTEM, {"role": "user", "content": "1+1"}, {"role": "assistant", "content": "2"}),
                *(ASK, FOUR),
            ]
        },
    ),
    "sharegpt": ("sft", {"conversations": [HUMAN, GPT], "id": 7}, {"id": 7, "messages": [ASK, FOUR]}),
    "sharegpt with a system": (
        "sft",
        {"conversations": [HUMAN, GPT], "system": "Add."},
        {"messages": [SYSTEM, ASK, FOUR]},
    ),
    "sharegpt with roles": ("sft", {"conversations": [ASK, FOUR]}, {"messages": [ASK, FOUR]}),
    "sharegpt calling a tool": (
        "sft",
        {
            "conversations": [
                HUMAN,
                {"from": "function_call", "value": '{"name": "add", "arguments": {"a": 2}}'},
                {"from": "observation", "value": "4"},
                GPT,
            ],
            "tools": '[{"type": "function", "function": {"name": "add", "parameters": {}}}]',
        },
        {
            "messages": [
                *(ASK, {"role": "assistant", "content": "", "tool_calls": [CALL]}),
                *({"role": "tool", "content": "4"}, FOUR),
            ],
            "tools": [TOOL],
        },
    ),
    "openai calling a tool": (
        "sft",
        {
            "messages": [
                ASK,
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": "c1", "function": {"name": "add", "arguments": '{"a": 2}'}}],
                },
                {"role": "tool", "tool_call_id": "c1", "content": "4"},
            ],
            "tools": [TOOL],
        },
        {
            "messages": [
                *(ASK, {"role": "assistant", "content": "", "tool_calls": [{"id": "c1", **CALL}]}),
                {"role": "tool", "tool_call_id": "c1", "content": "4"},
            ],
            "tools": [TOOL],
        },
    ),
    "tokens": ("sft", {"input_ids": [5, 6]}, {"input_ids": [5, 6], "is_target": [True, True]}),
    "tokens with labels": (
        "sft",
        {"input_ids": [5, 6, 7, 0], "labels": [-100, 6, 7, -100], "attention_mask": [1, 1, 1, 0]},
        {"input_ids": [5, 6, 7], "is_target": [False, True, True]},
    ),
    "tokens with two masks": (
        "sft",
        {"input_ids": [5, 6, 7], "completion_mask": [0, 1, 1], "assistant_masks": [1, 1, 0]},
        {"input_ids": [5, 6, 7], "is_target": [False, True, False]},
    ),
    # --------------------------------------------------------------------------------------------- of two answers
    "explicit": (
        "dpo",
        {"prompt": "2+2=", "chosen": "4", "rejected": "5"},
        {"prompt": "2+2=", "chosen": "4", "rejected": "5"},
    ),
    "implicit": (
        "dpo",
        {"chosen": "2+2 is 4", "rejected": "2+2 is 5"},
        {"prompt": "2+2 is", "chosen": " 4", "rejected": " 5"},
    ),
    "explicit messages": (
        "dpo",
        {"prompt": [ASK], "chosen": [FOUR], "rejected": [FIVE]},
        {"prompt": [ASK], "chosen": [FOUR], "rejected": [FIVE]},
    ),
    "implicit messages": (
        "dpo",
        {"chosen": [ASK, FOUR], "rejected": [ASK, FIVE]},
        {"prompt": [ASK], "chosen": [FOUR], "rejected": [FIVE]},
    ),
    "ultrafeedback": (
        "dpo",
        {
            **{"prompt": "2+2", "chosen": [ASK, FOUR], "rejected": [ASK, FIVE], "messages": [ASK, FOUR]},
            **{"score_chosen": 9, "score_rejected": 2.5},
        },
        {"prompt": [ASK], "chosen": [FOUR], "rejected": [FIVE], "chosen_score": 9.0, "rejected_score": 2.5},
    ),
    "a prompt in words": (
        "dpo",
        {"prompt": "2+2", "chosen": [FOUR], "rejected": [FIVE]},
        {"prompt": [ASK], "chosen": [FOUR], "rejected": [FIVE]},
    ),
    "alpaca pair": (
        "dpo",
        {"instruction": "2+2", "input": "", "chosen": "4", "rejected": "5"},
        {"prompt": [ASK], "chosen": [FOUR], "rejected": [FIVE]},
    ),
    "sharegpt pair": (
        "dpo",
        {"conversations": [HUMAN], "chosen": GPT, "rejected": {"from": "gpt", "value": "5"}},
        {"prompt": [ASK], "chosen": [FOUR], "rejected": [FIVE]},
    ),
    "hh": (
        "dpo",
        {"chosen": "\n\nHuman: 2+2\n\nAssistant: 4", "rejected": "\n\nHuman: 2+2\n\nAssistant: 5"},
        {"prompt": [ASK], "chosen": [FOUR], "rejected": [FIVE]},
    ),
    "margin": (
        "reward_model",
        {"prompt": "2+2=", "chosen": "4", "rejected": "5", "margin": 2},
        {"prompt": "2+2=", "chosen": "4", "rejected": "5", "margin": 2.0},
    ),
    "pair of tokens": (
        "reward_model",
        {"chosen_ids": [1, 2], "rejected_ids": [1, 3]},
        {"chosen_ids": [1, 2], "rejected_ids": [1, 3]},
    ),
    # --------------------------------------------------------------------------------------------- of one, or of many
    "unpaired": (
        "kto",
        {"prompt": "2+2=", "completion": "4", "label": True},
        {"prompt": "2+2=", "completion": "4", "label": True},
    ),
    "unpaired in a table": (
        "kto",
        {"prompt": "2+2=", "completion": "5", "label": "False"},
        {"prompt": "2+2=", "completion": "5", "label": False},
    ),
    "alpaca unpaired": (
        "kto",
        {"instruction": "2+2", "output": "4", "kto_tag": True},
        {"prompt": [ASK], "completion": [FOUR], "label": True},
    ),
    "sharegpt unpaired": (
        "kto",
        {"conversations": [HUMAN, GPT], "kto_tag": False},
        {"prompt": [ASK], "completion": [FOUR], "label": False},
    ),
    "pairs for KTO": (
        "kto",
        {"prompt": "2+2=", "chosen": "4", "rejected": "5"},
        {"prompt": "2+2=", "chosen": "4", "rejected": "5"},
    ),
    "ranks": (
        "reward_model",
        {"prompt": "2+2=", "responses": ["5", "4", "3"], "ranks": [2, 1, 2]},
        {"prompt": "2+2=", "answers": ["5", "4", "3"], "ranks": [2.0, 1.0, 2.0]},
    ),
    "scores": (
        "reward_model",
        {"prompt": [ASK], "answers": ["5", "4"], "scores": [0.5, 9]},
        {"prompt": [ASK], "answers": [[FIVE], [FOUR]], "scores": [0.5, 9.0]},
    ),
    "rating": (
        "reward_model",
        {"prompt": "2+2=", "completion": "4", "rating": "4.5"},
        {"prompt": "2+2=", "answers": ["4"], "scores": [4.5]},
    ),
    # ------------------------------------------------------------------------------------------------ of no answer
    "prompt": ("grpo", {"prompt": "2+2=", "answer": "4"}, {"prompt": "2+2=", "answer": "4"}),
    "rlvr": ("grpo", {"problem": "2+2=", "solution": "4"}, {"prompt": "2+2=", "solution": "4"}),
    "a prompt keeps the answers": (
        "grpo",
        {"prompt": "2+2=", "completion": "4", "label": 1},
        {"prompt": "2+2=", "completion": "4", "label": 1},
    ),
    "prompt of messages": ("grpo", {"messages": [ASK, FOUR], "answer": "4"}, {"prompt": [ASK], "answer": "4"}),
    "prompt of sharegpt": ("ppo", {"conversations": [HUMAN, GPT]}, {"prompt": [ASK]}),
    "prompt of alpaca": ("ppo", {"instruction": "Add.", "input": "2+2"}, {"prompt": [{**ASK, "content": "Add.\n2+2"}]}),
}


@pytest.mark.parametrize(("method", "row", "expected"), KNOWN.values(), ids=KNOWN)
def test_a_row_becomes_what_the_method_reads(method: str, row: Row, expected: Row) -> None:
    assert canonical(row, method) == expected


@pytest.mark.parametrize(("method", "row", "expected"), KNOWN.values(), ids=KNOWN)
def test_what_is_canonical_stays_as_it_is(method: str, row: Row, expected: Row) -> None:
    assert canonical(expected, method) == expected


@pytest.mark.parametrize(("method", "row", "expected"), KNOWN.values(), ids=KNOWN)
def test_the_row_that_was_read_is_left_as_it_was(method: str, row: Row, expected: Row) -> None:
    before = repr(row)
    canonical(row, method)
    assert repr(row) == before


def test_every_form_is_recognised_by_some_row_above() -> None:
    seen = {recognise(row, method) for method, row, _ in KNOWN.values()}
    assert seen == set(FORMATS)


# ----------------------------------------------------------------------------------------------------- said otherwise


def test_columns_may_be_told_by_name() -> None:
    row = {"prompt": "no", "frage": "2+2=", "antwort": "4"}
    assert canonical(row, "sft", columns={"prompt": "frage", "completion": "antwort"}) == {
        "prompt": "2+2=",
        "completion": "4",
    }


def test_a_form_may_be_told_where_a_row_has_columns_of_two() -> None:
    row = {"text": "2+2=4", "prompt": "2+2=", "completion": "4"}
    assert canonical(row, "sft", format="text") == {"text": "2+2=4"}
    assert canonical(row, "sft") == {"prompt": "2+2=", "completion": "4"}


def test_transcripts_stay_text_where_the_form_says_so() -> None:
    row = {"chosen": "\n\nHuman: Hi\n\nAssistant: Yo", "rejected": "\n\nHuman: Hi\n\nAssistant: No"}
    assert canonical(row, "dpo", format="preference")["prompt"] == "\n\nHuman: Hi\n\nAssistant:"


# ------------------------------------------------------------------------------------------------------ of no use


@pytest.mark.parametrize(
    ("method", "row", "words"),
    [
        ("sft", {}, "has neither `messages`, nor `prompt` and `completion`, nor `text`, nor `input_ids` (it has no co"),
        ("sft", {"prompt": "a", "completion": None}, "(it has `prompt`)"),
        ("sft", {"prompt": "a", "completion": " \n"}, "its completion is empty"),
        ("sft", {"prompt": [ASK], "completion": []}, "its completion is empty"),
        ("sft", {"prompt": [ASK], "completion": [ASK]}, "its completion is not the assistant's"),
        ("sft", {"instruction": "a", "output": ""}, "its output is empty"),
        ("sft", {"instruction": "a", "output": "b", "history": ["c"]}, "`history` should be a list of question and"),
        ("sft", {"text": ""}, "its text is empty"),
        ("sft", {"text": {"a": 1}}, "`text` should be text or a list of messages (it is a mapping)"),
        ("sft", {"prompt": True, "completion": "b"}, "`prompt` should be text or a list of messages (it is true or f"),
        ("sft", {"messages": "hi"}, "`messages` should be a list of messages"),
        ("sft", {"messages": []}, "`messages` should be a list of messages"),
        ("sft", {"messages": ["hi"]}, "`messages` should hold messages such as"),
        ("sft", {"messages": [{"role": "user"}]}, "`messages` should hold messages such as"),
        ("sft", {"messages": [{"role": "user", "content": 5}]}, "should have text as its content"),
        ("sft", {"messages": [{"role": "user", "content": [{"image": "x.png"}]}]}, "holds more than text"),
        ("sft", {"messages": [{"role": "assistant", "tool_calls": ["add"]}]}, "`tool_calls` should be a list of calls"),
        ("sft", {"messages": [ASK, FOUR], "tools": "add"}, "`tools` should be a list of JSON schemas"),
        ("sft", {"input_ids": []}, "`input_ids` should be a list of token ids"),
        ("sft", {"input_ids": [1, -2]}, "`input_ids` should be a list of token ids"),
        ("sft", {"input_ids": [1, 2], "labels": [1]}, "`labels` should be a list of whole numbers, as long as"),
        ("sft", {"input_ids": [1, 2], "labels": [2, -100]}, "`labels` should be the row's own tokens, or -100"),
        ("dpo", {"prompt": "a", "completion": "b"}, "has no `chosen` and `rejected` (it has `prompt`, `completion`)"),
        ("dpo", {"prompt": "a", "chosen": "b", "rejected": "b"}, "both answers are the same"),
        ("dpo", {"chosen": "ab", "rejected": "ab"}, "both answers are the same"),
        ("dpo", {"prompt": "a", "chosen": "b", "rejected": ""}, "an answer is empty"),
        ("dpo", {"prompt": [ASK], "chosen": [FOUR], "rejected": []}, "an answer is empty"),
        ("dpo", {"chosen": [ASK, FOUR], "rejected": "b"}, "has text as one answer and messages as the other"),
        ("dpo", {"chosen": [ASK, FOUR], "rejected": [SYSTEM, FIVE]}, "the two conversations part before an answer"),
        ("reward_model", {"prompt": "a", "chosen": "b", "rejected": "c", "margin": "x"}, "`margin` should hold numb"),
        ("reward_model", {"prompt": "a", "answers": ["b"], "ranks": [1, 2]}, "`ranks` should be a list with a number"),
        ("reward_model", {"prompt": "a", "answers": "b", "ranks": [1]}, "`answers` should be a list of answers"),
        ("reward_model", {"prompt": "a", "answers": ["b", ""], "ranks": [1, 2]}, "an answer is empty"),
        ("reward_model", {"prompt": "a", "completion": "b", "score": float("nan")}, "`scores` should hold numbers"),
        ("reward_model", {"chosen_ids": [1], "rejected_ids": [1]}, "both answers are the same"),
        ("kto", {"prompt": "a", "completion": "b", "label": "good"}, "`label` should be true or false"),
        ("grpo", {"text": "a"}, "has no `prompt` (it has `text`)"),
        ("grpo", {"prompt": ""}, "its prompt is empty"),
        ("grpo", {"messages": [FOUR]}, "its prompt is empty"),
    ],
)
def test_a_row_of_no_use_says_why(method: str, row: Row, words: str) -> None:
    with pytest.raises(UnusableRow) as caught:
        canonical(row, method)
    assert words in str(caught.value)


def test_what_was_said_of_a_source_and_is_not_so_is_told() -> None:
    with pytest.raises(UnusableRow, match=r"has no `frage`, which the source's `columns` name \(it has `prompt`\)"):
        canonical({"prompt": "a"}, "sft", columns={"prompt": "frage"})
    with pytest.raises(UnusableRow, match=r"has no `output`, as alpaca rows do \(it has `instruction`\)"):
        canonical({"instruction": "a"}, "sft", format="alpaca")
    with pytest.raises(UnusableRow, match="is text to the source's `format`, of which dpo has no use"):
        canonical({"text": "a"}, "dpo", format="text")


def test_every_kind_that_a_method_learns_from_has_a_form() -> None:
    assert {kind for kinds in KINDS.values() for kind in kinds} | {"prompt"} == {known.kind for known in FORMATS}


# ---------------------------------------------------------------------------------------------------------- to a step

#: Methods that learn from rows as they are; pairs are for all those that compare two answers.
LEARNERS: dict[str, Callable[..., TextPreset]] = {"sft": running.sft, "reward_model": running.reward_model}
LEARNERS |= {name: partial(running.preferring, name) for name in ("dpo", "orpo", "kto")}
PAIR_LEARNERS = ("dpo", "orpo", "kto", "reward_model")
#: What only measures, as nothing is better than anything else.
MEASURES = ("rating",)
LEARNED = {
    f"{learner}: {name}": (learner, row)
    for name, (method, row, _) in KNOWN.items()
    for learner in (PAIR_LEARNERS if method == "dpo" else (method,))
    if learner in LEARNERS and name not in MEASURES
}


def learner_of(method: str) -> Policy:
    """A tiny model with an adapter, for words or for scores, and a chat template."""
    if method == "reward_model":
        model = with_lora(tiny_reward_model(), task_type="SEQ_CLS", modules_to_save=["score"])
        policy = Policy(model, byte_tokenizer(), has_adapter=True)
    else:
        policy = tiny_policy(lora=True)
    policy.tokenizer.chat_template = CHATML
    return policy


@pytest.mark.parametrize(("method", "row"), LEARNED.values(), ids=LEARNED)
def test_a_file_of_every_form_trains(tmp_path: Path, method: str, row: Row) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text((json.dumps(row) + "\n") * 3, "utf-8")
    table = load_rows([Source(path=str(file))], method)
    policy = learner_of(method)
    preset = LEARNERS[method](model={"adapter": {"rank": 4}}, data={"max_length": 128}, training={"steps": 2})
    before = [parameter.clone() for parameter in policy.model.parameters() if parameter.requires_grad]
    steps = run_steps(preset, policy, tmp_path / "run", table)
    assert [step.step for step in steps] == [1, 2]
    after = [parameter for parameter in policy.model.parameters() if parameter.requires_grad]
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
