"""A reward model as a part of the reward: what it reads of an answer, on which scale it scores, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch

from engine.checkpoint import save_model
from engine.contract.online_settings import LearnedReward
from engine.data.byte_tokenizer import END, byte_tokenizer
from engine.data.chat import ChatEncoder
from engine.models import ModelError
from engine.rewards import Answered, RewardError, RewardSum, Surroundings
from tests.engine import running
from tests.engine.test_chat import chat_tokenizer
from tests.engine.test_rankings import bert_tokenizer
from tests.engine.test_reward_models import one_mark_tokenizer
from tests.tiny import tiny_model, tiny_reward_model

BYTES = byte_tokenizer()
END_ID = 1


def saved(folder: Path, model: Any, tokenizer: Any = None, **stored: float) -> str:
    for name, value in stored.items():
        setattr(model.config, name, value)
    save_model(model, tokenizer or BYTES, folder)
    return str(folder)


def reward_of(path: str, policy: Any = None, **more: Any) -> RewardSum:
    return RewardSum(
        [LearnedReward(kind="model", path=path, **more)], Surroundings(encoder=ChatEncoder(policy or BYTES))
    )


def answered(prompt: Any, text: str, *, ended: bool = True, tokenizer: Any = BYTES) -> Answered:
    before = ChatEncoder(tokenizer).prompt({"prompt": prompt})
    ids = [*tokenizer(text)["input_ids"], *([tokenizer.eos_token_id] if ended else [])]
    return Answered({"prompt": prompt}, text, ids, before)


def alone(model: Any, ids: list[int], **more: Any) -> float:
    with torch.no_grad():
        return float(model(input_ids=torch.tensor([ids]), **more).logits[0, 0])


def totals(reward: RewardSum, *answers: Answered) -> list[float]:
    return [scored.total for scored in reward.score(answers)]


def test_with_the_policys_tokenizer_it_reads_the_very_tokens_that_were_written(tmp_path: Path) -> None:
    model = tiny_reward_model()
    given = [answered("2+2=", "4"), answered("a longer question", "and answer", ended=False), answered("x", "yz")]
    wanted = [alone(model, [*one.prompt, *one.ids]) for one in given]
    assert totals(reward_of(saved(tmp_path / "scorer", model)), *given) == pytest.approx(wanted, abs=1e-5)


def test_scores_are_brought_to_mean_0_and_spread_1_by_what_is_stored_with_the_model(tmp_path: Path) -> None:
    path = saved(tmp_path / "scorer", tiny_reward_model(), reward_mean=0.5, reward_std=4.0)
    [plain] = totals(reward_of(path, normalize=False), answered("2+2=", "4"))
    assert totals(reward_of(path), answered("2+2=", "4")) == pytest.approx([(plain - 0.5) / 4])


def test_a_mean_that_is_no_number_normalises_nothing(tmp_path: Path) -> None:
    path = saved(tmp_path / "scorer", tiny_reward_model(), reward_mean=0.5, reward_std=float("nan"))
    given = answered("2+2=", "4")
    assert totals(reward_of(path), given) == totals(reward_of(path, normalize=False), given)


def test_another_tokenizer_reads_the_text_again(tmp_path: Path) -> None:
    model, other = tiny_reward_model(), one_mark_tokenizer()
    path = saved(tmp_path / "scorer", model, other)
    wanted = alone(model, [*other("2+2=4")["input_ids"], other.eos_token_id])
    assert totals(reward_of(path), answered("2+2=", "4")) == pytest.approx([wanted], abs=1e-5)


def test_an_encoder_reads_prompt_and_answer_as_two_segments(tmp_path: Path) -> None:
    model, bert = tiny_reward_model("bert"), bert_tokenizer()
    read = bert("2+2=", "4")
    wanted = alone(model, read["input_ids"], token_type_ids=torch.tensor([read["token_type_ids"]]))
    path = saved(tmp_path / "scorer", model, bert)
    assert totals(reward_of(path), answered("2+2=", "4")) == pytest.approx([wanted], abs=1e-5)


def test_a_conversation_is_rendered_as_the_reward_model_saw_it_in_training(tmp_path: Path) -> None:
    model, chat = tiny_reward_model(), chat_tokenizer()
    talk = [{"role": "user", "content": "Hi"}]
    whole: Any = chat.apply_chat_template([*talk, {"role": "assistant", "content": "Yo"}], return_dict=False)
    wanted = alone(model, whole)
    path = saved(tmp_path / "scorer", model, chat)
    given = answered(talk, "Yo", tokenizer=chat)
    assert totals(reward_of(path, chat), given) == pytest.approx([wanted], abs=1e-5)
    assert END not in chat.decode(list(given.prompt))


def test_a_text_too_long_for_it_loses_its_beginning(tmp_path: Path) -> None:
    model = tiny_reward_model()  # reads 128 tokens
    given = answered("1" * 200, "abc")
    wanted = alone(model, [*given.prompt, *given.ids][-128:])
    assert totals(reward_of(saved(tmp_path / "scorer", model)), given) == pytest.approx([wanted], abs=1e-5)


def test_a_run_of_reward_model_is_one_and_knows_its_spread(tmp_path: Path) -> None:
    run = running.done(tmp_path / "run", running.reward_model(training={"steps": 2, "eval_every": 1}))
    given = [answered("2+2=", "4"), answered("1+1=", "3")]
    plain = totals(reward_of(str(run.path), normalize=False), *given)
    scaled = totals(reward_of(str(run.path)), *given)
    assert (plain[0] - plain[1]) != pytest.approx(scaled[0] - scaled[1])


def test_a_language_model_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "writer", tiny_model())
    with pytest.raises(ModelError, match="is no reward model, as it has no head that scores"):
        reward_of(path)


def test_a_score_that_is_no_number_names_the_model(tmp_path: Path) -> None:
    model: Any = tiny_reward_model()
    torch.nn.init.constant_(model.score.weight, float("nan"))
    reward = reward_of(saved(tmp_path / "scorer", model))
    with pytest.raises(RewardError, match=r"none of 1 answers has a reward.*scorer gave no number"):
        reward.score([answered("2+2=", "4")])


def test_no_answers_have_no_scores(tmp_path: Path) -> None:
    assert reward_of(saved(tmp_path / "scorer", tiny_reward_model())).score([]) == []
