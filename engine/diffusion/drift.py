"""How far a model has moved from what it began as, measured while it learns: images from the same seeds each time.

Reward beside a second scorer, distance to the reference's images and to data, diversity; and the rule of `hacking.py`,
which may ask the run to pause or stop, by the same file and in the same words as a person would.
"""

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from engine.contract.commands import send
from engine.contract.findings import Finding
from engine.contract.image_settings import ImageData, ImageSource
from engine.contract.tuning_presets import DrawingPreset, TuningPreset
from engine.contract.tuning_settings import ClassProbability
from engine.data.batching import mix
from engine.diffusion.bench import ImageBench
from engine.diffusion.classifier import open_classifier
from engine.diffusion.hacking import Gauges, HackRule
from engine.diffusion.images import load_images
from engine.diffusion.noise import starting_noise
from engine.diffusion.pictures import keep_picture, sheet
from engine.diffusion.rewards import Drawn, ImageRewardSum
from engine.diffusion.samplers import sample
from engine.diffusion.scores import Law, class_logits, diversity, features_of, frechet_distance, law_of
from engine.diffusion.tuned import Prompt, TunedModel

#: The stream of the images that measure.
WATCHED = 5
#: Images drawn at once, of small ones.
AT_ONCE = 64
#: Height and width that pixels are compared at, where they are compared: of large images a law would not fit memory.
COMPARED = 8
#: From this probability on the second scorer is sure of what it sees.
SURE = 0.9
#: Columns and rows of the images that are kept as a picture, always of the same seeds.
SHOWN = (10, 2)
#: Images of data that drawings are compared with, at most.
MOST_DATA = 2000
#: What a preset should say whose second scorer is the first.
SAME_JUDGE = Finding(
    level="warning",
    what="the second scorer is the classifier that the reward asks, so it likes whatever the reward is fooled by",
    advice="set drift.classifier to one of another seed and shape, as assets:digits-judge is",
    key="drift.classifier",
)


class DriftWatch:
    """Measures every so many steps. reward: what is trained, None where nothing tells what images are worth."""

    def __init__(
        self,
        preset: TuningPreset,
        bench: ImageBench[TunedModel],
        reward: ImageRewardSum | None,
        prompts: Sequence[Prompt],
    ) -> None:
        how = preset.drift
        self._preset, self._how, self._bench, self._reward = preset, how, bench, reward
        self._prompts = [prompts[number % len(prompts)] for number in range(how.images)]
        self._guidance = preset.rollout.guidance if isinstance(preset, DrawingPreset) else 1.0
        self._groups = torch.arange(how.images) % len(prompts)
        self._scorer = None if how.classifier is None else open_classifier(how.classifier).to(bench.device)
        self._data = None if how.data is None else law_of(self._features(images_of(how.data, bench)))
        self._judges = judges_of(preset)
        if any(judge.path == how.classifier for judge in self._judges):
            bench.findings.append(SAME_JUDGE)
        self._rule = HackRule(how.fall, how.distance, how.patience)
        self._reference: Law | None = None
        self._start: Gauges | None = None

    def measure(self, step: int) -> dict[str, float]:
        """What there is to tell after `step`: mostly nothing. Known to the first process alone."""
        how, steps = self._how, self._preset.training.steps
        if not how.every or not (step in (1, steps) or step % how.every == 0):
            return {}
        if not self._bench.accelerator.is_main_process:
            return {}
        if self._start is None:
            self._reference = law_of(self._features(self._drawn(is_reference=True, first=how.images)))
            self._start = self._gauges(self._drawn(is_reference=True))
        pixels = self._drawn()
        now = self._gauges(pixels)
        picture = sheet(pixels[: SHOWN[0] * SHOWN[1]], SHOWN[0])
        keep_picture(picture, run=self._bench.run, reporter=self._bench.reporter, step=step, role="drift")
        if words := self._rule.look(self._start, now):
            self._speak(words)
        return self._told(now, self._features(pixels)) | self._wanted(pixels)

    def memory(self) -> dict[str, float]:
        """What a checkpoint keeps; all else comes from the seed."""
        return self._rule.memory

    def recall(self, memory: dict[str, float]) -> None:
        """Take back what a checkpoint kept."""
        self._rule.recall(memory)

    @torch.no_grad()
    def _drawn(self, *, is_reference: bool = False, first: int = 0) -> Tensor:
        """Pixels of the watched images, or of as many from number `first` on."""
        policy, found = self._bench.model, list[Tensor]()
        size = policy.at_once(AT_ONCE)
        stream = mix(self._preset.seed, WATCHED)
        for start in range(0, self._how.images, size):
            self._bench.breathe()
            part = self._prompts[start : start + size]
            numbers = range(first + start, first + start + len(part))
            noise, _ = starting_noise(stream, numbers, policy.model.shape, self._bench.device)
            ask = policy.predict_as_reference if is_reference else partial(policy.predict, policy.network)
            predict = ask(part, self._guidance)
            found.append(
                policy.pixels(sample(predict, policy.usual_schedule, noise, sampler="ddim", steps=self._how.steps))
            )
        return torch.cat(found)

    def _gauges(self, pixels: Tensor) -> Gauges:
        """What can be measured of the watched images."""
        assert self._reference is not None  # noqa: S101 - it is drawn before anything is measured
        features = self._features(pixels)
        worth = torch.tensor([math.nan])
        if self._reward is not None:
            with torch.no_grad():
                worth = self._reward.score(Drawn(pixels, self._prompts)).total.cpu()
        return Gauges(
            reward=worth.mean().item(),
            spread=worth.std(correction=0).item(),
            recognised=self._recognised(pixels),
            distance=frechet_distance(law_of(features), self._reference),
            diversity=diversity(features, self._groups),
        )

    def _features(self, pixels: Tensor) -> Tensor:
        """What images are compared by, (N, F): the second scorer's features, or the pixels."""
        return small_copies(pixels) if self._scorer is None else features_of(self._scorer, pixels)

    def _recognised(self, pixels: Tensor) -> float:
        """The share that the second scorer takes for the class that was asked for; where none was, is sure about."""
        if self._scorer is None:
            return math.nan
        surest, found = class_logits(self._scorer, pixels).softmax(dim=1).max(dim=1)
        classes = self._bench.model.model.classes
        wanted = torch.tensor([prompt if isinstance(prompt, int) else classes for prompt in self._prompts])
        return torch.where(wanted < classes, found == wanted, surest > SURE).double().mean().item()

    def _wanted(self, pixels: Tensor) -> dict[str, float]:
        """The share that the second scorer takes for the one class that the reward wants, where it wants one."""
        labels = [judge.label for judge in self._judges if judge.label is not None and judge.weight > 0]
        if self._scorer is None or not labels:
            return {}
        found = class_logits(self._scorer, pixels).argmax(dim=1)
        return {"drift/wanted": (found == labels[0]).double().mean().item()}

    def _told(self, now: Gauges, features: Tensor) -> dict[str, float]:
        """Under the names of the board; what cannot be measured is left out."""
        values = {
            "eval_reward": now.reward,
            "drift/recognised": now.recognised,
            "drift/frechet_reference": now.distance,
            "drift/diversity": now.diversity,
        }
        if self._data is not None:
            values["drift/frechet_data"] = frechet_distance(law_of(features), self._data)
        return {name: value for name, value in values.items() if not math.isnan(value)}

    def _speak(self, words: str) -> None:
        """Tell, and ask of the run what was wished for."""
        advice = "mend the reward, or pull harder to the reference, and go on from an earlier checkpoint"
        self._bench.reporter.notice("warning", words, advice)
        if self._how.on_hack != "notice":
            send(self._bench.run.commands, self._how.on_hack, why=words)


def judges_of(preset: TuningPreset) -> list[ClassProbability]:
    """The classifiers that a preset's reward asks."""
    if isinstance(preset, DrawingPreset):
        parts = preset.rewards
    else:
        parts = [] if preset.judged is None else preset.judged.rewards
    return [part for part in parts if isinstance(part, ClassProbability)]


def small_copies(pixels: Tensor) -> Tensor:
    """The pixels of images, (N, F) float64, where there are few enough; of large images those of copies made small."""
    height, width = (min(COMPARED, side) for side in pixels.shape[-2:])
    return nn.functional.adaptive_avg_pool2d(pixels, (height, width)).flatten(1).double().cpu()


def images_of(path: str, bench: ImageBench[TunedModel]) -> Tensor:
    """Pixels that drawings should look like, (N, C, H, W). Raises ImageDataError."""
    data = ImageData(train=[ImageSource(path=path, rows=MOST_DATA)])
    found, _ = load_images(data, bench.model.model.pixels, seed=0, breathe=bench.breathe)
    return found.at(range(len(found))).to(bench.device)
