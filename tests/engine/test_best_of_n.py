"""Imitating one's own best answers: which are kept, what they weigh, and that it is SFT on them."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.contract.composed_presets import BestOfNPreset
from engine.contract.composed_settings import BestOfN
from engine.contract.preset import check, load_preset
from engine.logprobs import TokenScorer
from engine.methods.answers import Sampled
from engine.methods.best_of_n import Kept, _updates, best_of_n, chosen_answers
from engine.methods.layout import Layout
from engine.models import load_policy
from engine.rewards import Reward
from engine.rollout.protocol import Answer
from tests.tiny import bench_of, random_ids, rows_of, run_steps, tiny_policy

PRESETS = Path(__file__).parents[2] / "presets"
#: Three prompts of three answers each.
REWARDS = [0.0, 2.0, 2.0, 1.0, 0.5, 0.0, -1.0, -1.0, -1.0]


def kept(is_cut: list[int] = [], **own: Any) -> list[int]:  # noqa: B006 - never written to
    return chosen_answers(REWARDS, [index in is_cut for index in range(9)], BestOfN(**own), per_prompt=3)


def test_the_best_to_each_prompt_is_kept_and_of_equals_the_first() -> None:
    assert kept() == [1, 3, 6]


def test_the_elite_is_the_best_share_of_the_whole_step() -> None:
    assert kept(keep="elite", elite=0.2) == [1, 2]  # ceil(0.2 x 9)
    assert kept(keep="elite", elite=0.34) == [1, 2, 3, 4]
    assert kept(keep="elite", elite=1) == list(range(9))


def test_a_least_reward_bounds_both_and_may_leave_nothing() -> None:
    assert kept(min_reward=0.5) == [1, 3]
    assert kept(keep="elite", elite=1.0, min_reward=0.5) == [1, 2, 3, 4]
    assert kept(min_reward=3.0) == []


def test_an_answer_that_was_cut_off_is_left_out_where_that_is_asked_and_counts_in_the_share_all_the_same() -> None:
    assert kept([1], leave_out_truncated=True) == [2, 3, 6]
    assert kept([1], keep="elite", elite=0.2, leave_out_truncated=True) == [2, 3]
    assert kept([1], keep="elite", elite=0.2) == [1, 2]


def test_a_reward_that_is_no_number_is_never_kept() -> None:
    assert chosen_answers([math.nan, -5.0, math.nan, math.nan], [False] * 4, BestOfN(), per_prompt=2) == [1]


ANSWERS = [random_ids(length, seed=length) for length in (2, 5, 3, 1, 4, 2)]


def sampled_of(bench: Any) -> list[Sampled]:
    prompts = [bench.encoder.prompt({"prompt": letters}) for letters in ("a", "bcd")]
    return [
        Sampled({}, prompts[at // 3], Answer(ids, [-1.0] * len(ids), "stop", [-1.0] * len(ids)), "", Reward(0, {}), 0.0)
        for at, ids in enumerate(ANSWERS)
    ]


def test_its_loss_is_that_of_sft_on_the_kept_answers_however_they_are_cut(tmp_path: Path) -> None:
    policy = tiny_policy()
    bench = bench_of(policy, tmp_path)
    sampled, here = sampled_of(bench), [1, 3, 4]
    lengths = [len(ANSWERS[at]) for at in here]
    with torch.no_grad():
        rows = rows_of([(sampled[at].prompt, ANSWERS[at]) for at in here])
        wanted = -float(TokenScorer(policy.model)(rows).logps.mean())
    method = best_of_n(preset_of(), bench)
    for size in (3, 2, 1):
        laid_out = Layout(bench, size, in_lines=size == 2)
        marked = Kept(here, [(1.0, length) for length in lengths], [0, 1, 2])
        [update] = _updates(laid_out, BestOfN(), marked, sampled, seed=0)
        assert len(update.micro_batches) == math.ceil(3 / size)
        found = sum(float(method.loss(part)[0].detach()) for part in update.micro_batches)
        assert found == pytest.approx(wanted, rel=1e-6)
    assert [s.advantage for s in marked.marked(sampled)] == [0, 1, 0, 1, 1, 0]


def test_passes_are_cut_into_updates_that_have_every_kept_answer_once_in_another_order_each(tmp_path: Path) -> None:
    bench = bench_of(tiny_policy(), tmp_path)
    sampled, marked = sampled_of(bench), Kept(list(range(6)), [(1.0, len(ids)) for ids in ANSWERS], list(range(6)))
    how = BestOfN(epochs=3, minibatches=2)
    updates = list(_updates(Layout(bench, 8, in_lines=False), how, marked, sampled, seed=5))
    counts = [sum(int(part.rows.is_target.sum()) for part in update.micro_batches) for update in updates]
    assert [counts[at] + counts[at + 1] for at in (0, 2, 4)] == [sum(map(len, ANSWERS))] * 3
    assert counts == [part.normaliser for update in updates for part in update.micro_batches]
    assert len(set(counts)) > 1


def test_a_step_that_keeps_nothing_has_a_loss_and_a_gradient_of_zero(tmp_path: Path) -> None:
    policy = tiny_policy()
    bench = bench_of(policy, tmp_path)
    method = best_of_n(preset_of(), bench)
    [update] = _updates(Layout(bench, 8, in_lines=False), BestOfN(), Kept([], [], []), sampled_of(bench), seed=0)
    share, values = method.loss(update.micro_batches[0])
    share.backward()
    assert float(share.detach()) == 0
    assert all(not p.grad.any() for p in policy.model.parameters() if p.grad is not None)
    assert all(value.weight == 0 for value in values.values())  # type: ignore[union-attr]


def preset_of(**sections: Any) -> BestOfNPreset:
    data = {
        "method": "best_of_n",
        "model": {"path": "scratch", "scratch": {}},
        "data": {"train": "rows.jsonl"},
        "rewards": [{"kind": "verifier"}],
        **sections,
    }
    return BestOfNPreset.model_validate(data)


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"rollout": {"completions_per_prompt": 1}}, "is always the best to its prompt"),
        ({"best_of_n": {"keep": "elite", "elite": 1.0}}, "keeps every answer"),
    ],
)
def test_choices_that_choose_nothing_are_faults(sections: dict[str, Any], told: str) -> None:
    _, faults = check(preset_of(**sections).model_dump(mode="json"))
    assert [fault.problem for fault in faults if told in fault.problem]


@pytest.mark.slow
def test_the_tiny_preset_learns(tmp_path: Path) -> None:
    preset = load_preset(PRESETS / "best_of_n_tiny.yaml", ["training.steps=40", "optimizer.schedule=constant"])
    assert isinstance(preset, BestOfNPreset)
    cpu = torch.device("cpu")
    policy = load_policy(
        preset.model, device=cpu, dtype=torch.float32, seed=0, with_reference=False, merged_base=tmp_path
    )
    rows = [{"prompt": f"{a}+{b}="} for a in range(10) for b in range(10)]
    steps = run_steps(preset, policy, tmp_path / "run", rows)
    assert steps[0].values["reward"] < 0.2
    assert steps[-1].values["reward"] > 0.6
    kept_at = [step.values["kept/reward"] for step in steps if "kept/reward" in step.values]
    assert all(worth >= 0.5 for worth in kept_at)
