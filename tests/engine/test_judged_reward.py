"""A judge gives the reward: each answer against the others to its prompt, by a constitution."""

from pathlib import Path
from typing import Any

import pytest

from engine.checkpoint import save_model
from engine.contract.online_settings import Judged
from engine.data.byte_tokenizer import byte_tokenizer
from engine.judging import Judge
from engine.rewards import Answered, RewardError, RewardSum, Surroundings
from tests.engine import running
from tests.tiny import tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judge") / "model"
    save_model(tiny_model(), byte_tokenizer(), folder)
    return folder


def part_of(model: Path, folder: Path, text: str = "Shorter is better.") -> Judged:
    (folder / "mine.txt").write_text(text, "utf-8")
    return Judged(kind="judge", path=str(model), constitution=str(folder / "mine.txt"))


def answered(prompt: str, text: str) -> Answered:
    return Answered({"prompt": prompt}, text, [5], [ord(letter) for letter in prompt])


def test_an_answer_is_worth_its_mean_chance_against_the_others_to_its_prompt(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The judge likes the shorter one, and a nat's worth what stands first, which has to cancel."""
    heard: list[str] = []

    def likes_short(self: Any, question: str) -> float:
        heard.append(question)
        first, second = (question.split(f"Answer {letter}:\n")[1].split("\n")[0] for letter in "AB")
        return 1.0 + (40.0 if len(first) < len(second) else -40.0)

    monkeypatch.setattr(Judge, "log_odds", likes_short)
    reward = RewardSum([part_of(model, tmp_path)], Surroundings())
    texts = [("p", "aaaa"), ("q", "bb"), ("p", "a"), ("p", "aa"), ("q", "bb"), ("r", "alone")]
    found = [scored.total for scored in reward.score([answered(*each) for each in texts])]
    assert found == pytest.approx([0.0, 0.5, 1.0, 0.5, 0.5, 0.5])
    assert len(heard) == 2 * 3, "three pairs of p; equals and what is alone are not asked about"
    assert heard[0].startswith("Judge by these principles.\n\nShorter is better.")


def test_a_constitution_that_cannot_be_read_is_told(model: Path, tmp_path: Path) -> None:
    part = part_of(model, tmp_path).model_copy(update={"constitution": str(tmp_path / "nowhere.txt")})
    with pytest.raises(RewardError, match=r"constitution .*nowhere.txt cannot be read"):
        RewardSum([part], Surroundings())


def test_a_run_learns_from_a_judge_by_online_dpo(model: Path, tmp_path: Path) -> None:
    part = part_of(model, tmp_path).model_dump()
    run = running.done(
        tmp_path / "run",
        running.online_dpo(
            training={"steps": 2}, rollout={"completions_per_prompt": 2}, rewards=[part], online_dpo={"beta": 0.2}
        ),
    )
    assert all(0 <= value <= 1 for value in running.values_of(run, "rewards/judge/mean"))
    assert running.values_of(run, "objective/scores") == pytest.approx([0.5, 0.5]), "what one wins the other loses"
