"""Which images a step draws, and what they are worth: shared by the methods that learn from what they draw.

All of it is a function of seed, step and weights. The images of a prompt stay in one process; each draws its noise from
a stream of its own, so nothing depends on how many are drawn at once.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from accelerate.utils import gather_object
from torch import Generator, Tensor

from engine.contract.findings import Finding
from engine.contract.tuning_presets import DrawingPreset
from engine.contract.tuning_settings import ImageReward
from engine.data.batching import mix, rows_of_step
from engine.diffusion.bench import ImageBench
from engine.diffusion.classifier import open_classifier
from engine.diffusion.noise import starting_noise
from engine.diffusion.rewards import Drawn, ImageRewardSum, Scored
from engine.diffusion.tuned import Prompt, TunedModel
from engine.group_advantages import Scale, group_advantages, is_alike
from engine.tally import Mean, Values

#: What a preset should say of a model that is asked in words; DDPO is arXiv:2305.13301.
UNGUIDED = Finding(
    level="info",
    what="the model is asked in words and learns from images drawn without guidance, which follow the words loosely",
    advice="set rollout.guidance to what you draw with; DDPO used 5",
    key="rollout.guidance",
)


def reward_of(parts: Sequence[ImageReward], bench: ImageBench[TunedModel]) -> ImageRewardSum:
    """What scores images of a run. Raises ImageModelError if a part names no classifier."""

    def judge(path: str) -> Callable[[Tensor], Tensor]:
        classifier = open_classifier(path).to(bench.device)
        return lambda images: classifier(images).log_softmax(dim=1)

    return ImageRewardSum(parts, judge)


class Asked(NamedTuple):
    """Images to be drawn at once: what each is of, its starting noise, its stream for the noise on the way."""

    prompts: list[Prompt]
    noise: Tensor
    generators: list[Generator]


class Judged(NamedTuple):
    """Of this process's images, prompt after prompt. advantages: (N,), how much better than their group they are.

    values: what is to tell of them.
    """

    advantages: Tensor
    values: Values


class Studio:
    """Asks for a step's images and judges them."""

    def __init__(self, preset: DrawingPreset, bench: ImageBench[TunedModel]) -> None:
        self.preset = preset
        self.bench = bench
        self.prompts: list[Prompt] = list(preset.rollout.prompts or bench.model.every_prompt)
        self.reward = reward_of(preset.rewards, bench)
        if bench.model.model.condition == "text" and preset.rollout.guidance == 1:
            bench.findings.append(UNGUIDED)

    def asked(self, step: int) -> Iterator[Asked]:
        """The images of this process, prompt after prompt, `rollout.batch` at a time."""
        how, size = self.preset.rollout, self.preset.rollout.images_per_prompt
        mine = self.bench.share(list(enumerate(self._prompts_of(step))))
        each = [(place * size + number, prompt) for place, prompt in mine for number in range(size)]
        for start in range(0, len(each), how.batch):
            self.bench.breathe()
            numbers, prompts = zip(*each[start : start + how.batch], strict=True)
            seed = mix(self.preset.seed, step)
            noise, generators = starting_noise(seed, numbers, self.bench.model.model.shape, self.bench.device)
            yield Asked(list(prompts), noise, generators)

    def judged(self, drawn: Tensor, prompts: Sequence[Prompt], *, scale: Scale) -> Judged:
        """Images, as the network denoised them, compared with the others of their prompt."""
        with torch.no_grad():
            pixels = torch.cat([self.bench.model.pixels(part) for part in drawn.split(self.preset.rollout.batch)])
            scored = self.reward.score(Drawn(pixels, prompts))
        mine = scored.total.view(-1, self.preset.rollout.images_per_prompt).cpu()
        whole, start = self._everyones(mine)
        advantages = group_advantages(whole, scale=scale)[start : start + len(mine)]
        return Judged(advantages.flatten().to(drawn.device), told(scored, mine))

    def _prompts_of(self, step: int) -> list[Prompt]:
        """What a step asks for; in turn where that gives each as often as any other."""
        count, size = len(self.prompts), self.preset.training.batch_size
        rows = rows_of_step(step, batch_size=size, n_rows=count, seed=self.preset.seed, shuffle=bool(size % count))
        return [self.prompts[row] for row in rows]

    def _everyones(self, groups: Tensor) -> tuple[Tensor, int]:
        """The rewards of all processes, and where these groups stand among them: a spread may be that of the step."""
        accelerator = self.bench.accelerator
        if accelerator.num_processes == 1:
            return groups, 0
        return torch.cat(gather_object([groups])), accelerator.process_index * len(groups)


def cut(count: int, updates: int, *, seed: int) -> Iterator[list[int]]:
    """What each update of a step learns from, of `count` things that were drawn, in an order of the seed's own."""
    generator = torch.Generator().manual_seed(seed)
    yield from (part.tolist() for part in torch.randperm(count, generator=generator).tensor_split(updates))


def told(scored: Scored, groups: Tensor) -> Values:
    """What rewards say, under TRL's names. groups: (prompts, images), what each image is worth."""
    spread = groups.std(dim=1, correction=min(1, groups.shape[1] - 1))
    values: Values = {
        "reward": Mean(groups.sum(), groups.numel()),
        "reward_std": Mean(spread.sum(), len(groups)),
        "frac_reward_zero_std": Mean(is_alike(groups).sum(), len(groups)),
    }
    return values | {f"rewards/{name}/mean": Mean(part.sum(), len(part)) for name, part in scored.parts.items()}
