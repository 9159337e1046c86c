"""The numbers of TRL 1.16, from the engine's own functions as the product uses them.

TRL's are had without `.train()` where one batch is compared, and by `.train()` where whole steps are. In GRPO, TRL pads
prompts on the left and gives no positions; a model with learned positions (GPT-2) then reads them from the wrong place.
Ours come from the mask, so with uneven prompts GPT-2 differs by design; here its prompts are equally long.
"""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from engine.advantages import Scale, group_relative_advantages
from engine.contract.preset import GrpoPreset, SftPreset
from engine.data.batching import pad_rows
from engine.data.byte_tokenizer import byte_tokenizer
from engine.data.chat import ChatEncoder
from engine.data.sources import Row
from engine.logprobs import TokenScorer
from engine.losses import sft_loss
from engine.methods.grpo import GrpoBatch, grpo
from engine.tally import Mean
from tests.tiny import FAMILIES, bench_of, random_ids, rows_of, run_steps, tiny_model, tiny_policy

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore:You are using .rollout_func."),  # that it may change; TRL is pinned
]

ROWS = [
    {"prompt": "2+2=", "completion": "4"},
    {"prompt": "the capital of France is", "completion": " Paris, on the Seine"},
    {"prompt": "hi ", "completion": "there"},
    {"prompt": "a b c ", "completion": "d e f g h i j k"},
    {"prompt": "1, 2, 3,", "completion": " 4, 5"},
    {"prompt": "say nothing:", "completion": " "},
    {"prompt": "round and ", "completion": "round the garden"},
    {"prompt": "x", "completion": "yz"},
]


def largest_relative_error(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """Largest difference over the largest entry, of all tensors together."""
    assert len(ours) == len(theirs) > 0
    largest = max(float(t.abs().max()) for t in theirs)
    return max(float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True)) / largest


def gradients(model: nn.Module) -> list[Tensor]:
    return [p.grad for p in model.parameters() if p.grad is not None]


# ------------------------------------------------------------------------------------------------------------ SFT


def trl_sft(model: PreTrainedModel, folder: Path, rows: list[Row] | None = None, **settings: Any) -> Any:
    from datasets import Dataset
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    config = SFTConfig(
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
    data = Dataset.from_list(rows or ROWS)
    return SFTTrainer(model, args=config, train_dataset=data, processing_class=byte_tokenizer())


@pytest.mark.parametrize("family", FAMILIES)
def test_sft_rows_loss_gradients_and_metrics_are_trls(family: str, tmp_path: Path) -> None:
    model = tiny_model(family).train()
    trainer = trl_sft(copy.deepcopy(model), tmp_path)
    batch = next(iter(trainer.get_train_dataloader()))
    theirs = trainer.compute_loss(trainer.model, dict(batch))
    theirs.backward()
    told = trainer._metrics["train"]

    encoder = ChatEncoder(byte_tokenizer())
    rows = pad_rows([encoder.example(row, completion_only=True, max_length=1024) for row in ROWS[:4]], 0)
    assert torch.equal(rows.input_ids, batch["input_ids"])
    assert torch.equal(rows.is_target, batch["labels"] != -100)
    scores = TokenScorer(model)(rows)
    ours = sft_loss(scores.logps, normaliser=float(rows.is_target.sum())).share
    ours.backward()
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    assert largest_relative_error(gradients(model), gradients(trainer.model)) < 1e-5
    assert scores.entropy.mean().item() == pytest.approx(told["entropy"][0], rel=1e-5)
    assert scores.is_top.float().mean().item() == pytest.approx(told["mean_token_accuracy"][0])
    assert int(rows.is_token.sum()) == told["num_tokens"][0]


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("family", FAMILIES)
def test_three_steps_of_sft_are_trls(family: str, accumulation: int, tmp_path: Path) -> None:
    """AdamW, its groups, clipping, the linear schedule with warm-up, and the token mean over all of a step."""
    policy = tiny_policy(family)
    trainer = trl_sft(
        copy.deepcopy(policy.model),  # type: ignore[arg-type]
        tmp_path / "trl",
        max_steps=3,
        per_device_train_batch_size=4 // accumulation,
        gradient_accumulation_steps=accumulation,
        learning_rate=1e-3,
        warmup_steps=1,
        weight_decay=0.1,
        max_grad_norm=0.5,
    )
    trainer.train()
    preset = SftPreset.model_validate(
        {
            "method": "sft",
            "model": {"path": "scratch"},
            "data": {"train": "rows.jsonl", "shuffle": False},
            "optimizer": {"learning_rate": 1e-3, "warmup_steps": 1, "weight_decay": 0.1, "max_grad_norm": 0.5},
            "training": {"steps": 3, "batch_size": 4, "micro_batch_size": 4 // accumulation},
            "sft": {"sample_every": 0},
        }
    )
    steps = run_steps(preset, policy, tmp_path / "ours", ROWS)
    names = ["loss", "grad_norm", "learning_rate", "num_tokens"]
    if accumulation == 1:  # of an accumulated step TRL reports the mean of the parts' means; ours is over all tokens
        names += ["entropy", "mean_token_accuracy"]
    for name in names:
        theirs = [log[name] for log in trainer.state.log_history if name in log]
        assert [step.values[name] for step in steps] == pytest.approx(theirs, rel=1e-5), name
    moved = largest_difference(policy.model, tiny_model(family))
    assert largest_difference(policy.model, trainer.model) < 1e-6 < 1e-4 < moved


#: Adam's epsilon where ours and TRL's take steps with gradients that are partly zero but for rounding: the usual 1e-8
#: would blow those up to a step of full size, one way or the other by the processor's whim.
STEADY = 1e-4


def steadied(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The optimiser with that epsilon; TRL's gets it as `adam_epsilon`."""
    for group in optimizer.param_groups:
        group["eps"] = STEADY
    return optimizer


def largest_difference(model: nn.Module, other: nn.Module) -> float:
    """Of any parameter between two models of the same shape, where its gradient is more than rounding.

    A bias of the keys, as GPT-2 and BERT have it, adds the same to a query's every score, so its gradient is zero but
    for rounding, which Adam blows up to a step of full size.
    """
    differences = []
    for (name, ours), theirs in zip(model.named_parameters(), other.parameters(), strict=True):
        if name.endswith("self.key.bias"):
            continue
        difference = (ours.detach() - theirs.detach()).abs()
        if name.endswith("c_attn.bias"):
            queries, _, values = difference.chunk(3)
            difference = torch.cat([queries, values])
        differences.append(float(difference.max()))
    return max(differences)


# ----------------------------------------------------------------------------------------------------------- GRPO

#: Prompts and answers, in two groups of two; equally long prompts, see above.
PAIRS = [(random_ids(5, seed=group), random_ids(length, seed=10 + length)) for group, length in enumerate((3, 7, 1, 6))]
#: Uneven prompts, for families that only know distances between tokens.
RAGGED = [(random_ids(2 + 3 * index, seed=index), answer) for index, (_, answer) in enumerate(PAIRS)]
ADVANTAGES = [1.2, -0.8, 0.5, -0.9]

CASES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "kl": {"beta": 0.04},
    "kl uncorrected": {"beta": 0.04, "corrected": False},
    "off-policy": {"is_stale": True},
    "off-policy, clip higher": {"is_stale": True, "epsilon_high": 0.28},
    "all at once": {"beta": 0.3, "is_stale": True, "epsilon_high": 0.28, "temperature": 0.9},
}


def trl_grpo(
    model: PreTrainedModel, folder: Path, *, reward: Any = lambda **_: None, rollout: Any = None, **settings: Any
) -> Any:
    from datasets import Dataset
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer

    config = GRPOConfig(
        output_dir=str(folder),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        per_device_train_batch_size=4,
        num_generations=2,
        **settings,
    )
    return GRPOTrainer(
        model,
        reward_funcs=reward,
        args=config,
        train_dataset=Dataset.from_list([{"prompt": "a"}, {"prompt": "b"}]),
        processing_class=byte_tokenizer(),
        rollout_func=rollout,
    )


def padded(rows: list[list[int]], *, left: bool) -> tuple[Tensor, Tensor]:
    """Ids and mask, (B, T), as TRL lays them out: prompts to the right, answers to the left."""
    width = max(map(len, rows))
    fill = [[0] * (width - len(row)) for row in rows]
    ids = [[*f, *row] if left else [*row, *f] for row, f in zip(rows, fill, strict=True)]
    mask = [[*f, *[1] * len(row)] if left else [*[1] * len(row), *f] for row, f in zip(rows, fill, strict=True)]
    return torch.tensor(ids), torch.tensor(mask)


def noisy(logps: Tensor, seed: int) -> Tensor:
    """Log-probabilities of a policy some way off: ratios from about 0.5 to 2."""
    return logps.detach() + 0.3 * torch.randn(logps.shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("family", FAMILIES)
def test_grpo_loss_gradients_and_metrics_are_trls(family: str, case: dict[str, Any], tmp_path: Path) -> None:
    beta, temperature = case.get("beta", 0.0), case.get("temperature", 1.0)
    corrected, high = case.get("corrected", True), case.get("epsilon_high")
    pairs = PAIRS if family == "gpt2" else RAGGED
    policy = tiny_policy(family)
    with torch.no_grad():
        now = TokenScorer(policy.model)(rows_of(pairs), temperature).logps
    old, reference = noisy(now, 1) if case.get("is_stale") else None, noisy(now, 2)

    trainer = trl_grpo(
        copy.deepcopy(policy.model),  # type: ignore[arg-type]
        tmp_path / "trl",
        temperature=temperature,
        epsilon_high=high,
        **({} if corrected else {"use_bias_correction_kl": False}),
    )
    trainer.beta, trainer.current_gradient_accumulation_steps = beta, 1
    theirs = trainer._compute_loss(trainer.model.train(), trl_batch(pairs, old, reference))
    theirs.backward()

    own = {"beta": beta, "epsilon_high": high, "kl_correction": corrected}
    preset = grpo_preset(own, temperature)
    bench = bench_of(policy, tmp_path / "ours")
    rows = rows_of(pairs)
    spread = [advantage for advantage, (_, ids) in zip(ADVANTAGES, pairs, strict=True) for _ in ids]
    batch = GrpoBatch(rows, torch.tensor(spread), old, reference if beta else None, now, float(rows.is_target.sum()))
    ours, values = grpo(preset, bench).loss(batch)
    ours.backward()
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    assert largest_relative_error(gradients(policy.model), gradients(trainer.model)) < 1e-5

    told = {name: values[0] for name, values in trainer._metrics["train"].items()}
    names = ["entropy", "clip_ratio/low_mean", "clip_ratio/high_mean", "clip_ratio/region_mean"]
    if beta and old is None:  # otherwise TRL reports the KL after weighing it by the ratio; ours is the KL
        names.append("kl")
    for name in names:
        mean = values[name]
        assert isinstance(mean, Mean)
        assert float(mean.total / mean.weight) == pytest.approx(told[name], rel=1e-5), name
    assert (told["clip_ratio/region_mean"] > 0) == (old is not None)


def grpo_preset(own: dict[str, Any], temperature: float) -> GrpoPreset:
    return GrpoPreset.model_validate(
        {
            "method": "grpo",
            "model": {"path": "scratch"},
            "data": {"train": "rows.jsonl"},
            "rollout": {"temperature": temperature, "completions_per_prompt": 2},
            "rewards": [{"kind": "exact_match"}],
            "grpo": own,
        }
    )


def trl_batch(pairs: list[tuple[list[int], list[int]]], old: Tensor | None, reference: Tensor) -> dict[str, Any]:
    prompt_ids, prompt_mask = padded([prompt for prompt, _ in pairs], left=True)
    completion_ids, completion_mask = padded([answer for _, answer in pairs], left=False)

    def spread(flat: Tensor) -> Tensor:
        return torch.zeros(completion_ids.shape).masked_scatter(completion_mask.bool(), flat)

    return {
        "prompt_ids": prompt_ids,
        "prompt_mask": prompt_mask,
        "completion_ids": completion_ids,
        "completion_mask": completion_mask,
        "advantages": torch.tensor(ADVANTAGES),
        "old_per_token_logps": None if old is None else spread(old),
        "ref_per_token_logps": spread(reference),
        "num_items_in_batch": completion_mask.sum(),
    }


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_group_advantages_are_trls(scale: Scale, tmp_path: Path) -> None:
    rewards = [1.0, 0.0, 0.75, 0.25]

    def rollout(prompts: list[str], trainer: Any) -> dict[str, Any]:
        answers = [ids for _, ids in PAIRS]
        return {
            "prompt_ids": [p for p, _ in PAIRS],
            "completion_ids": answers,
            "logprobs": [[-1.0] * len(ids) for ids in answers],
        }

    def reward(completions: list[str], **_: Any) -> list[float]:
        return rewards

    trainer = trl_grpo(tiny_model(), tmp_path, reward=reward, rollout=rollout, scale_rewards=scale)
    theirs = trainer._generate_and_score_completions([{"prompt": "a"}] * 2 + [{"prompt": "b"}] * 2)["advantages"]
    ours = group_relative_advantages(torch.tensor(rewards).view(2, 2), scale=scale)
    assert torch.allclose(ours.flatten(), theirs, atol=1e-7)
