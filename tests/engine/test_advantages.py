"""KL estimators, against numbers worked out by hand."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.advantages import kl_k3


def test_k3_by_hand() -> None:
    # p = 1/4, p_ref = 1/2: x - ln x - 1 with x = 2.
    found = kl_k3(torch.tensor([0.25]).log(), torch.tensor([0.5]).log())
    assert found.item() == pytest.approx(1 - math.log(2))


@given(st.floats(-30, 0, width=32), st.floats(-30, 0, width=32))
def test_k3_is_never_negative_and_zero_only_where_the_two_agree(logp: float, reference: float) -> None:
    found = kl_k3(torch.tensor(logp, dtype=torch.float64), torch.tensor(reference, dtype=torch.float64)).item()
    assert found >= 0
    assert (found == 0) == (abs(logp - reference) < 1e-8) or abs(logp - reference) < 1e-7


def test_k3_keeps_its_digits_where_policy_and_reference_nearly_agree() -> None:
    # For a small d, exp(d) - 1 - d = d^2 / 2; computed the plain way in float32 it would be 0 or negative.
    found = kl_k3(torch.tensor([-1.0]), torch.tensor([-1.0 + 2.0**-10]))
    assert found.item() == pytest.approx(2.0**-21, rel=1e-3)


def test_k3_is_unbiased() -> None:
    """Over every answer of two tokens, weighted by its probability, it is the KL divergence of the answers."""
    policy = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]], dtype=torch.float64)
    reference = torch.tensor([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]], dtype=torch.float64)
    exact = (policy * (policy / reference).log()).sum().item()
    expected = 0.0
    for first, second in itertools.product(range(3), repeat=2):
        probability = policy[0, first] * policy[1, second]
        p = torch.stack([policy[0, first], policy[1, second]]).log()
        q = torch.stack([reference[0, first], reference[1, second]]).log()
        expected += float(probability * kl_k3(p, q).sum())
    assert expected == pytest.approx(exact, abs=1e-12)
