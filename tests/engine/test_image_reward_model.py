"""A reward model of pictures learns a person's taste from pairs, is kept whole, and says how sure its measure is."""

from pathlib import Path

import pytest
import torch

from engine.contract.events import Evaluation
from engine.contract.preset import load_preset
from engine.contract.scorer_settings import ScorerModel, ScorerNetwork
from engine.contract.tuning_settings import Judged
from engine.diffusion.networks import ImageModelError
from engine.diffusion.rewards import Drawn, ImageRewardSum
from engine.diffusion.scorer import build_scorer, open_scorer
from engine.evaluation.intervals import wilson
from engine.methods.image_reward_model import measured
from tests.engine.running import FINISHED, new_run, of_kind, run_here

HERE = Path(__file__).parents[2]
PRESET = HERE / "presets" / "image_reward_model_tiny.yaml"
SECTION = ScorerModel(path="scratch", scratch=ScorerNetwork(size=8, channels=1, width=8))


def test_a_new_model_prefers_nothing_and_the_same_seed_builds_the_same() -> None:
    one, other = (build_scorer(SECTION, device=torch.device("cpu"), seed=3) for _ in range(2))
    images = torch.rand(4, 1, 8, 8) * 2 - 1
    assert one.score(images).tolist() == [0.0] * 4
    assert all(torch.equal(a, b) for a, b in zip(one.network.parameters(), other.network.parameters(), strict=True))


def test_the_share_of_pairs_in_order_comes_with_wilsons_interval_and_equal_scores_are_half_right() -> None:
    found = measured(torch.tensor([1.0, 2.0, 0.0, -1.0]), torch.tensor([0.0, 0.0, 0.0, 0.0]))
    assert found["eval_accuracy"] == 0.625
    assert (found["eval_accuracy_low"], found["eval_accuracy_high"]) == wilson(0.625, 4)
    assert found["eval_margin"] == 0.5


def test_pictures_of_another_size_and_folders_of_other_models_are_refused(tmp_path: Path) -> None:
    scorer = build_scorer(SECTION, device=torch.device("cpu"), seed=0)
    with pytest.raises(ImageModelError, match=r"pictures of \(3, 8, 8\)"):
        scorer.score(torch.zeros(1, 3, 8, 8))
    (tmp_path / "config.json").write_text('{"kind": "something else"}')
    with pytest.raises(ImageModelError, match="no reward model of pictures"):
        open_scorer(str(tmp_path))


def test_the_tiny_preset_learns_to_prefer_heavier_digits_and_its_folder_gives_the_same_scores(tmp_path: Path) -> None:
    train = f"data.train={HERE / 'assets' / 'data' / 'judged_digits.jsonl'}"
    run = new_run(tmp_path / "run", load_preset(PRESET, [train, "training.threads=1"]))
    assert run_here(run) == FINISHED
    last = of_kind(run, Evaluation)[-1].values
    assert last["eval_accuracy"] > 0.8
    assert last["eval_accuracy_low"] < last["eval_accuracy"] < last["eval_accuracy_high"]
    scorer = open_scorer(str(run.path))
    light, heavy = torch.full((1, 1, 8, 8), -0.9), torch.full((1, 1, 8, 8), 0.3)
    assert scorer.score(heavy) > scorer.score(light)
    assert scorer.measured["reward_std"] > 0
    part = Judged(kind="image_reward_model", path=str(run.path))
    reward = ImageRewardSum([part], lambda path: pytest.fail(f"{path} is no classifier"))
    pictures = torch.cat([light, heavy]).requires_grad_()
    total = reward.score(Drawn(pictures, [0, 0])).total
    assert total[1] > total[0]
    total.sum().backward()
    assert pictures.grad is not None
    assert pictures.grad.abs().sum() > 0


def test_a_line_on_a_classifiers_features_trains_nothing_of_the_classifier() -> None:
    section = ScorerModel(path=str(HERE / "assets" / "diffusion" / "digits-classifier"))
    network = build_scorer(section, device=torch.device("cpu"), seed=0).network
    trained = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    assert trained == ["head.weight", "head.bias"]
