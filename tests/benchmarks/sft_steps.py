"""Steps of SFT by this engine or by TRL, measured in a process of their own, for `tests.benchmarks.training`.

    python -m tests.benchmarks.sft_steps {plumbline,trl} --vocabulary 512 [--packing padding_free] [--as-shipped] …

Prints one line of JSON. Both learn from the same rows in the same order with the same weights, on one thread. Seconds
are the processor's, as the wall clock tells more of a busy host than of us.
"""

import argparse
import json
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}

import psutil
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

SHORTEST, LONGEST = 16, 32
#: Steps before the clock starts: the first ones still allocate.
WARM_UP = 3


def rows_of(count: int, vocabulary: int, prompt: int) -> list[dict[str, Any]]:
    """Prompts of equal, answers of uneven length; token ids, so that both sides read the same."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(SHORTEST, LONGEST + 1, (count,), generator=generator).tolist()
    ids = [torch.randint(2, vocabulary, (prompt + length,), generator=generator).tolist() for length in lengths]
    return [{"input_ids": each, "labels": [-100] * prompt + each[prompt:]} for each in ids]


def model_of(vocabulary: int, layers: int, width: int) -> PreTrainedModel:
    """A Llama with random weights."""
    config = AutoConfig.for_model(
        "llama",
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=max(1, width // 32),
        num_key_value_heads=max(1, width // 32),
        max_position_embeddings=256,
    )
    config.bos_token_id, config.eos_token_id, config.pad_token_id = None, 1, 0
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    return model


def as_text(row: dict[str, Any]) -> dict[str, Any]:
    """A row of about as many letters."""
    letters = "".join(chr(97 + token % 26) for token in row["input_ids"])
    begins = row["labels"].count(-100)
    return {"prompt": letters[:begins], "completion": letters[begins:-1]}


class Clock:
    """CPU seconds and memory since all is imported and the model built; seconds from the end of the warm-up too."""

    def __init__(self) -> None:
        self.steps = 0
        self.begun = self.started = self.ended = 0.0
        self.memory = 0

    def begin(self) -> None:
        self.memory = psutil.Process().memory_info().rss
        self.begun = time.process_time()

    def step(self) -> None:
        self.steps += 1
        self.ended = time.process_time()
        if self.steps == WARM_UP:
            self.started = self.ended


def plumbline(options: argparse.Namespace, rows: list[dict[str, Any]], folder: Path, clock: Clock) -> list[float]:
    """The losses of the steps, by the parts that make a run."""
    from accelerate import Accelerator

    from engine.assembly import optimizer_of
    from engine.contract import events
    from engine.contract.preset import SftPreset
    from engine.contract.run_dir import RunDir
    from engine.data.byte_tokenizer import byte_tokenizer
    from engine.data.chat import ChatEncoder, Example
    from engine.data.sources import Table
    from engine.logprobs import TokenScorer
    from engine.loop import Progress, Wish, train
    from engine.methods.bench import Bench
    from engine.methods.sft import sft
    from engine.models import Policy
    from engine.reporting import Reporter
    from engine.rollout.local import LocalRollout

    class Tokenised(ChatEncoder):
        """Takes the ids as they are, beyond the vocabulary of any tokenizer here."""

        def example(self, row: Any, **_: Any) -> Example:
            return Example(row["input_ids"], [label != -100 for label in row["labels"]])

    class Control:
        def breathe(self) -> None: ...

        def after_step(self, step: int) -> Wish:
            clock.step()
            return Wish()

    preset = SftPreset.model_validate(
        {
            "method": "sft",
            "model": {"path": "scratch"},
            "data": {"train": "rows.jsonl", "shuffle": False},
            "optimizer": {"learning_rate": 1e-3},
            "training": {"steps": options.steps, "batch_size": options.batch_size, "threads": 1},
            "sft": {"sample_every": 0, "packing": options.packing},
        }
    )
    accelerator, model = Accelerator(cpu=True), model_of(options.vocabulary, options.layers, options.width)
    bare, optimizer = TokenScorer(model), optimizer_of(preset, model)
    scorer, optimizer = accelerator.prepare(bare, optimizer)
    told: list[float] = []

    class Quiet(Reporter):
        def event(self, event: events.Event) -> None:
            if isinstance(event, events.Step):
                told.append(event.values["loss"])

    encoder = (ChatEncoder if options.text else Tokenised)(byte_tokenizer())
    table = Table([as_text(row) for row in rows] if options.text else rows)
    reporter = Quiet(RunDir(folder))
    policy = Policy(model, byte_tokenizer(), has_adapter=False)
    parts = accelerator, encoder, table, None, reporter, lambda: None, folder
    bench = Bench(policy, scorer, bare, None, LocalRollout(policy), *parts)
    clock.begin()
    train(
        sft(preset, bench),
        scorer=scorer,
        optimizer=optimizer,
        accelerator=accelerator,
        settings=preset.optimizer,
        steps=options.steps,
        progress=Progress(),
        reporter=reporter,
        control=Control(),
        save=lambda progress: None,
        checkpoint_every=0,
    )
    return told


def trl(options: argparse.Namespace, rows: list[dict[str, Any]], folder: Path, clock: Clock) -> list[float]:
    """The losses of the steps, by SFTTrainer: tuned for a CPU (float32, no checkpointing), or as it is shipped."""
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    from engine.data.byte_tokenizer import byte_tokenizer

    class Watch(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.step()

    tuned: dict[str, Any] = {} if options.as_shipped else {"bf16": False, "gradient_checkpointing": False}
    config = SFTConfig(
        output_dir=str(folder),
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        logging_steps=1,
        learning_rate=1e-3,
        max_steps=options.steps,
        per_device_train_batch_size=options.batch_size,
        train_sampling_strategy="sequential",
        dataset_kwargs={"skip_prepare_dataset": True},
        **tuned,
    )
    model = model_of(options.vocabulary, options.layers, options.width)
    clock.begin()
    trainer = SFTTrainer(
        model,
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=byte_tokenizer(),
        callbacks=[Watch()],
    )
    trainer.train()
    return [log["loss"] for log in trainer.state.log_history if "loss" in log]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("by", choices=["plumbline", "trl"])
    parser.add_argument("--packing", default="padding_free")
    parser.add_argument("--as-shipped", action="store_true", help="TRL with its defaults")
    parser.add_argument("--text", action="store_true", help="give ours text, so that encoding it counts too")
    numbers = {"vocabulary": 512, "rows": 512, "steps": 12, "batch-size": 32, "layers": 4, "width": 128, "prompt": 16}
    for name, value in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = rows_of(options.rows, options.vocabulary, options.prompt)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        losses = {"plumbline": plumbline, "trl": trl}[options.by](options, rows, Path(folder), clock)
    learned = [rows[i % len(rows)] for i in range(WARM_UP * options.batch_size, options.steps * options.batch_size)]
    tokens = sum(len(row["input_ids"]) for row in learned)
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told = {
        "tokens_per_second": tokens / (clock.ended - clock.started),
        "memory_mib": (peak - clock.memory) / 2**20,
        "seconds": clock.ended - clock.begun,
        "tokens": sum(len(row["input_ids"]) for row in rows),
        "losses": losses,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
