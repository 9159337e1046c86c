"""The DPO family, against numbers worked out by hand."""

import math
from collections.abc import Callable
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from engine.contract import crossed, settings
from engine.preference_losses import LOSSES, SMOOTHED, Pairs, PreferenceLoss, preference_loss

KINDS = [*LOSSES, *SMOOTHED]
#: They sort within the batch.
WHOLE_BATCH = {"aot", "aot_unpaired"}


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def softplus(x: float) -> float:
    """-log sigma(-x)."""
    return math.log1p(math.exp(x))


def pairs_of(chosen: list[float], rejected: list[float], *, tokens: tuple[int, int] = (2, 4)) -> Pairs:
    """Pairs with these log-ratios to a reference that gives every answer -10 nats."""
    c, r = torch.tensor(chosen, dtype=torch.float64), torch.tensor(rejected, dtype=torch.float64)
    base = torch.full_like(c, -10.0)
    counts = (torch.full_like(c, tokens[0]), torch.full_like(c, tokens[1]))
    return Pairs(base + c, base + r, base, base, *counts)


def loss_of(pairs: Pairs, kind: str, *, beta: float = 0.5, smoothing: float = 0.1) -> PreferenceLoss:
    return preference_loss(
        pairs, kinds={kind: 1.0}, beta=beta, label_smoothing=smoothing, normaliser=float(pairs.chosen.shape[0])
    )


# One pair with c = 2, r = -1, so d = 3; 2 and 4 tokens, so a token d = 2/2 + 1/4 = 1.25. β = 0.5, ε = 0.1.
AT_A_POINT = {
    "sigmoid": 0.9 * softplus(-1.5) + 0.1 * softplus(1.5),
    "hinge": 0.0,
    "ipo": (1.25 - 1) ** 2,
    "ipo_sum": (3 - 1) ** 2,
    "robust": (0.9 * softplus(-1.5) - 0.1 * softplus(1.5)) / 0.8,
    "exo_pair": sigma(1.5) * math.log(sigma(1.5) / 0.9) + sigma(-1.5) * math.log(sigma(-1.5) / 0.1),
    "nca_pair": softplus(-1) + 0.5 * softplus(1) + 0.5 * softplus(-0.5),
    "bco_pair": softplus(-1) + softplus(-0.5),
    "sppo_hard": (2 - 1) ** 2 + (-1 + 1) ** 2,
    "aot": 0.9 * softplus(-1.5) + 0.1 * softplus(1.5),
    "aot_unpaired": 0.9 * softplus(-1.5) + 0.1 * softplus(1.5),
    "apo_zero": sigma(-1) + sigma(-0.5),
    "apo_down": sigma(1) + sigma(-1.5),
    "discopop": softplus(-1.5) * sigma(-30) + math.exp(-1.5) * sigma(30),
    "sigmoid_norm": softplus(-0.625),
}

# The policy is the reference: c = r = d = 0. β = 0.5, ε = 0.1.
AT_THE_REFERENCE = {
    "sigmoid": math.log(2),
    "hinge": 1.0,
    "ipo": 1.0,
    "ipo_sum": 1.0,
    "robust": math.log(2),
    "exo_pair": 0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1),
    "nca_pair": 2 * math.log(2),
    "bco_pair": 2 * math.log(2),
    "sppo_hard": 2.0,
    "aot": math.log(2),
    "aot_unpaired": math.log(2),
    "apo_zero": 1.0,
    "apo_down": 1.0,
    "discopop": 0.5 * math.log(2) + 0.5,
    "sigmoid_norm": math.log(2),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_loss_is_what_its_formula_gives_by_hand(kind: str) -> None:
    assert loss_of(pairs_of([2.0], [-1.0]), kind).share.item() == pytest.approx(AT_A_POINT[kind], rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_every_loss_of_a_policy_equal_to_its_reference(kind: str) -> None:
    share = loss_of(pairs_of([0.0, 0.0], [0.0, 0.0]), kind).share
    assert share.item() == pytest.approx(AT_THE_REFERENCE[kind], rel=1e-6)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "discopop"])
def test_every_loss_wants_the_rejected_answer_less_likely(kind: str) -> None:
    """At the reference; and the chosen one likelier, but for apo_down, which lets both fall, the rejected faster."""
    chosen = torch.full((2,), -10.0, requires_grad=True)
    rejected = torch.full((2,), -10.0, requires_grad=True)
    base, tokens = torch.full((2,), -10.0), torch.tensor([3.0, 3.0])
    loss_of(Pairs(chosen, rejected, base, base, tokens, tokens), kind).share.backward()
    assert chosen.grad is not None
    assert rejected.grad is not None
    assert (rejected.grad > 0).all()
    assert (chosen.grad <= 1e-9).all()
    assert (chosen.grad < rejected.grad).all()


def test_discopop_is_not_convex_around_the_reference() -> None:
    """Its paper's figure 1: it rises with a margin near 0, and falls on either side."""
    at = {
        x: loss_of(pairs_of([x], [0.0]), "discopop", beta=1.0).share.item() for x in (-1.0, -0.5, -0.05, 0.05, 0.5, 1.0)
    }
    assert at[-1.0] > at[-0.5]
    assert at[-0.05] < at[0.05]
    assert at[0.5] > at[1.0]


def test_dpo_pushes_by_how_wrong_the_implicit_reward_is() -> None:
    """The gradient is -β sigma(r - c), Rafailov et al. 2023, section 4."""
    chosen = torch.tensor([-9.0], requires_grad=True)
    ones = torch.ones(1)
    pairs = Pairs(chosen, torch.tensor([-7.0]), torch.tensor([-10.0]), torch.tensor([-10.0]), ones, ones)
    loss_of(pairs, "sigmoid", beta=0.5, smoothing=0.0).share.backward()
    assert chosen.grad is not None
    assert chosen.grad.item() == pytest.approx(-0.5 * sigma(0.5 * (3 - 1)))


def test_with_an_offset_a_pair_has_to_lead_by_it() -> None:
    """β d = 1.5, so an offset of 1 leaves 0.5, and one of 1.5 leaves a pair as undecided as no lead at all."""
    pairs = pairs_of([2.0, 2.0, 2.0], [-1.0, -1.0, -1.0])._replace(offset=torch.tensor([0.0, 1.0, 1.5]))
    found = loss_of(pairs, "sigmoid", smoothing=0.0)
    assert found.per_pair.tolist() == pytest.approx([softplus(-1.5), softplus(-0.5), math.log(2)])
    assert found.chosen_rewards.tolist() == [1.0, 1.0, 1.0]


def test_the_hinge_lets_go_of_a_pair_whose_margin_is_wide_enough() -> None:
    assert loss_of(pairs_of([1.0, 4.0], [0.0, 0.0]), "hinge").per_pair.tolist() == [0.5, 0.0]


def test_ipo_means_tokens_and_ipo_sum_sums_them() -> None:
    """Equal for answers of one token, and the optimum of the sum is a margin of 1 / (2 β)."""
    single = pairs_of([2.0], [-1.0], tokens=(1, 1))
    assert loss_of(single, "ipo").share.item() == loss_of(single, "ipo_sum").share.item()
    assert loss_of(pairs_of([1.0], [0.0]), "ipo_sum").share.item() == pytest.approx(0.0)


@pytest.mark.parametrize("kind", [kind for kind in SMOOTHED if kind != "exo_pair"])
def test_without_smoothing_a_smoothed_loss_is_dpo(kind: str) -> None:
    pairs = pairs_of([1.5], [-0.5])
    assert loss_of(pairs, kind, smoothing=0.0).share.item() == pytest.approx(softplus(-1.0))


def test_exo_is_least_where_the_policy_prefers_as_surely_as_its_labels() -> None:
    """sigma(β d) = 1 - ε: with ε = 0.1, β d = log 9."""
    assert loss_of(pairs_of([math.log(9)], [0.0]), "exo_pair", beta=1.0).share.item() == pytest.approx(0.0, abs=1e-7)


def test_robust_is_unbiased_under_flipped_labels() -> None:
    """Its mean over labels that flip with probability ε is the loss of the true ones: (1 - ε) L(d) + ε L(-d) = DPO."""
    right, flipped = pairs_of([2.0], [-1.0]), pairs_of([-1.0], [2.0])
    mean = 0.9 * loss_of(right, "robust").share.item() + 0.1 * loss_of(flipped, "robust").share.item()
    assert mean == pytest.approx(softplus(-1.5))


def test_aot_compares_the_batch_and_not_the_pair() -> None:
    """Margins of the policy 3, 1 and of the reference 0, 2 sort to 1, 3 and 0, 2: each place is 1 apart."""
    zero, ones = torch.zeros(2), torch.ones(2)
    pairs = Pairs(torch.tensor([3.0, 1.0]), zero, torch.tensor([0.0, 2.0]), zero, ones, ones)
    assert loss_of(pairs, "aot", smoothing=0.0).share.item() == pytest.approx(softplus(-0.5))
    # Log-ratios of the chosen 3, -1 sort to -1, 3 and those of the rejected are 0.
    assert loss_of(pairs, "aot_unpaired", smoothing=0.0).share.item() == pytest.approx(
        (softplus(0.5) + softplus(-1.5)) / 2
    )


def test_rewards_are_beta_times_the_log_ratios_and_hold_no_graph() -> None:
    pairs = pairs_of([2.0], [-1.0])
    pairs = pairs._replace(chosen=pairs.chosen.requires_grad_())
    result = loss_of(pairs, "sigmoid")
    assert (result.chosen_rewards.item(), result.rejected_rewards.item()) == (1.0, -0.5)
    assert [tensor.requires_grad for tensor in result] == [True, False, False, False]


def random_pairs(count: int, seed: int) -> Pairs:
    generator = torch.Generator().manual_seed(seed)
    logps = [-20 + 3 * torch.randn(count, generator=generator, dtype=torch.float64) for _ in range(4)]
    tokens = [torch.randint(1, 9, (count,), generator=generator).double() for _ in range(2)]
    return Pairs(*logps, *tokens)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in WHOLE_BATCH])
@given(st.integers(1, 12), st.integers(0, 12), st.integers(0, 2**31))
def test_shares_add_up_however_the_batch_is_cut(kind: str, count: int, cut: int, seed: int) -> None:
    pairs = random_pairs(count, seed)

    def share(part: slice) -> Tensor:
        cut_pairs = Pairs(*(tensor[part] for tensor in pairs[:6]))
        return preference_loss(cut_pairs, kinds={kind: 1.0}, beta=0.3, label_smoothing=0.2, normaliser=count).share

    whole, parts = share(slice(None)), share(slice(0, cut)) + share(slice(cut, None))
    assert parts.item() == pytest.approx(whole.item(), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("kind", sorted(WHOLE_BATCH))
def test_a_batch_that_is_cut_is_another_loss_where_pairs_are_sorted(kind: str) -> None:
    pairs = random_pairs(6, 1)
    halves = [Pairs(*(tensor[part] for tensor in pairs[:6])) for part in (slice(0, 3), slice(3, 6))]
    cut = sum(loss_of(half, kind).share.item() for half in halves) / 2
    assert abs(cut - loss_of(pairs, kind).share.item()) > 1e-3


def test_a_preset_can_choose_each_loss_and_knows_what_it_needs() -> None:
    assert set(get_args(settings.Dpo.model_fields["loss"].annotation)) == set(KINDS)
    assert set(crossed.SMOOTHED) == set(SMOOTHED)
    assert set(crossed.WHOLE_BATCH) == WHOLE_BATCH


@pytest.mark.parametrize("kind", KINDS)
def test_every_loss_says_which_paper_it_comes_from(kind: str) -> None:
    function: Callable[..., Tensor] = (LOSSES | SMOOTHED)[kind]
    assert "arXiv:" in (function.__doc__ or "")
    assert function.__name__ == kind
