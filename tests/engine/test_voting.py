"""A model votes in both orders, as a labeller that takes no person's place."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from engine import __main__ as command_line
from engine.command_line.vote import CONSTITUTION
from engine.contract.labels import Candidate, Item, LabelSet
from engine.contract.labels_log import JudgementLog, create_set, read_ledger, read_set
from engine.contract.preset import load_text_preset
from engine.data.chat import ChatEncoder
from engine.judging import Judge, Odds, asked, manner_of
from engine.labelling.frozen import LabelsError, learned
from engine.labelling.voting import as_judgement, votes
from tests.tiny import CHATML, tiny_policy

ITEMS = [
    Item(id="pair", prompt="Hi {there}", candidates=(Candidate(text="{A}"), Candidate(text="No"))),
    Item(id="three", prompt="?", candidates=tuple(Candidate(text=text) for text in "abc")),
]


def test_both_orders_have_to_agree_or_it_is_a_tie() -> None:
    assert as_judgement(ITEMS[0], Odds(2.0, 1.0), "judge").ranking == ((0,), (1,))
    assert as_judgement(ITEMS[0], Odds(-2.0, -1.0), "judge").ranking == ((1,), (0,))
    assert as_judgement(ITEMS[0], Odds(3.0, -1.0), "judge").is_tie


def test_the_odds_are_what_the_models_own_softmax_says_of_the_two_letters() -> None:
    policy = tiny_policy()
    encoder = ChatEncoder(policy.tokenizer)
    ids = encoder.prompt({"prompt": [{"role": "user", "content": "A or B?"}]})
    chances = torch.softmax(policy.model(input_ids=torch.tensor([ids])).logits[0, -1], dim=-1)
    first, second = (chances[policy.tokenizer(letter)["input_ids"][0]].item() for letter in "AB")
    assert Judge(policy, "").log_odds("A or B?") == pytest.approx(math.log(first / second), abs=1e-4)


def test_a_pair_is_asked_about_in_both_orders_and_nothing_else_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []

    def prefers_the_first(self: Any, question: str) -> float:
        heard.append(question)
        return 1.0

    monkeypatch.setattr(Judge, "log_odds", prefers_the_first)
    judge = Judge(tiny_policy(), "Which is better?", "1. {kind}\n")
    [(vote, odds)] = votes(judge, ITEMS, "judge", "hash")
    assert heard == [
        asked("Hi {there}", "{A}", "No", "Which is better?", "1. {kind}"),
        asked("Hi {there}", "No", "{A}", "Which is better?", "1. {kind}"),
    ]
    assert heard[0].startswith("Judge by these principles.\n\n1. {kind}\n\nHere is a request")
    assert "Hi {there}" in heard[0]
    assert asked("a", "b", "c", "?").startswith("Here is a request")
    assert (odds.as_first, odds.as_second, vote.guideline) == (1.0, -1.0, "hash")
    assert vote.is_tie  # it only likes what stands first
    assert (vote.labeller, vote.item) == ("model:judge", "pair")


def test_the_liking_for_a_place_is_measured_and_taken_out_of_the_confidence() -> None:
    """Of the first pair 2 nats for the answer and 1 for the place; the second is about the place alone."""
    answer, place = Odds(3.0, 1.0), Odds(1.0, -1.0)
    assert (answer.mean, answer.bias, place.mean, place.bias) == (2.0, 1.0, 0.0, 1.0)
    assert answer.confidence == pytest.approx(1 / (1 + math.exp(-2)))
    assert "confidence 0.88" in as_judgement(ITEMS[0], answer, "judge").note
    found = manner_of([answer, place])
    assert (found.pairs, found.consistent, found.bias) == (2, 1, 1.0)
    assert found.first_place == 0.75  # of four questions: the better one once, and thrice what stood first
    assert found.confidence == answer.confidence


def test_a_set_of_pictures_is_refused_before_a_model_is_read(tmp_path: Path, capsys: Any) -> None:
    pair = Item(id="i", prompt="?", candidates=(Candidate(image="images/a.png"), Candidate(image="images/b.png")))
    create_set(tmp_path / "drawn", LabelSet(name="drawn", kind="image"), [pair])
    assert command_line.main(["vote", str(tmp_path / "drawn"), str(tmp_path / "no-model")]) == 2
    assert "holds pictures" in capsys.readouterr().err
    assert list(votes(Judge(tiny_policy(), "Which is better?"), [pair], "judge")) == []


def test_vote_adds_a_labeller_once_while_somebody_judges_and_not_beside_another_vote(
    tmp_path: Path, capsys: Any
) -> None:
    policy: Any = tiny_policy()
    policy.tokenizer.chat_template = CHATML
    policy.model.save_pretrained(tmp_path / "judge")
    policy.tokenizer.save_pretrained(tmp_path / "judge")
    labels = create_set(tmp_path / "labels" / "kind", LabelSet(name="kind"), ITEMS)
    words = ["vote", "labels:kind", str(tmp_path / "judge"), "--workspace", str(tmp_path), "--threads", "1"]
    judging, voting = JudgementLog.open(labels, read_set(labels)), JudgementLog.open_votes(labels, read_set(labels))
    assert command_line.main(words) == 2
    assert "another model is voting on kind" in capsys.readouterr().err
    voting.close()
    assert command_line.main(words) == 0
    assert "model:judge has judged 1 pairs of kind" in capsys.readouterr().out
    assert command_line.main(words) == 0
    [vote] = read_ledger(labels)[0].standing()
    assert vote.item == "pair"
    principled = [*words, "--name", "principled", "--constitution"]
    assert command_line.main(principled) == 0
    assert "what stood first in" in capsys.readouterr().out
    ledger = read_ledger(labels)[0]
    [other] = [one for one in ledger.standing() if one.labeller == "model:principled"]
    assert ledger.guidelines[other.guideline] == CONSTITUTION.read_text("utf-8")
    assert vote.guideline == ""
    (tmp_path / "empty.txt").write_text("\n")
    assert command_line.main([*words, "--constitution", str(tmp_path / "empty.txt")]) == 2
    assert "is empty" in capsys.readouterr().err
    assert labels.judgements.read_bytes() == b""
    judging.close()


def test_the_preset_of_ai_feedback_learns_what_the_judge_of_its_commands_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands that stand in it, with a judge that cannot tell, and one that likes "No" wherever it stands."""
    policy: Any = tiny_policy()
    policy.tokenizer.chat_template = CHATML
    policy.model.save_pretrained(tmp_path / "model")
    policy.tokenizer.save_pretrained(tmp_path / "model")
    preset = load_text_preset(Path(__file__).parents[2] / "presets" / "dpo_rlaif_smollm2.yaml")
    [source] = preset.data.train
    create_set(tmp_path / "labels" / "demo", LabelSet(name="demo"), ITEMS)
    command = ["vote", "labels:demo", str(tmp_path / "model"), "--constitution", "--workspace", str(tmp_path)]
    monkeypatch.setattr(Judge, "log_odds", lambda self, question: 1.0)
    assert command_line.main([*command, "--name", "another"]) == 0
    with pytest.raises(LabelsError, match="1 by others"):
        learned(source, tmp_path / "labels", preset.method)
    monkeypatch.setattr(Judge, "log_odds", lambda self, asked: asked.index("{A}") - asked.index("No"))
    assert command_line.main([*command, "--name", "judge"]) == 0
    found = learned(source, tmp_path / "labels", preset.method)
    assert found.rows == [{"prompt": "Hi {there}", "chosen": "No", "rejected": "{A}"}]
