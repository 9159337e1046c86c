"""Judgements that nobody gave: the model draws pairs itself, and rewards say which is better, at times wrongly.

Made on the spot, the same each time: which images a pair is of, and whether its judgement is wrong, is a function of
seed and pair. For demonstrations, and to see what a taste would do to a model before people are asked.
"""

import torch
from torch import Tensor

from engine.contract.tuning_settings import Simulated
from engine.data.batching import mix
from engine.diffusion.bench import ImageBench
from engine.diffusion.image_pairs import PicturePairs
from engine.diffusion.noise import generator_of, starting_noise
from engine.diffusion.pictures import as_bytes
from engine.diffusion.rewards import Drawn, ImageRewardSum
from engine.diffusion.samplers import sample
from engine.diffusion.tuned import Prompt, TunedModel

#: Images drawn at once, of small ones.
AT_ONCE = 64
#: The stream that the images are drawn of.
DRAWN = 2


def simulated_pairs(
    how: Simulated, bench: ImageBench[TunedModel], reward: ImageRewardSum, *, seed: int
) -> tuple[PicturePairs, PicturePairs | None]:
    """What to learn from, and what is held out, judged without mistakes."""
    every, count = how.prompts or bench.model.every_prompt, how.pairs + how.held_out
    prompts = [every[pair % len(every)] for pair in range(count)]
    of_each = [prompt for prompt in prompts for _ in range(2)]
    pixels = _drawn(bench, of_each, how.steps, seed)
    with torch.no_grad():
        worth = reward.score(Drawn(pixels, of_each)).total.view(count, 2).cpu()
    is_second = (worth[:, 1] > worth[:, 0]) ^ _is_wrong(how, count, seed)
    places, better = torch.arange(count), is_second.long()
    both = as_bytes(pixels).permute(0, 3, 1, 2).unflatten(0, (count, 2))
    groups = [f"pair {pair}" for pair in range(count)]
    found = PicturePairs(prompts, both[places, better], both[places, 1 - better], groups, {})
    held_out = found.only(range(how.pairs, count)) if how.held_out else None
    return found.only(range(how.pairs)), held_out


@torch.no_grad()
def _drawn(bench: ImageBench[TunedModel], prompts: list[Prompt], steps: int, seed: int) -> Tensor:
    """Pixels of an image for each prompt, by the model as it began."""
    policy, found = bench.model, list[Tensor]()
    size = policy.at_once(AT_ONCE)
    for start in range(0, len(prompts), size):
        bench.reporter.phase("drawing pairs to judge", start / len(prompts))
        bench.breathe()
        part = prompts[start : start + size]
        numbers = range(start, start + len(part))
        noise, _ = starting_noise(mix(seed, DRAWN), numbers, policy.model.shape, bench.device)
        predict = policy.predict_as_reference(part)
        found.append(policy.pixels(sample(predict, policy.usual_schedule, noise, sampler="ddim", steps=steps)))
    return torch.cat(found)


def _is_wrong(how: Simulated, count: int, seed: int) -> Tensor:
    """Which judgements are the wrong way round, (count,); none that is held out."""
    lots = torch.cat([torch.rand(1, generator=generator_of(mix(seed, DRAWN), -1 - pair)) for pair in range(count)])
    return (lots < how.noise) & (torch.arange(count) < how.pairs)
