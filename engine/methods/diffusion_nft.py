"""DiffusionNFT: draw images, then learn to remove noise towards the good ones and away from the bad ones.

It needs no probabilities and keeps no steps of sampling: any sampler will do. An older policy follows the one that
learns; it draws the images, and good and bad are measured from where it stands.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from engine.contract.tuning_presets import DiffusionNftPreset
from engine.data.batching import mix
from engine.diffusion.bench import ImageBench, parts_of
from engine.diffusion.drift import DriftWatch
from engine.diffusion.judging import Studio, cut
from engine.diffusion.noise import starting_noise
from engine.diffusion.prediction import noised
from engine.diffusion.samplers import sample
from engine.diffusion.schedules import alpha_bar
from engine.diffusion.tuned import Prompt, TunedModel
from engine.diffusion.tuning_losses import anchor, goodness, nft_loss, old_policy_share
from engine.loop import Method, Update
from engine.tally import Mean, Values

#: The stream of the noise that is learned from, beside that which images are drawn of.
LEARNED = 1
#: Images in memory at once where micro_batch_size is auto.
IMAGES_AT_ONCE = 64


class NftBatch(NamedTuple):
    """Images with noise in them. x: (N, C, H, W) at t: (N,); noise: as x. good: (N,), 0 to 1.

    weight: what an image counts in its update.
    """

    x: Tensor
    t: Tensor
    noise: Tensor
    prompts: list[Prompt]
    good: Tensor
    weight: float


def diffusion_nft(preset: DiffusionNftPreset, bench: ImageBench[TunedModel]) -> Method:
    """DiffusionNFT, Zheng et al. 2025 (arXiv:2509.16117); departures stand in `nft_loss`.

    Raises ImageModelError, ImageRewardError.
    """
    own, policy = preset.diffusion_nft, bench.model
    policy.keep_old()
    studio = Studio(preset, bench)
    watch = DriftWatch(preset, bench, studio.reward, studio.prompts)

    def batches(step: int) -> Iterator[Update]:
        if step > 1:
            policy.age(old_policy_share(step - 1, rate=own.old_rate, most=own.old_most))
        images, prompts = _drawn(studio, step)
        judged = studio.judged(images, prompts, scale="group")
        good = goodness(judged.advantages, limit=own.advantage_limit)
        values = judged.values
        for places in cut(len(images) * own.draws, own.updates, seed=mix(preset.seed, step)):
            parts = parts_of(places, _at_once(preset, policy))
            weight = 1 / (len(places) * bench.accelerator.num_processes)
            yield Update([_batch(images, prompts, good, part, weight, step) for part in parts], 0, values)
            values = {}

    def loss(batch: NftBatch) -> tuple[Tensor, Values]:
        prediction = policy.predict(bench.network, batch.prompts)(batch.x, batch.t)
        old = policy.predict_as_old(batch.prompts)(batch.x, batch.t)
        each = nft_loss(prediction, old, batch.noise, batch.good, beta=own.beta)
        values: Values = {"nft_loss": Mean(each.detach().sum(), len(each))}
        if own.anchor:
            distance = anchor(prediction, policy.predict_as_reference(batch.prompts)(batch.x, batch.t))
            values["anchor"] = Mean(distance.detach().sum(), len(each))
            each = each + own.anchor * distance
        return batch.weight * each.sum(), values

    def _batch(
        images: Tensor, prompts: Sequence[Prompt], good: Tensor, places: Sequence[int], weight: float, step: int
    ) -> NftBatch:
        chosen = [place // own.draws for place in places]
        first = bench.accelerator.process_index * len(images) * own.draws
        stream = mix(preset.seed, step, LEARNED)
        noise, generators = starting_noise(
            stream, [first + place for place in places], policy.model.shape, bench.device
        )
        times = len(policy.schedule.alphas_cumprod)
        t = torch.cat([torch.randint(times, (1,), generator=each) for each in generators]).to(bench.device)
        x = noised(images[chosen], noise, alpha_bar(policy.schedule, t))
        return NftBatch(x, t, noise, [prompts[image] for image in chosen], good[chosen], weight)

    return Method(batches, loss, watch.measure, memory=watch.memory, recall=watch.recall)


def _drawn(studio: Studio, step: int) -> tuple[Tensor, list[Prompt]]:
    """This process's images of a step, by the older policy."""
    policy, how = studio.bench.model, studio.preset.rollout
    found, prompts = [], list[Prompt]()
    for asked in studio.asked(step):
        predict = policy.predict_as_old(asked.prompts, how.guidance)
        with studio.bench.accelerator.autocast():
            found.append(
                sample(
                    predict,
                    policy.usual_schedule,  # any sampler will do, so the one that people will draw with
                    asked.noise,
                    sampler="ddim",
                    steps=how.steps,
                    eta=how.eta,
                    generators=asked.generators,
                )
            )
        prompts += asked.prompts
    return torch.cat(found), prompts


def _at_once(preset: DiffusionNftPreset, policy: TunedModel) -> int:
    size = preset.training.micro_batch_size
    return policy.at_once(IMAGES_AT_ONCE) if size == "auto" else size
