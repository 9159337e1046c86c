"""The head and the log-softmax in one give what autograd gives, keeping probabilities or working them out again."""

import pytest
import torch
from torch import Tensor

from engine import fused_head
from engine.fused_head import Scored, score_hidden
from engine.logprobs import score_logits

TOKENS, WIDTH, WORDS = 23, 12, 57


def made(*, bias: bool = True) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """Hidden states, weight, bias and targets."""
    generator = torch.Generator().manual_seed(0)
    hidden, weight, own = (
        torch.randn(*shape, generator=generator) for shape in ((TOKENS, WIDTH), (WORDS, WIDTH), (WORDS,))
    )
    targets = torch.randint(0, WORDS, (TOKENS,), generator=generator)
    return hidden.requires_grad_(), weight.requires_grad_(), own.requires_grad_() if bias else None, targets


def assert_same(found: Scored, wanted: Scored, leaves: list[Tensor]) -> None:
    # Autograd's entropy is the difference of two numbers as large as its logits; ours, of logits below the largest.
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-5)
    weights = torch.linspace(-1, 2, TOKENS)
    gradients = (torch.autograd.grad((scored.logps * weights).sum(), leaves) for scored in (found, wanted))
    for mine, other in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("keeps", [0, 5 * WORDS, TOKENS * WORDS], ids=["tiles of one", "tiles of five", "all kept"])
@pytest.mark.parametrize("scale", [1.0, 0.4])
@pytest.mark.parametrize("bias", [False, True], ids=["plain", "bias"])
def test_scores_and_gradients_are_those_of_autograd(bias: bool, scale: float, keeps: int) -> None:
    hidden, weight, own, targets = made(bias=bias)
    leaves = [leaf for leaf in (hidden, weight, own) if leaf is not None]
    wanted = Scored(*score_logits(scale * torch.nn.functional.linear(hidden, weight, own), targets))
    assert_same(score_hidden(hidden, weight, own, targets, scale=scale, keeps_at_most=keeps), wanted, leaves)


def test_a_small_tile_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, weight, _, targets = made(bias=False)
    wanted = score_hidden(hidden, weight, None, targets, scale=1.0, keeps_at_most=TOKENS * WORDS)
    monkeypatch.setitem(fused_head.TILE, "cpu", 3 * WORDS)
    assert_same(score_hidden(hidden, weight, None, targets, scale=1.0, keeps_at_most=TOKENS * WORDS), wanted, [hidden])


def test_a_frozen_head_passes_the_gradient_on_and_gets_none() -> None:
    hidden, weight, own, targets = made()
    assert own is not None
    frozen = score_hidden(hidden, weight.detach(), own.detach(), targets, scale=1.0, keeps_at_most=10**6)
    whole = score_hidden(hidden, weight, own, targets, scale=1.0, keeps_at_most=10**6)
    assert_same(frozen, whole, [hidden])


def test_a_second_backward_is_refused_where_the_first_used_up_what_was_kept() -> None:
    hidden, weight, _, targets = made(bias=False)
    logps = score_hidden(hidden, weight, None, targets, scale=1.0, keeps_at_most=10**6).logps.sum()
    logps.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        logps.backward()


def test_autocast_does_the_products_in_its_format_and_the_rest_in_float32() -> None:
    hidden, weight, _, targets = made(bias=False)
    wanted = score_hidden(hidden, weight, None, targets, scale=1.0, keeps_at_most=10**6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = score_hidden(hidden, weight, None, targets, scale=1.0, keeps_at_most=10**6)
    assert found.logps.dtype == torch.float32
    rounding = (found.logps - wanted.logps).abs().max()
    assert 0 < rounding < 0.1
    (gradient,) = torch.autograd.grad(found.logps.sum(), [weight])
    (expected,) = torch.autograd.grad(wanted.logps.sum(), [weight])
    assert gradient.dtype == torch.float32
    assert torch.allclose(gradient, expected, atol=0.05 * float(expected.abs().max()))


@pytest.mark.parametrize("keeps", [0, 5 * WORDS, TOKENS * WORDS], ids=["tiles of one", "tiles of five", "all kept"])
@pytest.mark.parametrize("scale", [1.0, 0.4])
def test_entropy_carries_the_gradient_of_autograd_where_it_is_to_learn(scale: float, keeps: int) -> None:
    hidden, weight, own, targets = made()
    assert own is not None
    leaves = [hidden, weight, own]
    exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
    logits = scale * torch.nn.functional.linear(*exact)
    wanted = Scored(*score_logits(logits, targets, entropy_learns=True))
    found = score_hidden(hidden, weight, own, targets, scale=scale, keeps_at_most=keeps, entropy_learns=True)
    weights = torch.linspace(-1, 2, TOKENS)
    totals = [(scored.logps * weights + scored.entropy * weights.flip(0)).sum() for scored in (found, wanted)]
    gradients = [torch.autograd.grad(total, of) for total, of in zip(totals, (leaves, exact), strict=True)]
    for mine, other in zip(*gradients, strict=True):
        torch.testing.assert_close(mine.double(), other, rtol=1e-5, atol=2e-6 * float(other.abs().max()))


def test_entropy_of_a_token_that_is_certain_has_a_gradient_of_zero_and_no_nan() -> None:
    hidden = torch.tensor([[200.0, 0.0]], requires_grad=True)
    weight = torch.eye(2)
    found = score_hidden(hidden, weight, None, torch.tensor([0]), scale=1.0, keeps_at_most=10, entropy_learns=True)
    (gradient,) = torch.autograd.grad(found.entropy.sum(), [hidden])
    assert torch.equal(gradient, torch.zeros(1, 2))
