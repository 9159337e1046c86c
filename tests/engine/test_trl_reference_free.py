"""ORPO, SimPO and CPO as TRL 1.16 computes them, from the same rows to the same gradients and parameters.

Differences by design have tests of their own: where a batch is cut up, TRL's SFT part is a mean of means.
"""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.contract.image_presets import ImagePreset
from engine.contract.preset import TextPreset, check
from engine.data.byte_tokenizer import byte_tokenizer
from engine.methods import METHODS
from engine.methods.bench import Bench
from engine.models import Policy
from engine.tally import Mean, Tally
from tests.engine.test_trl_dpo import ROWS
from tests.engine.test_trl_parity import gradients, largest_difference, largest_relative_error
from tests.engine.trl import STEADY, STEPS, left_padding, three_steps, trainer_of
from tests.tiny import FAMILIES, bench_of, tiny_model, with_lora

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore::trl.import_utils.TRLExperimentalWarning"),
]

#: What TRL calls it, its settings, and ours.
CASES: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    "orpo": ("orpo", {"beta": 0.3}, "orpo", {"beta": 0.3}),
    "cpo": ("cpo", {}, "cpo", {}),
    "cpo, smoothed": (
        "cpo",
        {"label_smoothing": 0.1, "cpo_alpha": 0.5},
        "cpo",
        {"label_smoothing": 0.1, "sft_weight": 0.5},
    ),
    "cpo, hinge": ("cpo", {"loss_type": "hinge"}, "cpo", {"loss": "hinge"}),
    "cpo, ipo": ("cpo", {"loss_type": "ipo", "cpo_alpha": 0.0}, "cpo", {"loss": "ipo", "sft_weight": 0.0}),
    "simpo": (
        "cpo",
        {"loss_type": "simpo", "beta": 2.0, "simpo_gamma": 1.0, "cpo_alpha": 0.0},
        "simpo",
        {"beta": 2.0, "gamma": 1.0},
    ),
    "simpo beside sft": (
        "cpo",
        {"loss_type": "simpo", "beta": 1.5, "simpo_gamma": 0.4, "cpo_alpha": 0.7, "label_smoothing": 0.1},
        "simpo",
        {"beta": 1.5, "gamma": 0.4, "sft_weight": 0.7, "label_smoothing": 0.1},
    ),
}


def preset_of(method: str, own: dict[str, Any], **sections: dict[str, Any]) -> TextPreset:
    preset, faults = check(
        {
            "method": method,
            "model": {"path": "some/model"},
            "data": {"train": "rows.jsonl", "shuffle": False},
            "optimizer": sections.get("optimizer", {}),
            "training": {"batch_size": 4, "micro_batch_size": 4, **sections.get("training", {})},
            method: own,
        }
    )
    assert preset is not None, faults
    assert not isinstance(preset, ImagePreset)
    return preset


def ours_of(preset: TextPreset, bench: Bench) -> tuple[torch.Tensor, dict[str, float]]:
    """Loss of the first step with its gradient taken, and what it tells."""
    method = METHODS[preset.method](preset, bench)
    [update] = method.batches(1)
    [batch] = update.micro_batches
    loss, values = method.loss(batch)
    loss.backward()
    return loss, {name: float(v.total / v.weight) for name, v in values.items() if isinstance(v, Mean)}


def theirs_of(trainer: Any) -> tuple[torch.Tensor, dict[str, float]]:
    batch = next(iter(trainer.get_train_dataloader()))
    loss, metrics = trainer.get_batch_loss_metrics(trainer.model.train(), batch)
    loss.backward()
    return loss, metrics


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_loss_its_gradients_and_metrics_are_trls(family: str, case: str, tmp_path: Path) -> None:
    kind, settings, method, own = CASES[case]
    model = tiny_model(family)
    trainer = trainer_of(kind, copy.deepcopy(model), tmp_path / "trl", ROWS, **settings)
    theirs, told = theirs_of(trainer)
    policy = Policy(model, byte_tokenizer(), has_adapter=False)
    ours, values = ours_of(preset_of(method, own), bench_of(policy, tmp_path / "ours", train=ROWS))
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    assert largest_relative_error(gradients(model), gradients(trainer.model)) < 1e-5
    shared = values.keys() & told.keys()
    assert {name for name in values if name not in told} <= {"entropy", "mean_token_accuracy"}
    assert {name: values[name] for name in shared} == pytest.approx({n: told[n] for n in shared}, rel=1e-5, abs=1e-6)
    assert len(shared) >= 6


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("family", FAMILIES)
def test_of_an_adapter_loss_and_gradients_are_trls(family: str, case: str, tmp_path: Path) -> None:
    kind, settings, method, own = CASES[case]
    ours_model, theirs_model = with_lora(tiny_model(family)), with_lora(tiny_model(family))
    trainer = trainer_of(kind, theirs_model, tmp_path / "trl", ROWS, **settings)
    theirs, _ = theirs_of(trainer)
    policy = Policy(ours_model, byte_tokenizer(), has_adapter=True)
    ours, _ = ours_of(preset_of(method, own), bench_of(policy, tmp_path / "ours", train=ROWS))
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    assert largest_relative_error(gradients(ours_model), gradients(theirs_model)) < 1e-5


@pytest.mark.parametrize("case", ["orpo", "simpo", "cpo"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_tokenizer_that_pads_on_the_left_changes_nothing_in_either(family: str, case: str, tmp_path: Path) -> None:
    kind, settings, method, own = CASES[case]
    model = tiny_model(family)
    trainer = trainer_of(kind, copy.deepcopy(model), tmp_path / "trl", ROWS, tokenizer=left_padding(), **settings)
    theirs, _ = theirs_of(trainer)
    policy = Policy(model, left_padding(), has_adapter=False)
    ours, _ = ours_of(preset_of(method, own), bench_of(policy, tmp_path / "ours", train=ROWS))
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    assert largest_relative_error(gradients(model), gradients(trainer.model)) < 1e-5


#: Each loss on each shape, every other time with an adapter: after three steps what differs would show in any.
IN_TURN = [
    (family, case, (of_family + of_case) % 2 == 1)
    for of_family, family in enumerate(FAMILIES)
    for of_case, case in enumerate(["orpo", "simpo", "cpo"])
]


@pytest.mark.parametrize(("family", "case", "lora"), IN_TURN)
def test_three_steps_are_trls(family: str, case: str, lora: bool, tmp_path: Path) -> None:
    """With warm-up, decay and clipping; from weights of which none has a gradient so near 0 that AdamW magnifies it."""
    kind, settings, method, own = CASES[case]
    start: Any = with_lora(tiny_model(family, seed=2)) if lora else tiny_model(family, seed=2)
    model = copy.deepcopy(start)
    how = {"max_steps": 3, "adam_epsilon": STEADY, **STEPS, **settings}
    trainer = trainer_of(kind, copy.deepcopy(start), tmp_path / "trl", ROWS, **how)
    trainer.train()
    preset = preset_of(method, {**own, "sample_every": 0}, training={"steps": 3}, optimizer=STEPS)
    policy = Policy(model, byte_tokenizer(), has_adapter=lora)
    three_steps(preset, bench_of(policy, tmp_path / "ours", train=ROWS))
    assert largest_difference(model, trainer.model) < 1e-6
    assert largest_difference(model, start) > 1e-4


def test_by_design_the_sft_part_is_a_token_mean_over_the_step_where_trls_is_a_mean_of_means(tmp_path: Path) -> None:
    rows = ROWS[:2]  # chosen answers of 2 and 21 tokens

    def theirs(size: int) -> float:
        settings: dict[str, Any] = {"loss_type": "simpo", "beta": 1e-6, "per_device_train_batch_size": size}
        trainer = trainer_of("cpo", tiny_model(), tmp_path / f"trl-{size}", rows, **settings)
        losses = [
            trainer.get_batch_loss_metrics(trainer.model, batch)[1]["nll_loss"]
            for batch in trainer.get_train_dataloader()
        ]
        return float(sum(losses)) / len(losses)

    def ours(size: int) -> float:
        preset = preset_of("simpo", {"sft_weight": 1.0}, training={"batch_size": 2, "micro_batch_size": size})
        policy = Policy(tiny_model(), byte_tokenizer(), has_adapter=False)
        bench = bench_of(policy, tmp_path / f"ours-{size}", train=rows)
        method = METHODS["simpo"](preset, bench)
        [update] = method.batches(1)
        tally = Tally()
        for batch in update.micro_batches:
            tally.add(method.loss(batch)[1])
        return float(tally.means(bench.accelerator)["nll_loss"])

    assert ours(1) == pytest.approx(ours(2), rel=1e-6)
    assert ours(2) == pytest.approx(theirs(2), rel=1e-6)
    assert abs(theirs(1) - theirs(2)) > 1e-2
