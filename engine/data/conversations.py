"""Messages as people write them, brought into the one form that chat templates read: role and content.

A message is `{role, content}`, for calls of tools also `tool_calls`, `tool_call_id`, `name`, and for thoughts
`reasoning_content` or `thinking`. ShareGPT writes `{from, value}` and has names of its own for the roles.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from engine.data.rows import UnusableRow

Message = dict[str, Any]

#: What ShareGPT, its descendants and OpenAI call the speakers -> what chat templates call them.
ROLES = {
    **dict.fromkeys(("user", "human"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bard", "bing", "model", "bot", "function_call"), "assistant"),
    **dict.fromkeys(("tool", "observation", "function", "function_response", "tool_response", "ipython"), "tool"),
    **dict.fromkeys(("system", "developer"), "system"),
}
#: What else a message may have, and templates read.
ALSO_READ = ("name", "tool_call_id", "reasoning_content", "thinking")


def conversation(name: str, value: Any) -> list[Message]:
    """The messages in column `name`: a list, one message, or either as JSON. Raises UnusableRow."""
    if isinstance(value, str):
        value = _from_json(value)
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list) or not value:
        raise UnusableRow(f"`{name}` should be a list of messages")
    return [_message(name, item) for item in value]


def is_conversation(value: Any) -> bool:
    """Whether a value holds messages rather than text: a list, or one message."""
    return isinstance(value, list) or (isinstance(value, dict) and bool({"role", "from"} & set(value)))


def before_last_answer(messages: list[Message]) -> list[Message]:
    """The messages without an answer at their end."""
    return messages[:-1] if messages and messages[-1]["role"] == "assistant" else messages


def says_something(answer: str | Sequence[Message]) -> bool:
    """Whether text, or one of the messages, has a word or calls a tool."""
    if isinstance(answer, str):
        return bool(answer.strip())
    return any(str(message.get("content") or "").strip() or message.get("tool_calls") for message in answer)


def transcript(text: str) -> list[Message]:
    """The turns of HH-RLHF's `\\n\\nHuman: … \\n\\nAssistant: …` (Bai et al. 2022, arXiv:2204.05862)."""
    _, *parts = re.split(r"(?:^|\n\n)(Human|Assistant):", text.lstrip())
    return [
        {"role": "user" if speaker == "Human" else "assistant", "content": said.strip()}
        for speaker, said in zip(parts[::2], parts[1::2], strict=True)
    ]


def tools(value: Any) -> list[Any]:
    """The tools that a conversation may call, as a list or as JSON of one. Raises UnusableRow."""
    found = _from_json(value) if isinstance(value, str) and value.strip() else value or []
    if not isinstance(found, list) or not all(isinstance(tool, dict) for tool in found):
        raise UnusableRow("`tools` should be a list of JSON schemas")
    return found


def _message(name: str, item: Any) -> Message:
    if not isinstance(item, dict):
        raise UnusableRow(f"`{name}` should hold messages such as {_EXAMPLE}")
    role = item.get("role") if item.get("role") is not None else item.get("from")
    if not isinstance(role, str):
        raise UnusableRow(f"`{name}` should hold messages such as {_EXAMPLE}")
    value = item.get("content") if item.get("content") is not None else item.get("value")
    message = {"role": ROLES.get(role, role), **{key: item[key] for key in ALSO_READ if item.get(key) is not None}}
    if role == "function_call":
        return {**message, "content": "", "tool_calls": _calls(_from_json(value) if isinstance(value, str) else value)}
    if item.get("tool_calls"):
        message["tool_calls"] = _calls(item["tool_calls"])
    if value is None and "tool_calls" not in message:
        raise UnusableRow(f"`{name}` should hold messages such as {_EXAMPLE}")
    return {**message, "content": _content(name, value)}


_EXAMPLE = '{"role": "user", "content": "…"}'


def _content(name: str, value: Any) -> str:
    """The text of a message, which OpenAI may write in parts."""
    if value is None or isinstance(value, str):
        return value or ""
    if not isinstance(value, list) or not all(isinstance(part, dict) for part in value):
        raise UnusableRow(f"a message in `{name}` should have text as its content")
    if any(not isinstance(part.get("text"), str) for part in value):
        raise UnusableRow(f"a message in `{name}` holds more than text, and only text can be learned here")
    return "".join(part["text"] for part in value)


def _calls(value: Any) -> list[Any]:
    """Calls of tools with their arguments as a mapping: templates write them as JSON, and would quote a text twice."""
    calls = value if isinstance(value, list) else [value]
    if not all(isinstance(call, dict) for call in calls):
        raise UnusableRow("`tool_calls` should be a list of calls with `name` and `arguments`")
    return [_call(call) for call in calls]


def _call(call: dict[str, Any]) -> dict[str, Any]:
    function = call["function"] if isinstance(call.get("function"), dict) else call
    if not isinstance(function.get("name"), str):
        raise UnusableRow("`tool_calls` should be a list of calls with `name` and `arguments`")
    arguments = function.get("arguments")
    read = _from_json(arguments) if isinstance(arguments, str) else arguments
    inner = {"name": function["name"], "arguments": arguments if read is None else read}
    return {"type": "function", **({"id": call["id"]} if call.get("id") else {}), "function": inner}


def _from_json(text: str) -> Any:
    """What a text says in JSON; None if it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
