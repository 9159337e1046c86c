"""Distillation: the divergence by hand and as TRL's GKD has it, in tiles, and a student that comes to agree."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.checkpoint import save_model
from engine.contract import events
from engine.contract.composed_presets import DistillPreset
from engine.contract.preset import Preset
from engine.data.byte_tokenizer import byte_tokenizer
from engine.data.sources import DataError
from engine.distilling import Heard, StudentScorer
from engine.divergence_losses import Divergence, divergence
from engine.fused_head import TILE
from engine.logprobs import TokenScorer
from engine.methods.distill import distill
from engine.models import ModelError, Policy
from tests.engine import running
from tests.engine.test_trl_parity import gradients, largest_relative_error
from tests.tiny import bench_of, random_ids, rows_of, tiny_model, tiny_policy

BETAS = (0.0, 0.1, 0.5, 0.9, 1.0)


def logits_of(seed: int, rows: int = 6, vocabulary: int = 11) -> Tensor:
    return 2 * torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(seed))


def test_two_words_by_hand() -> None:
    """P = (3/4, 1/4), Q = (1/2, 1/2)."""
    teacher, student = torch.tensor([[math.log(3), 0.0]]), torch.zeros(1, 2)
    found = {beta: divergence(student, teacher, beta=beta, temperature=1.0) for beta in (0.0, 0.5, 1.0)}
    forward = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    reverse = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    middle = 0.75 * math.log(0.75 / 0.625) + 0.25 * math.log(0.25 / 0.375)
    middle = (middle + 0.5 * math.log(0.5 / 0.625) + 0.5 * math.log(0.5 / 0.375)) / 2
    assert [float(found[beta].loss) for beta in found] == pytest.approx([forward, middle, reverse], rel=1e-6)
    assert (float(found[0.0].kl), float(found[0.0].forward_kl)) == pytest.approx((reverse, forward), rel=1e-6)
    assert float(found[0.0].entropy) == pytest.approx(math.log(2))
    assert float(found[0.0].agrees) == 1


@pytest.mark.parametrize("beta", BETAS)
def test_it_is_zero_between_equals_and_positive_else(beta: float) -> None:
    one, other = logits_of(0), logits_of(1)
    assert divergence(one, one.clone(), beta=beta, temperature=0.7).loss.abs().max() < 1e-6
    assert divergence(one, other, beta=beta, temperature=0.7).loss.min() > 1e-3


def test_columns_that_only_one_of_them_has_do_not_count() -> None:
    one, other = logits_of(0), logits_of(1)
    padded = torch.cat([other, torch.full((6, 5), 3.0)], dim=1)
    found, wanted = (divergence(one, given, beta=0.5, temperature=1.0) for given in (padded, other))
    torch.testing.assert_close(found.loss, wanted.loss)


@pytest.mark.oracle
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("beta", BETAS)
def test_loss_and_gradient_are_trls_gkd(beta: float, temperature: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    from trl.experimental.gkd.gkd_trainer import GKDTrainer

    teacher, labels = logits_of(1, rows=12), torch.tensor([[5, -100, 3, 2], [-100, 1, 1, -100], [7, 7, 7, 7]])
    ours, theirs = (logits_of(0, rows=12).requires_grad_() for _ in range(2))
    counts = labels.flatten() != -100
    found = divergence(ours[counts], teacher[counts], beta=beta, temperature=temperature).loss.sum() / counts.sum()
    wanted = GKDTrainer.generalized_jsd_loss(
        theirs.view(3, 4, 11),
        teacher.view(3, 4, 11),
        labels=labels,
        beta=beta,
        temperature=temperature,
        num_items_in_batch=int(counts.sum()),
    )
    assert found.item() == pytest.approx(wanted.item(), rel=1e-6)
    gradient, expected = torch.autograd.grad(found, ours)[0], torch.autograd.grad(wanted, theirs)[0]
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-7)
    assert float(expected.abs().max()) > 1e-3


PAIRS = [(random_ids(3, seed=at), random_ids(length, seed=9 + at)) for at, length in enumerate((4, 1, 6))]


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_in_tiles_it_is_what_it_is_whole_with_its_gradient(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, teacher = rows_of(PAIRS), TokenScorer(tiny_model("qwen2", seed=4))
    found: list[tuple[Divergence, list[Tensor]]] = []
    for tile in (2**21, 2 * 258):
        monkeypatch.setitem(TILE, "cpu", tile)
        model = tiny_model(family)
        with torch.no_grad():
            heard = Heard(teacher, teacher.states(rows))
        compared = StudentScorer(model)(rows, heard, beta=0.3, temperature=0.8)
        assert isinstance(compared, Divergence)
        compared.loss.sum().backward()
        found.append((compared, gradients(model)))
    (whole, wanted), (tiled, mine) = found
    for one, other in zip(whole, tiled, strict=True):
        torch.testing.assert_close(one, other)
    assert largest_relative_error(mine, wanted) < 1e-5
    assert len(whole.loss) == 11
    logits = [model(input_ids=rows.input_ids[2:, :9]).logits[0, 2:8] for model in (tiny_model(family), teacher.model)]
    alone = divergence(*logits, beta=0.3, temperature=0.8).loss
    torch.testing.assert_close(whole.loss[-6:], alone, rtol=1e-4, atol=1e-5)


# -------------------------------------------------------------------------------------------------------- the method


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher") / "model"
    save_model(tiny_model("llama", seed=4), byte_tokenizer(), folder)
    return folder


def preset_of(teacher: Path, *, of_training: dict[str, Any] | None = None, **own: Any) -> Preset:
    return running.distill(
        data={"eval": {**running.SUMS, "seed": 2, "rows": 8}},
        optimizer={"learning_rate": 3e-3, "schedule": "constant"},
        training={"eval_every": 2, "eval_before": True, "checkpoint_every": 2, **(of_training or {})},
        rollout={"completions_per_prompt": 2},
        distill={"teacher": str(teacher), **own},
    )


OF_LEARNING = {"steps": 25, "eval_every": 25, "batch_size": 16, "checkpoint_every": 0}


@pytest.mark.parametrize(
    "own",
    [{"on_policy": 1.0, "beta": 1.0}, {"on_policy": 0.0, "beta": 0.0, "others": "teacher"}],
    ids=["reverse KL on its own answers", "forward KL on the teacher's"],
)
def test_a_student_comes_nearer_to_its_teacher_on_held_out_prompts(
    teacher: Path, tmp_path: Path, own: dict[str, Any]
) -> None:
    preset = preset_of(teacher, of_training=OF_LEARNING, **own)
    run = running.done(tmp_path / "run", preset)
    before, after = (event.values for event in running.of_kind(run, events.Evaluation))
    assert after["eval_loss"] < 0.75 * before["eval_loss"]
    assert after["eval_teacher/kl"] < before["eval_teacher/kl"]
    assert set(running.values_of(run, "on_policy/share")) == {own["on_policy"]}
    assert all(answer.reward is None for answer in running.answers_of(run))


def test_killed_and_resumed_it_is_the_run_that_was_never_disturbed(teacher: Path, tmp_path: Path) -> None:
    preset = preset_of(teacher, on_policy=0.5, beta=0.5)
    undisturbed = running.done(tmp_path / "undisturbed", preset)
    shares = running.values_of(undisturbed, "on_policy/share")
    assert 0 < sum(shares) / len(shares) < 1
    run = running.new_run(tmp_path / "run", preset)

    def fall_over(step: int) -> None:
        if step == 3:
            raise RuntimeError("pulled the plug")

    running.run_here_watched(run, fall_over)
    assert running.run_here(run) == running.FINISHED
    running.assert_same_weights(run.final, undisturbed.final)
    assert running.curve(run) == running.curve(undisturbed)


def test_it_learns_the_same_however_its_batch_is_cut(teacher: Path, tmp_path: Path) -> None:
    runs = [
        running.done(
            tmp_path / str(size),
            preset_of(teacher, of_training={"micro_batch_size": size, "steps": 2}, on_policy=0.5, beta=0.5),
        )
        for size in (8, 3)
    ]
    assert running.values_of(runs[1], "loss") == pytest.approx(running.values_of(runs[0], "loss"), rel=1e-5)
    running.assert_close_weights(runs[1].final, runs[0].final, relative=1e-4)


def refused(teacher: Path, folder: Path, policy: Policy, **own: Any) -> str:
    preset = preset_of(teacher, **own)
    assert isinstance(preset, DistillPreset)
    with pytest.raises((ModelError, DataError)) as told:
        distill(preset, bench_of(policy, folder, train=[{"prompt": "1+1="}], scores=StudentScorer))
    return str(told.value)


def test_a_teacher_of_other_tokens_and_data_without_answers_are_refused_in_words(teacher: Path, tmp_path: Path) -> None:
    more = tiny_policy()
    more.tokenizer.add_tokens(["<|extra|>"])
    assert "reads other tokens than scratch" in refused(teacher, tmp_path / "tokens", more)
    told = refused(teacher, tmp_path / "data", tiny_policy(), on_policy=0.5)
    assert "asks for answers of the data" in told
    assert "set distill.others to teacher" in told
