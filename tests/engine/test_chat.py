"""From rows to tokens: what the model reads, and which tokens it learns."""

from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from engine.data.batching import pad_rows
from engine.data.byte_tokenizer import END, byte_tokenizer
from engine.data.chat import ChatEncoder, Example
from engine.data.rows import DataError, UnusableRow
from engine.logprobs import TokenScorer
from tests.tiny import CHATML, tiny_policy

USER = {"role": "user", "content": "Hi"}
ANSWER = {"role": "assistant", "content": "Yo"}


def chat_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = CHATML
    return tokenizer


def merging_tokenizer() -> PreTrainedTokenizerFast:
    """Bytes, and `=4` as one token: a merge across the border of prompt and answer."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: index for index, symbol in enumerate([*alphabet, END, "=4"])}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[("=", "4")]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token=END)


def learned(encoder: ChatEncoder, row: dict[str, Any], **how: Any) -> str:
    """The text of the targets, marks included."""
    example = encode(encoder, row, **how)
    return text_of(encoder, [i for i, counts in zip(example.ids, example.is_target, strict=True) if counts])


def encode(encoder: ChatEncoder, row: dict[str, Any], *, completion_only: bool = True, longest: int = 1000) -> Example:
    return encoder.example(row, completion_only=completion_only, max_length=longest)


def text_of(encoder: ChatEncoder, ids: list[int]) -> str:
    return str(encoder._tokenizer.decode(ids))


# -------------------------------------------------------------------------------------------------------- plain text


def test_the_answer_and_its_end_count_and_the_prompt_does_not() -> None:
    encoder = ChatEncoder(byte_tokenizer())
    row = {"prompt": "2+2=", "completion": "4"}
    assert learned(encoder, row) == "4" + END
    assert text_of(encoder, encode(encoder, row).ids) == "2+2=4" + END


def test_where_the_tokenizer_merges_across_the_border_the_merged_token_counts() -> None:
    """The prompt alone is 4 tokens, of which only 3 begin the row: its length would lose the answer."""
    encoder = ChatEncoder(merging_tokenizer())
    example = encode(encoder, {"prompt": "2+2=", "completion": "4"})
    assert len(encoder.prompt({"prompt": "2+2="})) == 4
    assert [text_of(encoder, [i]) for i in example.ids] == ["2", "+", "2", "=4", END]
    assert example.is_target == [False, False, False, True, True]


def test_text_rows_count_whole_but_for_their_first_token() -> None:
    encoder = ChatEncoder(byte_tokenizer())
    example = encode(encoder, {"text": "abc"})
    assert text_of(encoder, example.ids) == "abc" + END
    assert example.is_target == [False, True, True, True]  # nothing comes before the first


@pytest.mark.parametrize("row", [{"text": "abc" + END}, {"prompt": "a", "completion": "bc" + END}])
def test_an_end_that_the_data_already_has_is_not_doubled(row: dict[str, str]) -> None:
    encoder = ChatEncoder(byte_tokenizer())
    assert text_of(encoder, encode(encoder, row).ids) == "abc" + END


def test_all_tokens_count_where_more_than_the_answers_is_learned() -> None:
    encoder = ChatEncoder(byte_tokenizer())
    assert learned(encoder, {"prompt": "ab", "completion": "c"}, completion_only=False) == "bc" + END


def test_a_tokenizer_without_an_end_adds_none() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.eos_token = None
    assert learned(ChatEncoder(tokenizer), {"prompt": "a", "completion": "b"}) == "b"


def test_a_long_row_is_cut_at_its_end() -> None:
    encoder = ChatEncoder(byte_tokenizer())
    example = encode(encoder, {"prompt": "abcd", "completion": "efgh"}, longest=6)
    assert text_of(encoder, example.ids) == "abcdef"
    assert example.is_target == [False, False, False, False, True, True]
    assert not any(encode(encoder, {"prompt": "abcd", "completion": "efgh"}, longest=4).is_target)


def test_a_row_that_cannot_be_learned_from_names_its_columns() -> None:
    with pytest.raises(
        UnusableRow, match=r"neither `messages`, nor `prompt` and `completion`, nor `text` \(it has question, answer\)"
    ):
        encode(ChatEncoder(byte_tokenizer()), {"question": "a", "answer": "b"})
    with pytest.raises(DataError, match=r"no `prompt` .it has text"):
        ChatEncoder(byte_tokenizer()).prompt({"text": "a"})


def test_an_empty_prompt_is_refused_as_nothing_can_follow_it() -> None:
    with pytest.raises(DataError, match="empty prompt"):
        ChatEncoder(byte_tokenizer()).prompt({"prompt": "", "answer": "4"})


def test_decoding_leaves_marks_out() -> None:
    tokenizer = byte_tokenizer()
    ids = tokenizer("ä 日本")["input_ids"]
    assert ChatEncoder(tokenizer).decode([*ids, tokenizer.eos_token_id]) == "ä 日本"


# ----------------------------------------------------------------------------------------------------- conversations


def test_of_a_conversation_every_answer_counts_with_the_mark_that_ends_it() -> None:
    encoder = ChatEncoder(chat_tokenizer())
    more = [{"role": "user", "content": "And?"}, {"role": "assistant", "content": "Bye"}]
    assert learned(encoder, {"messages": [USER, ANSWER]}) == "Yo<|im_end|>\n"
    assert learned(encoder, {"messages": [USER, ANSWER, *more]}) == "Yo<|im_end|>\nBye<|im_end|>\n"


def test_a_question_after_the_last_answer_does_not_count() -> None:
    encoder = ChatEncoder(chat_tokenizer())
    assert learned(encoder, {"messages": [USER, ANSWER, USER]}) == "Yo<|im_end|>\n"


def test_a_prompt_stands_as_it_does_in_the_conversation_that_was_learned() -> None:
    encoder = ChatEncoder(chat_tokenizer())
    whole = encode(encoder, {"messages": [USER, ANSWER]})
    prompt = encoder.prompt({"messages": [USER, ANSWER]})
    assert text_of(encoder, prompt) == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert whole.ids[: len(prompt)] == prompt == encoder.prompt({"prompt": [USER]})
    assert whole.is_target.index(True) == len(prompt)


@pytest.mark.parametrize("answer", ["Yo", [ANSWER]], ids=["text", "messages"])
def test_a_prompt_of_messages_and_its_completion_are_one_conversation(answer: Any) -> None:
    encoder = ChatEncoder(chat_tokenizer())
    assert encode(encoder, {"prompt": [USER], "completion": answer}) == encode(encoder, {"messages": [USER, ANSWER]})


@pytest.mark.parametrize("system_prompt", [None, "Be brief."])
def test_answers_within_a_prompt_do_not_count(system_prompt: str | None) -> None:
    encoder = ChatEncoder(chat_tokenizer(), system_prompt=system_prompt)
    bye = {"role": "assistant", "content": "Bye"}
    assert learned(encoder, {"prompt": [USER, ANSWER, USER], "completion": [bye]}) == "Bye<|im_end|>\n"


def test_a_plain_prompt_is_given_to_a_chat_model_as_it_is() -> None:
    encoder = ChatEncoder(chat_tokenizer())
    assert text_of(encoder, encoder.prompt({"prompt": "2+2="})) == "2+2="


def test_the_system_prompt_comes_first_and_once() -> None:
    encoder = ChatEncoder(chat_tokenizer(), system_prompt="Be brief.")
    for ids in (encode(encoder, {"messages": [USER, ANSWER]}).ids, encoder.prompt({"prompt": [USER]})):
        text = text_of(encoder, ids)
        assert text.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user")
        assert text.count("system") == 1
    assert learned(encoder, {"messages": [USER, ANSWER]}) == "Yo<|im_end|>\n"


def test_a_conversation_with_a_system_message_keeps_its_own() -> None:
    encoder = ChatEncoder(chat_tokenizer(), system_prompt="Be brief.")
    own = {"role": "system", "content": "Be kind."}
    assert "brief" not in text_of(encoder, encode(encoder, {"messages": [own, USER, ANSWER]}).ids)


def test_an_answer_that_looks_like_its_prompt_is_still_found() -> None:
    encoder = ChatEncoder(chat_tokenizer())
    echo = {"role": "assistant", "content": "<|im_start|>assistant\n"}
    assert learned(encoder, {"messages": [USER, echo]}) == "<|im_start|>assistant\n<|im_end|>\n"


def test_a_template_that_opens_a_thought_only_for_an_answer_loses_nothing_of_the_answer() -> None:
    """As some reasoning models: the generation prompt goes on where the written conversation does not."""
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = CHATML.replace("assistant\n{% endif", "assistant\n<think>\n{% endif")
    assert learned(ChatEncoder(tokenizer), {"messages": [USER, ANSWER]}) == "Yo<|im_end|>\n"


# ------------------------------------------------------------------------------------- templates that mark answers

MARKED = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}{{ '\\n' }}"
    "{% else %}{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def marking_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = MARKED
    return tokenizer


def test_a_template_that_marks_answers_is_taken_at_its_word() -> None:
    """Without the line break after the mark, which the model never has to write."""
    encoder = ChatEncoder(marking_tokenizer())
    bye = {"role": "assistant", "content": "Bye"}
    row = {"messages": [USER, ANSWER, USER, bye]}
    assert learned(encoder, row) == "Yo<|im_end|>Bye<|im_end|>"
    assert encode(encoder, row).ids == encode(ChatEncoder(chat_tokenizer()), row).ids


@pytest.mark.parametrize("system_prompt", [None, "Be brief."])
def test_marked_answers_within_a_prompt_do_not_count(system_prompt: str | None) -> None:
    encoder = ChatEncoder(marking_tokenizer(), system_prompt=system_prompt)
    bye = {"role": "assistant", "content": "Bye"}
    assert learned(encoder, {"prompt": [USER, ANSWER, USER], "completion": [bye]}) == "Bye<|im_end|>"


# ----------------------------------------------------------------------------------------- tools, tokens, and refusals


def test_tools_and_words_for_the_template_reach_it() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = (
        "{% if tools %}[{{ tools[0]['function']['name'] }}]{% endif %}{{ mood }}"
        "{% for m in messages %}{{ m.role }}:{{ m.content }}"
        "{% for c in m.tool_calls or [] %}<{{ c.function.name }} {{ c.function.arguments.a }}>{% endfor %};{% endfor %}"
    )
    call = {"type": "function", "function": {"name": "add", "arguments": {"a": 2}}}
    row = {
        "messages": [
            USER,
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "content": "4"},
        ],
        "tools": [{"type": "function", "function": {"name": "add"}}],
        "chat_template_kwargs": {"mood": "!"},
    }
    encoder = ChatEncoder(tokenizer)
    assert text_of(encoder, encode(encoder, row).ids) == "[add]!user:Hi;assistant:<add 2>;tool:4;"
    assert learned(encoder, row) == "assistant:<add 2>;"
    assert text_of(encoder, encoder.prompt({**row, "prompt": [USER]})).startswith("[add]!user:Hi;")


@pytest.mark.parametrize("completion_only", [True, False])
def test_of_rows_that_are_tokens_already_counts_what_they_say(completion_only: bool) -> None:
    encoder = ChatEncoder(byte_tokenizer())
    row = {"input_ids": [5, 6, 7, 8], "is_target": [True, False, True, True]}
    example = encode(encoder, row, completion_only=completion_only, longest=3)
    assert example == Example([5, 6, 7], [False, False, True], is_cut=True)


def test_a_token_that_the_tokenizer_does_not_know_is_refused() -> None:
    with pytest.raises(UnusableRow, match="has a token beyond the 258 that the tokenizer knows"):
        encode(ChatEncoder(byte_tokenizer()), {"input_ids": [258], "is_target": [True]})


def test_a_conversation_that_the_template_refuses_is_unusable_and_says_why() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = (
        "{% if messages[0].role != 'user' %}{{ raise_exception('Roles must alternate') }}{% endif %}"
    )
    with pytest.raises(UnusableRow, match="the chat template does not take its messages: Roles must alternate"):
        encode(ChatEncoder(tokenizer), {"messages": [ANSWER]})


def test_padding_with_the_end_token_hides_no_end() -> None:
    """pad == eos, as many tokenizers have it: masks say what counts, never the id."""
    own, shared = byte_tokenizer(), byte_tokenizer()
    shared.pad_token = shared.eos_token
    examples = [
        [encode(ChatEncoder(t), {"prompt": "2+2=", "completion": answer}) for answer in ("4", "four")]
        for t in (own, shared)
    ]
    assert examples[0] == examples[1]
    rows = [pad_rows(e, t.pad_token_id) for e, t in zip(examples, (own, shared), strict=True)]
    assert rows[1].input_ids[0, -3:].tolist() == [shared.eos_token_id] * 3
    assert rows[1].input_ids[rows[1].is_target].tolist().count(shared.eos_token_id) == 2
    policy = tiny_policy()
    with torch.no_grad():
        losses = [TokenScorer(policy.model)(row).logps.mean() for row in rows]
    assert losses[0] == losses[1]


# --------------------------------------------------------------------------------------------- without a template


def test_without_a_template_the_contents_stand_on_lines_of_their_own() -> None:
    encoder = ChatEncoder(byte_tokenizer())
    row = {"messages": [{"role": "system", "content": "Be brief."}, USER, ANSWER]}
    assert text_of(encoder, encode(encoder, row).ids) == "Be brief.\nHi\nYo" + END
    assert learned(encoder, row) == "Yo" + END
    assert text_of(encoder, encoder.prompt(row)) == "Be brief.\nHi\n"


def test_without_a_template_the_system_prompt_still_comes_first() -> None:
    encoder = ChatEncoder(byte_tokenizer(), system_prompt="Be brief.")
    assert text_of(encoder, encoder.prompt({"prompt": [USER]})) == "Be brief.\nHi\n"
    assert text_of(encoder, encode(encoder, {"messages": [USER, ANSWER]}).ids) == "Be brief.\nHi\nYo" + END


@pytest.mark.parametrize("template", [None, CHATML], ids=["plain", "chat"])
def test_a_conversation_without_an_answer_teaches_nothing(template: str | None) -> None:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = template
    assert learned(ChatEncoder(tokenizer), {"messages": [USER]}) == ""
