"""One pure function for each form of row: from the columns people write to those of `formats.KINDS`.

Each takes the columns it needs, by our names for them, and raises UnusableRow for what cannot be learned from.
"""

import json
import math
from collections.abc import Sequence
from typing import Any

from engine.data.conversations import (
    Message,
    before_last_answer,
    conversation,
    is_conversation,
    says_something,
    tools,
    transcript,
)
from engine.data.rows import Row, UnusableRow

#: What somebody gave each answer of a pair.
SCORES = ("chosen_score", "rejected_score")
#: What may tell of each token whether it counts.
MASKS = ("completion_mask", "assistant_masks", "loss_mask", "is_target")


def as_text(row: Row) -> Row:
    text = _words("text", row["text"])
    if not text.strip():
        raise UnusableRow("its text is empty")
    return {"text": text}


def as_messages(row: Row) -> Row:
    return {"messages": conversation("messages", row["messages"]), **_with_tools(row)}


def as_prompt(row: Row) -> Row:
    prompt = _content("prompt", row["prompt"])
    if not prompt:
        raise UnusableRow("its prompt is empty")
    return {"prompt": prompt, **_with_tools(row)}


def messages_as_prompt(row: Row) -> Row:
    prompt = before_last_answer(conversation("messages", row["messages"]))
    if not prompt:
        raise UnusableRow("its prompt is empty")
    return {"prompt": prompt, **_with_tools(row)}


def as_completion(row: Row) -> Row:
    prompt, [completion] = _alike(_content("prompt", row["prompt"]), [_content("completion", row["completion"])])
    if not says_something(completion):
        raise UnusableRow("its completion is empty")
    if isinstance(completion, list) and completion[0]["role"] != "assistant":
        raise UnusableRow("its completion is not the assistant's")
    return {"prompt": prompt, "completion": completion, **_with_tools(row)}


def as_unpaired(row: Row) -> Row:
    return {**as_completion(row), "label": _flag("label", row["label"])}


def as_tokens(row: Row) -> Row:
    """A token counts unless a mask, or -100 as its label, says that it does not; padding of the file is dropped."""
    ids = _ids("input_ids", row["input_ids"])
    counts = [True] * len(ids)
    if "labels" in row:
        labels = _as_long("labels", row["labels"], ids)
        if any(label not in (token, -100) for label, token in zip(labels, ids, strict=True)):
            raise UnusableRow("`labels` should be the row's own tokens, or -100 where one does not count")
        counts = [label != -100 for label in labels]
    for name in MASKS:
        if name in row:
            counts = [c and bool(m) for c, m in zip(counts, _as_long(name, row[name], ids), strict=True)]
    kept = _as_long("attention_mask", row.get("attention_mask", [1] * len(ids)), ids)
    return {
        "input_ids": [token for token, is_kept in zip(ids, kept, strict=True) if is_kept],
        "is_target": [c for c, is_kept in zip(counts, kept, strict=True) if is_kept],
    }


def as_pair(row: Row) -> Row:
    if is_conversation(row["chosen"]) != is_conversation(row["rejected"]):
        raise UnusableRow("has text as one answer and messages as the other")
    chosen, rejected = (_content(side, row[side]) for side in ("chosen", "rejected"))
    if not chosen or not rejected:
        raise UnusableRow("an answer is empty")
    # Messages that begin before the answer: a column `prompt` then only repeats the first of them.
    is_whole = isinstance(chosen, list) and chosen[0]["role"] != "assistant"
    if "prompt" not in row or is_whole:
        shared = _shared_length(chosen, rejected)
        prompt: str | list[Message] = chosen[:shared]
        chosen, rejected = chosen[shared:], rejected[shared:]
    else:
        prompt, [chosen, rejected] = _alike(_content("prompt", row["prompt"]), [chosen, rejected])
    return {"prompt": prompt, **_two_answers(chosen, rejected), **_scores(row), **_with_tools(row)}


def transcripts_as_pair(row: Row) -> Row:
    return as_pair({**row, "chosen": transcript(row["chosen"]), "rejected": transcript(row["rejected"])})


def as_token_pair(row: Row) -> Row:
    chosen, rejected = _ids("chosen_ids", row["chosen_ids"]), _ids("rejected_ids", row["rejected_ids"])
    if chosen == rejected:
        raise UnusableRow("both answers are the same")
    return {"chosen_ids": chosen, "rejected_ids": rejected, **_scores(row)}


def as_ranking(row: Row) -> Row:
    answers = row["answers"]
    if not isinstance(answers, list) or not answers:
        raise UnusableRow("`answers` should be a list of answers")
    prompt, answers = _alike(_content("prompt", row["prompt"]), [_content("answers", answer) for answer in answers])
    if not all(map(says_something, answers)):
        raise UnusableRow("an answer is empty")
    name = "ranks" if "ranks" in row else "scores"
    values = row[name]
    if not isinstance(values, list) or len(values) != len(answers):
        raise UnusableRow(f"`{name}` should be a list with a number for each answer")
    numbers = [_number(name, value) for value in values]
    return {"prompt": prompt, "answers": answers, name: numbers, **_with_tools(row)}


def rating_as_ranking(row: Row) -> Row:
    return as_ranking({**row, "answers": [row["completion"]], "scores": [row["score"]]})


# ------------------------------------------------------------------------------------------------ Alpaca and ShareGPT


def _alpaca_prompt(row: Row) -> list[Message]:
    """What Alpaca asks: system, earlier questions and answers, and the instruction with its input on the next line."""
    asked = "\n".join(filter(None, (_words(name, row.get(name, "")) for name in ("instruction", "input"))))
    history = row.get("history") or []
    if not isinstance(history, list) or not all(isinstance(turn, list) and len(turn) == 2 for turn in history):
        raise UnusableRow("`history` should be a list of question and answer")
    system = _words("system", row.get("system", ""))
    turns = [_said(role, text) for turn in history for role, text in zip(("user", "assistant"), turn, strict=True)]
    return [*([_said("system", system)] if system else []), *turns, _said("user", asked)]


def _sharegpt_talk(row: Row) -> list[Message]:
    messages = conversation("conversations", row["conversations"])
    system = _words("system", row.get("system", ""))
    return [_said("system", system), *messages] if system and messages[0]["role"] != "system" else messages


def alpaca_as_messages(row: Row) -> Row:
    if not says_something(_words("output", row["output"])):
        raise UnusableRow("its output is empty")
    return {"messages": [*_alpaca_prompt(row), _said("assistant", row["output"])]}


def alpaca_as_unpaired(row: Row) -> Row:
    *prompt, answer = alpaca_as_messages(row)["messages"]
    return {"prompt": prompt, "completion": [answer], "label": _flag("label", row["label"])}


def sharegpt_as_unpaired(row: Row) -> Row:
    *prompt, answer = _sharegpt_talk(row)
    return as_unpaired({**row, "prompt": prompt, "completion": [answer]})


def sharegpt_as_messages(row: Row) -> Row:
    return as_messages({**row, "messages": _sharegpt_talk(row)})


def sharegpt_as_prompt(row: Row) -> Row:
    return messages_as_prompt({**row, "messages": _sharegpt_talk(row)})


def alpaca_as_prompt(row: Row) -> Row:
    return as_prompt({"prompt": _alpaca_prompt(row)})


def alpaca_as_pair(row: Row) -> Row:
    return as_pair({**row, "prompt": _alpaca_prompt(row)})


def sharegpt_as_pair(row: Row) -> Row:
    return as_pair({**row, "prompt": _sharegpt_talk(row)})


def is_transcript(row: Row) -> bool:
    sides = (row["chosen"], row["rejected"])
    return all(isinstance(side, str) and side.lstrip().startswith("Human:") for side in sides)


# ------------------------------------------------------------------------------------------------- parts of a row


def _content(name: str, value: Any) -> str | list[Message]:
    """Text or messages; of messages there may be none."""
    if value == []:
        return []
    return conversation(name, value) if is_conversation(value) else _words(name, value)


def _words(name: str, value: Any) -> str:
    """Text; a number counts as its digits, as answers of sums are often written so."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return json.dumps(value)
    raise UnusableRow(f"`{name}` should be text or a list of messages (it is {_type_of(value)})")


def _type_of(value: Any) -> str:
    return {bool: "true or false", dict: "a mapping", list: "a list"}.get(type(value), type(value).__name__)


def _said(role: str, text: Any) -> Message:
    return {"role": role, "content": _words("history", text)}


def _alike(prompt: Any, answers: list[Any]) -> tuple[Any, list[Any]]:
    """All as text, or all as conversations if one of them is: text is then what the user, or the assistant, says."""
    if not any(isinstance(part, list) for part in (prompt, *answers)):
        return prompt, answers
    told = prompt if isinstance(prompt, list) else [_said("user", prompt)] if prompt else []
    return told, [answer if isinstance(answer, list) else [_said("assistant", answer)] for answer in answers]


def _two_answers(chosen: Any, rejected: Any) -> Row:
    if isinstance(chosen, list) and not chosen[0]["role"] == rejected[0]["role"] == "assistant":
        raise UnusableRow("the two conversations part before an answer, so no answers can be compared")
    if not says_something(chosen) or not says_something(rejected):
        raise UnusableRow("an answer is empty")
    if chosen == rejected:
        raise UnusableRow("both answers are the same")
    return {"chosen": chosen, "rejected": rejected}


def _shared_length(chosen: Sequence[Any], rejected: Sequence[Any]) -> int:
    """How much both begin with: messages, or characters. Something is always left to answer with."""
    longest = max(0, min(len(chosen), len(rejected)) - 1)
    shared = next((i for i in range(longest) if chosen[i] != rejected[i]), longest)
    # Tokenizers count a space to the word after it, so it belongs to the answer.
    return shared - 1 if shared and chosen[shared - 1] == " " else shared


def _scores(row: Row) -> Row:
    """A margin changes the loss, so it has to be a number; a score that is none is as good as missing."""
    margin = {"margin": _number("margin", row["margin"])} if "margin" in row else {}
    return margin | {name: float(row[name]) for name in SCORES if isinstance(row.get(name), int | float)}


def _with_tools(row: Row) -> Row:
    found = tools(row.get("tools"))
    return {"tools": found} if found else {}


def _number(name: str, value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise UnusableRow(f"`{name}` should hold numbers")
    return number


def _flag(name: str, value: Any) -> bool:
    """True or false, as a table or another program may write it."""
    known = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
    flag = known.get(str(value).strip().lower())
    if flag is None:
        raise UnusableRow(f"`{name}` should be true or false")
    return flag


def _ids(name: str, value: Any) -> list[int]:
    is_whole = isinstance(value, list) and bool(value)
    if not is_whole or not all(isinstance(i, int) and not isinstance(i, bool) and i >= 0 for i in value):
        raise UnusableRow(f"`{name}` should be a list of token ids")
    return list(value)


def _as_long(name: str, value: Any, ids: list[int]) -> list[int]:
    if not isinstance(value, list) or len(value) != len(ids) or not all(isinstance(v, int) for v in value):
        raise UnusableRow(f"`{name}` should be a list of whole numbers, as long as `input_ids`")
    return value
