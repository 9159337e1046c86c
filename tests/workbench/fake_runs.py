"""Run directories of any length, method and end, written as an engine would write them, without one."""

import json
import math
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

from engine.contract import events, locks, run_dir
from engine.contract.rollouts import completion_line
from engine.contract.run_dir import RunDir
from engine.contract.status import own_identity

SECONDS_A_STEP = 0.1
SAMPLED_EVERY = 5
ANSWERS = 8


def values_at(method: str, step: int, steps: int, noise: random.Random) -> dict[str, float]:
    """Curves of the shape that such a run has."""
    t = step / steps
    rough = noise.gauss(0, 1)
    shared = {"grad_norm": 0.95 - 0.55 * t + 0.08 * noise.gauss(0, 1), "step_time": SECONDS_A_STEP}
    if method == "sft":
        loss = 0.31 + 2.4 * math.exp(-6 * t) + 0.04 * rough
        return {
            "loss": loss,
            "mean_token_accuracy": min(1.0, 0.96 - 0.3 * math.exp(-5 * t) + 0.01 * rough),
            "entropy": 0.4 + 0.9 * math.exp(-4 * t) + 0.02 * noise.gauss(0, 1),
            "learning_rate": 3e-3 * (1 - t),
            "tokens_per_second": 52_000 + 2_000 * rough,
            "num_tokens": 1024.0 * step,
            **shared,
        }
    reward = 1 / (1 + math.exp(-9 * (t - 0.3)))
    return {
        "reward": min(1.0, max(0.0, 0.4 + 0.57 * reward + 0.05 * rough)),
        "kl": max(0.0, 0.034 * reward + 0.003 * noise.gauss(0, 1)),
        "entropy": 1.1 - 0.7 * reward + 0.03 * noise.gauss(0, 1),
        "completions/mean_length": 4.1 + 0.2 * t + 0.08 * noise.gauss(0, 1),
        "frac_reward_zero_std": min(1.0, max(0.0, 0.1 + 0.55 * reward + 0.05 * noise.gauss(0, 1))),
        "loss": 0.01 * noise.gauss(0, 1),
        "clip_ratio/region_mean": abs(0.01 * noise.gauss(0, 1)),
        "completions/clipped_ratio": max(0.0, 0.06 - 0.08 * t),
        "reward_std": 0.4 * (1 - reward) + 0.02 * abs(rough),
        "learning_rate": 1e-3 * (1 - t),
        **shared,
    }


def completion(step: int, index: int, noise: random.Random) -> str:
    left, right = noise.randint(10, 99), noise.randint(10, 99)
    right_answer = str(left + right)[::-1]
    is_right = noise.random() < 0.35 + 0.6 * min(1, step / 200)
    text = right_answer + "." if is_right else str(noise.randint(20, 198))[::-1] + "."
    tokens = [*text, "<eos>"]
    return completion_line(
        step=step,
        prompt=f"{left}+{right}=",
        completion=text,
        prompt_id=index // 4,
        answer=right_answer + ".",
        reward=1.0 if is_right else 0.0,
        parts={"verifier": float(is_right)},
        advantage=0.52 if is_right else -1.91,
        kl=abs(noise.gauss(0.02, 0.02)),
        finish="stop",
        tokens=tokens,
        token_ids=[ord(token[0]) for token in tokens],
        logps=[-abs(noise.gauss(0.1 if is_right else 0.6, 0.3)) for _ in tokens],
        reference_logps=[-abs(noise.gauss(0.6, 0.4)) for _ in tokens],
    )


class FakeEngine:
    """Writes a run step by step. Alive (lock held, own pid in process.json) from `begin` until `vanish`."""

    def __init__(
        self,
        runs: Path,
        name: str,
        *,
        method: str = "grpo",
        steps: int = 300,
        stamp: str = "",
        began: float | None = None,
    ) -> None:
        preset = f"method: {method}\nname: {name}\nmodel: {{path: run:tour-sft}}\ntraining: {{steps: {steps}}}\n"
        path = runs / f"{stamp}-{name}" if stamp else None
        made = run_dir.create_at(path, preset) if path else run_dir.create(runs, name, preset)
        assert made is not None
        self.run: RunDir = made
        self.method, self.steps, self.step = method, steps, 0
        self.began = time.time() if began is None else began
        self.noise = random.Random(name)  # noqa: S311  pictures should come out alike
        self._lock: IO[bytes] | None = None

    def begin(self) -> "FakeEngine":
        self._lock = locks.hold(self.run.lock)
        assert self._lock is not None
        run_dir.write_json(self.run.process, own_identity() | {"pid": 2**22 + 1})
        self.say(events.RunStarted(time=self.began, method=self.method, steps=self.steps))
        return self

    def say(self, event: events.Event) -> None:
        self._append(self.run.events, [events.event_line(event)])

    def train(self, steps: int, *, every: int = SAMPLED_EVERY) -> "FakeEngine":
        """Report so many steps at once, with completions every few of them."""
        self._append(self.run.events, self._lines(steps, every))
        return self

    def _lines(self, steps: int, every: int) -> Iterator[str]:
        for _ in range(steps):
            self.step += 1
            now = self.began + self.step * SECONDS_A_STEP
            values = values_at(self.method, self.step, self.steps, self.noise)
            yield events.event_line(events.Step(step=self.step, time=now, values=values))
            if every and self.step % every == 0:
                offset = self.run.rollouts.stat().st_size if self.run.rollouts.exists() else 0
                self._append(self.run.rollouts, [completion(self.step, i, self.noise) for i in range(ANSWERS)])
                yield events.event_line(events.Samples(step=self.step, time=now, offset=offset, count=ANSWERS))
            if self.step % 100 == 0:
                self.checkpoint()
                where = f"checkpoints/step-{self.step:06d}"
                yield events.event_line(events.Checkpoint(step=self.step, time=now, path=where))

    def checkpoint(self) -> None:
        self.run.checkpoint(self.step).mkdir(parents=True, exist_ok=True)

    def finish(self, reason: str = "finished", message: str = "") -> "FakeEngine":
        now = self.began + self.step * SECONDS_A_STEP
        self.say(events.RunFinished.model_validate({"time": now, "reason": reason, "message": message}))
        return self.vanish(exit_code=0)

    def age(self, seconds: float) -> "FakeEngine":
        """Its last line is so old, as far as the disk tells."""
        then = time.time() - seconds
        os.utime(self.run.events, (then, then))
        return self

    def vanish(self, **ended: object) -> "FakeEngine":
        """The engine is gone; `ended` is what its supervisor wrote, if it lived to write."""
        if ended:
            self.run.ended.write_text(json.dumps(ended))
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        return self

    @staticmethod
    def _append(path: Path, lines: Iterable[str]) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)


def tour(workspace: Path, *, trained: int = 212) -> FakeEngine:
    """A workspace in the middle of the tour, with a past: what the pictures show. Returns the engine at work."""
    past(workspace, "smollm2-grpo", "20251008-090000", steps=500, trained=3, hours=29).finish(
        "failed", "out of memory at step 4\nuse training.micro_batch_size: 4, then Resume"
    ).age(29 * 3600)
    past(workspace, "grpo-kl-0.1", "20251008-100000", steps=400, trained=140, hours=26).vanish(signal=9).age(26 * 3600)
    past(workspace, "sft-helpful", "20251008-110000", "sft", steps=500, trained=140, hours=5).finish("stopped").age(
        18_000
    )
    past(workspace, "tour-sft", "20251009-093000", "sft", steps=200, trained=200, hours=0.08).finish().age(288)
    engine = FakeEngine(workspace / "runs", "tour-grpo", stamp="20251009-093100", steps=300, began=time.time() - 21)
    engine.begin().train(trained)
    engine.run.log.write_text("Plumbline engine\nmodel: 0.6 M parameters, all trained\n" + _log_lines(trained))
    engine.run.heartbeat.touch()
    return engine


def past(
    workspace: Path, name: str, stamp: str, method: str = "grpo", *, steps: int, trained: int, hours: float
) -> FakeEngine:
    """A run that trained so many of its steps, so many hours ago."""
    began = time.time() - 3600 * hours - trained * SECONDS_A_STEP
    return (
        FakeEngine(workspace / "runs", name, method=method, steps=steps, stamp=stamp, began=began)
        .begin()
        .train(trained)
    )


def _log_lines(steps: int) -> str:
    return "".join(f"step {i}  reward {0.4 + i / 500:.2f}  0.10 s\n" for i in range(1, steps + 1))


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return False
