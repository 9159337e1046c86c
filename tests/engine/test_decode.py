"""Sampling draws from the policy that is trained, and what it draws depends on nothing but the seed."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import MinPLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from engine.contract.online_settings import Rollout
from engine.contract.preset import GrpoPreset, SftPreset
from engine.contract.rollouts import read_completion
from engine.methods.grpo import grpo
from engine.models import Policy
from engine.rollout import decode, drawing
from engine.rollout.local import sample_answers
from engine.rollout.protocol import Answer
from engine.tally import Peak
from tests.tiny import FAMILIES, bench_of, random_ids, run_steps, scored, tiny_model, tiny_policy

#: Prompts of uneven lengths, so that some are padded.
PROMPTS = [random_ids(length, seed=length) for length in (3, 11, 1, 6)]

GRPO = GrpoPreset.model_validate(
    {
        "method": "grpo",
        "model": {"path": "scratch"},
        "data": {"train": "rows.jsonl"},
        "training": {"batch_size": 2, "steps": 1},
        "rollout": {"completions_per_prompt": 4, "max_new_tokens": 8},
        "rewards": [{"kind": "length", "target": 4}],
    }
)


def sample(policy: Policy, prompts: list[list[int]], seeds: list[list[int]], **how: Any) -> list[list[Answer]]:
    greedy = how.pop("greedy", False)
    return sample_answers(policy, prompts, seeds, Rollout(**{"max_new_tokens": 12, **how}), greedy=greedy)


def seeds_for(prompts: int, each: int) -> list[list[int]]:
    return [[1000 * prompt + member for member in range(each)] for prompt in range(prompts)]


def with_ends(policy: Policy, *ids: int) -> Policy:
    """The policy with more tokens that end an answer, so that rows finish at different times."""
    model: Any = policy.model
    model.generation_config.eos_token_id = [1, *ids]
    return policy


# ------------------------------------------------------------------------------- one policy samples and learns


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("family", FAMILIES)
def test_sampled_log_probabilities_are_those_the_trainer_sees(family: str, lora: bool, temperature: float) -> None:
    policy = with_ends(tiny_policy(family, lora=lora), *range(2, 40))
    answers = sample(policy, PROMPTS, seeds_for(4, 3), temperature=temperature)
    flat = [answer for group in answers for answer in group]
    assert len({len(answer.ids) for answer in flat}) > 2  # rows left the batch at different times
    prompts = [prompt for prompt in PROMPTS for _ in range(3)]
    trainer = scored(policy.model, prompts, flat, temperature)
    sampler = torch.tensor([logp for answer in flat for logp in answer.logps])
    assert torch.expm1(trainer - sampler).abs().max() < 1e-4


def test_a_sliding_window_shorter_than_the_text_keeps_sampler_and_trainer_one() -> None:
    model = tiny_model("gemma2", head_dim=8, sliding_window=4, final_logit_softcapping=5.0)
    policy = Policy(model, tiny_policy().tokenizer, has_adapter=False)
    answers = [group[0] for group in sample(policy, PROMPTS, seeds_for(4, 1))]
    sampler = torch.tensor([logp for answer in answers for logp in answer.logps])
    assert torch.expm1(scored(model, PROMPTS, answers, 1.0) - sampler).abs().max() < 1e-4


def test_cutting_the_tail_does_not_change_the_reported_log_probabilities() -> None:
    """They are those of the whole softmax: the law that is trained."""
    policy = tiny_policy()
    answers = [group[0] for group in sample(policy, PROMPTS, seeds_for(4, 1), top_k=5, top_p=0.5)]
    sampler = torch.tensor([logp for answer in answers for logp in answer.logps])
    assert torch.allclose(scored(policy.model, PROMPTS, answers, 1.0), sampler, atol=1e-4)


def test_tokens_are_also_told_under_the_law_that_cut_the_tail() -> None:
    """Drawn from the five likeliest: the whole law's probability over the share that those five have of it."""
    policy = tiny_policy()
    for prompt, (answer,) in zip(PROMPTS, sample(policy, PROMPTS, seeds_for(4, 1), top_k=5), strict=True):
        logits = policy.model(input_ids=torch.tensor([[*prompt, *answer.ids]])).logits[0, len(prompt) - 1 : -1]
        kept = torch.softmax(logits.detach(), dim=-1).topk(5, dim=-1).values.sum(dim=-1)
        assert kept.max() < 0.999
        difference = torch.tensor(answer.drawn_logps) - torch.tensor(answer.logps)
        assert torch.allclose(difference, -kept.log(), atol=1e-4)


@pytest.mark.parametrize("how", [{"temperature": 0.7}, {"top_k": 5, "greedy": True}], ids=["whole", "greedy"])
def test_where_nothing_is_cut_both_laws_are_one(how: dict[str, Any]) -> None:
    for (answer,) in sample(tiny_policy(), PROMPTS, seeds_for(4, 1), **how):
        assert answer.drawn_logps == answer.logps


def test_grpo_samples_and_learns_without_dropout(tmp_path: Path) -> None:
    policy = tiny_policy(lora=True, dropout=0.5)
    policy.model.train()
    method = grpo(GRPO, bench_of(policy, tmp_path, train=[{"prompt": "ab"}, {"prompt": "cdefg"}]))
    (update,) = method.batches(1)
    (batch,) = update.micro_batches
    share, values = method.loss(batch)
    share.backward()  # with gradients: the pass that learns
    assert isinstance(values["ratio/max_error"], Peak)
    assert float(values["ratio/max_error"].value) < 1e-4


def test_prompts_longer_than_the_model_can_read_keep_their_end(tmp_path: Path) -> None:
    policy = tiny_policy("gpt2", n_positions=32)
    bench = bench_of(policy, tmp_path, train=[{"prompt": "a" * 60 + "b" * 10}, {"prompt": "c"}])
    (update,) = grpo(GRPO, bench).batches(1)
    (batch,) = update.micro_batches
    assert sorted({policy.tokenizer.decode(ids[:24]) for ids in batch.rows.input_ids if ids[20] != 0}) == [
        "a" * 14 + "b" * 10  # 32 positions, of which 8 are for the answer
    ]


@pytest.mark.parametrize("context", [32, 100])
def test_sft_writes_samples_with_a_model_that_can_read_little(tmp_path: Path, context: int) -> None:
    preset = SftPreset.model_validate(
        {
            "method": "sft",
            "model": {"path": "scratch"},
            "data": {"train": "rows.jsonl"},
            "training": {"steps": 1, "batch_size": 1},
            "sft": {"sample_every": 1, "completion_only": False, "sample_tokens": 64},
        }
    )
    rows = [{"prompt": "", "completion": "b"}, {"prompt": "a" * 120, "completion": "b"}]
    run_steps(preset, tiny_policy("gpt2", n_positions=context), tmp_path, rows)
    told = read_completion((tmp_path / "rollouts.jsonl").read_bytes())
    assert told is not None
    assert 0 < len(told.token_ids) <= min(64, context // 2)
    assert len(told.prompt) == context - min(64, context // 2)


# ------------------------------------------------------------------------------------------- what a seed decides


@pytest.mark.parametrize("family", FAMILIES)
def test_a_seed_gives_the_same_answer_whatever_its_neighbours(family: str) -> None:
    policy = with_ends(tiny_policy(family), *range(2, 40))
    seeds = seeds_for(4, 3)
    together = sample(policy, PROMPTS, seeds)
    alone = [[sample(policy, [p], [[seed]])[0][0] for seed in group] for p, group in zip(PROMPTS, seeds, strict=True)]
    backwards = sample(policy, PROMPTS[::-1], seeds[::-1])[::-1]
    for other in (alone, backwards):
        assert [[a.ids for a in group] for group in other] == [[a.ids for a in group] for group in together]


def test_another_seed_gives_another_answer() -> None:
    (group,) = sample(tiny_policy(), PROMPTS[:1], [list(range(20))])
    assert len({tuple(answer.ids) for answer in group}) == 20


@pytest.mark.parametrize("share", [0.0, 0.5, 2.0], ids=["at once", "half", "never"])
def test_when_finished_rows_leave_the_batch_changes_nothing(monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    policy = with_ends(tiny_policy("gpt2"), *range(2, 60))
    usual = sample(policy, PROMPTS, seeds_for(4, 6), max_new_tokens=20)
    assert any(len(answer.ids) < 10 for group in usual for answer in group)
    monkeypatch.setattr(decode, "WORTH_LEAVING", share)
    assert [[a.ids for a in group] for group in sample(policy, PROMPTS, seeds_for(4, 6), max_new_tokens=20)] == [
        [a.ids for a in group] for group in usual
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_is_what_transformers_generates(family: str) -> None:
    policy = tiny_policy(family)
    model: Any = policy.model
    ours = sample(policy, PROMPTS, [[0]] * 4, greedy=True, max_new_tokens=16)
    for prompt, (answer,) in zip(PROMPTS, ours, strict=True):
        ids = torch.tensor([prompt])
        theirs = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=16)
        assert answer.ids == theirs[0, len(prompt) :].tolist()


def test_one_likeliest_token_left_is_greedy() -> None:
    policy = tiny_policy()
    greedy = sample(policy, PROMPTS, [[0]] * 4, greedy=True)
    for how in ({"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-3}):
        cut = sample(policy, PROMPTS, seeds_for(4, 1), **how)
        assert [group[0].ids for group in cut] == [group[0].ids for group in greedy], how


# -------------------------------------------------------------------------------------------------- how it draws


def test_draws_follow_the_softmax() -> None:
    # Chi-square over 8 tokens: 7 degrees of freedom, 24.3 is exceeded once in a thousand; the seed is fixed.
    logits = torch.tensor([2.0, 1.0, 0.5, 0.0, -0.5, -1.0, 0.3, -torch.inf])
    noise = torch.rand(20_000, generator=torch.Generator().manual_seed(0))
    drawn = drawing.draw(logits.expand(20_000, 8), noise, Rollout()).tokens
    expected = torch.softmax(logits, dim=-1) * 20_000
    counts = torch.bincount(drawn, minlength=8).float()
    assert counts[-1] == 0
    assert ((counts - expected)[:-1] ** 2 / expected[:-1]).sum() < 24.3


def test_answers_follow_the_softmax_of_the_model() -> None:
    """The first token of 4,000 answers to one prompt, over the 8 words that the model knows best, and the rest."""
    policy, count = tiny_policy(), 4000
    (answers,) = sample(policy, PROMPTS[:1], [list(range(count))], max_new_tokens=1)
    logits = policy.model(input_ids=torch.tensor(PROMPTS[:1])).logits[0, -1]
    top = torch.softmax(logits.detach(), dim=-1).topk(8)
    expected = torch.cat([top.values, 1 - top.values.sum()[None]]) * count
    drawn = [answer.ids[0] for answer in answers]
    known = [drawn.count(token) for token in top.indices.tolist()]
    counts = torch.tensor([*known, count - sum(known)]).float()
    assert ((counts - expected) ** 2 / expected).sum() < 26.1  # 8 degrees of freedom, once in a thousand


@pytest.mark.parametrize("noise", [0.0, 1 - 2.0**-24])
def test_the_ends_of_the_noise_never_draw_a_token_that_was_cut(noise: float) -> None:
    logits = torch.full((1, 50_000), -torch.inf)
    logits[0, 10:40_000] = torch.randn(39_990, generator=torch.Generator().manual_seed(0))
    assert 10 <= drawing.draw(logits, torch.tensor([noise]), Rollout()).tokens.item() < 40_000


def cut(logits: Tensor, how: Rollout) -> Tensor:
    """Logits with what may not be drawn at minus infinity."""
    least = drawing.smallest_kept(logits, how)
    return logits if least is None else logits.masked_fill(logits < least, -torch.inf)


@settings(max_examples=60)
@given(
    st.integers(0, 2**31),
    st.integers(0, 12),
    st.one_of(st.just(1.0), st.floats(0.01, 0.99)),
    st.one_of(st.just(0.0), st.floats(0.01, 0.9)),
)
def test_the_tail_is_cut_as_transformers_cuts_it(seed: int, top_k: int, top_p: float, min_p: float) -> None:
    logits = torch.randn(3, 10, generator=torch.Generator().manual_seed(seed)) * 2
    expected = logits.clone()
    ids: Any = None
    if top_k:
        expected = TopKLogitsWarper(top_k)(ids, expected)
    if top_p < 1:
        expected = TopPLogitsWarper(top_p)(ids, expected)
    if min_p > 0:
        expected = MinPLogitsWarper(min_p)(ids, expected)
    assert torch.equal(cut(logits, Rollout(top_k=top_k, top_p=top_p, min_p=min_p)), expected)


def test_top_p_keeps_the_fewest_tokens_that_make_up_its_share() -> None:
    logits = torch.tensor([[0.1, 0.5, 0.15, 0.25]]).log()
    kept = {p: cut(logits, Rollout(top_p=p)).isfinite()[0].tolist() for p in (0.4, 0.6, 0.8, 0.95)}
    assert kept == {
        0.4: [False, True, False, False],  # 0.5 is enough
        0.6: [False, True, False, True],  # 0.5 is not; 0.5 + 0.25 is
        0.8: [False, True, True, True],
        0.95: [True, True, True, True],
    }


# ----------------------------------------------------------------------------------------- where an answer ends


def test_an_answer_keeps_its_end_token_and_stops_there() -> None:
    policy = with_ends(tiny_policy(), *range(2, 20))
    answers = [a for group in sample(policy, PROMPTS, seeds_for(4, 8)) for a in group]
    ends = set(policy.end_ids)
    for answer in answers:
        assert not ends & set(answer.ids[:-1])
        assert answer.finish == ("stop" if answer.ids[-1] in ends else "length")
        assert len(answer.ids) == len(answer.logps) <= 12
        assert answer.finish == "stop" or len(answer.ids) == 12
    assert {answer.finish for answer in answers} == {"stop", "length"}


def test_an_end_token_in_the_last_place_counts_as_stopped() -> None:
    policy = with_ends(tiny_policy(), *range(258))
    (answers,) = sample(policy, PROMPTS[:1], [[0, 1, 2]], max_new_tokens=1)
    assert [(len(a.ids), a.finish) for a in answers] == [(1, "stop")] * 3


@pytest.mark.parametrize("longest", [1, 2, 30])
def test_no_answer_is_longer_than_asked(longest: int) -> None:
    policy = tiny_policy()
    answers = sample(policy, PROMPTS, seeds_for(4, 2), max_new_tokens=longest)
    assert max(len(answer.ids) for group in answers for answer in group) == longest


def test_the_run_is_asked_before_every_token() -> None:
    breaths: list[None] = []
    how = Rollout(max_new_tokens=5)
    sample_answers(tiny_policy(), PROMPTS, seeds_for(4, 1), how, greedy=True, breathe=lambda: breaths.append(None))
    assert len(breaths) == 5
