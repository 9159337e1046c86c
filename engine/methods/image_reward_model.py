"""A reward model of pictures, from a person's own judgements: what they preferred should score higher."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from engine.contract.findings import Finding
from engine.contract.image_presets import ImageRewardModelPreset
from engine.contract.image_settings import ImageData
from engine.data import left_out
from engine.data.batching import rows_of_step
from engine.data.split import is_held_out
from engine.diffusion.bench import ImageBench, parts_of
from engine.diffusion.image_pairs import PicturePairs, read_pairs
from engine.diffusion.scorer import Scorer
from engine.loop import Method, Update
from engine.losses import bradley_terry_loss
from engine.methods.bench import is_due
from engine.tally import Mean, Values
from engine.wilson import wilson

#: Pairs scored at a time where nothing is learned from them.
AT_ONCE = 256


class Pairs(NamedTuple):
    """chosen, rejected: (P, C, H, W) in [-1, 1]. whole: pairs of the whole step."""

    chosen: Tensor
    rejected: Tensor
    whole: int


def image_reward_model(preset: ImageRewardModelPreset, bench: ImageBench[Scorer]) -> Method:
    """Bradley-Terry as for texts (Ouyang et al. 2022, arXiv:2203.02155, eq. 1). Raises DataError, ImageDataError."""
    training, model = preset.training, bench.model
    train, held_out = _pairs(preset.data, bench, seed=preset.seed)

    def batches(step: int) -> Iterator[Update]:
        size, rows = training.batch_size, len(train)
        places = rows_of_step(step, batch_size=size, n_rows=rows, seed=preset.seed, shuffle=preset.data.shuffle)
        parts = parts_of(bench.share(places), training.micro_batch_size)
        yield Update([Pairs(*train.at(part), len(places)) for part in parts], tokens=0, values={})

    def loss(batch: Pairs) -> tuple[Tensor, Values]:
        both = torch.cat([batch.chosen, batch.rejected]).to(bench.device)
        better, worse = bench.network(both).chunk(2)
        nothing, each = torch.zeros_like(better), torch.ones_like(better)
        centring = preset.image_reward_model.centring
        found = bradley_terry_loss(better, worse, nothing, each, centring=centring, normaliser=batch.whole)
        margin = (better - worse).detach()
        return found.share, {
            "accuracy": Mean((margin > 0).sum(), len(margin)),
            "margin": Mean(margin.sum(), len(margin)),
        }

    def measure(step: int) -> dict[str, float]:
        if not is_due(step, training.eval_every or training.steps, training.steps):
            return {}
        better, worse = scores(held_out or train)
        both = torch.cat([better, worse])
        # Saved with the model: who learns from its scores can bring them to one scale.
        model.measured = {"reward_mean": float(both.mean()), "reward_std": float(both.std())}
        return {} if held_out is None else measured(better, worse)

    @torch.no_grad()
    def scores(pairs: PicturePairs) -> tuple[Tensor, Tensor]:
        """(N,) of the chosen, (N,) of the rejected."""
        parts = [pairs.at(part) for part in parts_of(range(len(pairs)), AT_ONCE)]
        found = [[model.score(side.to(bench.device)).cpu() for side in part] for part in parts]
        return torch.cat([better for better, _ in found]), torch.cat([worse for _, worse in found])

    return Method(batches, loss, measure)


def measured(better: Tensor, worse: Tensor) -> dict[str, float]:
    """What is told of held-out pairs, (P,) scores each: how often their order is right, with its 95% interval (Wilson
    1927); two scores that are the same are half right."""
    share = float(((better > worse).double() + (better == worse).double() / 2).mean())
    low, high = wilson(share, len(better))
    return {
        "eval_accuracy": share,
        "eval_accuracy_low": low,
        "eval_accuracy_high": high,
        "eval_margin": float((better - worse).mean()),
        "eval_loss": float(-logsigmoid(better - worse).mean()),
    }


def _pairs(data: ImageData, bench: ImageBench[Scorer], *, seed: int) -> tuple[PicturePairs, PicturePairs | None]:
    """What trains, and what only measures: pairs of one prompt and noise stay together."""
    train = read_pairs(data.train, bench.model.pixels, bench.breathe)
    held_out = None if data.eval is None else read_pairs(data.eval, bench.model.pixels, bench.breathe)
    lost = left_out.told(train.left_out, len(train) + sum(map(len, train.left_out.values())), "pairs")
    if lost:
        bench.findings.append(Finding(level="warning", what=lost, advice="mend those rows if they matter"))
    if held_out is None and data.eval_share:
        apart = [is_held_out({"prompt": group}, share=data.eval_share, seed=seed) for group in train.groups]
        if any(apart) and not all(apart):
            held_out = train.only([place for place, is_apart in enumerate(apart) if is_apart])
            train = train.only([place for place, is_apart in enumerate(apart) if not is_apart])
    told = f"{len(train)} judged pairs" + (f", and {len(held_out)} held out" if held_out is not None else "")
    bench.findings.append(Finding(level="info", what=told))
    return train, held_out
