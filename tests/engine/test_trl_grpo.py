"""The numbers of TRL 1.16's GRPO and RLOO: every loss it has, at every level of importance sampling, and advantages.

TRL pads prompts on the left and gives no positions; a model with learned positions (GPT-2) then reads them from the
wrong place. Ours come from the mask, so with uneven prompts GPT-2 differs by design; here its prompts are equally long.
Two answers share each prompt, which ours read once.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from engine.contract.preset import GrpoPreset
from engine.data.byte_tokenizer import byte_tokenizer
from engine.group_advantages import Scale, group_advantages, token_weights
from engine.logprobs import TokenScorer
from engine.loop import Method
from engine.methods.answers import Sampled
from engine.methods.bench import Bench
from engine.methods.groups import Groups
from engine.methods.grpo import GrpoBatch, batches_of, grpo, importance_of
from engine.methods.layout import Layout
from engine.methods.prompts import Prompts
from engine.rewards import Answered, Reward
from engine.rollout.protocol import Answer
from engine.tally import Least, Mean, Peak
from tests.engine.test_trl_parity import gradients, largest_relative_error
from tests.tiny import FAMILIES, bench_of, random_ids, rows_of, tiny_model, tiny_policy

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore:You are using .rollout_func."),  # that it may change; TRL is pinned
]

#: Prompts and answers, in two groups of two; equally long prompts, see above.
PAIRS = [(random_ids(5, seed=at // 2), random_ids(length, seed=10 + length)) for at, length in enumerate((3, 7, 1, 6))]
#: Uneven prompts, for families that only know distances between tokens.
RAGGED = [(random_ids(2 + 6 * (at // 2), seed=at // 2), answer) for at, (_, answer) in enumerate(PAIRS)]
ADVANTAGES = [1.2, -0.8, 0.5, -0.9]

#: TRL's names of losses, as choices of ours. One batch is the whole step, so `bnpo` is `dapo`.
LOSSES: dict[str, dict[str, Any]] = {
    "grpo": {"aggregation": "sequence"},
    "bnpo": {"aggregation": "token"},
    "dapo": {"aggregation": "token"},
    "dr_grpo": {"aggregation": "constant", "constant_length": 256},
    "luspo": {"aggregation": "constant", "constant_length": 1},
    "cispo": {"aggregation": "token", "clip": "one_sided", "cap": 1.5},
    "sapo": {"aggregation": "sequence", "clip": "soft"},
}


def trl_config(folder: Path, of: Any, **settings: Any) -> Any:
    return of(
        output_dir=str(folder),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        per_device_train_batch_size=4,
        num_generations=2,
        max_completion_length=256,
        **settings,
    )


def trl_grpo(
    model: PreTrainedModel, folder: Path, *, reward: Any = lambda **_: None, rollout: Any = None, **settings: Any
) -> Any:
    from datasets import Dataset
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer

    return GRPOTrainer(
        model,
        reward_funcs=reward,
        args=trl_config(folder, GRPOConfig, **settings),
        train_dataset=Dataset.from_list([{"prompt": "a"}, {"prompt": "b"}]),
        processing_class=byte_tokenizer(),
        rollout_func=rollout,
    )


def trl_rloo(model: PreTrainedModel, folder: Path, *, reward: Any = lambda **_: None, **settings: Any) -> Any:
    from datasets import Dataset
    from trl.trainer.rloo_config import RLOOConfig
    from trl.trainer.rloo_trainer import RLOOTrainer

    return RLOOTrainer(
        model,
        reward_funcs=reward,
        args=trl_config(folder, RLOOConfig, beta=0.0, **settings),
        train_dataset=Dataset.from_list([{"prompt": "a"}, {"prompt": "b"}]),
        processing_class=byte_tokenizer(),
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
        "old_logps": None if old is None else spread(old).sum(dim=1),
        "ref_per_token_logps": spread(reference),
        "num_items_in_batch": completion_mask.sum(),
    }


def grpo_preset(own: dict[str, Any], temperature: float = 1.0) -> GrpoPreset:
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


def layout_of(preset: GrpoPreset, bench: Bench, in_lines: bool) -> Layout:
    return Layout(bench, preset.training.micro_batch_size, in_lines, preset.rollout.temperature)


def our_batch(
    preset: GrpoPreset,
    bench: Bench,
    pairs: Sequence[tuple[list[int], list[int]]],
    now: Tensor,
    old: Tensor | None,
    reference: Tensor | None,
) -> tuple[Method, GrpoBatch]:
    """The method, and the batch as it lays one out: prompts shared, weights by its aggregation."""
    lengths = [len(answer) for _, answer in pairs]
    own = preset.grpo
    weights = token_weights(
        torch.tensor(lengths).view(2, 2), aggregation=own.aggregation, constant=own.constant_length or 1
    )
    method = grpo(preset, bench)
    logps = [each.tolist() for each in now.split(lengths)]
    references = [[]] * 4 if reference is None else [each.tolist() for each in reference.split(lengths)]
    sampled = [
        Sampled(
            *({}, *pair, "", Reward(0.0, {})),
            advantage=advantage,
            weight=weight,
            tokens=float(sum(lengths)),
            reference=compared,
        )
        for pair, advantage, weight, compared in zip(
            [(prompt, Answer(ids, mine, "stop", mine)) for (prompt, ids), mine in zip(pairs, logps, strict=True)],
            ADVANTAGES,
            weights.flatten().tolist(),
            references,
            strict=True,
        )
    ]
    [batch] = batches_of(layout_of(preset, bench, in_lines=True), sampled)
    assert batch.line is not None
    assert len(batch.line.first) == sum(len(pairs[at][0]) for at in (0, 2)) + sum(lengths)
    return method, batch._replace(old_logps=old)


def compare(
    family: str,
    own: dict[str, Any],
    theirs: Any,
    folder: Path,
    *,
    is_stale: bool,
    temperature: float = 1.0,
    rel: float = 1e-6,
) -> tuple[dict[str, Any], dict[str, float]]:
    """Loss and gradients of ours and TRL's; returns what both tell. theirs: a trainer of a model -> TRL's trainer."""
    pairs = PAIRS if family == "gpt2" else RAGGED
    policy = tiny_policy(family)
    with torch.no_grad():
        now = TokenScorer(policy.model)(rows_of(pairs), temperature).logps
    old, reference = noisy(now, 1) if is_stale else None, noisy(now, 2)
    trainer = theirs(copy.deepcopy(policy.model))
    trainer.beta, trainer.current_gradient_accumulation_steps = own.get("beta", 0.0), 1
    wanted = trainer._compute_loss(trainer.model.train(), trl_batch(pairs, old, reference))
    wanted.backward()

    preset = grpo_preset({"beta": 0.0, **own}, temperature)
    method, batch = our_batch(preset, bench_of(policy, folder), pairs, now, old, reference if trainer.beta else None)
    found, values = method.loss(batch)
    found.backward()
    # A policy loss is a sum of what nearly cancels, so its rounding is measured against its parts, which are near 1.
    assert found.item() == pytest.approx(wanted.item(), rel=rel, abs=3e-7)
    assert largest_relative_error(gradients(policy.model), gradients(trainer.model)) < 1e-5
    return values, {name: value[0] for name, value in trainer._metrics["train"].items()}


def number(value: Any) -> float:
    return float(value.total / value.weight) if isinstance(value, Mean) else float(value.value)


CASES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "kl": {"beta": 0.04},
    "kl uncorrected": {"beta": 0.04, "kl_correction": False},
    "off-policy": {"is_stale": True},
    "off-policy, clip higher": {"is_stale": True, "epsilon_high": 0.28},
    "all at once": {"beta": 0.3, "is_stale": True, "epsilon_high": 0.28, "temperature": 0.9},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_usual_loss_gradients_and_metrics_are_trls(family: str, case: dict[str, Any], tmp_path: Path) -> None:
    own = {name: value for name, value in case.items() if name not in ("is_stale", "temperature")}
    temperature, is_stale = case.get("temperature", 1.0), case.get("is_stale", False)
    corrected = {} if own.get("kl_correction", True) else {"use_bias_correction_kl": False}

    def theirs(model: PreTrainedModel) -> Any:
        high = own.get("epsilon_high")
        return trl_grpo(model, tmp_path / "trl", temperature=temperature, epsilon_high=high, **corrected)

    values, told = compare(family, own, theirs, tmp_path / "ours", is_stale=is_stale, temperature=temperature)
    names = ["entropy", *(f"clip_ratio/{side}" for side in ("low_mean", "high_mean", "region_mean"))]
    names += ["clip_ratio/low_min", "clip_ratio/high_max"]
    if own.get("beta") and not is_stale:  # otherwise TRL reports the KL after weighing it by the ratio; ours is the KL
        names.append("kl")
    for name in names:
        assert isinstance(values[name], Mean | Peak | Least)
        assert number(values[name]) == pytest.approx(told[name], rel=1e-5), name
    assert (told["clip_ratio/region_mean"] > 0) == is_stale


@pytest.mark.parametrize("beta", [0.0, 0.2])
@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_at_every_level_is_trls(loss: str, level: str, beta: float, tmp_path: Path) -> None:
    def theirs(model: PreTrainedModel) -> Any:
        return trl_grpo(
            model,
            tmp_path / "trl",
            loss_type=loss,
            importance_sampling_level=level,
            epsilon_high=1.5 if loss == "cispo" else 0.28,
        )

    own = {"ratio": level, "epsilon_high": 0.28, "beta": beta, **LOSSES[loss]}
    values, told = compare("llama", own, theirs, tmp_path / "ours", is_stale=True)
    if loss == "cispo":
        assert number(values["clip_ratio/high_mean"]) == pytest.approx(told["cispo_clip_ratio"], rel=1e-5)
    elif loss != "sapo":
        assert number(values["clip_ratio/region_mean"]) == pytest.approx(told["clip_ratio/region_mean"], rel=1e-5)


def test_the_gamma_weight_of_an_answer_is_trls_vespo(tmp_path: Path) -> None:
    """To 1e-5: the weight is a power of a product, so it multiplies the rounding of an answer's log-probabilities."""
    own = {"ratio": "answer", "clip": "gamma", "beta": 0.0}
    compare(
        "llama",
        own,
        lambda model: trl_grpo(model, tmp_path / "trl", loss_type="vespo"),
        tmp_path / "ours",
        is_stale=True,
        rel=1e-5,
    )


def test_a_dual_clip_is_trls_delta(tmp_path: Path) -> None:
    own = {"cap": 1.25, "epsilon": 0.1}
    compare(
        "llama", own, lambda model: trl_grpo(model, tmp_path / "trl", delta=1.25, epsilon=0.1), tmp_path, is_stale=True
    )


@pytest.mark.parametrize("aggregation", ["sequence", "token"])
def test_the_entropy_bonus_is_trls_whatever_the_aggregation(aggregation: str, tmp_path: Path) -> None:
    loss = {"sequence": "grpo", "token": "dapo"}[aggregation]
    own = {"entropy_coefficient": 0.2, "aggregation": aggregation}
    compare(
        "llama",
        own,
        lambda model: trl_grpo(model, tmp_path / "trl", entropy_coef=0.2, loss_type=loss),
        tmp_path / "ours",
        is_stale=True,
    )


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_importance_correction_enters_the_loss_where_trls_does(level: str, tmp_path: Path) -> None:
    """TRL's stands beside vLLM; its loss is given the weights that ours works out from what the sampler told."""
    policy = tiny_policy()
    with torch.no_grad():
        now = TokenScorer(policy.model)(rows_of(RAGGED)).logps
    old, reference, drawn = noisy(now, 1), noisy(now, 2), noisy(now, 3)
    preset = grpo_preset({"beta": 0.1, "importance": level, "importance_cap": 1.2, "aggregation": "sequence"})
    method, batch = our_batch(preset, bench_of(policy, tmp_path / "ours"), RAGGED, now, old, reference)
    batch = batch._replace(drawn_logps=drawn)
    weights = importance_of(preset.grpo, old, batch)
    assert weights is not None
    ours, _ = method.loss(batch)
    ours.backward()

    trainer = trl_grpo(tiny_policy().model, tmp_path / "trl", loss_type="grpo")  # type: ignore[arg-type]
    trainer.beta, trainer.current_gradient_accumulation_steps = 0.1, 1
    trainer.use_vllm = trainer.vllm_importance_sampling_correction = True
    given = trl_batch(RAGGED, old, reference)
    spread = torch.zeros(given["completion_mask"].shape).masked_scatter(given["completion_mask"].bool(), weights)
    theirs = trainer._compute_loss(trainer.model.train(), given | {"importance_sampling_ratio": spread})
    theirs.backward()
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6, abs=3e-7)
    assert largest_relative_error(gradients(policy.model), gradients(trainer.model)) < 1e-5
    by_hand = torch.exp(old - drawn)
    if level == "sequence":
        lengths = [len(answer) for _, answer in RAGGED]
        by_hand = torch.cat([part.log().sum().exp().expand(len(part)) for part in by_hand.split(lengths)])
    assert torch.allclose(weights, by_hand.clamp(max=1.2), rtol=1e-5)


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
    ours = group_advantages(torch.tensor(rewards).view(2, 2), scale=scale)
    assert torch.allclose(ours.flatten(), theirs, atol=1e-7)


# ----------------------------------------------------------------------------------------------------------- RLOO

#: RLOO as TRL has it: the whole answer's ratio, answers alike, the pull in the reward.
RLOO = {"ratio": "answer", "aggregation": "sequence", "baseline": "leave_one_out", "kl_in": "reward", "kl": "k1"}


def test_the_loss_and_gradients_of_rloo_are_trls(tmp_path: Path) -> None:
    values, told = compare(
        "llama", RLOO, lambda model: trl_rloo(model, tmp_path / "trl"), tmp_path / "ours", is_stale=True
    )
    for name in ("low_mean", "high_mean", "region_mean"):
        assert number(values[f"clip_ratio/{name}"]) == pytest.approx(told[f"clip_ratio/{name}"], rel=1e-5)


class Fixed:
    """A Rollout and a reward of which everything is known."""

    rewards = (1.0, 0.0, 0.75, 0.25)

    def __init__(self, logps: list[list[float]]) -> None:
        self._answers = [Answer(ids, mine, "stop", mine) for (_, ids), mine in zip(PAIRS, logps, strict=True)]

    def answers(self, *_: Any, **__: Any) -> list[list[Answer]]:
        return [self._answers[:2], self._answers[2:]]

    def score(self, answers: Sequence[Answered]) -> list[Reward]:
        return [Reward(value, {}) for value in self.rewards]


@pytest.mark.parametrize("normalised", [False, True])
def test_advantages_of_rloo_with_the_pull_in_the_reward_are_trls(normalised: bool, tmp_path: Path) -> None:
    from trl.trainer.utils import add_fused_lm_head

    policy = replace(tiny_policy(), reference=tiny_model(seed=5))
    trainer = trl_rloo(
        copy.deepcopy(policy.model),  # type: ignore[arg-type]
        tmp_path / "trl",
        reward=lambda completions, **_: list(Fixed.rewards),
        normalize_advantages=normalised,
    )
    trainer.beta, trainer.ref_model = 0.3, copy.deepcopy(policy.reference)
    add_fused_lm_head(trainer.ref_model, temperature=1.0)
    trainer._generate = lambda prompts: ([p for p, _ in PAIRS], [ids for _, ids in PAIRS], [""] * 4)
    theirs = trainer._generate_and_score_completions([{"prompt": "a"}] * 2 + [{"prompt": "b"}] * 2)["advantages"]

    preset = grpo_preset({**RLOO, "beta": 0.3, "scale_advantages": "advantages" if normalised else "none"})
    bench = bench_of(policy, tmp_path / "ours", train=[{"prompt": "a"}, {"prompt": "b"}])
    with torch.no_grad():
        logps = TokenScorer(policy.model)(rows_of(PAIRS)).logps.split([len(ids) for _, ids in PAIRS])
    fixed = Fixed([each.tolist() for each in logps])
    bench = replace(bench, rollout=fixed)
    groups = Groups(
        preset,
        bench,
        fixed,  # type: ignore[arg-type]
        Prompts(bench, answer=8, longest=64),
        compared=lambda sampled: layout_of(preset, bench, in_lines=False).compared(
            [s._replace(prompt=prompt) for s, (prompt, _) in zip(sampled, PAIRS, strict=True)]
        ),
        interruption=None,
    )
    ours = torch.tensor([s.advantage for s in groups.of_rows([0, 1])])
    assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-6)
