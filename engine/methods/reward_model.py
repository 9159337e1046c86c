"""A reward model: one number for an answer, so that of two answers the one that people preferred has the larger."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from accelerate.utils import gather_object
from torch import Tensor

from engine.contract import settings
from engine.contract.preset import RewardModelPreset
from engine.data.batching import micro_batches, pad_rows, rows_of_step
from engine.data.rankings import Encoded, Ranking, encode_rankings, told
from engine.data.sources import DataError, Table
from engine.logprobs import Rows
from engine.loop import Material, Method, Update
from engine.losses import RewardLoss, bradley_terry_loss
from engine.methods.bench import Bench, is_due
from engine.modes import without_dropout
from engine.reward_measures import area_under_curve, calibration_error, pearson, spearman
from engine.reward_models import reader_for
from engine.tally import Least, Mean, Peak, Values

NOTHING = Encoded([], [], {})
#: Held-out prompts measured at most each time, so that a look at them stays short.
EVAL_PROMPTS = 512


class Pairs(NamedTuple):
    """P pairs among A answers. better, worse: (P,), which answers. margins: (P,), reward units.

    weights: (P,) 1 / pairs of the same prompt: C(K, 2) pairs of K answers know no more than one judge said once.
    """

    better: Tensor
    worse: Tensor
    margins: Tensor
    weights: Tensor

    def to(self, device: torch.device) -> "Pairs":
        return Pairs(*(tensor.to(device, non_blocking=True) for tensor in self))


class RewardBatch(NamedTuple):
    """rows: A answers with their prompts, (A, T), each read once. prompts: of the whole update, over all its
    micro-batches and processes."""

    rows: Rows
    pairs: Pairs
    prompts: float


def reward_model(preset: RewardModelPreset, bench: Bench) -> Method:
    """The batches, the loss and the measures of a Bradley-Terry reward model (Ouyang et al. 2022, arXiv:2203.02155).

    Raises DataError if no row can be learned from.
    """
    training = preset.training
    # What dropout leaves of two answers is no longer what is to be compared.
    without_dropout(bench.policy.model)
    encoded = _encode(preset, bench, bench.train, "reading the data")
    rankings, left_out = encoded.rankings, encoded.left_out
    looked_at = _encode(preset, bench, bench.held_out, "reading the held-out data") if bench.held_out else NOTHING
    held_out = looked_at.rankings

    def update(places: Sequence[int]) -> Update:
        whole = [rankings[place] for place in places]
        parts = [
            RewardBatch(_rows(bench, part), pairs_of(part, use_margins=preset.reward_model.margin), float(len(whole)))
            for part in _cut(preset, bench.share(whole))
        ]
        return Update(parts, tokens=sum(int(part.rows.is_token.sum()) for part in parts), values={})

    def batches(step: int) -> Iterator[Update]:
        yield update(
            rows_of_step(
                step,
                batch_size=training.batch_size,
                n_rows=len(rankings),
                seed=preset.seed,
                shuffle=preset.data.shuffle,
                parts=bench.train.parts_without(left_out),
            )
        )

    def loss(batch: RewardBatch) -> tuple[Tensor, Values]:
        device = bench.accelerator.device
        rewards: Tensor = bench.scorer(batch.rows.to(device)).rewards
        result, values = compare(preset.reward_model, rewards, batch.pairs.to(device), prompts=batch.prompts)
        return result.share, values

    def measure(step: int) -> dict[str, float]:
        if not is_due(step, training.eval_every or training.steps, training.steps):
            return {}
        rewards = _score(preset, bench, (held_out or rankings)[:EVAL_PROMPTS])
        # Saved with the model: who learns from its scores can bring them to one scale.
        config: Any = bench.policy.model.config
        config.reward_mean, config.reward_std = float(rewards.mean()), float(rewards.std())
        if not held_out or not training.eval_every:
            return {}
        found = measured(preset.reward_model, rewards, held_out[:EVAL_PROMPTS])
        return {f"eval_{name}": value for name, value in found.items()}

    def material() -> Material:
        return Material(encoded.answers, update, held_out=looked_at.answers, left_out=left_out, by_token=False)

    return Method(batches, loss, measure, material)


def compare(own: settings.RewardModel, rewards: Tensor, pairs: Pairs, *, prompts: float) -> tuple[RewardLoss, Values]:
    """The loss of A scored answers, (A,), and what is told of them, under TRL's names."""
    better, worse = rewards[pairs.better], rewards[pairs.worse]
    result = bradley_terry_loss(
        better,
        worse,
        pairs.margins,
        pairs.weights,
        centring=own.centring,
        normaliser=prompts,
    )
    rewards, difference, weight = rewards.detach(), (better - worse).detach(), pairs.weights.sum()
    return result, {
        "accuracy": Mean(((difference > 0) * pairs.weights).sum(), weight),
        "margin": Mean((difference * pairs.weights).sum(), weight),
        "min_reward": Least(rewards.min()),
        "mean_reward": Mean(rewards.sum(), float(len(rewards))),
        "max_reward": Peak(rewards.max()),
    }


def pairs_of(rankings: Sequence[Ranking], *, use_margins: bool) -> Pairs:
    """The pairs of some rankings, whose answers stand one ranking after the other."""
    better, worse, margins, weights, first = [], [], [], [], 0
    for ranking in rankings:
        better += [first + i for i, _ in ranking.pairs]
        worse += [first + j for _, j in ranking.pairs]
        margins += ranking.margins if use_margins else [0.0] * len(ranking.pairs)
        weights += [1 / len(ranking.pairs) for _ in ranking.pairs]
        first += len(ranking.answers)
    return Pairs(torch.tensor(better), torch.tensor(worse), torch.tensor(margins), torch.tensor(weights))


def measured(own: settings.RewardModel, rewards: Tensor, rankings: Sequence[Ranking]) -> dict[str, float]:
    """What scores, (A,), of all answers of some rankings tell of the model."""
    pairs = pairs_of(rankings, use_margins=own.margin)
    found = {"mean_reward": float(rewards.mean()), "reward_std": float(rewards.std())}
    if len(pairs.better):
        better, worse = rewards[pairs.better], rewards[pairs.worse]
        prompts = float(sum(bool(ranking.pairs) for ranking in rankings))
        result, values = compare(own, rewards, pairs, prompts=prompts)
        found |= {"loss": float(result.share)}
        found |= {name: float(v.total / v.weight if isinstance(v, Mean) else v.value) for name, v in values.items()}
        found |= {"auc": area_under_curve(better, worse), "calibration_error": calibration_error(better - worse)}
    rated = [rating for ranking in rankings for rating in ranking.ratings or [math.nan] * len(ranking.answers)]
    ratings = torch.tensor(rated)
    known = ~ratings.isnan()
    if known.any():
        scores, ratings = rewards[known], ratings[known]
        found |= {"pearson": pearson(scores, ratings), "spearman": spearman(scores, ratings)}
    return found


def _encode(preset: RewardModelPreset, bench: Bench, table: Table, phase: str) -> Encoded:
    limits = (preset.data.max_length, bench.policy.context, bench.policy.tokenizer.model_max_length)
    longest = min(limit for limit in limits if limit)

    def breathe(index: int) -> None:
        if index % 1000 == 0:
            bench.reporter.phase(phase, index / len(table.rows))
            bench.breathe()

    to_learn = table is bench.train
    read = reader_for(bench.policy, system_prompt=preset.data.system_prompt)
    encoded = encode_rankings(
        table.rows, read, max_length=longest, to_learn=to_learn, breathe=breathe, folder=bench.folder
    )
    encoded = encoded._replace(left_out=table.numbered(encoded.left_out))
    lost = told(encoded, table.origins)
    if not encoded.rankings:
        raise DataError(f"no row can be used: {lost}; mend the data, or raise data.max_length")
    if lost:
        bench.reporter.notice("warning", lost, "mend those rows, or raise data.max_length where they are too long")
    return encoded


def _cut(preset: RewardModelPreset, rankings: Sequence[Ranking]) -> list[list[Ranking]]:
    lengths = [len(ranking.answers) * max(len(answer.ids) for answer in ranking.answers) for ranking in rankings]
    return micro_batches(rankings, lengths, preset.training.micro_batch_size) if rankings else []


def _rows(bench: Bench, part: Sequence[Ranking]) -> Rows:
    return pad_rows([answer for ranking in part for answer in ranking.answers], bench.pad_id)


@torch.no_grad()
def _score(preset: RewardModelPreset, bench: Bench, rankings: Sequence[Ranking]) -> Tensor:
    """The scores of all answers in order, (A,), on the CPU; each process reads its part of the rankings."""
    accelerator = bench.accelerator
    share = -(-len(rankings) // accelerator.num_processes)
    mine = rankings[accelerator.process_index * share :][:share]
    scores: list[float] = []
    for part in _cut(preset, mine):
        bench.breathe()
        with accelerator.autocast():
            scores += bench.bare_scorer(_rows(bench, part).to(accelerator.device)).rewards.tolist()
    everyones = gather_object([scores]) if accelerator.num_processes > 1 else [scores]
    return torch.tensor([score for process in everyones for score in process])
