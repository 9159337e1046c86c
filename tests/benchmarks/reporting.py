"""What reporting costs a step, and SFT beside TRL: `python -m tests.benchmarks.reporting`. Printed, never asserted.

Goal of the house: a step event of 20 values takes at most 0.1% of a step of 100 ms.
"""

import contextlib
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from engine.contract import events
from engine.contract.preset import SftPreset
from engine.contract.rollouts import Completion
from engine.contract.run_dir import RunDir
from engine.data.tasks import Arithmetic
from engine.reporting import Reporter
from tests.engine.test_trl_parity import trl_sft
from tests.tiny import run_steps, tiny_model, tiny_policy

STEP_MILLISECONDS = 100.0
CALLS = 2000
STEPS = 8
ROUNDS = 2
BATCH = 16


def milliseconds(call: Callable[[int], None], calls: int) -> list[float]:
    """Of each call, sorted."""
    taken = []
    for index in range(calls):
        started = time.perf_counter()
        call(index)
        taken.append(1000 * (time.perf_counter() - started))
    return sorted(taken)


def reporting(folder: Path) -> None:
    """A step event, a heartbeat, and the 16 answers of 64 tokens that a GRPO step keeps."""
    reporter = Reporter(RunDir(folder))
    values = {f"metric/{index}": 1.0 / (index + 3) for index in range(20)}
    answer = Completion(
        step=1,
        prompt="a question of some forty characters, or so",
        completion="word " * 64,
        tokens=["word "] * 64,
        token_ids=[1234] * 64,
        logps=[-1.2345678901] * 64,
        reference_logps=[-1.2345678901] * 64,
    )
    rows: list[tuple[str, Callable[[int], None], int]] = [
        (
            "step event, 20 values",
            lambda i: reporter.event(events.Step(step=i, time=time.time(), values=values)),
            CALLS,
        ),
        ("heartbeat", lambda i: reporter.beat(), CALLS),
        ("16 answers, 64 tokens", lambda i: reporter.completions(i, [answer] * 16), CALLS // 10),
    ]
    print(f"{'reporting':24} {'median':>10} {'95%':>10} {'of a step of 100 ms':>22}")
    for name, call, calls in rows:
        taken = milliseconds(call, calls)
        median, late = statistics.median(taken), taken[int(0.95 * len(taken))]
        print(f"{name:24} {median:7.4f} ms {late:7.4f} ms {median / STEP_MILLISECONDS:22.3%}")


def sft_beside_trl(folder: Path) -> None:
    """Processor time of a whole step; TRL without bfloat16 and checkpointing, which cost it more on a CPU."""
    print(f"\n{'SFT, 2 layers, width 32':24} {'ours':>10} {'TRL 1.16':>10} {'TRL / ours':>22}")
    for vocabulary in (258, 32_000):
        ours, theirs = [], []
        for index in range(ROUNDS):  # one after the other, as the host may be busy at times
            ours.append(our_step(folder / f"ours-{vocabulary}-{index}", vocabulary))
            theirs.append(trl_step(folder / f"trl-{vocabulary}-{index}", vocabulary))
        a, b = min(ours), min(theirs)
        print(f"{f'vocabulary {vocabulary:,}':24} {a:7.1f} ms {b:7.1f} ms {b / a:22.2f}")


def our_step(folder: Path, vocabulary: int) -> float:
    preset = SftPreset.model_validate(
        {
            "method": "sft",
            "model": {"path": "scratch"},
            "data": {"train": "rows.jsonl", "shuffle": False},
            "training": {"steps": STEPS, "batch_size": BATCH},
            "sft": {"sample_every": 0},
        }
    )
    policy = tiny_policy(vocab_size=vocabulary)
    started = time.process_time()
    run_steps(preset, policy, folder, data())
    return 1000 * (time.process_time() - started) / STEPS


def trl_step(folder: Path, vocabulary: int) -> float:
    model = tiny_model(vocab_size=vocabulary)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        trainer = trl_sft(model, folder, data(), max_steps=STEPS, per_device_train_batch_size=BATCH)
        started = time.process_time()
        trainer.train()
        return 1000 * (time.process_time() - started) / STEPS


def data() -> list[dict[str, Any]]:
    """Questions and answers of about 30 bytes each."""
    sums = Arithmetic(digits=2, reversed=False).rows(200, seed=0)
    return [
        {
            "prompt": f"Work this out, please: {row['prompt']}",
            "completion": f" that makes {row['answer']} in all, I think",
        }
        for row in sums
    ]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "run").mkdir()
        reporting(Path(name) / "run")
        sft_beside_trl(Path(name))
