"""A head in float32 on a model in bfloat16: the sampler's logits and the trainer's scores, with gradients."""

from pathlib import Path

import torch

from engine.contract.preset import GrpoPreset
from engine.float32_head import head_in_float32
from engine.logprobs import TokenScorer
from engine.methods.grpo import grpo
from tests.tiny import bench_of, random_ids, rows_of, tiny_model, tiny_policy

ROWS = rows_of([(random_ids(4, seed=1), random_ids(5, seed=2)), (random_ids(2, seed=3), random_ids(3, seed=4))])


def test_logits_are_a_float32_product_of_what_the_layers_gave() -> None:
    model = tiny_model().bfloat16()
    ids = ROWS.input_ids[:1]
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
    exact = hidden.float() @ model.lm_head.weight.float().T
    assert model(input_ids=ids).logits.dtype == torch.bfloat16
    head_in_float32(model)
    logits = model(input_ids=ids).logits
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, exact, rtol=1e-6, atol=1e-6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(model(input_ids=ids).logits, logits)


def test_the_trainer_scores_with_the_same_head_and_learns_it() -> None:
    model = tiny_model().bfloat16()
    head_in_float32(model)
    scorer = TokenScorer(model)
    found = scorer(ROWS).logps
    logits = model(input_ids=ROWS.input_ids, attention_mask=ROWS.is_token.long()).logits
    exact = torch.log_softmax(logits[:, :-1], dim=-1).gather(-1, ROWS.input_ids[:, 1:, None]).squeeze(-1)
    assert torch.allclose(
        found, exact[ROWS.is_target[:, 1:]], rtol=0.02, atol=0.02
    )  # rows of other lengths in bfloat16
    found.sum().backward()
    assert model.lm_head.weight.grad is not None
    assert float(model.lm_head.weight.grad.abs().max()) > 0


def test_grpo_asks_for_it_where_the_model_computes_in_less(tmp_path: Path) -> None:
    preset = GrpoPreset.model_validate(
        {
            "method": "grpo",
            "model": {"path": "scratch"},
            "data": {"train": "rows.jsonl"},
            "rewards": [{"kind": "exact_match"}],
            "grpo": {"beta": 0.0, "float32_head": True},
        }
    )
    for dtype, is_patched in ((torch.float32, False), (torch.bfloat16, True)):
        policy = tiny_policy()
        policy.model.to(dtype)
        grpo(preset, bench_of(policy, tmp_path / str(dtype)))
        assert ("forward" in vars(policy.model.lm_head)) == is_patched
