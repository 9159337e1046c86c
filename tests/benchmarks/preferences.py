"""How fast DPO learns, and what memory it takes, beside TRL's: `python -m tests.benchmarks.preferences`. Printed only.

Both train the same Llama of four layers on the same pairs with the same settings, each in a process of its own with one
thread, in turn. Speed is tokens of the pairs, padding not counted, a second of the processor's time, so that what else
the machine does counts for little; the first step is left out. Memory is the highest while training less that before.
Goals: 1.8 times TRL's speed at a vocabulary of 512 with prompts of 64 tokens, 5 times at 32,000, with no more memory.
"""

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch

#: Name -> how TRL is set up, or whether ours keeps what the reference thinks.
CONTESTANTS: dict[str, dict[str, Any]] = {
    "TRL, defaults": {"bf16": True, "gradient_checkpointing": True},
    "TRL, tuned": {"bf16": False, "gradient_checkpointing": False},
    "Plumbline": {"reference": "live"},
    "TRL, tuned, reference kept": {"bf16": False, "gradient_checkpointing": False, "precompute_ref_log_probs": True},
    "Plumbline, reference kept": {"reference": "cached"},
}
PROMPT_TOKENS = 64
ANSWER_TOKENS = (32, 64)
WIDTH, LAYERS = 128, 4


class Workload(NamedTuple):
    vocabulary: int
    pairs: int


WORKLOADS = (Workload(512, 16), Workload(32_000, 8))


class Measured(NamedTuple):
    """Of the steps after the first: tokens a second of processor time, and a second of the clock; MiB; the losses."""

    speed: float
    wall_speed: float
    memory: float
    losses: list[float]


class Clock:
    """Marks the end of each step."""

    def __init__(self) -> None:
        self.cpu: list[float] = []
        self.wall: list[float] = []

    def mark(self) -> None:
        self.cpu.append(time.process_time())
        self.wall.append(time.perf_counter())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=2, help="the best of so many counts")
    parser.add_argument("--child", nargs=4, metavar=("CONTESTANT", "VOCABULARY", "PAIRS", "FOLDER"))
    options = parser.parse_args()
    if options.child:
        name, vocabulary, pairs, folder = options.child
        print(json.dumps(measure(name, Workload(int(vocabulary), int(pairs)), options.steps, Path(folder))))
        return
    for workload in WORKLOADS:
        print_table(workload, {name: best(name, workload, options) for name in CONTESTANTS})


def best(name: str, workload: Workload, options: argparse.Namespace) -> Measured:
    """The fastest of some rounds."""
    return max((apart(name, workload, options.steps) for _ in range(options.rounds)), key=lambda found: found.speed)


def apart(name: str, workload: Workload, steps: int) -> Measured:
    """One contestant in a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    with tempfile.TemporaryDirectory() as folder:
        given = [name, str(workload.vocabulary), str(workload.pairs), folder]
        command = [sys.executable, "-m", "tests.benchmarks.preferences", "--steps", str(steps), "--child", *given]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return Measured(*json.loads(done.stdout.splitlines()[-1]))


def print_table(workload: Workload, found: dict[str, Measured]) -> None:
    base = found["TRL, tuned"]
    print(
        f"\nDPO, vocabulary {workload.vocabulary:,}, {workload.pairs} pairs a step, prompts of {PROMPT_TOKENS} tokens\n"
    )
    print("| | tokens/s | times TRL, tuned | tokens/s by the clock | memory of training, MiB | last loss |")
    print("|---|---|---|---|---|---|")
    for name, one in found.items():
        cells = [f"{one.speed:,.0f}", f"{one.speed / base.speed:.2f}", f"{one.wall_speed:,.0f}", f"{one.memory:.0f}"]
        print(f"| {' | '.join([name, *cells])} | {one.losses[-1]:.4f} |")


def measure(name: str, workload: Workload, steps: int, folder: Path) -> Measured:
    torch.set_num_threads(1)
    rows = pairs_of(workload, workload.pairs * steps)
    clock = Clock()
    before: list[int] = []

    def ready() -> None:
        before.append(psutil.Process().memory_info().rss)

    train = train_trl if name.startswith("TRL") else train_ours
    with contextlib.redirect_stdout(sys.stderr):
        tokens, losses = train(CONTESTANTS[name], rows, workload, steps, folder, clock, ready)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    counted = tokens[-1] - tokens[0]
    return Measured(
        speed=counted / (clock.cpu[-1] - clock.cpu[0]),
        wall_speed=counted / (clock.wall[-1] - clock.wall[0]),
        memory=(peak - before[0]) / 2**20,
        losses=losses,
    )


def model_of(workload: Workload) -> Any:
    """A Llama with random weights, the same each time."""
    from tests.tiny import tiny_model

    sizes: dict[str, Any] = {"hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_hidden_layers": LAYERS}
    return tiny_model(vocab_size=workload.vocabulary, **sizes, num_key_value_heads=4, max_position_embeddings=256)


def pairs_of(workload: Workload, count: int) -> list[dict[str, str]]:
    """Pairs of text in which each letter is a token, as the tokenizer of bytes reads them."""
    generator = torch.Generator().manual_seed(0)

    def text(least: int, most: int) -> str:
        length = int(torch.randint(least, most + 1, (), generator=generator))
        return "".join(map(chr, torch.randint(97, 123, (length,), generator=generator).tolist()))

    return [
        {
            "prompt": text(PROMPT_TOKENS, PROMPT_TOKENS),
            # The end of each answer is a token, too.
            "chosen": text(ANSWER_TOKENS[0] - 1, ANSWER_TOKENS[1] - 1),
            "rejected": text(ANSWER_TOKENS[0] - 1, ANSWER_TOKENS[1] - 1),
        }
        for _ in range(count)
    ]


def train_ours(
    own: dict[str, Any],
    rows: list[dict[str, str]],
    workload: Workload,
    steps: int,
    folder: Path,
    clock: Clock,
    ready: Any,
) -> tuple[list[float], list[float]]:
    """By the parts that make a run. Returns tokens so far and loss of each step."""
    from engine.allocator import keep_freed_memory
    from engine.assembly import optimizer_of
    from engine.contract import events
    from engine.contract.preset import DpoPreset
    from engine.data.byte_tokenizer import byte_tokenizer
    from engine.loop import Progress, Wish, train
    from engine.methods.dpo import dpo
    from engine.models import Policy
    from tests.tiny import Untouched, bench_of

    class Watch(Untouched):
        def after_step(self, step: int) -> Wish:
            clock.mark()
            return Wish()

    preset = DpoPreset.model_validate(
        {
            "method": "dpo",
            "model": {"path": "some/model"},
            "data": {"train": "rows.jsonl", "shuffle": False, "max_length": 256},
            "optimizer": {"learning_rate": 1e-4},
            "training": {"steps": steps, "batch_size": workload.pairs, "micro_batch_size": workload.pairs},
            "dpo": {"sample_every": 0, **own},
        }
    )
    keep_freed_memory()
    reference = model_of(workload).requires_grad_(False) if own.get("reference") != "cached" else None
    policy = Policy(model_of(workload), byte_tokenizer(), has_adapter=False, reference=reference)
    bench = bench_of(policy, folder, train=rows)
    ready()
    train(
        dpo(preset, bench),
        scorer=bench.scorer,
        optimizer=bench.accelerator.prepare(optimizer_of(preset, policy.model)),
        accelerator=bench.accelerator,
        settings=preset.optimizer,
        steps=steps,
        progress=Progress(),
        reporter=bench.reporter,
        control=Watch(),
        save=lambda progress: None,
        checkpoint_every=0,
    )
    told = [events.read_event(line) for line in (folder / "events.jsonl").read_bytes().splitlines()]
    values = [event.values for event in told if isinstance(event, events.Step)]
    return [v["num_tokens"] for v in values], [v["loss"] for v in values]


def train_trl(
    own: dict[str, Any],
    rows: Sequence[dict[str, str]],
    workload: Workload,
    steps: int,
    folder: Path,
    clock: Clock,
    ready: Any,
) -> tuple[list[float], list[float]]:
    """By TRL's trainer. Returns tokens so far and loss of each step."""
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    from engine.data.byte_tokenizer import byte_tokenizer

    class Watch(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.mark()

    config = DPOConfig(
        output_dir=str(folder),
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        logging_steps=1,
        train_sampling_strategy="sequential",
        max_length=256,
        max_steps=steps,
        learning_rate=1e-4,
        per_device_train_batch_size=workload.pairs,
        **own,
    )
    reference = None if own.get("precompute_ref_log_probs") else model_of(workload)
    model = model_of(workload)
    ready()
    trainer = DPOTrainer(
        model,
        ref_model=reference,
        args=config,
        train_dataset=Dataset.from_list(list(rows)),
        processing_class=byte_tokenizer(),
        callbacks=[Watch()],
    )
    trainer.train()
    logs = [log for log in trainer.state.log_history if "num_tokens" in log]
    return [log["num_tokens"] for log in logs], [log["loss"] for log in logs]


if __name__ == "__main__":
    main()
