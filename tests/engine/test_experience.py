"""From answers to what PPO learns of them: scores, KL in the reward, advantages and returns, by hand."""

from typing import Any

import pytest
import torch

from engine.contract.online_settings import Ppo
from engine.kl_control import Moments
from engine.methods.experience import Lived, judged, settled, told
from engine.rewards import Reward
from engine.rollout.protocol import Answer
from engine.tally import Mean

PLAIN: dict[str, Any] = {"whiten_advantages": False, "gamma": 1.0, "lam": 1.0}


def lived(
    logps: list[float], reference: list[float], values: list[float], score: float, *, ended: bool = True
) -> Lived:
    answer = Answer(list(range(2, 2 + len(logps))), logps, "stop" if ended else "length", logps)
    return Lived({}, [5, 6], answer, "", Reward(score, {"rule": score}), reference, values)


# KL of the tokens (k1): 0.5 and -0.2; and 0.1.
TWO = [
    lived([-1.0, -2.0], [-1.5, -1.8], [0.3, 0.6], 1.0),
    lived([-0.5], [-0.6], [0.2], -1.0, ended=False),
]


def test_each_token_pays_for_its_kl_and_the_last_one_has_the_score() -> None:
    found = judged(TWO, Ppo(**PLAIN), beta=0.1, moments=Moments())
    assert found[0].kls == pytest.approx([0.5, -0.2])
    assert found[0].rewards == pytest.approx([-0.05, 1.02])
    assert found[1].rewards == pytest.approx([-1.01])


def test_with_k3_no_token_is_paid_for_being_unlikelier_than_under_the_reference() -> None:
    found = judged(TWO, Ppo(**PLAIN, kl_estimator="k3"), beta=0.1, moments=Moments())
    # The exponential of -0.5, less 1, plus 0.5; and that of 0.2, less 1.2.
    assert found[0].kls == pytest.approx([0.1065307, 0.0214028], abs=1e-6)


def test_advantages_are_what_came_less_what_was_expected_and_returns_are_what_came() -> None:
    found = judged(TWO, Ppo(**PLAIN), beta=0.1, moments=Moments())
    assert found[0].advantages == pytest.approx([0.97 - 0.3, 1.02 - 0.6])
    assert found[0].returns == pytest.approx([0.97, 1.02])
    assert found[1].advantages == pytest.approx([-1.21])
    assert found[1].returns == pytest.approx([-1.01])


def test_whitening_is_over_all_tokens_of_the_step_and_comes_after_the_returns() -> None:
    own = Ppo(**{**PLAIN, "whiten_advantages": True})
    found = judged(TWO, own, beta=0.1, moments=Moments())
    plain = torch.tensor([0.67, 0.42, -1.21])
    wanted = (plain - plain.mean()) / plain.std()
    assert torch.tensor([*found[0].advantages, *found[1].advantages]).allclose(wanted, atol=1e-6)
    assert found[0].returns == pytest.approx([0.97, 1.02])


def test_whitened_rewards_keep_their_mean() -> None:
    found = judged(TWO, Ppo(**PLAIN, whiten_rewards=True), beta=0.1, moments=Moments())
    plain = torch.tensor([-0.05, 1.02, -1.01])
    wanted = (plain - plain.mean()) / plain.std() + plain.mean()
    assert torch.tensor([*found[0].rewards, *found[1].rewards]).allclose(wanted, atol=1e-6)


def test_without_a_reference_nothing_is_paid_for_kl() -> None:
    [found] = judged([lived([-1.0], [], [0.0], 2.0)], Ppo(**PLAIN, beta=0.0), beta=0.0, moments=Moments())
    assert (found.kls, found.rewards) == ([0.0], [2.0])


@pytest.mark.parametrize(
    ("own", "wanted"),
    [
        ({}, [8.0, -4.0, 2.0]),
        ({"missing_eos_penalty": 1.5}, [8.0, -5.5, 2.0]),
        ({"score_clip": 3.0}, [3.0, -3.0, 2.0]),
        ({"score_clip": 3.0, "missing_eos_penalty": 1.5}, [3.0, -4.5, 2.0]),  # the fine is not clipped away
        ({"scores": "scaled"}, [8 / 6, -4 / 6, 2 / 6]),  # mean 2, deviation sqrt((36 + 36 + 0) / 2) = 6
        ({"scores": "normalized"}, [1.0, -1.0, 0.0]),
    ],
)
def test_scores_are_brought_to_one_scale_clipped_and_fined(own: dict[str, Any], wanted: list[float]) -> None:
    assert settled([8.0, -4.0, 2.0], [True, False, True], Ppo(**own), moments=Moments()) == pytest.approx(wanted)


def test_the_scale_of_scores_is_that_of_all_steps_so_far() -> None:
    moments = Moments()
    settled([8.0, -4.0], [True, True], Ppo(scores="normalized"), moments=moments)
    assert settled([2.0], [True], Ppo(scores="normalized"), moments=moments) == pytest.approx([0.0])
    assert moments.std == pytest.approx(6.0)


def test_a_step_is_told_under_the_names_of_trl() -> None:
    found = told(judged(TWO, Ppo(**PLAIN), beta=0.1, moments=Moments()), beta=0.1)
    means = {name: float(v.total) / float(v.weight) for name, v in found.items() if isinstance(v, Mean)}
    assert means["objective/kl"] == pytest.approx((0.3 + 0.1) / 2)
    assert means["objective/entropy"] == pytest.approx((3.0 + 0.5) / 2)
    assert means["objective/scores"] == pytest.approx(0.0)
    assert means["objective/non_score_reward"] == pytest.approx(-0.02)
    assert means["objective/rlhf_reward"] == pytest.approx(-0.02)
    assert means["completions/clipped_ratio"] == 0.5
    assert means["rewards/rule/mean"] == 0.0


def test_where_all_returns_are_alike_no_explained_variance_is_told() -> None:
    one = lived([-1.0], [-1.0], [0.5], 1.0)
    found = told(judged([one, one], Ppo(**PLAIN), beta=0.1, moments=Moments()), beta=0.1)
    explained = found["val/explained_variance"]
    assert isinstance(explained, Mean)
    assert explained.weight == 0
