"""Classifier-free guidance: a straight line through what a model says unasked and asked."""

import pytest
import torch

from engine.diffusion.guidance import guided

X, T = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([5, 5])


def asked(x, t):
    return x * t.view(-1, 1, 1, 1)


def unasked(x, t):
    return x + 1


def never(x, t):
    raise AssertionError("was asked for nothing")


def test_one_is_the_conditional_model_and_asks_no_other():
    assert torch.equal(guided(asked, never, 1.0)(X, T), asked(X, T))


def test_zero_is_the_unconditional_model_and_asks_no_other():
    assert torch.equal(guided(never, unasked, 0.0)(X, T), unasked(X, T))


@pytest.mark.parametrize("scale", [0.5, 2.0, 7.5, -1.0])
def test_any_other_scale_goes_that_far_from_the_unconditional_one(scale):
    expected = (1 - scale) * unasked(X, T) + scale * asked(X, T)
    torch.testing.assert_close(guided(asked, unasked, scale)(X, T), expected, rtol=1e-5, atol=1e-5)


def test_a_prompt_against_itself_is_the_prompt_at_any_scale():
    torch.testing.assert_close(guided(asked, asked, 9.0)(X, T), asked(X, T))
