"""DPO and its kin as TRL 1.16 computes them, from the same rows to the same gradients.

The one difference by design has a test of its own: label smoothing on sigmoid, which TRL leaves out of account. TRL has
no `ipo_sum`.
"""

import copy
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from engine.contract.preset import DpoPreset, check
from engine.data.byte_tokenizer import byte_tokenizer
from engine.data.sources import Row
from engine.methods.bench import Bench
from engine.methods.dpo import dpo
from engine.methods.pairs import PairBatch
from engine.models import Policy
from engine.tally import Mean
from tests.engine.test_chat import chat_tokenizer, merging_tokenizer
from tests.engine.test_trl_parity import gradients, largest_difference, largest_relative_error
from tests.engine.trl import STEADY, STEPS, left_padding, three_steps, trainer_of
from tests.tiny import FAMILIES, bench_of, tiny_model, with_lora

pytestmark = pytest.mark.oracle

ROWS: list[Row] = [
    {"prompt": "2+2=", "chosen": "4", "rejected": "five"},
    {"prompt": "the capital of France is", "chosen": " Paris, on the Seine", "rejected": " Lyon"},
    {"prompt": "a b c ", "chosen": "d e f g h i j k", "rejected": "z"},
    {"prompt": "x", "chosen": "yz", "rejected": "zy"},
]
TALK: list[Row] = [
    {
        "prompt": [{"role": "user", "content": row["prompt"]}],
        "chosen": [{"role": "assistant", "content": row["chosen"]}],
        "rejected": [{"role": "assistant", "content": row["rejected"]}],
    }
    for row in ROWS
]
IMPLICIT: list[Row] = [{side: row["prompt"] + row[side] for side in ("chosen", "rejected")} for row in TALK]

#: Loss -> what it needs beside beta.
CASES: dict[str, dict[str, Any]] = {
    "sigmoid": {},
    "hinge": {},
    "ipo": {},
    "exo_pair": {"label_smoothing": 0.1},
    "nca_pair": {},
    "robust": {"label_smoothing": 0.1},
    "bco_pair": {},
    "sppo_hard": {},
    "aot": {"label_smoothing": 0.1},
    "aot_unpaired": {"label_smoothing": 0.1},
    "apo_zero": {},
    "apo_down": {},
    "discopop": {},
    "sigmoid_norm": {},
}
#: Relative error of loss and gradients where it is more than 1e-6 and 1e-5. A sum of 150 nats is rounded to 1e-5 in
#: float32; sppo_hard squares such a sum, discopop divides it by 0.05.
ROUNDING = {"sppo_hard": (3e-6, 1e-5), "discopop": (1e-6, 3e-5)}


def trl_dpo(model: Any, folder: Path, rows: list[Row], *, reference: Any, **settings: Any) -> Any:
    return trainer_of("dpo", model, folder, rows, parts={"ref_model": reference}, **settings)


def preset_of(training: dict[str, Any] | None = None, optimizer: dict[str, Any] | None = None, **own: Any) -> DpoPreset:
    preset, faults = check(
        {
            "method": "dpo",
            "model": {"path": "some/model"},
            "data": {"train": "rows.jsonl", "shuffle": False},
            "optimizer": optimizer or {},
            "training": {"batch_size": 4, "micro_batch_size": 4, **(training or {})},
            "dpo": {"sample_every": 0, **own},
        }
    )
    assert isinstance(preset, DpoPreset), faults
    return preset


def policy_of(family: str, tokenizer: PreTrainedTokenizerBase | None = None) -> Policy:
    """A policy and a reference some way off, so that no log-ratio is 0."""
    reference = tiny_model(family, seed=7).requires_grad_(False)
    return Policy(tiny_model(family), tokenizer or byte_tokenizer(), has_adapter=False, reference=reference)


def ours_of(preset: DpoPreset, bench: Bench) -> tuple[torch.Tensor, dict[str, float], PairBatch]:
    """Loss of the first step with its gradient taken, what it tells, and its batch."""
    method = dpo(preset, bench)
    [update] = method.batches(1)
    [batch] = update.micro_batches
    loss, values = method.loss(batch)
    loss.backward()
    return loss, {name: float(v.total / v.weight) for name, v in values.items() if isinstance(v, Mean)}, batch


def theirs_of(trainer: Any) -> tuple[torch.Tensor, dict[str, float], dict[str, torch.Tensor]]:
    batch = next(iter(trainer.get_train_dataloader()))
    loss = trainer.compute_loss(trainer.model.train(), dict(batch))
    loss.backward()
    return loss, {name: values[-1] for name, values in trainer._metrics["train"].items()}, batch


def assert_same_values(ours: dict[str, float], theirs: dict[str, float], *, least: int = 8) -> None:
    assert {name for name in ours if name not in theirs} <= {"nll_loss"}
    for name in ours.keys() & theirs.keys():
        assert ours[name] == pytest.approx(theirs[name], rel=1e-5, abs=1e-6), name
    assert len(ours) >= least


@pytest.fixture(scope="module")
def of_trl(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """A trainer of each family, set up once: most of a trainer's time goes into reading its rows."""

    @cache
    def made(family: str) -> Any:
        policy = policy_of(family)
        folder = tmp_path_factory.mktemp(f"trl-{family}")
        return trl_dpo(policy.model, folder, ROWS, reference=policy.reference, beta=0.1)

    return made


def asking(trainer: Any, kind: str, *, label_smoothing: float = 0.0, ld_alpha: float | None = None) -> Any:
    """The trainer as if it had been made for this loss, its settings being all that one leaves of another."""
    trainer.loss_types, trainer.label_smoothing, trainer.ld_alpha = [kind], label_smoothing, ld_alpha
    trainer._metrics["train"].clear()
    trainer.model.zero_grad(set_to_none=True)
    return trainer


@pytest.mark.parametrize(
    ("kind", "own"),
    [*CASES.items(), ("sigmoid", {"ld_alpha": 0.3}), ("ipo", {"ld_alpha": 0.0})],
    ids=[*CASES, "sigmoid, length desensitised", "ipo, length desensitised"],
)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_loss_its_gradients_and_metrics_are_trls(
    family: str, kind: str, own: dict[str, Any], of_trl: Callable[[str], Any], tmp_path: Path
) -> None:
    policy = policy_of(family)
    trainer = asking(of_trl(family), kind, **own)
    theirs, told, _ = theirs_of(trainer)
    preset = preset_of(loss=kind, beta=0.1, **own)
    ours, values, _ = ours_of(preset, bench_of(policy, tmp_path / "ours", train=ROWS))
    of_loss, of_gradients = ROUNDING.get(kind, (1e-6, 1e-5))
    assert ours.item() == pytest.approx(theirs.item(), rel=of_loss)
    assert largest_relative_error(gradients(policy.model), gradients(trainer.model)) < of_gradients
    assert_same_values(values, told)


@pytest.mark.parametrize(
    ("rows", "tokenizer", "longest"),
    [
        (ROWS, byte_tokenizer, 26),
        (ROWS, merging_tokenizer, 26),
        (TALK, chat_tokenizer, 80),
        (IMPLICIT, chat_tokenizer, 80),
    ],
    ids=["text", "merged across the border", "messages", "implicit prompt"],
)
def test_rows_become_the_tokens_and_targets_that_trl_makes_of_them(
    rows: list[Row], tokenizer: Any, longest: int, tmp_path: Path
) -> None:
    """Also where the longest of them are cut."""
    policy = policy_of("llama", tokenizer())
    trainer = trl_dpo(
        tiny_model(), tmp_path / "trl", rows, reference=tiny_model(seed=7), tokenizer=tokenizer(), max_length=longest
    )
    theirs = next(iter(trainer.get_train_dataloader()))
    preset = preset_of().model_copy(update={"data": preset_of().data.model_copy(update={"max_length": longest})})
    _, _, batch = ours_of(preset, bench_of(policy, tmp_path / "ours", train=rows))
    mask = batch.rows.is_token
    assert torch.equal(mask, theirs["attention_mask"].bool())
    assert torch.equal(batch.rows.input_ids[mask], theirs["input_ids"][mask])
    assert torch.equal(batch.rows.is_target, theirs["completion_mask"].bool())


def test_several_losses_are_summed_by_their_weights_as_trls(tmp_path: Path) -> None:
    policy = policy_of("llama")
    trainer = trl_dpo(
        copy.deepcopy(policy.model),
        tmp_path / "trl",
        ROWS,
        reference=copy.deepcopy(policy.reference),
        loss_type=["sigmoid", "bco_pair", "sft"],
        loss_weights=[0.8, 0.2, 1.0],
    )
    theirs, told, _ = theirs_of(trainer)
    preset = preset_of(losses={"sigmoid": 0.8, "bco_pair": 0.2}, sft_weight=1.0)
    ours, values, _ = ours_of(preset, bench_of(policy, tmp_path / "ours", train=ROWS))
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    assert largest_relative_error(gradients(policy.model), gradients(trainer.model)) < 1e-5
    assert_same_values(values, told)


@pytest.mark.parametrize("lora", [False, True], ids=["all weights", "adapter"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_tokenizer_that_pads_on_the_left_changes_nothing_in_either(family: str, lora: bool, tmp_path: Path) -> None:
    reference = tiny_model(family, seed=7).requires_grad_(False)
    model = with_lora(tiny_model(family)) if lora else tiny_model(family)
    models = (copy.deepcopy(model), copy.deepcopy(reference))
    trainer = trl_dpo(models[0], tmp_path / "trl", ROWS, reference=models[1], tokenizer=left_padding())
    theirs, _, _ = theirs_of(trainer)
    policy = Policy(model, left_padding(), has_adapter=lora, reference=reference)
    ours, _, _ = ours_of(preset_of(), bench_of(policy, tmp_path / "ours", train=ROWS))
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    assert largest_relative_error(gradients(model), gradients(trainer.model)) < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_with_the_adapter_off_as_reference_every_loss_and_its_gradients_are_trls(family: str, tmp_path: Path) -> None:
    """TRL takes a copy of an adapter it is given as the reference; its own default, a new one, is the adapter off."""
    ours_model, theirs_model = with_lora(tiny_model(family)), with_lora(tiny_model(family))
    trainer = trl_dpo(theirs_model, tmp_path / "trl", ROWS, reference=tiny_model(family), label_smoothing=0.1)
    policy = Policy(ours_model, byte_tokenizer(), has_adapter=True)
    for kind, own in CASES.items():
        trainer.loss_types = [kind]
        theirs, told, _ = theirs_of(trainer)
        ours, values, _ = ours_of(preset_of(loss=kind, **own), bench_of(policy, tmp_path / kind, train=ROWS))
        of_loss, of_gradients = ROUNDING.get(kind, (1e-6, 1e-5))
        assert ours.item() == pytest.approx(theirs.item(), rel=of_loss), kind
        assert largest_relative_error(gradients(ours_model), gradients(theirs_model)) < of_gradients, kind
        assert_same_values(values, told)
        for model in (ours_model, theirs_model):
            model.zero_grad(set_to_none=True)


def test_the_sft_part_is_trls_sft_loss_beside_it(tmp_path: Path) -> None:
    policy = policy_of("llama")
    trainer = trl_dpo(
        copy.deepcopy(policy.model),
        tmp_path / "trl",
        ROWS,
        reference=copy.deepcopy(policy.reference),
        loss_type=["sigmoid", "sft"],
        loss_weights=[1.0, 0.7],
    )
    theirs, _, _ = theirs_of(trainer)
    ours, _, _ = ours_of(preset_of(sft_weight=0.7), bench_of(policy, tmp_path / "ours", train=ROWS))
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    assert largest_relative_error(gradients(policy.model), gradients(trainer.model)) < 1e-5


def test_by_design_label_smoothing_on_sigmoid_is_cdpo_where_trl_leaves_it_out(tmp_path: Path) -> None:
    def theirs(smoothing: float) -> float:
        policy = policy_of("llama")
        own: dict[str, Any] = {"loss_type": ["sigmoid"], "label_smoothing": smoothing}
        trainer = trl_dpo(policy.model, tmp_path / f"trl-{smoothing}", ROWS, reference=policy.reference, **own)
        return float(theirs_of(trainer)[0].item())

    bench = bench_of(policy_of("llama"), tmp_path / "ours", train=ROWS)
    smoothed = ours_of(preset_of(label_smoothing=0.2), bench)[0].item()
    assert theirs(0.0) == theirs(0.2)
    assert abs(smoothed - theirs(0.0)) > 1e-3


#: Each loss on another shape, every other one with an adapter: after three steps what differs would show in any.
IN_TURN = [(kind, FAMILIES[n % 3], n % 2 == 1) for n, kind in enumerate(CASES)]
ALL_OF_SIGMOID = [("sigmoid", family, lora) for family in FAMILIES for lora in (False, True)]


@pytest.mark.parametrize(("kind", "family", "lora"), sorted({*IN_TURN, *ALL_OF_SIGMOID}))
def test_three_steps_are_trls(kind: str, family: str, lora: bool, tmp_path: Path) -> None:
    """With warm-up, decay and clipping, from a policy some way off its reference, so that no log-ratio is 0."""
    start: Any = with_lora(tiny_model(family, seed=2)) if lora else tiny_model(family, seed=2)
    reference, model = tiny_model(family, seed=7).requires_grad_(False), copy.deepcopy(start)
    trainer = trl_dpo(
        copy.deepcopy(start),
        tmp_path / "trl",
        ROWS,
        reference=copy.deepcopy(reference),
        loss_type=[kind],
        max_steps=3,
        adam_epsilon=STEADY,
        **CASES[kind],
        **STEPS,
    )
    trainer.train()
    preset = preset_of(training={"steps": 3}, optimizer=STEPS, loss=kind, **CASES[kind])
    policy = Policy(model, byte_tokenizer(), has_adapter=lora, reference=reference)
    steps = three_steps(preset, bench_of(policy, tmp_path / "ours", train=ROWS))
    for name in ("loss", "grad_norm", "learning_rate", "rewards/margins", "logps/chosen", "entropy", "num_tokens"):
        theirs = [log[name] for log in trainer.state.log_history if name in log]
        assert [step.values[name] for step in steps] == pytest.approx(theirs, rel=1e-4, abs=2e-6), name
    assert largest_difference(model, trainer.model) < 1e-6
    assert largest_difference(model, start) > 1e-4
