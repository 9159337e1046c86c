"""An answer read token by token: what a method kept of each stands in one line, and what it did not keep does not."""

from pytestqt.qtbot import QtBot

from engine.contract.rollouts import Completion
from workbench.views.answer_detail import AnswerDetail

PLAIN = Completion(step=1, prompt="2+2=", completion="4!", tokens=["4", "!"], logps=[-0.5, -2.0], token_ids=[20, 21])
OF_PPO = {"token_kls": [0.1, 0.2], "values": [0.3, 0.4], "token_rewards": [-0.5, 1.5], "advantages": [0.6, -0.7]}


def read(qtbot: QtBot, answer: Completion, text: str) -> str:
    detail = AnswerDetail()
    qtbot.addWidget(detail)
    detail.show_answer(answer)
    detail._read_token(detail.text.index(text))
    return detail._readout.text()


def test_a_token_of_ppo_is_read_with_its_kl_value_reward_and_advantage(qtbot: QtBot) -> None:
    told = read(qtbot, PLAIN.model_copy(update=OF_PPO), "!")
    assert told.startswith("token 2")
    for part in ("KL 0.2", "value 0.4", "reward 1.5", "advantage"):
        assert part in told


def test_a_token_of_another_method_is_read_without_them(qtbot: QtBot) -> None:
    told = read(qtbot, PLAIN, "!")
    assert "log p" in told
    assert "id 21" in told
    assert not any(word in told for word in ("KL", "value", "advantage"))
