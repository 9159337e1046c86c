"""Runs for tests: a tiny run directory, an engine for it here or in a process of its own, and what it left behind.

A process of its own is forked from one that has already imported torch, so that a life costs tenths of a second.
"""

import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from engine import run as engine_run
from engine.checkpoint import save_model
from engine.contract import events, jsonl, run_dir
from engine.contract.image_presets import ImagePreset
from engine.contract.preset import Preset, TextPreset, check, preset_text
from engine.contract.rollouts import Completion, read_completion
from engine.contract.run_dir import RunDir
from engine.data.byte_tokenizer import byte_tokenizer
from engine.reporting import Reporter
from engine.supervisor import tidy
from tests.tiny import tiny_model

FINISHED, FAILED, STOPPED = 0, 1, 3
KILLED = -signal.SIGKILL

#: Values that tell how fast it went and how much work it was, which padding and a cache change; all others are the same
#: however the same run is computed.
TIMINGS = {
    "step_time",
    "step_flops",
    "tokens_per_second",
    *(f"timing/{what}" for what in ("rollout", "reward", "reference", "teacher", "train")),
}
#: Longer than any of these lives; one that takes longer hangs.
LIFE_SECONDS = 120

SCRATCH = {"family": "llama", "layers": 2, "width": 32, "heads": 2, "context": 64}
SUMS = {"path": "task:arithmetic", "rows": 40, "seed": 1, "options": {"digits": 1}}
#: Of uneven length, so that a mean of means is another number than the mean.
WORDS = [
    "a",
    "bb",
    "ccc",
    "dddd",
    "eeeee",
    "ffffff",
    "ggggggg",
    "hhhhhhhh",
    "iiiiiiiii",
    "jjjjjjjjjj",
    "kkkkkkkkkkk",
    "llllllllllll",
]
LORA = {"kind": "lora", "rank": 4, "alpha": 8.0, "dropout": 0.0, "targets": "all-linear"}
#: Every kind of adapter, small.
ADAPTERS: dict[str, dict[str, Any]] = {
    "lora": LORA,
    "dora": {**LORA, "kind": "dora"},
    "rslora": {**LORA, "kind": "rslora"},
    "prompt_tuning": {"kind": "prompt_tuning", "virtual_tokens": 5},
    "prefix_tuning": {"kind": "prefix_tuning", "virtual_tokens": 5},
}
EVERYTHING: dict[str, Any] = {
    "model": {"path": "scratch", "scratch": SCRATCH, "device": "cpu"},
    "data": {"train": SUMS, "max_length": 32},
    "optimizer": {"learning_rate": 1e-3, "schedule": "linear"},
    # Most tests look at what training did; test_eval_before.py has what stands before it.
    "training": {"steps": 6, "batch_size": 8, "threads": 1, "checkpoint_every": 2, "eval_before": False},
}
OF_GRPO: dict[str, Any] = {
    "optimizer": {"learning_rate": 1e-3},
    "training": {"steps": 4, "batch_size": 4, "checkpoint_every": 1},
    "rollout": {"completions_per_prompt": 4, "max_new_tokens": 5, "recorded": 8},
    # A model from scratch is never right; what its answers look like still differs.
    "rewards": [{"kind": "length", "target": 2}, {"kind": "pattern", "pattern": "[a-zA-Z0-9].*"}],
}


OF_PPO: dict[str, Any] = {**OF_GRPO, "rollout": {"completions_per_prompt": 2, "max_new_tokens": 5, "recorded": 8}}


# ------------------------------------------------------------------------------------------------ presets and runs


def sft(**sections: Any) -> TextPreset:
    """A tiny SFT run; each section given is laid over the usual one."""
    return _checked({"method": "sft", "sft": {"sample_every": 0}}, EVERYTHING, sections)


def grpo(**sections: Any) -> TextPreset:
    """A tiny GRPO run with the KL term; each section given is laid over the usual one."""
    return _checked({"method": "grpo", "grpo": {"beta": 0.1}}, EVERYTHING, OF_GRPO, sections)


def ppo(**sections: Any) -> TextPreset:
    """A tiny PPO run, all of it in use; each section given is laid over the usual one."""
    own = {"beta": 0.1, "epochs": 2, "minibatches": 2}
    return _checked({"method": "ppo", "ppo": own}, EVERYTHING, OF_PPO, sections)


def best_of_n(**sections: Any) -> TextPreset:
    """A tiny run of best of N; each section given is laid over the usual one."""
    return _checked({"method": "best_of_n"}, EVERYTHING, OF_GRPO, sections)


def online_dpo(**sections: Any) -> TextPreset:
    """A tiny run of online DPO; each section given is laid over the usual one."""
    return _checked({"method": "online_dpo"}, EVERYTHING, OF_GRPO, sections)


def distill(**sections: Any) -> TextPreset:
    """A tiny run of distillation; `distill.teacher` is to be given, each section is laid over the usual one."""
    of_grpo = {name: section for name, section in OF_GRPO.items() if name != "rewards"}
    return _checked({"method": "distill"}, EVERYTHING, of_grpo, sections)


def on_disk(method: str, folder: Path) -> dict[str, Any]:
    """The sections for which a method needs something on the disk, which is put there."""
    if method != "distill":
        return {}
    save_model(tiny_model(seed=4), byte_tokenizer(), folder / "teacher")
    return {"distill": {"teacher": str(folder / "teacher")}}


def reward_model(**sections: Any) -> TextPreset:
    """A tiny run of a reward model; each section given is laid over the usual one."""
    return _checked({"method": "reward_model"}, EVERYTHING, sections)


def dpo(**sections: Any) -> TextPreset:
    """A tiny DPO run; each section given is laid over the usual one."""
    return preferring("dpo", **sections)


def preferring(method: str, **sections: Any) -> TextPreset:
    """A tiny run of a method that learns from pairs; each section given is laid over the usual one."""
    return _checked({"method": method, method: {"sample_every": 0}}, EVERYTHING, sections)


def _checked(*layers: dict[str, Any]) -> TextPreset:
    data: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            data[name] = {**data.get(name, {}), **value} if isinstance(value, dict) else value
    preset, faults = check(data)
    assert preset is not None, faults
    assert not isinstance(preset, ImagePreset)
    return preset


def uneven_rows(file: Path, count: int = 24) -> Path:
    """A data file whose answers are 1 to 12 letters long."""
    rows = [{"prompt": f"{WORDS[i * 5 % 12]}=", "completion": WORDS[i % 12]} for i in range(count)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return file


def uneven_pairs(file: Path, count: int = 24) -> Path:
    """A data file whose answers are 1 to 12 letters long, the rejected ones of other lengths than the chosen."""
    rows = [
        {"prompt": f"{WORDS[i * 5 % 12]}=", "chosen": WORDS[i % 12], "rejected": WORDS[(i * 7 + 3) % 12]}
        for i in range(count)
        if i % 12 != (i * 7 + 3) % 12
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return file


def uneven_rankings(file: Path, count: int = 24) -> Path:
    """A data file of 2 to 4 answers to each prompt, in order, so that prompts have 1 to 6 pairs."""
    rows = [
        {
            "prompt": f"{WORDS[i * 5 % 12]}=",
            "answers": [WORDS[(i + 5 * k) % 12] for k in range(2 + i % 3)],
            "ranks": list(range(2 + i % 3)),
        }
        for i in range(count)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return file


def new_run(path: Path, preset: Preset) -> RunDir:
    made = run_dir.create_at(path, preset_text(preset))
    assert made is not None, f"{path} is there already"
    return made


def run_here(run: RunDir, *, commands_from: int = 0) -> int:
    """The run's engine in this very process, so that a test can reach into it. Returns the exit code."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", no_wait)
            return engine_run.main([str(run.path), "--commands-from", str(commands_from)])
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def run_here_watched(run: RunDir, on_step: Callable[[int], object], *, commands_from: int = 0) -> int:
    """As `run_here`; `on_step` is called within each step, with its number, as soon as its line is written."""
    tell = Reporter.event

    def tell_and_call(self: Reporter, event: events.Event) -> None:
        tell(self, event)
        if isinstance(event, events.Step):
            on_step(event.step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Reporter, "event", tell_and_call)
        return run_here(run, commands_from=commands_from)


def no_wait(descriptor: int) -> None:
    """In place of fsync: it protects from power cuts, which no test here makes, and a busy disk takes its time."""


def done(path: Path, preset: Preset) -> RunDir:
    """A run that went through undisturbed, in this process."""
    run = new_run(path, preset)
    assert run_here(run) == FINISHED, last_word(run)
    return run


# ------------------------------------------------------------------------------------- lives in processes of their own


def begin(
    run: RunDir, first: Callable[..., object] = int, *arguments: Any, commands_from: int = 0
) -> ForkServerProcess:
    """Start a life of the run as the supervisor does. `first` is called in it before the engine: a place for faults."""
    tidy(run)
    life = multiprocessing.get_context("forkserver").Process(
        target=_life, args=(str(run.path), commands_from, first, arguments)
    )
    life.start()
    return life


def end_of(life: ForkServerProcess) -> int:
    """The exit code of a life, or the negative number of the signal that ended it."""
    life.join(LIFE_SECONDS)
    if life.exitcode is None:
        life.kill()
        life.join()
        raise AssertionError("the engine hangs")
    return life.exitcode


def live(run: RunDir, first: Callable[..., object] = int, *arguments: Any, commands_from: int = 0) -> int:
    """One whole life of the run; see `begin` and `end_of`."""
    return end_of(begin(run, first, *arguments, commands_from=commands_from))


def _life(path: str, commands_from: int, first: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    run = RunDir(Path(path))
    log = run.log.open("a", encoding="utf-8", buffering=1)
    sys.stdout = sys.stderr = log
    torch.set_num_threads(1)
    os.fsync = no_wait  # type: ignore[assignment]
    first(*arguments)
    sys.exit(engine_run.main([path, "--commands-from", str(commands_from)]))


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """What `function` gives in a process of its own, where it may fork, and patch what it likes."""
    context = multiprocessing.get_context("forkserver")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(there, function, arguments))
    process.start()
    there.close()
    try:
        assert here.poll(LIFE_SECONDS), "it hangs"
        answer = here.recv()
    finally:
        process.kill()
        process.join()
    return answer


def _answer(there: Any, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    there.send(function(*arguments))


def wait_for(condition: Callable[[], Any], *, seconds: float = 60) -> Any:
    """What `condition` gives, once it gives something."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.002)
    return found


# -------------------------------------------------------------------------------------------------- what a run left


def events_of(run: RunDir) -> list[events.Event | events.Unreadable]:
    """All that was ever written, by every life."""
    return [events.read_event(line) for line in jsonl.follow(run.events)]


def of_kind(run: RunDir, kind: type[Any]) -> list[Any]:
    return [event for event in events_of(run) if isinstance(event, kind)]


def history(run: RunDir) -> list[events.Event | events.Unreadable]:
    """What counts: without what an earlier life wrote after the step that a later one began from."""
    counts: list[events.Event | events.Unreadable] = []
    for event in events_of(run):
        if isinstance(event, events.Resumed):
            counts = [earlier for earlier in counts if getattr(earlier, "step", 0) <= event.from_step]
        counts.append(event)
    return counts


def curve(run: RunDir) -> list[tuple[str, int, dict[str, float]]]:
    """Steps and evaluations as they count, without what depends on how fast it went. NaN reads as text, to compare."""
    return [
        (event.kind, event.step, {name: _comparable(v) for name, v in event.values.items() if name not in TIMINGS})
        for event in history(run)
        if isinstance(event, events.Step | events.Evaluation)
    ]


def _comparable(value: float) -> Any:
    return "NaN" if value != value else value


def values_of(run: RunDir, name: str) -> list[float]:
    """One metric at every step."""
    return [values[name] for kind, _, values in curve(run) if kind == "step"]


def steps_of(run: RunDir) -> list[int]:
    return [step for kind, step, _ in curve(run) if kind == "step"]


def answers_of(run: RunDir) -> list[Completion]:
    """The completions that counting `samples` events point at."""
    found = []
    for event in history(run):
        if isinstance(event, events.Samples):
            lines = list(jsonl.follow(run.rollouts, event.offset))[: event.count]
            found += [answer for line in lines if (answer := read_completion(line))]
    return found


def last_word(run: RunDir) -> events.RunFinished:
    word = events_of(run)[-1]
    assert isinstance(word, events.RunFinished), word
    return word


def notices(run: RunDir) -> str:
    return "\n".join(f"{notice.level}: {notice.what}; {notice.advice}" for notice in of_kind(run, events.Notice))


def weights(folder: Path) -> dict[str, Tensor]:
    """Every tensor of a saved model or adapter."""
    return {key: value for file in sorted(folder.glob("*.safetensors")) for key, value in load_file(str(file)).items()}


def assert_same_weights(folder: Path, expected: Path) -> None:
    """Bit for bit."""
    found, wanted = weights(folder), weights(expected)
    assert wanted.keys() == found.keys()
    assert wanted
    assert [name for name, value in wanted.items() if not torch.equal(value, found[name])] == []


def assert_close_weights(folder: Path, expected: Path, *, relative: float) -> None:
    found, wanted = weights(folder), weights(expected)
    assert wanted.keys() == found.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=relative, atol=relative * float(value.abs().max()))


def log_of(run: RunDir) -> str:
    return run.log.read_text("utf-8", "replace") if run.log.exists() else ""
