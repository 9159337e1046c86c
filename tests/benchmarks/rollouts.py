"""How fast answers are sampled beside `generate`, and GRPO's step beside TRL's: `python -m tests.benchmarks.rollouts`.

Printed only. The same Llama of four layers, the same prompts of 32 to 64 tokens, groups of 8, answers of up to 64
tokens; each contestant in a process of its own with one thread, in turn, for some rounds of which its best counts.
Figures are seconds of the processor's time, so that what else the machine does counts for less; of sampling the best of
some calls, of GRPO the mean of the steps after the first. Goals: sampling 2.2 times as fast at 8 answers and 1.6 times
at 128; a step of GRPO 2.2 times as fast as TRL's tuned and 3 times its defaults at a vocabulary of 512, 3 times at
32,000.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

SAMPLING = ("generate", "Plumbline")
#: Name -> how TRL is set up.
GRPO: dict[str, dict[str, Any]] = {
    "TRL, defaults": {"bf16": True, "gradient_checkpointing": True},
    "TRL, tuned": {"bf16": False, "gradient_checkpointing": False},
    "Plumbline": {},
}
VOCABULARIES = (512, 32_000)
ANSWERS = (8, 128)
GROUP, TOKENS, PROMPT_TOKENS = 8, 64, (32, 64)
WIDTH, LAYERS = 128, 4
#: Prompts of a step of GRPO, each with a group of answers.
PROMPTS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6, help="of GRPO")
    parser.add_argument("--calls", type=int, default=5, help="of sampling, of which the best counts")
    parser.add_argument("--rounds", type=int, default=3, help="in each of which all take their turn; the best counts")
    parser.add_argument("--vocabulary", type=int, choices=VOCABULARIES, help="this one alone")
    parser.add_argument(
        "--without-defaults", action="store_true", help="leave out TRL's defaults: bfloat16 is slow here"
    )
    parser.add_argument("--child", nargs=3, metavar=("CONTESTANT", "VOCABULARY", "ANSWERS"))
    options = parser.parse_args()
    if options.child:
        name, vocabulary, answers = options.child
        print(json.dumps(measure(name, int(vocabulary), int(answers), options)))
        return
    for vocabulary in (options.vocabulary,) if options.vocabulary else VOCABULARIES:
        for answers in ANSWERS:
            title = f"Sampling {answers} answers, vocabulary {vocabulary:,}"
            print_table(title, in_turns(SAMPLING, vocabulary, answers, options), "generate")
        names = [name for name in GRPO if not (options.without_defaults and name == "TRL, defaults")]
        title = f"A step of GRPO, {PROMPTS} prompts with {GROUP} answers, vocabulary {vocabulary:,}"
        print_table(title, in_turns(names, vocabulary, 0, options), "TRL, tuned")


def in_turns(names: Sequence[str], vocabulary: int, answers: int, options: argparse.Namespace) -> dict[str, float]:
    """Seconds of each contestant in its best round. What else the machine does comes and goes, so they take turns."""
    rounds = [{name: apart(name, vocabulary, answers, options) for name in names} for _ in range(options.rounds)]
    return {name: min(each[name] for each in rounds) for name in names}


def apart(name: str, vocabulary: int, answers: int, options: argparse.Namespace) -> float:
    """One contestant in a process of its own: seconds."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, "-m", "tests.benchmarks.rollouts", "--steps", str(options.steps)]
    command += ["--calls", str(options.calls), "--child", name, str(vocabulary), str(answers)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return float(json.loads(done.stdout.splitlines()[-1]))


def print_table(title: str, found: dict[str, float], base: str) -> None:
    print(f"\n{title}\n\n| | CPU seconds | times as fast as {base} |\n|---|---|---|")
    for name, seconds in found.items():
        print(f"| {name} | {seconds:.3f} | {found[base] / seconds:.2f} |", flush=True)


def measure(name: str, vocabulary: int, answers: int, options: argparse.Namespace) -> float:
    torch.set_num_threads(1)
    with contextlib.redirect_stdout(sys.stderr), tempfile.TemporaryDirectory() as folder:
        if answers:
            contestant = ours_of(vocabulary, answers) if name == "Plumbline" else generate_of(vocabulary, answers)
            return min(seconds_of(contestant) for _ in range(options.calls + 1))
        train = step_of_ours if name == "Plumbline" else step_of_trl
        marks = train(GRPO[name], vocabulary, options.steps, Path(folder))
    return (marks[-1] - marks[0]) / (len(marks) - 1)


def seconds_of(work: Callable[[], object]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


def model_of(vocabulary: int) -> Any:
    """A Llama with random weights, the same each time."""
    from tests.tiny import tiny_model

    sizes: dict[str, Any] = {"hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_hidden_layers": LAYERS}
    model: Any = tiny_model(vocab_size=vocabulary, **sizes, num_key_value_heads=4, max_position_embeddings=256)
    return model


def policy_of(vocabulary: int) -> Any:
    from engine.data.byte_tokenizer import byte_tokenizer
    from engine.models import Policy

    return Policy(model_of(vocabulary), byte_tokenizer(), has_adapter=False)


def prompts_of(count: int) -> list[str]:
    """Texts in which each letter is a token, as the tokenizer of bytes reads them."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(PROMPT_TOKENS[0], PROMPT_TOKENS[1] + 1, (count,), generator=generator).tolist()
    return ["".join(map(chr, torch.randint(97, 123, (n,), generator=generator).tolist())) for n in lengths]


def ours_of(vocabulary: int, answers: int) -> Callable[[], object]:
    from engine.contract.online_settings import Rollout
    from engine.rollout.local import sample_answers

    policy = policy_of(vocabulary)
    policy.model.generation_config.eos_token_id = None
    prompts = [policy.tokenizer(text)["input_ids"] for text in prompts_of(answers // GROUP)]
    seeds = [[GROUP * place + member for member in range(GROUP)] for place in range(len(prompts))]
    how = Rollout(max_new_tokens=TOKENS, completions_per_prompt=GROUP)
    return lambda: sample_answers(policy, prompts, seeds, how)


def generate_of(vocabulary: int, answers: int) -> Callable[[], object]:
    policy = policy_of(vocabulary)
    policy.tokenizer.padding_side = "left"
    texts = [text for text in prompts_of(answers // GROUP) for _ in range(GROUP)]
    rows = policy.tokenizer(texts, padding=True, return_tensors="pt")
    given = {"input_ids": rows["input_ids"], "attention_mask": rows["attention_mask"]}
    how = {"do_sample": True, "top_k": 0, "max_new_tokens": TOKENS, "min_new_tokens": TOKENS, "pad_token_id": 0}
    return lambda: policy.model.generate(**given, **how)


def step_of_ours(_: dict[str, Any], vocabulary: int, steps: int, folder: Path) -> list[float]:
    """When each step ended, by the parts that make a run."""
    from engine.assembly import optimizer_of
    from engine.contract.preset import GrpoPreset
    from engine.loop import Progress, Wish, train
    from engine.methods.grpo import grpo
    from tests.tiny import Untouched, bench_of

    marks: list[float] = []

    class Watch(Untouched):
        def after_step(self, step: int) -> Wish:
            marks.append(time.process_time())
            return Wish()

    preset = GrpoPreset.model_validate(
        {
            "method": "grpo",
            "model": {"path": "some/model"},
            "data": {"train": "rows.jsonl", "shuffle": False, "max_length": 256},
            "training": {"steps": steps, "batch_size": PROMPTS, "micro_batch_size": PROMPTS * GROUP},
            "rollout": {"completions_per_prompt": GROUP, "max_new_tokens": TOKENS, "recorded": 0},
            "rewards": [{"kind": "length", "target": 32}],
            "grpo": {"beta": 0.0},
        }
    )
    policy = policy_of(vocabulary)
    bench = bench_of(policy, folder, train=[{"prompt": text} for text in prompts_of(PROMPTS * steps)])
    train(
        grpo(preset, bench),
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
    return marks


def step_of_trl(own: dict[str, Any], vocabulary: int, steps: int, folder: Path) -> list[float]:
    """When each step of TRL's trainer ended."""
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer

    marks: list[float] = []

    class Watch(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            marks.append(time.process_time())

    config = GRPOConfig(
        output_dir=str(folder),
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        logging_steps=1,
        max_steps=steps,
        num_generations=GROUP,
        per_device_train_batch_size=PROMPTS * GROUP,
        max_completion_length=TOKENS,
        **own,
    )

    def reward(completions: list[str], **_: Any) -> list[float | None]:
        return [min(1.0, len(text) / 32) for text in completions]

    policy = policy_of(vocabulary)
    trainer = GRPOTrainer(
        policy.model,
        reward_funcs=reward,
        args=config,
        train_dataset=Dataset.from_list([{"prompt": text} for text in prompts_of(PROMPTS * steps)]),
        processing_class=policy.tokenizer,
        callbacks=[Watch()],
    )
    trainer.train()
    return marks


if __name__ == "__main__":
    main()
