"""DRaFT: follow the reward back through the last steps of sampling into the weights. The method that hacks fastest.

No chance, no baseline: the reward's own slope says how each pixel should change. So the reward has to have a slope, and
whatever it overlooks is found within seconds.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from engine.contract.tuning_presets import DraftPreset
from engine.diffusion.bench import ImageBench
from engine.diffusion.drift import DriftWatch
from engine.diffusion.judging import Asked, Studio, told
from engine.diffusion.paths import draw_with_slope
from engine.diffusion.rewards import Drawn
from engine.diffusion.tuned import TunedModel
from engine.diffusion.tuning_losses import anchor
from engine.loop import Method, Update
from engine.tally import Mean, Values


def draft(preset: DraftPreset, bench: ImageBench[TunedModel]) -> Method:
    """DRaFT-K, Clark et al. 2023 (arXiv:2309.17400), algorithm 1 with K = `last_steps`.

    Where we depart: the pull back to the reference, if one is asked for, is on predictions (`anchor`).
    Raises ImageModelError, ImageRewardError.
    """
    own, how, policy = preset.draft, preset.rollout, bench.model
    studio = Studio(preset, bench)
    watch = DriftWatch(preset, bench, studio.reward, studio.prompts)
    images = preset.training.batch_size * how.images_per_prompt

    def batches(step: int) -> Iterator[Update]:
        yield Update(list(studio.asked(step)), 0, {})

    def loss(asked: Asked) -> tuple[Tensor, Values]:
        predict = policy.predict(bench.network, asked.prompts, how.guidance)
        drawn = draw_with_slope(
            predict,
            policy.schedule,
            asked.noise,
            asked.generators,
            steps=how.steps,
            eta=how.eta,
            last_steps=own.last_steps,
        )
        scored = studio.reward.score(Drawn(policy.pixels(drawn.images), asked.prompts))
        cost = -scored.total
        values = told(scored, scored.total.detach().view(1, -1))
        if own.anchor:
            reference = policy.predict_as_reference(asked.prompts, how.guidance)
            distance = torch.stack([anchor(eps, reference(x, t)) for x, t, eps in drawn.predictions]).sum(dim=0)
            values["anchor"] = Mean(distance.detach().sum(), len(cost))
            cost = cost + own.anchor * distance
        return cost.sum() / images, values

    return Method(batches, loss, watch.measure, memory=watch.memory, recall=watch.recall)
