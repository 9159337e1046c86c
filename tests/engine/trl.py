"""TRL 1.16's trainers, set up to be compared with: float32 on a CPU, rows in order; and three steps of ours beside."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from engine.assembly import optimizer_of
from engine.contract import events
from engine.contract.preset import TextPreset
from engine.data.byte_tokenizer import byte_tokenizer
from engine.data.sources import Row
from engine.loop import Progress, train
from engine.methods import METHODS
from engine.methods.bench import Bench
from tests.tiny import Untouched

#: What we call a method -> where TRL has it, and its name there. SimPO is one of its CPO's losses.
TRAINERS = {
    "sft": ("trl.trainer.sft_trainer", "SFT"),
    "reward_model": ("trl.trainer.reward_trainer", "Reward"),
    "dpo": ("trl.trainer.dpo_trainer", "DPO"),
    "kto": ("trl.trainer.kto_trainer", "KTO"),
    "orpo": ("trl.experimental.orpo.orpo_trainer", "ORPO"),
    "cpo": ("trl.experimental.cpo.cpo_trainer", "CPO"),
}

#: Adam's epsilon where ours and TRL's take steps with gradients that are partly zero but for rounding: the usual 1e-8
#: would blow those up to a step of full size, one way or the other by the processor's whim.
STEADY = 1e-4
#: Three steps that tell ours from anything else: with warm-up, decay and clipping.
STEPS: dict[str, Any] = {"learning_rate": 1e-3, "warmup_steps": 1, "weight_decay": 0.1, "max_grad_norm": 0.5}


def trainer_of(
    kind: str,
    model: Any,
    folder: Path,
    rows: Sequence[Row],
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    parts: dict[str, Any] | None = None,
    **settings: Any,
) -> Any:
    """A trainer of TRL. parts: what it takes beside its settings, such as `ref_model`."""
    from datasets import Dataset

    module, name = TRAINERS[kind]
    found = importlib.import_module(module)
    config = getattr(found, f"{name}Config")(
        output_dir=str(folder),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        logging_steps=1,
        train_sampling_strategy="sequential",
        **{"per_device_train_batch_size": 4, **settings},
    )
    return getattr(found, f"{name}Trainer")(
        model,
        args=config,
        train_dataset=Dataset.from_list(list(rows)),
        processing_class=tokenizer or byte_tokenizer(),
        **(parts or {}),
    )


def left_padding() -> PreTrainedTokenizerBase:
    """A tokenizer that fills rows up on the left."""
    tokenizer = byte_tokenizer()
    tokenizer.padding_side = "left"
    return tokenizer


def three_steps(preset: TextPreset, bench: Bench) -> list[events.Step]:
    """Three steps of ours, with Adam's epsilon as `STEADY`; TRL's gets it as `adam_epsilon`."""
    optimizer = optimizer_of(preset, bench.policy.model)
    for group in optimizer.param_groups:
        group["eps"] = STEADY
    train(
        METHODS[preset.method](preset, bench),
        scorer=bench.scorer,
        optimizer=bench.accelerator.prepare(optimizer),
        accelerator=bench.accelerator,
        settings=preset.optimizer,
        steps=3,
        progress=Progress(),
        reporter=bench.reporter,
        control=Untouched(),
        save=lambda progress: None,
        checkpoint_every=0,
    )
    told = [events.read_event(line) for line in (bench.folder / "events.jsonl").read_bytes().splitlines()]
    return [event for event in told if isinstance(event, events.Step)]
