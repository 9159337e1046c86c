"""Models, tokenizers and benches so small that a test makes one in a moment, yet shaped like the real ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedModel

from engine.assembly import optimizer_of
from engine.contract import events
from engine.contract.preset import TextPreset
from engine.contract.run_dir import RunDir
from engine.data.batching import pad_rows
from engine.data.byte_tokenizer import byte_tokenizer
from engine.data.chat import ChatEncoder, Example
from engine.data.sources import Row, Table
from engine.distilling import StudentScorer
from engine.logprobs import Rows, TokenScorer
from engine.loop import Progress, Wish, train
from engine.methods import METHODS
from engine.methods.bench import Bench
from engine.models import Policy
from engine.reporting import Reporter
from engine.reward_models import RewardScorer
from engine.rollout.local import LocalRollout
from engine.rollout.protocol import Answer
from engine.value_models import ActorCritic, Critic, OwnCritic

# A second thread fights with whatever else this machine tests: a test of 0.1 s then takes seconds.
torch.set_num_threads(1)

#: The families that must be exact everywhere.
FAMILIES = ("llama", "gpt2", "qwen2")

#: ChatML, as SmolLM2 and Qwen use it.
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

SIZES = {"vocab_size": 258, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
COMMON = {**SIZES, "intermediate_size": 64, "num_key_value_heads": 2, "max_position_embeddings": 128}
GPT2 = {"vocab_size": 258, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_inner": 64, "n_positions": 128}
NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}


def tiny_model(
    family: str = "llama", *, seed: int = 0, auto: Any = AutoModelForCausalLM, **extra: Any
) -> PreTrainedModel:
    """Random weights, two layers; biases and norms random too, so that leaving one out is noticed."""
    sizes: dict[str, Any] = GPT2 | NO_DROPOUT if family == "gpt2" else SIZES if family == "bloom" else COMMON
    config = AutoConfig.for_model(family, **{**sizes, "initializer_range": 0.2, **extra})
    config.bos_token_id, config.eos_token_id, config.pad_token_id = None, 1, 0
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model: PreTrainedModel = auto.from_config(config, dtype=torch.float32)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    model.eval()
    return model


def tiny_reward_model(family: str = "llama", **extra: Any) -> PreTrainedModel:
    """A tiny model, a decoder or bert, that gives one number for a text."""
    return tiny_model(family, auto=AutoModelForSequenceClassification, num_labels=1, **extra)


def with_lora(
    model: PreTrainedModel, *, dropout: float = 0.0, targets: str | list[str] = "all-linear", **more: Any
) -> nn.Module:
    """The model with an adapter that already does something: peft begins with one that does nothing."""
    from peft import LoraConfig, get_peft_model

    how: dict[str, Any] = {"task_type": "CAUSAL_LM", **more}
    config = LoraConfig(r=4, lora_alpha=8, lora_dropout=dropout, target_modules=targets, **how)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        wrapped: nn.Module = get_peft_model(model, config)
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                nn.init.normal_(parameter, std=0.2)
    return wrapped.eval()


def tiny_policy(family: str = "llama", *, lora: bool = False, dropout: float = 0.0, **extra: Any) -> Policy:
    """A tiny model that reads bytes; token 1 ends an answer."""
    model = tiny_model(family, **extra)
    return Policy(with_lora(model, dropout=dropout) if lora else model, byte_tokenizer(), has_adapter=lora)


def tiny_critic(family: str = "llama", **extra: Any) -> OwnCritic:
    """A tiny model that gives a value for each token, at random."""
    model = tiny_reward_model(family, **extra)
    model.config.value_offset = 0.0
    return OwnCritic(Policy(model, byte_tokenizer(), has_adapter=False))


def random_ids(length: int, *, seed: int, vocabulary: int = 258) -> list[int]:
    """Tokens other than the pad and the end."""
    generator = torch.Generator().manual_seed(seed)
    return list(torch.randint(2, vocabulary, (length,), generator=generator).tolist())


def rows_of(pairs: Sequence[tuple[list[int], list[int]]], pad_id: int = 0) -> Rows:
    """(prompt, answer) pairs, as methods lay them out: the answers are the targets."""
    examples = [Example([*p, *a], [False] * len(p) + [True] * len(a)) for p, a in pairs]
    return pad_rows(examples, pad_id)


def whole_logps(model: nn.Module, prompt: list[int], answer: list[int], temperature: float = 1.0) -> Tensor:
    """The answer's log-probabilities as the whole model gives them, alone and without padding: (len(answer),)."""
    logits = model(input_ids=torch.tensor([[*prompt, *answer]]), use_cache=False).logits[0].float() / temperature
    logps = torch.log_softmax(logits, dim=-1)
    places = torch.arange(len(prompt) - 1, len(prompt) + len(answer) - 1)
    return logps[places, torch.tensor(answer)]


def scored(model: nn.Module, prompts: list[list[int]], answers: list[Answer], temperature: float) -> Tensor:
    """The answers' log-probabilities as the trainer sees them: flat, rows in order."""
    rows = rows_of([(prompt, answer.ids) for prompt, answer in zip(prompts, answers, strict=True)])
    with torch.no_grad():
        logps: Tensor = TokenScorer(model)(rows, temperature).logps
    return logps


def bench_of(
    policy: Policy,
    folder: Path,
    *,
    train: Sequence[Row] | Table = (),
    held_out: Sequence[Row] | None = None,
    scores: type[TokenScorer] | type[RewardScorer] | type[StudentScorer] = TokenScorer,
    critic: Critic | None = None,
) -> Bench:
    """What a method works with, on one CPU, writing to a run directory in `folder`."""
    accelerator = Accelerator(cpu=True)
    run = RunDir(folder)
    folder.mkdir(parents=True, exist_ok=True)
    scorer = scores(policy.model) if critic is None else ActorCritic(TokenScorer(policy.model), critic)
    return Bench(
        policy=policy,
        scorer=scorer,
        bare_scorer=scorer,
        reference_scorer=None if policy.reference is None else TokenScorer(policy.reference),
        rollout=LocalRollout(policy, accelerator.autocast),
        accelerator=accelerator,
        encoder=ChatEncoder(policy.tokenizer),
        train=train if isinstance(train, Table) else Table(list(train)),
        held_out=None if held_out is None else Table(list(held_out)),
        reporter=Reporter(run),
        breathe=lambda: None,
        folder=folder,
        critic=critic,
    )


class Untouched:
    """A run that nobody asks anything of."""

    def breathe(self) -> None: ...

    def after_step(self, step: int) -> Wish:
        return Wish()


def run_steps(
    preset: TextPreset, policy: Policy, folder: Path, rows: Sequence[Row] | Table, critic: Critic | None = None
) -> list[events.Step]:
    """The steps of a run, by the parts that make it."""
    scores = RewardScorer if preset.method == "reward_model" else TokenScorer
    bench = bench_of(policy, folder, train=rows, scores=scores, critic=critic)
    train(
        METHODS[preset.method](preset, bench),
        scorer=bench.scorer,
        optimizer=bench.accelerator.prepare(optimizer_of(preset, policy.model, critic)),
        accelerator=bench.accelerator,
        settings=preset.optimizer,
        steps=preset.training.steps,
        progress=Progress(),
        reporter=bench.reporter,
        control=Untouched(),
        save=lambda progress: None,
        checkpoint_every=0,
    )
    told = [events.read_event(line) for line in (folder / "events.jsonl").read_bytes().splitlines()]
    return [event for event in told if isinstance(event, events.Step)]
