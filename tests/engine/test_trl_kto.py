"""KTO as TRL 1.16 computes it, from the same rows to the same gradients and parameters.

The difference by design has a test of its own: TRL measures the KL divergence anew for each part that a batch is cut
into, so that its curve depends on how much memory there is.
"""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.contract.preset import KtoPreset
from engine.data.byte_tokenizer import byte_tokenizer
from engine.data.sources import Row
from engine.methods.bench import Bench
from engine.methods.kto import kto
from engine.models import Policy
from engine.tally import Tally
from tests.engine.test_trl_dpo import assert_same_values, policy_of, theirs_of
from tests.engine.test_trl_parity import gradients, largest_difference, largest_relative_error
from tests.engine.trl import STEADY, STEPS, left_padding, three_steps, trainer_of
from tests.tiny import FAMILIES, bench_of, tiny_model, with_lora

pytestmark = pytest.mark.oracle

ROWS: list[Row] = [
    {"prompt": "2+2=", "completion": "4", "label": True},
    {"prompt": "the capital of France is", "completion": " Lyon", "label": False},
    {"prompt": "a b c ", "completion": "d e f g h i j k", "label": True},
    {"prompt": "x", "completion": "zy", "label": True},
]
PAIRS: list[Row] = [
    {"prompt": "2+2=", "chosen": "4", "rejected": "five"},
    {"prompt": "the capital of France is", "chosen": " Paris, on the Seine", "rejected": " Lyon"},
]
CASES: dict[str, dict[str, Any]] = {
    "kto": {"loss_type": "kto"},
    "weighed": {"loss_type": "kto", "beta": 0.3, "desirable_weight": 1.5, "undesirable_weight": 0.7},
    "apo_zero_unpaired": {"loss_type": "apo_zero_unpaired"},
}


def trl_kto(model: Any, folder: Path, rows: list[Row], *, reference: Any, **settings: Any) -> Any:
    return trainer_of("kto", model, folder, rows, parts={"ref_model": reference}, **settings)


def preset_of(training: dict[str, Any] | None = None, optimizer: dict[str, Any] | None = None, **own: Any) -> KtoPreset:
    return KtoPreset.model_validate(
        {
            "method": "kto",
            "model": {"path": "some/model"},
            "data": {"train": "rows.jsonl", "shuffle": False},
            "optimizer": optimizer or {},
            "training": {"batch_size": 4, "micro_batch_size": 4, **(training or {})},
            "kto": {"sample_every": 0, **own},
        }
    )


def ours_of(preset: KtoPreset, bench: Bench) -> tuple[float, dict[str, float]]:
    """Loss of the first step with its gradient taken, and what it tells."""
    method = kto(preset, bench)
    [update] = method.batches(1)
    tally, loss = Tally(), 0.0
    tally.add(update.values)
    for batch in update.micro_batches:
        share, values = method.loss(batch)
        share.backward()
        loss += share.item()
        tally.add(values)
    return loss, tally.means(bench.accelerator)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_loss_its_gradients_and_metrics_are_trls(family: str, case: str, tmp_path: Path) -> None:
    policy = policy_of(family)
    settings = CASES[case]
    trainer = trl_kto(
        copy.deepcopy(policy.model), tmp_path / "trl", ROWS, reference=copy.deepcopy(policy.reference), **settings
    )
    theirs, told, _ = theirs_of(trainer)
    own = {name.replace("loss_type", "loss"): value for name, value in settings.items()}
    ours, values = ours_of(preset_of(**own), bench_of(policy, tmp_path / "ours", train=ROWS))
    assert ours == pytest.approx(theirs.item(), rel=1e-6)
    assert largest_relative_error(gradients(policy.model), gradients(trainer.model)) < 1e-5
    assert_same_values(values, told, least=7)


def test_the_divergence_that_counts_is_above_zero_in_these_tests(tmp_path: Path) -> None:
    """And so tells whether it was taken from the right answers."""
    _, values = ours_of(preset_of(), bench_of(policy_of("llama"), tmp_path, train=ROWS))
    assert values["kl"] > 1


def test_pairs_are_taken_apart(tmp_path: Path) -> None:
    """TRL puts all chosen answers first, so its strangers are others; without them the loss is the same."""
    policy = policy_of("llama")
    trainer = trl_kto(
        copy.deepcopy(policy.model),
        tmp_path / "trl",
        PAIRS,
        reference=copy.deepcopy(policy.reference),
        loss_type="apo_zero_unpaired",
    )
    theirs, told, _ = theirs_of(trainer)
    preset = preset_of(loss="apo_zero_unpaired")
    ours, values = ours_of(preset, bench_of(policy, tmp_path / "ours", train=PAIRS))
    assert ours == pytest.approx(theirs.item(), rel=1e-6)
    assert largest_relative_error(gradients(policy.model), gradients(trainer.model)) < 1e-5
    assert_same_values(values, told, least=7)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("family", FAMILIES)
def test_with_the_adapter_off_as_reference_loss_and_gradients_are_trls(family: str, case: str, tmp_path: Path) -> None:
    ours_model, theirs_model = with_lora(tiny_model(family)), with_lora(tiny_model(family))
    settings = CASES[case]
    trainer = trl_kto(theirs_model, tmp_path / "trl", ROWS, reference=tiny_model(family), **settings)
    theirs, told, _ = theirs_of(trainer)
    policy = Policy(ours_model, byte_tokenizer(), has_adapter=True)
    own = {name.replace("loss_type", "loss"): value for name, value in settings.items()}
    ours, values = ours_of(preset_of(**own), bench_of(policy, tmp_path / "ours", train=ROWS))
    assert ours == pytest.approx(theirs.item(), rel=1e-6)
    assert largest_relative_error(gradients(ours_model), gradients(theirs_model)) < 1e-5
    assert_same_values(values, told, least=7)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tokenizer_that_pads_on_the_left_changes_nothing_in_either(family: str, tmp_path: Path) -> None:
    policy = policy_of(family, left_padding())
    models = (copy.deepcopy(policy.model), copy.deepcopy(policy.reference))
    trainer = trl_kto(models[0], tmp_path / "trl", ROWS, reference=models[1], tokenizer=left_padding())
    theirs, _, _ = theirs_of(trainer)
    ours, _ = ours_of(preset_of(), bench_of(policy, tmp_path / "ours", train=ROWS))
    assert ours == pytest.approx(theirs.item(), rel=1e-6)
    assert largest_relative_error(gradients(policy.model), gradients(trainer.model)) < 1e-5


@pytest.mark.parametrize("lora", [False, True], ids=["all weights", "adapter"])
@pytest.mark.parametrize("family", FAMILIES)
def test_three_steps_are_trls(family: str, lora: bool, tmp_path: Path) -> None:
    """From a policy some way off its reference, with warm-up, decay and clipping."""
    start: Any = with_lora(tiny_model(family, seed=2)) if lora else tiny_model(family, seed=2)
    reference, model = tiny_model(family, seed=7).requires_grad_(False), copy.deepcopy(start)
    theirs = (copy.deepcopy(start), copy.deepcopy(reference))
    how = {"max_steps": 3, "adam_epsilon": STEADY, **STEPS}
    trainer = trl_kto(theirs[0], tmp_path / "trl", ROWS, reference=theirs[1], **how)
    trainer.train()
    policy = Policy(model, byte_tokenizer(), has_adapter=lora, reference=reference)
    preset = preset_of(training={"steps": 3}, optimizer=STEPS)
    three_steps(preset, bench_of(policy, tmp_path / "ours", train=ROWS))
    assert largest_difference(model, trainer.model) < 1e-6
    assert largest_difference(model, start) > 1e-4


def test_by_design_the_divergence_is_measured_over_the_step_where_trl_measures_each_part(tmp_path: Path) -> None:
    def ours(size: int) -> tuple[float, list[torch.Tensor]]:
        policy = policy_of("llama")
        preset = preset_of(training={"micro_batch_size": size})
        loss, _ = ours_of(preset, bench_of(policy, tmp_path / f"ours-{size}", train=ROWS))
        return loss, gradients(policy.model)

    def theirs(size: int) -> float:
        policy = policy_of("llama")
        trainer = trl_kto(
            policy.model, tmp_path / f"trl-{size}", ROWS, reference=policy.reference, per_device_train_batch_size=size
        )
        batches = trainer.get_train_dataloader()
        losses = [trainer.compute_loss(trainer.model, dict(batch)).item() for batch in batches]
        return float(sum(losses)) / len(losses)

    whole, parts = ours(4), ours(2)
    assert parts[0] == pytest.approx(whole[0], rel=1e-6)
    assert largest_relative_error(parts[1], whole[1]) < 1e-5
    assert theirs(4) == pytest.approx(whole[0], rel=1e-6)
    assert abs(theirs(2) - theirs(4)) > 1e-3
