"""From rows to tokens: chat templates through the tokenizer, and which tokens count in the loss."""

import re
from typing import Any, NamedTuple

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from engine.data.conversations import Message, before_last_answer
from engine.data.rows import DataError, Row, UnusableRow

#: How a chat template marks what the assistant says.
GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")

Options = dict[str, Any]


class Example(NamedTuple):
    """ids of one row, and for each whether it counts in the loss. The first never does: nothing comes before it.

    is_cut: whether there was more than fits.
    """

    ids: list[int]
    is_target: list[bool]
    is_cut: bool = False


class ChatEncoder:
    """Renders canonical rows for one tokenizer. system_prompt is put before conversations that have none."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, system_prompt: str | None = None) -> None:
        self._tokenizer = tokenizer
        self._system_prompt = system_prompt
        self._vocabulary = len(tokenizer)
        template = tokenizer.chat_template
        self._marks_answers = isinstance(template, str) and GENERATION.search(template) is not None

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self._tokenizer

    @property
    def system_prompt(self) -> str | None:
        return self._system_prompt

    def prompt(self, row: Row) -> list[int]:
        """The prompt as the model sees it, ready for an answer. Raises DataError if the row has none."""
        if "prompt" not in row and "messages" not in row:
            raise DataError(f"a row has no `prompt` (it has {', '.join(row)})")
        prompt = row["prompt"] if "prompt" in row else before_last_answer(row["messages"])
        ids = self._prompt_ids(prompt, _options(row))
        if not ids:
            raise DataError("a row has an empty prompt, and an answer has to follow something; remove the row")
        return ids

    def example(self, row: Row, *, completion_only: bool, max_length: int) -> Example:
        """The row for learning, cut at max_length. Raises UnusableRow if it cannot be learned from."""
        example = self._whole(row)
        # Who tokenised the rows has already said what counts.
        is_target = example.is_target if completion_only or "input_ids" in row else [True] * len(example.ids)
        is_cut = len(example.ids) > max_length
        return Example(example.ids[:max_length], [False, *is_target[1:max_length]], is_cut)

    def decode(self, ids: list[int]) -> str:
        """The text of ids, without marks such as the end token."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))

    def _whole(self, row: Row) -> Example:
        if "messages" in row:
            return self._conversation(row["messages"], _options(row))
        if "prompt" in row and "completion" in row:
            return self._pair(row["prompt"], row["completion"], _options(row))
        if "input_ids" in row:
            return self._tokens(row["input_ids"], row["is_target"])
        if "text" in row:
            ids = self._ended(row["text"])
            return Example(ids, [True] * len(ids))
        raise UnusableRow(
            f"has neither `messages`, nor `prompt` and `completion`, nor `text` (it has {', '.join(row)})"
        )

    def _tokens(self, ids: list[int], is_target: list[bool]) -> Example:
        if max(ids, default=0) >= self._vocabulary:
            raise UnusableRow(f"has a token beyond the {self._vocabulary:,} that the tokenizer knows")
        return Example(ids, is_target)

    def _pair(self, prompt: Any, completion: Any, options: Options) -> Example:
        if isinstance(prompt, list):
            answer = completion if isinstance(completion, list) else [{"role": "assistant", "content": str(completion)}]
            return self._conversation([*prompt, *answer], options, given=len(prompt))
        before = self._prompt_ids(prompt, options)
        whole = self._ended(str(prompt) + (_plain(completion) if isinstance(completion, list) else str(completion)))
        start = _common_prefix(before, whole)
        return Example(whole, [index >= start for index in range(len(whole))])

    def _conversation(self, messages: list[Message], options: Options, *, given: int = 0) -> Example:
        """Every assistant turn after the given ones counts, with the mark that ends it; so the model learns to stop."""
        turns = len(messages) - given
        messages = self._with_system(messages)
        if not self._tokenizer.chat_template:
            return self._without_template(messages)
        given = len(messages) - turns
        if self._marks_answers:
            return self._marked(messages, options, given)
        whole = self._render(messages, options, for_answer=False)
        is_target = [False] * len(whole)
        for index in range(given, len(messages)):
            if messages[index]["role"] == "assistant":
                start = _common_prefix(self._render(messages[:index], options, for_answer=True), whole)
                end = _common_prefix(self._render(messages[: index + 1], options, for_answer=False), whole)
                is_target[start:end] = [True] * (end - start)
        return Example(whole, is_target)

    def _marked(self, messages: list[Message], options: Options, given: int) -> Example:
        """What counts as the template itself says with `{% generation %}`, after the given messages."""
        rendered = self._applied(messages, **options, return_dict=True, return_assistant_tokens_mask=True)
        whole, is_answer = list(rendered["input_ids"]), rendered["assistant_masks"]
        start = _common_prefix(self._render(messages[:given], options, for_answer=True), whole) if given else 0
        return Example(whole, [bool(counts) and index >= start for index, counts in enumerate(is_answer)])

    def _without_template(self, messages: list[Message]) -> Example:
        """Nothing tells a model that saw no template where a turn ends; so only the last answer counts."""
        before = before_last_answer(messages)
        if len(before) < len(messages):
            return self._pair(_plain(before), messages[-1]["content"], {})
        ids = self._prompt_ids(messages, {})
        return Example(ids, [False] * len(ids))

    def _prompt_ids(self, prompt: Any, options: Options) -> list[int]:
        messages = self._with_system(prompt) if isinstance(prompt, list) else None
        if messages is not None and self._tokenizer.chat_template:
            return self._render(messages, options, for_answer=True)
        return list(self._tokenizer(str(prompt) if messages is None else _plain(messages))["input_ids"])

    def _render(self, messages: list[Message], options: Options, *, for_answer: bool) -> list[int]:
        return list(self._applied(messages, **options, add_generation_prompt=for_answer, return_dict=False))

    def _applied(self, messages: list[Message], **options: Any) -> Any:
        try:
            return self._tokenizer.apply_chat_template(messages, **options)
        except TemplateError as error:
            raise UnusableRow(f"the chat template does not take its messages: {error}") from error

    def _with_system(self, messages: list[Message]) -> list[Message]:
        if self._system_prompt is None or (messages and messages[0]["role"] == "system"):
            return messages
        return [{"role": "system", "content": self._system_prompt}, *messages]

    def _ended(self, text: str) -> list[int]:
        """The text and, unless the data already has it, the token that ends it."""
        ids, end = list(self._tokenizer(text)["input_ids"]), self._tokenizer.eos_token_id
        return ids if end is None or ids[-1:] == [end] else [*ids, int(end)]


def _options(row: Row) -> Options:
    """What a row gives its chat template beside the messages: tools, and words that the template knows."""
    tools = {"tools": row["tools"]} if row.get("tools") else {}
    more = row.get("chat_template_kwargs")
    return (more if isinstance(more, dict) else {}) | tools


def _plain(messages: list[Message]) -> str:
    return "\n".join(str(message.get("content", "")) for message in messages) + "\n"


def _common_prefix(prompt: list[int], whole: list[int]) -> int:
    """Where the answer begins. A tokenizer may merge across the border, so the prompt's length would be wrong."""
    matching = 0
    for ours, theirs in zip(prompt, whole, strict=False):
        if ours != theirs:
            break
        matching += 1
    return matching
