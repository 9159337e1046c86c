"""What must not change the curve does not: how a batch is cut up, and which of two equal names a method goes by."""

from pathlib import Path
from typing import Any

import pytest
import torch

from engine.data.batching import micro_batches, rows_of_step
from engine.group_advantages import group_advantages
from engine.policy_losses import Objective, policy_loss
from tests.engine import running

pytestmark = pytest.mark.usefixtures("fork_server")


def assert_close_curves(found: list[Any], wanted: list[Any], *, relative: float) -> None:
    assert [(kind, step) for kind, step, _ in found] == [(kind, step) for kind, step, _ in wanted]
    for (_, step, values), (_, _, expected) in zip(found, wanted, strict=True):
        assert values == pytest.approx(expected, rel=relative, abs=relative), f"step {step}"


@pytest.mark.parametrize("adapter", [None, running.LORA], ids=["full", "adapter"])
def test_sft_learns_the_same_from_one_batch_of_8_four_of_2_and_eight_of_1(tmp_path: Path, adapter: Any) -> None:
    data = {"train": str(running.uneven_rows(tmp_path / "uneven.jsonl")), "eval": str(tmp_path / "uneven.jsonl")}
    runs = [
        running.done(
            tmp_path / f"by-{size}",
            running.sft(
                data=data, model={"adapter": adapter}, training={"micro_batch_size": size, "steps": 5, "eval_every": 5}
            ),
        )
        for size in (8, 2, 1)
    ]
    assert len({tuple(running.values_of(run, "loss")) for run in runs}) > 1, "they should differ by rounding at least"
    for run in runs[1:]:
        assert_close_curves(running.curve(run), running.curve(runs[0]), relative=1e-5)
        assert running.values_of(run, "loss") == pytest.approx(running.values_of(runs[0], "loss"), rel=1e-6)
        running.assert_close_weights(run.final, runs[0].final, relative=2e-5)


@pytest.mark.parametrize(
    "sections",
    [{"dpo": {"sft_weight": 1.0}}, {"dpo": {"loss": "ipo", "ld_alpha": 0.5}, "model": {"adapter": running.LORA}}],
    ids=["with an SFT part", "ipo of an adapter"],
)
def test_dpo_learns_the_same_however_its_batch_is_cut(tmp_path: Path, sections: dict[str, Any]) -> None:
    pairs = str(running.uneven_pairs(tmp_path / "pairs.jsonl"))
    training = {"steps": 4, "eval_every": 4}
    runs = [
        running.done(
            tmp_path / f"by-{size}",
            running.dpo(
                data={"train": pairs, "eval": pairs}, training={"micro_batch_size": size, **training}, **sections
            ),
        )
        for size in (8, 3, 1)
    ]
    for run in runs[1:]:
        assert_close_curves(running.curve(run), running.curve(runs[0]), relative=1e-5)
        running.assert_close_weights(run.final, runs[0].final, relative=5e-5)


@pytest.mark.parametrize("method", ["kto", "orpo"])
def test_other_methods_of_pairs_learn_the_same_however_their_batch_is_cut(tmp_path: Path, method: str) -> None:
    pairs = str(running.uneven_pairs(tmp_path / "pairs.jsonl"))
    runs = [
        running.done(
            tmp_path / f"by-{size}",
            running.preferring(
                method,
                data={"train": pairs, "eval": pairs},
                optimizer={"learning_rate": 1e-2},
                training={"micro_batch_size": size, "steps": 4, "eval_every": 4},
            ),
        )
        for size in (8, 3)
    ]
    assert_close_curves(running.curve(runs[1]), running.curve(runs[0]), relative=1e-4)
    running.assert_close_weights(runs[1].final, runs[0].final, relative=1e-4)
    if method == "kto":
        assert max(running.values_of(runs[0], "kl")) > 0.01


@pytest.mark.parametrize("adapter", [None, running.LORA], ids=["full", "adapter"])
def test_a_reward_model_learns_the_same_however_its_batch_is_cut(tmp_path: Path, adapter: Any) -> None:
    data = {
        "train": str(running.uneven_rankings(tmp_path / "rankings.jsonl")),
        "eval": str(tmp_path / "rankings.jsonl"),
    }
    training = {"steps": 4, "eval_every": 4}
    runs = [
        running.done(
            tmp_path / f"by-{size}",
            running.reward_model(
                data=data, model={"adapter": adapter}, training={"micro_batch_size": size, **training}
            ),
        )
        for size in (8, 3, 1)
    ]
    for run in runs[1:]:
        assert_close_curves(running.curve(run), running.curve(runs[0]), relative=2e-5)
        running.assert_close_weights(run.final, runs[0].final, relative=5e-5)


def test_a_mean_of_means_would_be_noticed(tmp_path: Path) -> None:
    """The rows of the test above are uneven enough: micro-batches weighed alike give another loss."""
    preset = running.sft(data={"train": str(running.uneven_rows(tmp_path / "uneven.jsonl"))}, training={"steps": 1})
    lengths = [len(running.WORDS[index % 12]) + 1 for index in range(24)]
    order = rows_of_step(1, batch_size=8, n_rows=24, seed=preset.seed, shuffle=True)
    means = [sum(lengths[i] for i in part) / len(part) for part in micro_batches(order, [1] * 8, 2)]
    assert max(means) > 1.2 * min(means)


@pytest.mark.parametrize("sections", [{}, {"grpo": {"beta": 0.0, "iterations": 3}}], ids=["with KL", "several passes"])
def test_grpo_learns_the_same_however_its_batch_is_cut(tmp_path: Path, sections: dict[str, Any]) -> None:
    runs = [
        running.done(tmp_path / f"by-{size}", running.grpo(training={"micro_batch_size": size, "steps": 3}, **sections))
        for size in (16, 5, 1)
    ]
    for run in runs[1:]:
        assert [a.token_ids for a in running.answers_of(run)] == [a.token_ids for a in running.answers_of(runs[0])]
        for name in ("reward", "entropy", "grad_norm", "completions/mean_length"):
            assert running.values_of(run, name) == pytest.approx(running.values_of(runs[0], name), rel=1e-4)
        # A policy loss is a sum of what nearly cancels, so its rounding is measured against its parts.
        assert running.values_of(run, "loss") == pytest.approx(running.values_of(runs[0], "loss"), abs=1e-6)


def test_grpo_of_one_update_without_kl_has_the_gradient_of_reinforce_with_the_groups_mean_as_baseline() -> None:
    torch.manual_seed(0)
    lengths = torch.tensor([3, 1, 4, 2, 5, 2])
    logits = torch.randn(int(lengths.sum()), 7, dtype=torch.float64, requires_grad=True)
    chosen = torch.randint(0, 7, (len(logits), 1))
    rewards = torch.tensor([[1.0, 0.0, 0.5], [0.2, 0.9, 0.1]], dtype=torch.float64)
    logps = torch.log_softmax(logits, dim=-1).gather(1, chosen).squeeze(1)
    advantages = group_advantages(rewards, scale="none").flatten().repeat_interleave(lengths)

    weights = torch.full_like(advantages, 1 / len(logits))
    ours = policy_loss(logps, logps.detach(), advantages, weights, lengths, Objective()).share
    baseline = rewards.mean(dim=1, keepdim=True)
    better = (rewards - baseline).flatten().repeat_interleave(lengths)
    reinforce = -(better * logps).sum() / len(logits)

    found, wanted = (torch.autograd.grad(loss, logits, retain_graph=True)[0] for loss in (ours, reinforce))
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-15)
    assert float(wanted.abs().max()) > 0.01


def test_a_second_pass_over_the_same_answers_learns_more_and_clips(tmp_path: Path) -> None:
    fast = {"optimizer": {"learning_rate": 2e-2}, "rewards": running.OF_GRPO["rewards"]}
    once = running.done(tmp_path / "once", running.grpo(grpo={"beta": 0.0}, **fast))
    thrice = running.done(tmp_path / "thrice", running.grpo(grpo={"beta": 0.0, "iterations": 3}, **fast))
    assert running.answers_of(once)[0] == running.answers_of(thrice)[0]
    assert max(running.values_of(once, "clip_ratio/region_mean")) == 0
    assert max(running.values_of(thrice, "clip_ratio/region_mean")) > 0
    difference = [
        float((value - running.weights(once.final)[name]).abs().max())
        for name, value in running.weights(thrice.final).items()
    ]
    assert max(difference) > 1e-3


def test_what_is_sampled_from_is_what_is_trained(tmp_path: Path) -> None:
    """In float32 sampler and trainer agree on the probability of a token to rounding, so ratios begin at 1."""
    run = running.done(tmp_path / "run", running.grpo(grpo={"beta": 0.0}))
    assert max(running.values_of(run, "ratio/max_error")) < 1e-4


@pytest.mark.parametrize(("batch_size", "n_rows"), [(8, 40), (12, 40), (7, 5), (16, 3), (1, 6)])
def test_no_row_is_lost_or_doubled_where_an_epoch_ends(batch_size: int, n_rows: int) -> None:
    steps = -(-3 * n_rows // batch_size)
    stream = [
        index
        for step in range(1, steps + 1)
        for index in rows_of_step(step, batch_size=batch_size, n_rows=n_rows, seed=4, shuffle=True)
    ]
    epochs = [stream[start : start + n_rows] for start in range(0, 3 * n_rows, n_rows)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(n_rows))] * 3
    assert len({tuple(epoch) for epoch in epochs}) > 1, "each epoch has an order of its own"


def test_without_shuffling_rows_come_as_they_stand() -> None:
    assert rows_of_step(2, batch_size=3, n_rows=5, seed=9, shuffle=False) == [3, 4, 0]


def test_micro_batches_keep_every_row_in_order_and_within_their_size() -> None:
    for size in (1, 2, 3, 8, 20):
        parts = micro_batches(range(8), [9] * 8, size)
        assert [row for part in parts for row in part] == list(range(8))
        assert all(1 <= len(part) <= size for part in parts)
    fitted = micro_batches(range(8), [4000, 9, 9, 9, 9000, 9, 9, 20000], "auto")
    assert fitted == [[0, 1, 2, 3], [4], [5, 6], [7]]
