"""`order`: what reward models make of the answers chooses what is judged first, and stands apart from judgements."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from engine import __main__ as command_line
from engine.contract.labels import Candidate, Item, LabelDir, LabelSet
from engine.contract.labels_log import create_set
from engine.contract.labels_order import read_order
from engine.contract.settings import Model
from engine.logprobs import Rows
from engine.reward_models import RewardScorer, open_reward_model, reader_for
from tests.engine.test_reward_models import saved
from tests.tiny import tiny_model, tiny_reward_model

ITEMS = [
    Item(id="pair", prompt="Hi", candidates=(Candidate(text="Yes"), Candidate(text="No, never"))),
    Item(id="three", prompt="?", candidates=tuple(Candidate(text=text) for text in ("one", "two", "three"))),
    Item(id="gold", prompt="?", candidates=(Candidate(text="a"), Candidate(text="b")), gold=((0,), (1,))),
    Item(id="long", prompt="x" * 5000, candidates=(Candidate(text="a"), Candidate(text="b"))),
    Item(id="image", prompt="?", candidates=(Candidate(image="a.png"), Candidate(image="b.png"))),
]


@pytest.fixture
def labels(tmp_path: Path) -> LabelDir:
    return create_set(tmp_path / "labels" / "kind", LabelSet(name="kind"), ITEMS)


def order(folder: Path, *words: object) -> int:
    return command_line.main(["order", "labels:kind", *map(str, words), "--workspace", str(folder), "--threads", "1"])


def score(path: Path, prompt: str, answer: str) -> float:
    policy = open_reward_model(Model(path=str(path)), device=torch.device("cpu"), dtype=torch.float32)
    ids = torch.tensor([reader_for(policy, system_prompt=None)({"prompt": prompt, "completion": answer}).ids])
    rows = Rows(ids, torch.ones_like(ids, dtype=torch.bool), torch.zeros_like(ids, dtype=torch.bool))
    with torch.no_grad():
        return float(RewardScorer(policy.model)(rows).rewards.item())


def test_scores_of_several_models_are_written_beside_the_judgements(
    labels: LabelDir, tmp_path: Path, capsys: Any
) -> None:
    models = [saved(tmp_path / name, tiny_reward_model(seed=seed)) for name, seed in (("one", 1), ("two", 2))]
    assert order(tmp_path, *models, "--by", "spread") == 0
    assert "2 of 4 items come by spread; the others by lot" in capsys.readouterr().out
    found = read_order(labels)
    assert found is not None
    assert (found.by, found.models) == ("spread", tuple(map(str, models)))
    assert {item: [len(scores) for scores in of] for item, of in found.scores.items()} == {
        "pair": [2, 2],
        "three": [3, 3],
    }
    expected = [[score(model, "Hi", answer) for answer in ("Yes", "No, never")] for model in models]
    for scores, by_hand in zip(found.scores["pair"], expected, strict=True):
        assert scores == pytest.approx(by_hand, abs=1e-5)
    assert labels.judgements.read_bytes() == b""


def test_without_models_the_lot_decides_again(labels: LabelDir, tmp_path: Path, capsys: Any) -> None:
    assert order(tmp_path, saved(tmp_path / "one", tiny_reward_model()), "--json") == 0
    assert json.loads(capsys.readouterr().out)["scored"] == 2
    assert read_order(labels) is not None
    assert order(tmp_path) == 0
    assert "the lot decides" in capsys.readouterr().out
    assert read_order(labels) is None


def test_what_cannot_score_is_told_and_nothing_is_written(labels: LabelDir, tmp_path: Path, capsys: Any) -> None:
    assert order(tmp_path, saved(tmp_path / "writer", tiny_model())) == 2
    assert "writer" in capsys.readouterr().err
    assert read_order(labels) is None
