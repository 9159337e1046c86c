"""The losses of policies that learn from what they sampled, against numbers worked out by hand."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.policy_losses import Objective, PolicyLoss, policy_loss


def loss_of(
    logps: Tensor,
    old: Tensor,
    advantages: Tensor,
    *,
    lengths: list[int] | None = None,
    reference: Tensor | None = None,
    importance: Tensor | None = None,
    normaliser: float = 1.0,
    **how: Any,
) -> PolicyLoss:
    """Of one answer, or of several of these lengths, in a mean over `normaliser` tokens."""
    return policy_loss(
        logps,
        old,
        advantages,
        torch.full_like(advantages, 1 / normaliser),
        torch.tensor(lengths or [len(logps)]),
        Objective(**how),
        reference_logps=reference,
        importance=importance,
    )


def gradient(of: PolicyLoss, logps: Tensor) -> list[float]:
    of.share.backward()
    assert logps.grad is not None
    found: list[float] = logps.grad.tolist()
    return found


def test_grpo_at_ratio_one_is_reinforce_with_baseline() -> None:
    # d/dlogp of -exp(logp - old) A / n at logp = old is -A / n.
    logps = torch.tensor([-1.0, -2.0, -0.5], requires_grad=True)
    result = loss_of(logps, logps.detach(), torch.tensor([2.0, -1.0, 0.0]), normaliser=4)
    result.share.backward()
    assert logps.grad is not None
    assert logps.grad.tolist() == [-0.5, 0.25, 0.0]
    assert result.share.item() == pytest.approx(-(2 - 1 + 0) / 4)
    assert result.ratio.tolist() == [1.0, 1.0, 1.0]


# epsilon is 0.2 below and 0.5 above: the clip range is 0.8 to 1.5.
@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient"),
    [
        # A > 0: the gain is capped at 1.5, never floored.
        (1.4, 2.0, -2.8, -2.8),  # -1.4 x 2 within; the gradient is -ratio x A
        (1.6, 2.0, -3.0, 0.0),  # -1.5 x 2 capped, and so no pull
        (0.5, 2.0, -1.0, -1.0),  # -0.5 x 2: below the range it still pulls back up
        # A < 0: the loss is floored at 0.8, never capped.
        (0.9, -2.0, 1.8, 1.8),
        (0.5, -2.0, 1.6, 0.0),  # 0.8 x 2: already unlikely enough
        (1.6, -2.0, 3.2, 3.2),  # 1.6 x 2: above the range it still pushes down
    ],
)
def test_grpo_clips_only_what_already_went_the_right_way(
    ratio: float, advantage: float, loss: float, gradient: float
) -> None:
    logps = torch.tensor([math.log(ratio) - 1.0], dtype=torch.float64, requires_grad=True)
    old, advantages = torch.tensor([-1.0], dtype=torch.float64), torch.tensor([advantage], dtype=torch.float64)
    result = loss_of(logps, old, advantages, epsilon_high=0.5)
    result.share.backward()
    assert logps.grad is not None
    assert result.share.item() == pytest.approx(loss)
    assert logps.grad.item() == pytest.approx(gradient)


def test_grpo_tells_which_tokens_were_clipped_and_on_which_side() -> None:
    ratios = torch.tensor([0.7, 0.7, 1.0, 1.3, 1.3])
    advantages = torch.tensor([-1.0, 1.0, 1.0, 1.0, -1.0])
    result = loss_of(ratios.log(), torch.zeros(5), advantages)
    assert result.is_clipped_low.tolist() == [True, False, False, False, False]
    assert result.is_clipped_high.tolist() == [False, False, False, True, False]


def test_grpo_adds_the_weighted_kl_per_token() -> None:
    # ratio 1, A = 1, KL with p_ref / p = 2: 2 - ln 2 - 1; so -1 + 0.5 (1 - ln 2), over 1 token.
    logps = torch.tensor([math.log(0.25)])
    result = loss_of(logps, logps, torch.ones(1), reference=torch.tensor([math.log(0.5)]), beta=0.5)
    assert result.kl.item() == pytest.approx(1 - math.log(2))
    assert result.share.item() == pytest.approx(-1 + 0.5 * (1 - math.log(2)))
    assert result.policy.tolist() == [-1.0]


@pytest.mark.parametrize(
    ("corrected", "gradient"),
    [
        # With x = p_ref / p = 2 and KL = x - ln x - 1: dKL/dlogp = 1 - x = -1.
        (False, -1.0),
        # With the ratio r = 1 in front, d(r KL)/dlogp = r KL + r (1 - x) = (1 - ln 2) - 1 = -ln 2: the true gradient.
        (True, -math.log(2)),
    ],
)
def test_the_kl_correction_lets_the_gradient_see_the_sampling(corrected: bool, gradient: float) -> None:
    logps = torch.tensor([math.log(0.25)], requires_grad=True)
    reference = torch.tensor([math.log(0.5)])
    how: dict[str, Any] = {"beta": 1.0, "kl_correction": corrected}
    loss_of(logps, logps.detach(), torch.zeros(1), reference=reference, **how).share.backward()
    assert logps.grad is not None
    assert logps.grad.item() == pytest.approx(gradient, rel=1e-6)


def test_without_beta_the_reference_has_no_say() -> None:
    logps = torch.tensor([-1.0, -2.0], requires_grad=True)
    far = torch.tensor([-9.0, -0.1])
    loss_of(logps, logps.detach(), torch.zeros(2), reference=far).share.backward()
    assert logps.grad is not None
    assert logps.grad.tolist() == [0.0, 0.0]


# ---------------------------------------------------------------------------------- of what the ratio is taken


#: Two answers, of two tokens and of one. The first's ratios are 2 and 1/8: their geometric mean is 1/2, product 1/4.
TWO: dict[str, Any] = {"lengths": [2, 1]}
RATIOS = torch.tensor([2.0, 0.125, 1.1], dtype=torch.float64)
UP = torch.ones(3, dtype=torch.float64)


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        ("token", [2.0, 0.125, 1.1]),
        ("sequence", [0.5, 0.5, 1.1]),
        ("sequence_token", [0.5, 0.5, 1.1]),
        ("answer", [0.25, 0.25, 1.1]),
    ],
)
def test_the_ratio_of_a_token_of_the_mean_token_and_of_the_answer(ratio: str, expected: list[float]) -> None:
    result = loss_of(RATIOS.log(), torch.zeros_like(UP), UP, ratio=ratio, clip="none", **TWO)
    assert result.ratio.tolist() == pytest.approx(expected)
    assert result.share.item() == pytest.approx(-sum(expected))


@pytest.mark.parametrize(
    ("ratio", "advantages", "expected"),
    [
        ("token", [1, 3, 1], [-2.0, -0.375, -1.1]),
        # Of GSPO each token of an answer gets the mean of the answer's pulls: 1/2 x (1 + 3) / 2.
        ("sequence", [1, 3, 1], [-1.0, -1.0, -1.1]),
        # Of GSPO-token its own: 1/2 x 1 and 1/2 x 3.
        ("sequence_token", [1, 3, 1], [-0.5, -1.5, -1.1]),
        # Of the product, the sum: 1/4 x (1 + 3).
        ("answer", [1, 3, 1], [-1.0, -1.0, -1.1]),
    ],
)
def test_whom_the_gradient_of_a_ratio_reaches(ratio: str, advantages: list[float], expected: list[float]) -> None:
    logps = RATIOS.log().requires_grad_()
    result = loss_of(logps, torch.zeros_like(UP), torch.tensor(advantages).double(), ratio=ratio, clip="none", **TWO)
    assert gradient(result, logps) == pytest.approx(expected)


# ---------------------------------------------------------------------------------- how the ratio is kept near 1


def one_token(now: float, advantage: float, **how: Any) -> tuple[float, float]:
    """The loss of a token that is `now` times as likely as it was, at a log-probability of -1, and its gradient."""
    logps = torch.tensor([math.log(now) - 1.0], dtype=torch.float64, requires_grad=True)
    result = loss_of(logps, torch.full_like(logps, -1.0).detach(), torch.full_like(logps, advantage).detach(), **how)
    return result.share.item(), gradient(result, logps)[0]


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope"),
    [
        (2.0, -1.0, 2.0, 2.0),  # below the cap: as it was
        (9.0, -1.0, 4.0, 0.0),  # above it no more than 4, and no pull
        (9.0, 1.0, -1.2, 0.0),  # the cap is of no matter where the advantage is positive
    ],
)
def test_a_dual_clip_bounds_what_a_bad_token_may_cost(
    ratio: float, advantage: float, loss: float, slope: float
) -> None:
    assert one_token(ratio, advantage, cap=4.0) == pytest.approx((loss, slope))


@pytest.mark.parametrize("advantage", [1.5, -1.5])
@pytest.mark.parametrize(("ratio", "weight"), [(0.1, 0.1), (3.0, 3.0), (9.0, 5.0)])
def test_cispo_caps_the_weight_and_never_the_gradient(ratio: float, advantage: float, weight: float) -> None:
    """-sg(min(r, 5)) A log p: its slope is the weight times A wherever the ratio is."""
    logp = math.log(ratio) - 1.0
    found = one_token(ratio, advantage, clip="one_sided", cap=5.0)
    assert found == pytest.approx((-weight * advantage * logp, -weight * advantage))


@pytest.mark.parametrize(("advantage", "steepness"), [(1.0, 1.0), (-1.0, 1.05)])
def test_sapo_leaves_a_ratio_of_one_alone_and_gates_others_softly(advantage: float, steepness: float) -> None:
    # The slope of 4 / s sigma(s (r - 1)) at r = 1 is 4 sigma'(0) = 1, so the pull is that of the policy gradient.
    value, slope = one_token(1.0, advantage, clip="soft")
    assert value == pytest.approx(-2 / steepness * advantage)
    assert slope == pytest.approx(-advantage)
    # At r = 3: 4 sigma(2s) (1 - sigma(2s)) r.
    gate = 1 / (1 + math.exp(-2 * steepness))
    assert one_token(3.0, advantage, clip="soft")[1] == pytest.approx(-advantage * 4 * gate * (1 - gate) * 3)


@pytest.mark.parametrize(("advantage", "power", "decay"), [(1.0, 2, 3), (-1.0, 3, 2)])
def test_vespo_weighs_an_answer_by_a_gamma_of_its_ratio(advantage: float, power: float, decay: float) -> None:
    for ratio in (1.0, 0.5, 2.0):
        weight = ratio**power * math.exp(decay * (1 - ratio))
        logp = math.log(ratio) - 1.0
        found = one_token(ratio, advantage, ratio="answer", clip="gamma")
        assert found == pytest.approx((-weight * advantage * logp, -weight * advantage))


@pytest.mark.parametrize("ratio", [0.01, 1.0, 50.0])
def test_without_clipping_the_ratio_counts_wherever_it_is(ratio: float) -> None:
    assert one_token(ratio, -1.5, clip="none") == pytest.approx((1.5 * ratio, 1.5 * ratio))


RATIO_KINDS = ["token", "sequence", "sequence_token", "answer"]
CLIPS: list[dict[str, Any]] = [
    {"clip": "two_sided"},
    {"clip": "two_sided", "epsilon_high": 0.28, "cap": 4.0},
    {"clip": "one_sided", "cap": 5.0},
    {"clip": "soft", "gate_down": 1.0},
    {"clip": "gamma"},
    {"clip": "none"},
]


@pytest.mark.parametrize("clip", CLIPS, ids=lambda how: "-".join(map(str, how.values())))
@pytest.mark.parametrize("ratio", RATIO_KINDS)
def test_at_the_first_update_every_choice_is_reinforce_with_baseline(ratio: str, clip: dict[str, Any]) -> None:
    """Policies agree, so no ratio and no clip has a say; of one answer's tokens all have its advantage."""
    logps = torch.tensor([-1.0, -2.0, -0.5, -3.0], dtype=torch.float64, requires_grad=True)
    advantages = torch.tensor([2.0, 2.0, -1.0, -1.0], dtype=torch.float64)
    result = loss_of(logps, logps.detach(), advantages, lengths=[2, 2], normaliser=4, ratio=ratio, **clip)
    # The product over an answer's tokens hands each the sum of both pulls.
    times = 2 if ratio == "answer" and clip["clip"] not in ("one_sided", "gamma") else 1
    assert gradient(result, logps) == pytest.approx([-0.5 * times, -0.5 * times, 0.25 * times, 0.25 * times])
    assert not bool((result.is_clipped_low | result.is_clipped_high).any())


# --------------------------------------------------------------------------------------- the pull to a reference


@pytest.mark.parametrize(
    ("estimator", "value", "slope"),
    [
        # p = 1/4, p_ref = 1/2, d = log p - log p_ref = -ln 2. Slopes without the correction.
        ("k1", -math.log(2), 1.0),
        ("k2", math.log(2) ** 2 / 2, -math.log(2)),
        ("k3", 1 - math.log(2), -1.0),
    ],
)
def test_the_estimators_of_the_kl_by_hand(estimator: str, value: float, slope: float) -> None:
    logps = torch.tensor([0.25], dtype=torch.float64).log().requires_grad_()
    reference = torch.tensor([0.5], dtype=torch.float64).log()
    how: dict[str, Any] = {"beta": 1.0, "kl": estimator, "kl_correction": False}
    result = loss_of(logps, logps.detach(), torch.zeros(1), reference=reference, **how)
    assert result.kl.item() == pytest.approx(value)
    assert gradient(result, logps) == pytest.approx([slope])


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_the_right_gradient_of_the_kl_is_had_where_it_is_promised(estimator: str) -> None:
    """Over all answers of one token, weighed by their probability: k2 plain, k1 and k3 weighed by the ratio."""
    logits = torch.tensor([0.3, -0.4, 0.1], dtype=torch.float64, requires_grad=True)
    reference = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64).log()
    logps = torch.log_softmax(logits, dim=0)
    exact = torch.autograd.grad((logps.exp() * (logps - reference)).sum(), logits, retain_graph=True)[0]
    how: dict[str, Any] = {"beta": 1.0, "kl": estimator, "kl_correction": estimator != "k2"}
    weights = logps.detach().exp()
    found = policy_loss(
        logps,
        logps.detach(),
        torch.zeros(3),
        weights,
        torch.ones(3).long(),
        Objective(**how),
        reference_logps=reference,
    )
    torch.testing.assert_close(torch.autograd.grad(found.share, logits)[0], exact, rtol=1e-9, atol=1e-12)


def test_importance_weighs_the_policys_part_and_not_the_kl() -> None:
    logps = torch.tensor([-1.0, -1.0])
    kl: dict[str, Any] = {"beta": 0.5, "reference": torch.tensor([0.0, 0.0])}
    plain = loss_of(logps, logps, torch.tensor([1.0, 2.0]), **kl)
    weighed = loss_of(logps, logps, torch.tensor([1.0, 2.0]), importance=torch.tensor([0.5, 3.0]), **kl)
    assert plain.share.item() - weighed.share.item() == pytest.approx(-(1 + 2) + (0.5 + 6))
    assert torch.equal(plain.kl, weighed.kl)


# ------------------------------------------------------------------------------------------------ shares add up


@pytest.mark.parametrize("clip", CLIPS, ids=lambda how: "-".join(map(str, how.values())))
@pytest.mark.parametrize("ratio", RATIO_KINDS)
def test_shares_add_up_however_answers_are_dealt_out_and_in_any_order(ratio: str, clip: dict[str, Any]) -> None:
    generator = torch.Generator().manual_seed(3)
    lengths = [3, 1, 5, 2]
    logps, old, reference, advantages, weights = torch.randn(5, sum(lengths), generator=generator).double()
    choices: dict[str, Any] = {"ratio": ratio, "beta": 0.1, **clip}
    how = Objective(**choices)

    def share(answers: list[int]) -> Tensor:
        starts = [sum(lengths[:index]) for index in range(len(lengths))]
        at = torch.tensor([starts[index] + token for index in answers for token in range(lengths[index])])
        sizes = torch.tensor([lengths[index] for index in answers])
        mine = [each[at] for each in (logps, old, advantages, weights)]
        return policy_loss(mine[0], mine[1], mine[2], mine[3], sizes, how, reference_logps=reference[at]).share

    whole = share([0, 1, 2, 3]).item()
    assert share([2, 3, 0, 1]).item() == pytest.approx(whole)
    assert sum(share([index]).item() for index in range(4)) == pytest.approx(whole)
    assert share([0, 2]).item() + share([3, 1]).item() == pytest.approx(whole)


def test_what_is_reported_holds_no_graph() -> None:
    logps = torch.tensor([-1.0], requires_grad=True)
    result = loss_of(logps, logps.detach(), torch.ones(1), reference=torch.zeros(1), beta=0.1)
    assert [t.requires_grad for t in result] == [True, False, False, False, False, False]
