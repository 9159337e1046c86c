"""What presets that tune models of images refuse, with the words that help."""

from typing import Any

import pytest

from engine.contract.faults import Fault
from engine.contract.metrics import describe
from engine.contract.preset import check
from engine.contract.tuning_settings import DiffusionGrpo

INK = [{"kind": "ink"}]
JUDGED = {"rewards": INK}


def fault(method: str, **sections: Any) -> Fault:
    """The one fault of a preset that is otherwise sound."""
    usual: dict[str, Any] = {"method": method, "model": {"path": "assets:digits-denoiser"}}
    usual |= {"judged": JUDGED} if method == "diffusion_dpo" else {"rewards": INK}
    preset, faults = check(usual | sections)
    assert preset is None
    assert len(faults) == 1, faults
    return faults[0]


def test_sampling_without_chance_has_no_probabilities_to_learn_from() -> None:
    found = fault("diffusion_grpo", rollout={"eta": 0.0})
    assert found.dotted == "rollout.eta"
    assert "no step has a probability" in found.problem
    assert "diffusion_nft learns from samplers without chance" in found.remedy


@pytest.mark.parametrize(("log_prob", "clip"), [("mean", 0.2), ("sum", 1e-4)])
def test_a_clip_is_never_copied_from_one_form_of_the_ratio_to_the_other(log_prob: str, clip: float) -> None:
    assert fault("diffusion_grpo", diffusion_grpo={"log_prob": log_prob, "clip": clip}).dotted == "diffusion_grpo.clip"
    assert DiffusionGrpo(log_prob="sum").trusted == 0.2
    assert DiffusionGrpo(log_prob="mean").trusted == 1e-4
    assert DiffusionGrpo(log_prob="mean", clip=1e-3).trusted == 1e-3


def test_a_reward_without_a_slope_is_refused_where_it_is_to_be_followed() -> None:
    found = fault("draft", rewards=[*INK, {"kind": "compressibility"}])
    assert found.dotted == "rewards.1.kind"
    assert "diffusion_grpo" in found.remedy


def test_somebodys_function_runs_only_after_a_yes() -> None:
    found = fault("diffusion_nft", rewards=[{"kind": "function", "path": "mine.py"}])
    assert found.dotted == "rewards.0.allow_code"


@pytest.mark.parametrize("sections", [{"judged": None}, {"data": {"train": "labels:mine"}}])
def test_pairs_are_judged_by_people_or_by_rewards_and_not_by_both_or_none(sections: dict[str, Any]) -> None:
    assert fault("diffusion_dpo", **sections).dotted == "data"


def test_early_stopping_waits_for_what_somebody_measures() -> None:
    wish = {"early_stopping": {"metric": "eval_rewards/accuracies"}}
    assert fault("diffusion_dpo", training=wish).dotted == "training.eval_every"
    unknown = {"early_stopping": {"metric": "path_kl"}}
    assert fault("diffusion_grpo", training=unknown).dotted == "training.early_stopping.metric"


@pytest.mark.parametrize(
    ("method", "sections", "key"),
    [
        ("diffusion_grpo", {"rollout": {"images_per_prompt": 1}}, "rollout.images_per_prompt"),
        ("diffusion_nft", {"rollout": {"images_per_prompt": 1, "eta": 0.0}}, "rollout.images_per_prompt"),
        ("draft", {"draft": {"last_steps": 11}}, "draft.last_steps"),
        ("draft", {"training": {"batch_size": 3, "processes": 2}}, "training.batch_size"),
    ],
)
def test_settings_that_contradict_each_other_are_told(method: str, sections: dict[str, Any], key: str) -> None:
    assert fault(method, **sections).dotted == key


def test_curves_of_steps_of_sampling_have_a_name_that_can_be_read() -> None:
    assert describe("path_kl/of_step_03").title == "Path kl, step 3"
    assert describe("drift/recognised").direction == "up"
