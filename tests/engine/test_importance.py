"""Importance correction: by hand, as TRL has it, and that it gives back the law that is trained."""

from typing import Any, Literal

import pytest
import torch

from engine.contract.online_settings import Rollout
from engine.rollout.importance import importance_weights
from engine.rollout.local import sample_answers
from tests.tiny import tiny_policy

#: Two answers, of two tokens and of one. Ratios 2, 1/4 and 8; of the answers, 1/2 and 8.
DRAWN = torch.tensor([-1.0, -2.0, -3.0])
TRAINER = DRAWN + torch.tensor([2.0, 0.25, 8.0]).log()

BY_HAND: list[tuple[Any, Any, float, float, list[float]]] = [
    ("token", "truncate", 0.0, 3.0, [2.0, 0.25, 3.0]),
    ("token", "truncate", 0.5, 3.0, [2.0, 0.5, 3.0]),
    ("token", "mask", 0.0, 3.0, [2.0, 0.25, 0.0]),
    ("token", "mask", 0.5, 3.0, [2.0, 0.0, 0.0]),
    ("sequence", "truncate", 0.0, 3.0, [0.5, 0.5, 3.0]),
    ("sequence", "mask", 0.0, 3.0, [0.5, 0.5, 0.0]),
    ("sequence", "mask", 0.6, 10.0, [0.0, 0.0, 8.0]),
]


@pytest.mark.parametrize(("level", "beyond", "lowest", "highest", "expected"), BY_HAND)
def test_weights_by_hand(level: Any, beyond: Any, lowest: float, highest: float, expected: list[float]) -> None:
    found = importance_weights(TRAINER, DRAWN, [2, 1], level=level, beyond=beyond, lowest=lowest, highest=highest)
    assert torch.allclose(found, torch.tensor(expected))


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_one_law_weighs_one(level: Literal["token", "sequence"]) -> None:
    found = importance_weights(DRAWN, DRAWN, [2, 1], level=level, beyond="mask", highest=3.0)
    assert found.tolist() == [1, 1, 1]


def test_a_log_probability_that_was_not_told_corrects_nothing() -> None:
    drawn = torch.tensor([torch.nan, -2.0, -3.0])
    found = importance_weights(TRAINER, drawn, [2, 1], level="token", beyond="truncate", highest=3.0)
    assert torch.allclose(found, torch.tensor([1.0, 0.25, 3.0]))


def test_weights_carry_no_gradient() -> None:
    trainer = TRAINER.clone().requires_grad_()
    assert not importance_weights(trainer, DRAWN, [2, 1], level="token", beyond="mask", highest=3.0).requires_grad


def test_a_cut_tail_weighs_every_token_by_the_share_that_was_kept() -> None:
    """Drawn from the four likeliest, a token is likelier than in the whole softmax by one over their share of it."""
    policy, prompt = tiny_policy(), [5, 6, 7]
    ((answer,),) = sample_answers(policy, [prompt], [[3]], Rollout(max_new_tokens=6, top_k=4))
    found = importance_weights(
        torch.tensor(answer.logps), torch.tensor(answer.drawn_logps), [6], level="token", beyond="mask", highest=3.0
    )
    logits = policy.model(input_ids=torch.tensor([[*prompt, *answer.ids]])).logits[0, len(prompt) - 1 : -1]
    share = torch.softmax(logits.detach(), dim=-1).topk(4, dim=-1).values.sum(dim=-1)
    assert torch.allclose(found, share, atol=1e-4)
    assert found.max() < 0.99


def test_weighed_answers_have_the_mean_of_the_law_that_is_trained() -> None:
    """E over μ of π/μ · f is E over π of f: exact, summed over all that μ can draw, where μ leaves nothing out."""
    trained, drew = torch.softmax(torch.tensor([[2.0, 0.0, 1.0], [0.0, 1.0, 0.5]]), dim=1)
    value = torch.tensor([3.0, -1.0, 0.5])
    weights = importance_weights(trained.log(), drew.log(), [1, 1, 1], level="sequence", beyond="mask", highest=1e9)
    assert torch.allclose((drew * weights * value).sum(), (trained * value).sum())
