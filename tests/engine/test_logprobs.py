"""Token scores are those of the whole model, at exactly the targets, however rows are padded, batched or cut."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from engine import logprobs
from engine.data.batching import pad_rows
from engine.data.chat import Example
from engine.logprobs import Rows, TokenScorer, TokenScores, score_logits
from tests.tiny import FAMILIES, random_ids, rows_of, tiny_model, whole_logps, with_lora

#: Prompts and answers of uneven lengths.
PAIRS = [
    (random_ids(9, seed=1), random_ids(6, seed=2)),
    (random_ids(2, seed=3), random_ids(11, seed=4)),
    (random_ids(1, seed=5), random_ids(1, seed=6)),
]
#: Families that scale, cap or bias their logits, or place tokens in their own way; each strongly enough to be noticed.
OTHERS: list[tuple[str, dict[str, Any]]] = [
    ("gemma2", {"final_logit_softcapping": 3.0, "head_dim": 8, "sliding_window": 4}),
    ("cohere", {"logit_scale": 0.25}),
    ("granite", {"logits_scaling": 4.0}),
    ("phi", {}),
    ("bloom", {}),
]


def scores_of(model: nn.Module, rows: Rows, temperature: float = 1.0) -> TokenScores:
    scores: TokenScores = TokenScorer(model)(rows, temperature)
    return scores


def expected_logps(model: nn.Module, temperature: float = 1.0) -> Tensor:
    return torch.cat([whole_logps(model, prompt, answer, temperature) for prompt, answer in PAIRS])


# --------------------------------------------------------------------------------------- equal to the whole model


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("family", FAMILIES)
def test_scores_are_the_whole_models_at_exactly_the_targets(family: str, lora: bool, tied: bool) -> None:
    model: nn.Module = tiny_model(family, tie_word_embeddings=tied)
    model = with_lora(model) if lora else model  # type: ignore[arg-type]
    scorer = TokenScorer(model)
    assert scorer.head is not None  # the vocabulary is met at the targets only
    assert torch.allclose(scorer(rows_of(PAIRS)).logps, expected_logps(model), atol=1e-5)


def test_an_adapter_changes_the_scores_and_switching_it_off_gives_the_model_back() -> None:
    bare = expected_logps(tiny_model())
    model: Any = with_lora(tiny_model())
    scorer = TokenScorer(model)
    assert (scorer(rows_of(PAIRS)).logps - bare).abs().max() > 0.1
    with model.disable_adapter():
        assert torch.allclose(scorer(rows_of(PAIRS)).logps, bare, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_temperature_divides_the_logits(family: str) -> None:
    model = tiny_model(family)
    assert torch.allclose(scores_of(model, rows_of(PAIRS), 0.7).logps, expected_logps(model, 0.7), atol=1e-5)


def test_targets_may_stand_anywhere_but_first() -> None:
    """Two assistant turns in one row: only their tokens are scored, in order."""
    model, ids = tiny_model("qwen2"), random_ids(10, seed=7)
    places = [1, 4, 5, 9]
    rows = pad_rows([Example(ids, [index in places for index in range(10)])], 0)
    expected = whole_logps(model, ids[:1], ids[1:])[[place - 1 for place in places]]
    assert torch.allclose(scores_of(model, rows).logps, expected, atol=1e-5)


@pytest.mark.parametrize(("family", "extra"), OTHERS, ids=[family for family, _ in OTHERS])
def test_a_head_that_scales_caps_or_shifts_its_logits_is_reproduced(family: str, extra: dict[str, Any]) -> None:
    model = tiny_model(family, **extra)
    scorer = TokenScorer(model)
    assert scorer.head is not None
    assert torch.allclose(scorer(rows_of(PAIRS)).logps, expected_logps(model), atol=1e-5)


def test_a_head_with_a_cap_of_an_unknown_name_falls_back_to_the_whole_model() -> None:
    model = tiny_model("recurrent_gemma", logits_soft_cap=3.0, lru_width=32, attention_window_size=64)
    scorer = TokenScorer(model)
    assert scorer.head is None
    assert torch.allclose(scorer(rows_of(PAIRS)).logps, expected_logps(model), atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_adapter_on_the_head_falls_back_to_the_whole_model(family: str) -> None:
    model = with_lora(tiny_model(family), targets=["lm_head"])
    scorer = TokenScorer(model)
    assert scorer.head is None
    assert torch.allclose(scorer(rows_of(PAIRS)).logps, expected_logps(model), atol=1e-5)


def test_the_scorer_adds_no_weights_of_its_own() -> None:
    model = tiny_model(tie_word_embeddings=True)
    assert [id(p) for p in TokenScorer(model).parameters()] == [id(p) for p in model.parameters()]
    assert set(TokenScorer(model).state_dict()) == {f"model.{name}" for name in model.state_dict()}


def test_finding_the_head_leaves_the_model_in_the_mode_it_was() -> None:
    model = tiny_model("gpt2", resid_pdrop=0.5).train()
    TokenScorer(model)
    assert model.training


# -------------------------------------------------------------------------------------------------------- chunks


@pytest.mark.parametrize("falls_back", [False, True], ids=["split", "whole"])
@pytest.mark.parametrize("rows_at_once", [1, 5, 17])
def test_the_head_in_chunks_gives_the_same_scores_and_gradients(
    monkeypatch: pytest.MonkeyPatch, rows_at_once: int, falls_back: bool
) -> None:
    model: nn.Module = with_lora(tiny_model(), targets=["lm_head"]) if falls_back else tiny_model()
    model.requires_grad_(True)

    def scores_and_gradients() -> tuple[TokenScores, list[Tensor]]:
        model.zero_grad(set_to_none=True)
        scores = scores_of(model, rows_of(PAIRS), 0.9)
        (scores.logps * torch.linspace(-1, 2, len(scores.logps))).sum().backward()
        return scores, [p.grad for p in model.parameters() if p.grad is not None]

    whole, whole_gradients = scores_and_gradients()
    monkeypatch.setattr(logprobs, "LOGITS_AT_ONCE", rows_at_once * 258)
    chunked, chunked_gradients = scores_and_gradients()
    assert torch.allclose(chunked.logps, whole.logps, atol=1e-6)
    assert torch.allclose(chunked.entropy, whole.entropy, atol=1e-6)
    assert torch.equal(chunked.is_top, whole.is_top)
    assert len(chunked_gradients) == len(whole_gradients) > 0
    for ours, theirs in zip(chunked_gradients, whole_gradients, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_the_head_never_holds_more_logits_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(logprobs, "LOGITS_AT_ONCE", 4 * 258 + 100)
    model: Any = tiny_model()
    scorer = TokenScorer(model)
    model.lm_head.register_forward_hook(lambda module, given, logits: seen.append(logits.numel()))
    with torch.no_grad():
        scores = scorer(rows_of(PAIRS))
    assert max(seen) <= 4 * 258 + 100
    assert sum(seen) == len(scores.logps) * 258


# ---------------------------------------------------------------------------------- padding, neighbours, positions


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=15)
@given(data=st.data())
def test_neighbours_and_padding_never_change_a_rows_scores(family: str, data: st.DataObject) -> None:
    model = tiny_model(family)
    lengths = data.draw(st.lists(st.tuples(st.integers(1, 12), st.integers(1, 8)), min_size=1, max_size=5))
    pairs = [(random_ids(p, seed=2 * i), random_ids(a, seed=2 * i + 1)) for i, (p, a) in enumerate(lengths)]
    pad_id = data.draw(st.integers(0, 257))
    with torch.no_grad():
        together = scores_of(model, rows_of(pairs, pad_id))
        alone = [scores_of(model, rows_of([pair])) for pair in pairs]
    for ours, theirs in zip(together, zip(*alone, strict=True), strict=True):
        assert torch.allclose(ours.float(), torch.cat(theirs).float(), atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_positions_come_from_the_mask_so_left_padding_changes_nothing(family: str) -> None:
    """Without them a model with learned positions, as GPT-2, is off by nats per token."""
    model = tiny_model(family)
    right = rows_of(PAIRS)
    left = Rows(
        *(
            torch.stack([row.roll(int((~mask).sum())) for row, mask in zip(part, right.is_token, strict=True)])
            for part in right
        )
    )
    assert left.is_token[:, -1].all()
    assert not left.is_token.all()
    assert torch.allclose(scores_of(model, left).logps, scores_of(model, right).logps, atol=1e-5)


# -------------------------------------------------------------------------------------------------- scores by hand


def test_scores_by_hand() -> None:
    # Probabilities 1/2, 1/4, 1/4: entropy (1/2 + 1/4 x 2 + 1/4 x 2) ln 2 = 1.5 ln 2. Uniform over 3: ln 3.
    logits = torch.tensor([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25], [1.0, 1.0, 1.0]]).log()
    scores = score_logits(logits, torch.tensor([0, 2, 1]))
    assert scores.logps.tolist() == pytest.approx([-math.log(2), -2 * math.log(2), -math.log(3)], abs=1e-6)
    assert scores.entropy.tolist() == pytest.approx([1.5 * math.log(2), 1.5 * math.log(2), math.log(3)], abs=1e-6)
    assert scores.is_top.tolist() == [True, False, True]  # a tie is a top


def test_a_constant_added_to_all_logits_changes_nothing() -> None:
    logits, targets = torch.randn(5, 20, generator=torch.Generator().manual_seed(0)), torch.arange(5)
    plain, shifted = score_logits(logits, targets), score_logits(logits + 50.0, targets)
    assert torch.allclose(shifted.logps, plain.logps, atol=1e-4)
    assert torch.allclose(shifted.entropy, plain.entropy, atol=1e-4)


def test_the_gradient_of_a_score_is_one_hot_minus_softmax() -> None:
    logits = torch.tensor([[0.5, 0.25, 0.25]]).log().requires_grad_()
    scores = score_logits(logits, torch.tensor([1]))
    scores.logps.sum().backward()
    assert logits.grad is not None
    assert logits.grad[0].tolist() == pytest.approx([-0.5, 0.75, -0.25])
    assert not scores.entropy.requires_grad


def test_logits_far_from_zero_keep_scores_finite() -> None:
    scores = score_logits(torch.tensor([[1e4, 0.0, -1e4]]), torch.tensor([2]))
    assert scores.logps.tolist() == [-2e4]
    assert scores.entropy.tolist() == [0.0]


def test_rows_without_targets_give_no_scores_and_a_zero_gradient() -> None:
    model = tiny_model()
    rows = pad_rows([Example(random_ids(5, seed=1), [False] * 5)], 0)
    scores = scores_of(model, rows)
    assert len(scores.logps) == 0
    scores.logps.sum().backward()
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())
