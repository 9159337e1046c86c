"""From rows to tokens: chat templates through the tokenizer, and which tokens count in the loss."""

from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerBase

from engine.data.sources import DataError, Row


class Example(NamedTuple):
    """ids of one row, and for each whether it counts in the loss. The first never does: nothing comes before it.

    is_cut: whether there was more than fits.
    """

    ids: list[int]
    is_target: list[bool]
    is_cut: bool = False


class ChatEncoder:
    """Renders rows for one tokenizer. system_prompt is put before conversations that have none."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, system_prompt: str | None = None) -> None:
        self._tokenizer = tokenizer
        self._system_prompt = system_prompt

    def prompt(self, row: Row) -> list[int]:
        """The prompt as the model sees it, ready for an answer. Raises DataError if the row has none."""
        if "prompt" not in row and "messages" not in row:
            raise DataError(f"a row has no `prompt` (it has {', '.join(row)})")
        ids = self._prompt_ids(row["prompt"] if "prompt" in row else _before_last_answer(row["messages"]))
        if not ids:
            raise DataError("a row has an empty prompt, and an answer has to follow something; remove the row")
        return ids

    def example(self, row: Row, *, completion_only: bool, max_length: int) -> Example:
        """The row for learning, cut at max_length. Raises DataError if the row cannot be learned from."""
        if "messages" in row:
            example = self._conversation(row["messages"])
        elif "prompt" in row and "completion" in row:
            example = self._pair(row["prompt"], row["completion"])
        elif "text" in row:
            ids = self._ended(str(row["text"]))
            example = Example(ids, [True] * len(ids))
        else:
            raise DataError(f"a row has neither `messages` nor `prompt` and `completion` nor `text`: {', '.join(row)}")
        is_target = example.is_target if completion_only else [True] * len(example.ids)
        is_cut = len(example.ids) > max_length
        return Example(example.ids[:max_length], [False, *is_target[1:max_length]], is_cut)

    def decode(self, ids: list[int]) -> str:
        """The text of ids, without marks such as the end token."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))

    def _pair(self, prompt: Any, completion: Any) -> Example:
        if isinstance(prompt, list):
            answer = completion if isinstance(completion, list) else [{"role": "assistant", "content": str(completion)}]
            return self._conversation([*prompt, *answer], given=len(prompt))
        before = self._prompt_ids(prompt)
        whole = self._ended(str(prompt) + (_plain(completion) if isinstance(completion, list) else str(completion)))
        start = _common_prefix(before, whole)
        return Example(whole, [index >= start for index in range(len(whole))])

    def _conversation(self, messages: list[dict[str, Any]], *, given: int = 0) -> Example:
        """Every assistant turn after the given ones counts, with the mark that ends it; so the model learns to stop."""
        turns = len(messages) - given
        messages = self._with_system(messages)
        if not self._tokenizer.chat_template:
            return self._without_template(messages)
        whole = self._render(messages, for_answer=False)
        is_target = [False] * len(whole)
        for index in range(len(messages) - turns, len(messages)):
            if messages[index].get("role") == "assistant":
                start = _common_prefix(self._render(messages[:index], for_answer=True), whole)
                end = _common_prefix(self._render(messages[: index + 1], for_answer=False), whole)
                is_target[start:end] = [True] * (end - start)
        return Example(whole, is_target)

    def _without_template(self, messages: list[dict[str, Any]]) -> Example:
        """Nothing tells a model that saw no template where a turn ends; so only the last answer counts."""
        before = _before_last_answer(messages)
        if len(before) < len(messages):
            return self._pair(_plain(before), messages[-1]["content"])
        ids = self._prompt_ids(messages)
        return Example(ids, [False] * len(ids))

    def _prompt_ids(self, prompt: Any) -> list[int]:
        messages = self._with_system(prompt) if isinstance(prompt, list) else None
        if messages is not None and self._tokenizer.chat_template:
            return self._render(messages, for_answer=True)
        return list(self._tokenizer(str(prompt) if messages is None else _plain(messages))["input_ids"])

    def _render(self, messages: list[dict[str, Any]], *, for_answer: bool) -> list[int]:
        rendered = self._tokenizer.apply_chat_template(messages, add_generation_prompt=for_answer, return_dict=False)
        return list(rendered)

    def _with_system(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if self._system_prompt is None or (messages and messages[0].get("role") == "system"):
            return messages
        return [{"role": "system", "content": self._system_prompt}, *messages]

    def _ended(self, text: str) -> list[int]:
        """The text and, unless the data already has it, the token that ends it."""
        ids, end = list(self._tokenizer(text)["input_ids"]), self._tokenizer.eos_token_id
        return ids if end is None or ids[-1:] == [end] else [*ids, int(end)]


def _plain(messages: list[dict[str, Any]]) -> str:
    return "\n".join(str(message.get("content", "")) for message in messages) + "\n"


def _before_last_answer(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return messages[:-1] if messages and messages[-1].get("role") == "assistant" else messages


def _common_prefix(prompt: list[int], whole: list[int]) -> int:
    """Where the answer begins. A tokenizer may merge across the border, so the prompt's length would be wrong."""
    matching = 0
    for ours, theirs in zip(prompt, whole, strict=False):
        if ours != theirs:
            break
        matching += 1
    return matching
