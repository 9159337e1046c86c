"""From pairs and rankings to what a reward model reads and compares."""

from collections.abc import Sequence

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from engine.data.byte_tokenizer import byte_tokenizer
from engine.data.chat import ChatEncoder
from engine.data.formats import canonical
from engine.data.rankings import Encoded, Ranking, Reader, as_one_text, as_two_segments, encode_rankings, told
from engine.data.rows import Row
from tests.engine.test_chat import chat_tokenizer


def bert_tokenizer() -> PreTrainedTokenizerBase:
    """Letters are tokens; two texts become `[CLS] a [SEP] b [SEP]` with the segments of BERT."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789+=.,?! \n"
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    vocabulary = {token: index for index, token in enumerate([*special, *letters])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))  # noqa: S106 - a token of text
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    marks = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    names = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_input_names=names, **marks)


def encoded(rows: Sequence[Row], read: Reader | None = None, *, max_length: int = 64, to_learn: bool = True) -> Encoded:
    whole = [canonical(row, "reward_model") for row in rows]
    reader = read or as_one_text(ChatEncoder(byte_tokenizer()))
    return encode_rankings(whole, reader, max_length=max_length, to_learn=to_learn, breathe=lambda index: None)


def only(row: Row, read: Reader | None = None) -> Ranking:
    [ranking] = encoded([row], read, max_length=256).rankings
    return ranking


def said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def texts(ranking: Ranking, tokenizer: PreTrainedTokenizerBase | None = None) -> list[str]:
    return [str((tokenizer or byte_tokenizer()).decode(answer.ids)) for answer in ranking.answers]


def test_a_pair_is_two_whole_texts_of_which_the_first_is_better() -> None:
    ranking = only({"prompt": "2+2=", "chosen": "4", "rejected": "five"})
    assert texts(ranking) == ["2+2=4<|end|>", "2+2=five<|end|>"]
    assert (ranking.pairs, ranking.margins, ranking.ratings) == ([(0, 1)], [0.0], None)


def test_a_pair_keeps_its_margin_and_ratings() -> None:
    row = {"prompt": "p", "chosen": "a", "rejected": "b", "margin": "1.5", "score_chosen": 8.0, "score_rejected": 3}
    assert only(row)[1:] == ([(0, 1)], [1.5], [8.0, 3.0])


def test_texts_without_a_common_beginning_can_be_compared() -> None:
    assert texts(only({"chosen": "yes", "rejected": "no"})) == ["yes<|end|>", "no<|end|>"]


def test_a_pair_that_is_tokenised_is_taken_as_it_is() -> None:
    ranking = only({"chosen_ids": [5, 6, 7], "rejected_ids": [5, 8]})
    assert [answer.ids for answer in ranking.answers] == [[5, 6, 7], [5, 8]]
    assert not any(any(answer.is_target) for answer in ranking.answers)


def test_conversations_are_rendered_whole_by_the_template() -> None:
    tokenizer = chat_tokenizer()
    question, right, wrong = said("user", "2+2"), said("assistant", "4"), said("assistant", "5")
    row: Row = {"prompt": [question], "chosen": [right], "rejected": [wrong]}
    whole = [tokenizer.apply_chat_template([question, answer], return_dict=False) for answer in (right, wrong)]
    assert [answer.ids for answer in only(row, as_one_text(ChatEncoder(tokenizer))).answers] == whole


def test_ranks_of_four_answers_make_the_pairs_in_which_one_is_better() -> None:
    ranking = only({"prompt": "p", "answers": ["a", "b", "c", "d"], "ranks": [2, 1, 3, 2]})
    assert ranking.pairs == [(0, 2), (1, 0), (1, 2), (1, 3), (3, 2)]
    assert ranking.ratings is None


def test_scores_rank_and_rate() -> None:
    ranking = only({"prompt": "p", "answers": ["a", "b", "c"], "scores": [0.5, 2, -1]})
    assert ranking.pairs == [(0, 2), (1, 0), (1, 2)]
    assert ranking.ratings == [0.5, 2.0, -1.0]


def test_of_two_answers_that_read_the_same_none_is_better() -> None:
    ranking = only({"prompt": "p", "answers": ["a", "a", "b"], "ranks": [1, 2, 3]})
    assert ranking.pairs == [(0, 2), (1, 2)]


def test_an_encoder_reads_prompt_and_answer_as_two_segments() -> None:
    tokenizer = bert_tokenizer()
    ranking = only({"prompt": "2+2=", "chosen": "4", "rejected": "55"}, as_two_segments(tokenizer))
    assert texts(ranking, tokenizer) == ["[CLS] 2 + 2 = [SEP] 4 [SEP]", "[CLS] 2 + 2 = [SEP] 5 5 [SEP]"]
    assert ranking.answers[0].is_target == [False] * 6 + [True] * 2


def test_of_a_conversation_an_encoder_reads_what_was_said() -> None:
    tokenizer, prompt = bert_tokenizer(), [said("user", "a"), said("assistant", "b"), said("user", "c")]
    row: Row = {"prompt": prompt, "chosen": [said("assistant", "d")], "rejected": [said("assistant", "e")]}
    ranking = only(row, as_two_segments(tokenizer, system_prompt="x"))
    assert texts(ranking, tokenizer)[0] == "[CLS] x \n a \n b \n c [SEP] d [SEP]"


def test_without_a_prompt_an_encoder_reads_one_segment() -> None:
    ranking = only({"chosen": "yes", "rejected": "no"}, as_two_segments(bert_tokenizer()))
    assert texts(ranking, bert_tokenizer())[0] == "[CLS] y e s [SEP]"


def test_rows_of_no_use_are_counted_named_and_left_out() -> None:
    found = encoded(
        [
            {"prompt": "p", "chosen": "a", "rejected": "b"},
            {"prompt": "p", "chosen": "a" * 70, "rejected": "b"},
            {"prompt": "p", "answers": ["a", "b"], "ranks": [1, 1]},
            {"prompt": "p", "completion": "a", "score": 3},
        ]
    )
    assert len(found.rankings) == 1
    assert told(found) == (
        "3 of 4 rows are left out: an answer and its prompt are longer than 64 tokens (row 2); "
        "no answer is better than another (rows 3, 4)"
    )


def test_an_answer_that_is_only_rated_measures_but_does_not_teach() -> None:
    row: Row = {"prompt": "p", "completion": "a", "score": 3}
    assert len(encoded([row]).rankings) == 0
    [rated] = encoded([row], to_learn=False).rankings
    assert (rated.pairs, rated.ratings) == ([], [3.0])


def test_a_text_that_is_too_long_is_never_cut() -> None:
    """The score is read at the end, so a text without its end would be scored for something else."""
    row: Row = {"prompt": "p" * 40, "chosen": "a" * 23, "rejected": "b"}
    assert len(encoded([row], max_length=65).rankings[0].answers[0].ids) == 64
    assert len(encoded([row], max_length=63).rankings) == 0


@pytest.mark.parametrize("count", [2, 3, 5])
def test_answers_in_strict_order_make_every_pair_once(count: int) -> None:
    ranking = only({"prompt": "p", "answers": list("abcde")[:count], "ranks": list(range(count))})
    assert len(ranking.pairs) == count * (count - 1) // 2
    assert len({frozenset(pair) for pair in ranking.pairs}) == len(ranking.pairs)
