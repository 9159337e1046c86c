"""How SFT lays out its rows changes nothing it learns; its losses and its noise are those of the papers."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.contract.preset import SftPreset
from engine.data.batching import best_fit
from engine.logprobs import TokenScorer
from engine.losses import dft_loss, sft_loss
from engine.methods.sft import SftBatch, sft
from engine.models import Policy
from engine.neftune import added_to_embeddings, embedding_noise
from engine.tally import Mean
from tests.tiny import FAMILIES, bench_of, random_ids, rows_of, tiny_model, tiny_policy

ROWS = [
    {"prompt": "2+2=", "completion": "4"},
    {"prompt": "the capital of France is", "completion": " Paris, on the Seine"},
    {"prompt": "hi ", "completion": "there"},
    {"prompt": "a b c ", "completion": "d e f g h i j k"},
    {"prompt": "say nothing:", "completion": " "},
    {"prompt": "round and ", "completion": "round the garden"},
]
PACKINGS = ("none", "padding_free", "packed")


def preset_of(**own: Any) -> SftPreset:
    training = {"batch_size": len(ROWS), **own.pop("training", {})}
    return SftPreset.model_validate(
        {
            "method": "sft",
            "model": {"path": "some/model"},
            "data": {"train": "x.jsonl", "shuffle": False, "max_length": 64},
            "training": training,
            "sft": own,
        }
    )


def learnt(policy: Policy, folder: Path, preset: SftPreset, step: int = 1) -> tuple[float, list[Tensor], list[Any]]:
    """Loss and gradients of a step, and its micro-batches."""
    policy.model.zero_grad()
    method = sft(preset, bench_of(policy, folder, train=ROWS))
    [update] = method.batches(step)
    total = 0.0
    for batch in update.micro_batches:
        share, _ = method.loss(batch)
        share.backward()
        total += share.item()
    return total, [p.grad.clone() for p in policy.model.parameters() if p.grad is not None], list(update.micro_batches)


def assert_same_gradients(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> None:
    assert len(found) == len(wanted) > 0
    largest = max(float(gradient.abs().max()) for gradient in wanted)
    assert max(float((a - b).abs().max()) for a, b in zip(found, wanted, strict=True)) < 1e-6 * largest


# ------------------------------------------------------------------------------------------------------- packing


@pytest.mark.parametrize("alpha", [0.0, 5.0], ids=["plain", "neftune"])
@pytest.mark.parametrize("size", ["auto", 1])
@pytest.mark.parametrize("packing", ["padding_free", "packed"])
@pytest.mark.parametrize("family", FAMILIES)
def test_packed_rows_learn_what_padded_ones_do(
    family: str, packing: str, size: Any, alpha: float, tmp_path: Path
) -> None:
    policy = tiny_policy(family, lora=size == 1)
    own = {"neftune_alpha": alpha}
    loss, gradients, _ = learnt(policy, tmp_path, preset_of(packing="none", **own))
    preset = preset_of(packing=packing, training={"micro_batch_size": size}, **own)
    found, given, batches = learnt(policy, tmp_path, preset)
    assert all(batch.line is not None for batch in batches)
    tokens = sum(int(batch.rows.is_token.sum()) for batch in batches)
    assert sum(len(batch.line.first) for batch in batches) == tokens, "no token is padding, and none is missing"
    assert found == pytest.approx(loss, rel=1e-6)
    assert_same_gradients(given, gradients)


def test_packed_rows_fill_lines_and_no_line_is_longer_than_a_row_may_be(tmp_path: Path) -> None:
    preset = preset_of(packing="packed", training={"micro_batch_size": 1})
    _, _, batches = learnt(tiny_policy(), tmp_path, preset)
    lengths = sorted(len(batch.line.first) for batch in batches)
    assert lengths == sorted(sum(len(r["prompt"] + r["completion"]) + 1 for r in part) for part in PARTS)
    assert max(lengths) <= 64


#: By hand: 45, 27, 22, 14, 9 and 6 tokens with their ends, into lines of 64.
PARTS = [[ROWS[1], ROWS[2], ROWS[0]], [ROWS[5], ROWS[3], ROWS[4]]]


@pytest.mark.parametrize(
    ("lengths", "blocks"),
    [
        ([5, 5, 5], [[5, 5], [5]]),
        ([3, 7, 4, 6], [[7, 3], [6, 4]]),
        ([8, 3, 2, 6, 1], [[8, 2], [6, 3, 1]]),  # the 2 goes where it leaves less room
        ([10], [[10]]),
    ],
)
def test_best_fit_by_hand(lengths: list[int], blocks: list[list[int]]) -> None:
    assert best_fit(lengths, lengths, 10) == blocks


def test_a_model_that_reads_no_lines_is_given_padded_rows_and_says_so(tmp_path: Path) -> None:
    policy = tiny_policy("bloom")
    loss, _, [batch] = learnt(policy, tmp_path / "packed", preset_of(packing="packed"))
    assert batch.line is None
    assert loss == pytest.approx(learnt(policy, tmp_path / "none", preset_of(packing="none"))[0])
    assert "rows are padded instead" in (tmp_path / "packed" / "events.jsonl").read_text()


@pytest.mark.parametrize("packing", PACKINGS)
def test_held_out_loss_is_the_token_mean_without_noise_or_dropout(packing: str, tmp_path: Path) -> None:
    policy = tiny_policy("gpt2", resid_pdrop=0.5)
    bench = bench_of(policy, tmp_path, train=ROWS, held_out=ROWS)
    preset = preset_of(packing=packing, neftune_alpha=5.0, sample_every=0, training={"eval_every": 1})
    method = sft(preset, bench)
    found = method.measure(1)
    assert policy.model.training, "training goes on as it was"
    policy.model.eval()
    [plain] = sft(preset_of(packing="none"), bench).batches(1)
    policy.model.eval()
    with torch.no_grad():
        wanted = -TokenScorer(policy.model)(plain.micro_batches[0].rows).logps.mean().item()
    assert found["eval_loss"] == pytest.approx(wanted, rel=1e-5)
    assert found["eval_perplexity"] == pytest.approx(math.exp(wanted), rel=1e-4)
    assert not policy.model.get_input_embeddings()._forward_hooks  # type: ignore[operator]


# --------------------------------------------------------------------------------------------------------- losses


def test_dft_by_hand() -> None:
    # Probabilities 1/2 and 1/4: (1/2 ln 2 + 1/4 ln 4) / 2 = ln 2 / 2; each token's gradient is its probability / -2.
    logps = torch.tensor([0.5, 0.25]).log().requires_grad_()
    share = dft_loss(logps, normaliser=2.0).share
    assert share.item() == pytest.approx(math.log(2) / 2)
    share.backward()
    assert logps.grad is not None
    assert logps.grad.tolist() == pytest.approx([-0.25, -0.125])


def test_dft_of_certain_tokens_is_likelihood() -> None:
    logps = torch.full((5,), -1e-6)
    likelihood = sft_loss(logps, normaliser=5.0).share.item()
    assert dft_loss(logps, normaliser=5.0).share.item() == pytest.approx(likelihood, rel=2e-6)


def test_the_setting_chooses_the_loss(tmp_path: Path) -> None:
    policy = tiny_policy()
    (nll, _, [batch]), (dft, _, _) = (learnt(policy, tmp_path, preset_of(loss=loss)) for loss in ("nll", "dft"))
    logps = TokenScorer(policy.model)(batch.rows).logps
    assert nll == pytest.approx(-logps.mean().item(), rel=1e-6)
    assert dft == pytest.approx(-(logps * logps.exp()).mean().item(), rel=1e-6)


# -------------------------------------------------------------------------------------------------------- NEFTune


def test_noise_is_uniform_of_the_papers_size_by_the_rows_own_length() -> None:
    """alpha / sqrt(L d); where others take the padded length for L, ours is the row's, whatever stands beside it."""
    noise = embedding_noise([400, 100], [1, 2], alpha=5.0, width=64)
    assert noise.shape == (500, 64)
    for part, length in ((noise[:400], 400), (noise[400:], 100)):
        limit = 5.0 / math.sqrt(length * 64)
        assert 0.99 * limit < part.abs().max() <= limit
        assert part.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.03)
    assert torch.equal(noise[400:], embedding_noise([100], [2], alpha=5.0, width=64))


def test_noise_changes_with_the_step_and_comes_back_with_it(tmp_path: Path) -> None:
    policy = tiny_policy()
    preset = preset_of(neftune_alpha=5.0, training={"batch_size": len(ROWS)})
    losses = [learnt(policy, tmp_path, preset, step)[0] for step in (1, 2, 1)]
    assert losses[0] == losses[2] != losses[1]
    assert losses[0] != learnt(policy, tmp_path, preset_of(), 1)[0]


def test_each_of_several_processes_draws_the_noise_of_its_own_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, preset = tiny_policy(), preset_of(neftune_alpha=5.0, packing="none")
    _, _, [whole] = learnt(policy, tmp_path, preset)
    bench = bench_of(policy, tmp_path, train=ROWS)
    parts = []
    for rank in (0, 1):
        monkeypatch.setattr(type(bench), "share", lambda _, items, rank=rank: items[3 * rank : 3 * rank + 3])
        [update] = sft(preset, bench).batches(1)
        parts.append(update.micro_batches[0])
    assert sorted(noise_by_row(whole)) == sorted(noise_by_row(parts[0]) + noise_by_row(parts[1]))


def noise_by_row(batch: SftBatch) -> list[tuple[int, float]]:
    """Length of each row, and the sum of its noise."""
    assert batch.noise is not None
    lengths = batch.rows.is_token.sum(dim=1).tolist()
    return [(n, part.sum().item()) for n, part in zip(lengths, batch.noise.split(lengths), strict=True)]


def test_noise_is_added_to_the_embeddings_of_tokens_and_its_hook_is_gone_after() -> None:
    model = tiny_model()
    embeddings: Any = model.get_input_embeddings()
    ids = torch.tensor([[3, 4]])
    noise = torch.ones(1, 2, 32)
    with added_to_embeddings(model, noise):
        assert torch.equal(embeddings(ids), embeddings.weight[ids] + 1)
    with pytest.raises(KeyError), added_to_embeddings(model, noise):
        raise KeyError
    assert torch.equal(embeddings(ids), embeddings.weight[ids])


def test_noise_of_padding_is_none() -> None:
    model = tiny_model().eval()
    rows = rows_of([(random_ids(3, seed=1), random_ids(2, seed=2)), (random_ids(1, seed=3), random_ids(1, seed=4))])
    noise = torch.zeros(7, 32)
    noise[5:] = 1.0  # of the second row
    seen: list[Tensor] = []
    hook = model.model.layers[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        TokenScorer(model)(rows, noise=noise)
    hook.remove()
    added = (seen[-1] - model.get_input_embeddings()(rows.input_ids)).amax(dim=-1)
    assert added.round(decimals=4).tolist() == [[0, 0, 0, 0, 0], [1, 1, 0, 0, 0]]


def test_means_over_a_step_are_over_its_tokens(tmp_path: Path) -> None:
    """Of the whole step, in however many parts: their sums and counts add up."""
    policy = tiny_policy()
    found = []
    for size in (6, 1):
        method = sft(preset_of(training={"micro_batch_size": size}), bench_of(policy, tmp_path, train=ROWS))
        [update] = method.batches(1)
        means = [mean for batch in update.micro_batches if isinstance(mean := method.loss(batch)[1]["entropy"], Mean)]
        assert len(means) == 6 // size
        found.append(sum(float(mean.total) for mean in means) / sum(float(mean.weight) for mean in means))
    assert found[0] == pytest.approx(found[1], rel=1e-5)
