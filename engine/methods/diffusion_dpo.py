"""Diffusion-DPO: remove noise better from pictures that were preferred than from those that were not.

A pair is looked at with the same noise at the same time, by the policy and by what it began as; what counts is by how
much more the policy gained on the chosen picture than on the rejected one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from engine.contract.tuning_presets import DiffusionDpoPreset
from engine.data import left_out
from engine.data.batching import mix, rows_of_step
from engine.data.split import is_held_out
from engine.diffusion.bench import ImageBench, parts_of
from engine.diffusion.drift import DriftWatch
from engine.diffusion.image_pairs import PicturePairs, read_pairs
from engine.diffusion.judging import reward_of
from engine.diffusion.noise import starting_noise
from engine.diffusion.prediction import noised
from engine.diffusion.rewards import ImageRewardSum
from engine.diffusion.schedules import alpha_bar
from engine.diffusion.simulated import simulated_pairs
from engine.diffusion.tuned import Prompt, TunedModel
from engine.diffusion.tuning_losses import DiffusionDpoLoss, PairErrors, diffusion_dpo_loss
from engine.loop import Method, Update
from engine.methods.bench import is_due
from engine.tally import Mean, Values

#: Streams of noise: of training pairs, and of those that only measure.
LEARNED, MEASURED = 3, 4
#: Pairs in memory at once where micro_batch_size is auto.
PAIRS_AT_ONCE = 32


class PairBatch(NamedTuple):
    """B pairs. x: (2B, C, H, W), chosen then rejected, at t: (2B,); noise: as x, the same for both of a pair.

    prompts: of each x. pairs: looks at pairs in the whole step.
    """

    x: Tensor
    t: Tensor
    noise: Tensor
    prompts: list[Prompt]
    pairs: float


def diffusion_dpo(preset: DiffusionDpoPreset, bench: ImageBench[TunedModel]) -> Method:
    """Diffusion-DPO, Wallace et al. 2023 (arXiv:2311.12908), eq. 14; `diffusion_dpo_loss` says where we depart.

    Raises DataError or ImageDataError if no pair can be learned from, ImageModelError, ImageRewardError.
    """
    own, training = preset.diffusion_dpo, preset.training
    reward = None if preset.judged is None else reward_of(preset.judged.rewards, bench)
    train, held_out = pairs_of(preset, bench, reward)
    eyes = Eyes(preset, bench)
    watch = DriftWatch(preset, bench, reward, sorted(set(train.prompts), key=str))
    growth = Growth(own.warn_at, bench)
    shuffles = preset.data is None or preset.data.shuffle

    def batches(step: int) -> Iterator[Update]:
        size = training.batch_size
        rows = rows_of_step(step, batch_size=size, n_rows=len(train), seed=preset.seed, shuffle=shuffles)
        looks = [Look(place * own.draws + draw, row) for place, row in enumerate(rows) for draw in range(own.draws)]
        parts = parts_of(bench.share(looks), _at_once(preset, bench.model))
        stream = mix(preset.seed, step, LEARNED)
        yield Update([eyes.by_chance(train, part, stream, len(looks)) for part in parts], 0, {})

    def loss(batch: PairBatch) -> tuple[Tensor, Values]:
        errors = eyes.errors(batch)
        result = diffusion_dpo_loss(errors, beta=own.beta, normaliser=batch.pairs)
        return result.share, dict(told(result, errors))

    def measure(step: int) -> dict[str, float]:
        values = watch.measure(step)
        if held_out is None or not is_due(step, training.eval_every, training.steps):
            return values
        values |= eyes.measured(held_out)
        growth.look(values)
        return values

    def recall(kept: dict[str, float]) -> None:
        watch.recall(kept)
        growth.has_spoken = bool(kept["growth_told"])

    return Method(
        batches,
        loss,
        measure,
        memory=lambda: watch.memory() | {"growth_told": float(growth.has_spoken)},
        recall=recall,
    )


class Look(NamedTuple):
    """One look at a pair. number: of its noise, in the step. row: which pair."""

    number: int
    row: int


@dataclass(frozen=True)
class Eyes:
    """Looks at pairs: puts noise in, and tells how well policy and reference find it."""

    preset: DiffusionDpoPreset
    bench: ImageBench[TunedModel]

    def by_chance(self, pairs: PicturePairs, looks: Sequence[Look], stream: int, whole: int) -> PairBatch:
        """Noise and time of each look drawn from a stream of its own."""
        policy = self.bench.model
        noise, generators = starting_noise(
            stream, [look.number for look in looks], policy.model.shape, self.bench.device
        )
        times = len(policy.schedule.alphas_cumprod)
        t = torch.cat([torch.randint(times, (1,), generator=each) for each in generators])
        return self._batch(pairs, [look.row for look in looks], noise, t, whole)

    @torch.no_grad()
    def measured(self, pairs: PicturePairs) -> dict[str, float]:
        """Of held-out pairs: each at times spread evenly, always with the same noise; its margin is their mean."""
        policy, draws = self.bench.model, self.preset.diffusion_dpo.eval_draws
        times = (torch.arange(draws) * 2 + 1) * len(policy.schedule.alphas_cumprod) // (2 * draws)
        found = []
        size = policy.at_once(PAIRS_AT_ONCE)
        for start in range(0, len(pairs), size):
            self.bench.breathe()
            rows = [row for row in range(start, min(len(pairs), start + size)) for _ in range(draws)]
            numbers = range(start * draws, start * draws + len(rows))
            stream = mix(self.preset.seed, MEASURED)
            noise, _ = starting_noise(stream, numbers, policy.model.shape, self.bench.device)
            found.append(self.errors(self._batch(pairs, rows, noise, times.repeat(len(rows) // draws), 1)))
        errors = PairErrors(*(torch.cat(each).view(-1, draws).mean(dim=1) for each in zip(*found, strict=True)))
        result = diffusion_dpo_loss(errors, beta=self.preset.diffusion_dpo.beta, normaliser=len(pairs))
        means = {name: float(of.total) / float(of.weight) for name, of in told(result, errors).items()}
        return {f"eval_{name}": value for name, value in {"loss": result.share.item(), **means}.items()}

    def errors(self, batch: PairBatch) -> PairErrors:
        """Of policy, with gradient, and reference."""
        policy = self.bench.model
        ours = policy.predict(self.bench.network, batch.prompts)(batch.x, batch.t)
        reference = policy.predict_as_reference(batch.prompts)(batch.x, batch.t)
        each = [(said - batch.noise).square().flatten(1).mean(dim=1) for said in (ours, reference)]
        return PairErrors(*each[0].chunk(2), *each[1].chunk(2))

    @torch.no_grad()
    def _batch(self, pairs: PicturePairs, rows: Sequence[int], noise: Tensor, t: Tensor, whole: int) -> PairBatch:
        policy, device = self.bench.model, self.bench.device
        x0 = torch.cat([policy.latents(side.to(device)) for side in pairs.at(rows)])
        noise, t = noise.repeat(2, 1, 1, 1), t.repeat(2).to(device)
        x = noised(x0, noise, alpha_bar(policy.schedule, t))
        return PairBatch(x, t, noise, [pairs.prompts[row] for row in rows] * 2, float(whole))


@dataclass
class Growth:
    """Tells, once, when the errors on pictures of either kind have grown: Diffusion-DPO lets both rise, the rejected
    ones' more, and from a tenth on what is drawn begins to suffer."""

    limit: float
    bench: ImageBench[TunedModel]
    has_spoken: bool = False

    def look(self, values: dict[str, float]) -> None:
        """At what was measured of held-out pairs."""
        worst = max(values["eval_mse_ratio/chosen"], values["eval_mse_ratio/rejected"])
        if worst > self.limit and not self.has_spoken:
            self.has_spoken = True
            self.bench.reporter.notice(
                "warning",
                f"on held-out pictures the policy's error is {worst:.3g} times the reference's: it forgets how to draw",
                "raise diffusion_dpo.beta, lower optimizer.learning_rate, or stop where held-out pairs in order peaked",
            )


def pairs_of(
    preset: DiffusionDpoPreset, bench: ImageBench[TunedModel], reward: ImageRewardSum | None
) -> tuple[PicturePairs, PicturePairs | None]:
    """What trains and what is held out: judged by people, or on the spot by rewards."""
    if preset.judged is not None and reward is not None:
        return simulated_pairs(preset.judged, bench, reward, seed=preset.seed)
    data = preset.data
    assert data is not None  # noqa: S101 - a preset has one of both
    shape = bench.model.model.pixels
    train = read_pairs(data.train, shape, bench.breathe)
    _tell_left_out(train, bench)
    _tell_unasked(train, bench)
    if data.eval is not None:
        return train, read_pairs(data.eval, shape, bench.breathe)
    places = [is_held_out({"prompt": group}, share=data.eval_share, seed=preset.seed) for group in train.groups]
    out = [place for place, is_out in enumerate(places) if is_out]
    if not out or len(out) == len(train):
        return train, None
    return train.only([place for place, is_out in enumerate(places) if not is_out]), train.only(out)


def _tell_left_out(pairs: PicturePairs, bench: ImageBench[TunedModel]) -> None:
    total = len(pairs) + sum(map(len, pairs.left_out.values()))
    if lost := left_out.told(pairs.left_out, total, "pairs"):
        bench.warn(lost, "mend those rows if they matter; the run goes on without them")


def _tell_unasked(pairs: PicturePairs, bench: ImageBench[TunedModel]) -> None:
    """Of pairs without a caption, where the model is asked in words: they teach what is drawn of the empty prompt."""
    count = sum(prompt in (None, "") for prompt in pairs.prompts)
    if count and bench.model.model.condition == "text":
        what = f"{count} of {len(pairs)} pairs have no prompt, and the model is asked in words"
        advice = "give each row its `prompt`; without one it teaches what is drawn when nothing is asked for"
        bench.warn(what, advice)


def told(result: DiffusionDpoLoss, errors: PairErrors) -> dict[str, Mean]:
    """What pairs say, under TRL's names where it has one."""
    count, better = float(len(result.per_pair)), result.chosen_rewards - result.rejected_rewards
    return {
        "rewards/accuracies": Mean((better > 0).sum(), count),
        "rewards/margins": Mean(better.sum(), count),
        "rewards/chosen": Mean(result.chosen_rewards.sum(), count),
        "rewards/rejected": Mean(result.rejected_rewards.sum(), count),
        # A ratio of means, as single errors at late times are so small that their ratios say nothing.
        "mse_ratio/chosen": Mean(errors.chosen.detach().sum(), errors.reference_chosen.sum()),
        "mse_ratio/rejected": Mean(errors.rejected.detach().sum(), errors.reference_rejected.sum()),
    }


def _at_once(preset: DiffusionDpoPreset, policy: TunedModel) -> int:
    size = preset.training.micro_batch_size
    return policy.at_once(PAIRS_AT_ONCE) if size == "auto" else size
