"""The sections of a preset that tunes a model of images: what an image is worth, how images are drawn to learn from,
how drift is watched, and what is each method's own.

The words for a setting, and what holds for all sections, are in settings.py.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from engine.contract.online_settings import OwnFunction
from engine.contract.settings import STRICT, setting

WEIGHT = setting(1.0, "share in the sum; less than 0 asks for the opposite")


class Ink(BaseModel, **STRICT):
    kind: Literal["ink"]
    weight: float = WEIGHT


class Compressibility(BaseModel, **STRICT):
    kind: Literal["compressibility"]
    weight: float = WEIGHT
    quality: int = setting(95, "quality of the JPEG whose size counts", ge=1, le=100)


class ClassProbability(BaseModel, **STRICT):
    kind: Literal["classifier"]
    weight: float = WEIGHT
    path: str = setting("assets:digits-classifier", "classifier that judges, given as model.path is", min_length=1)
    label: int | None = setting(None, "class that is wanted; empty = the one that was asked for", ge=0)


class Symmetry(BaseModel, **STRICT):
    kind: Literal["symmetry"]
    weight: float = WEIGHT
    axis: Literal["left_right", "top_bottom"] = setting("left_right", "halves that should mirror each other")


class Judged(BaseModel, **STRICT):
    kind: Literal["image_reward_model"]
    weight: float = WEIGHT
    path: str = setting(help="reward model that learned from judgements, given as model.path is", min_length=1)


class Smoothness(BaseModel, **STRICT):
    kind: Literal["smoothness"]
    weight: float = WEIGHT


#: What an image is worth: a weighted sum of parts.
ImageReward = Annotated[
    Ink | Compressibility | ClassProbability | Symmetry | Smoothness | Judged | OwnFunction, Field(discriminator="kind")
]
ImageRewards = Annotated[list[ImageReward], Field(min_length=1)]

#: Parts that can be followed backwards to the pixels.
DIFFERENTIABLE = ("ink", "classifier", "symmetry", "smoothness", "image_reward_model")


class ImageRollout(BaseModel, **STRICT):
    prompts: list[int | str | None] | None = setting(
        None,
        "classes or captions to draw, null for none in particular; empty = each class in turn, and a model that is"
        " asked in words needs some",
    )
    images_per_prompt: int = setting(
        16, "images drawn for each prompt; they are compared with each other", ge=1, le=1024
    )
    steps: int = setting(10, "steps of sampling (DDIM)", main=True, ge=2, le=1000)
    eta: float = setting(
        1.0,
        "chance in each step: 0 = none (DDIM), 1 = as much as DDPM; without it there are no probabilities",
        ge=0,
        le=1,
    )
    guidance: float = setting(
        1.0,
        "pull to the prompt (classifier-free guidance), also in the loss; 1 = none, about 5 for models of text",
        ge=0,
        le=50,
    )
    batch: int = setting(64, "images drawn at once; it changes memory and speed", unit="images", ge=1, le=4096)


class Drift(BaseModel, **STRICT):
    every: int = setting(5, "measure every so many steps, beside the first and the last; 0 = never", unit="steps", ge=0)
    images: int = setting(100, "images drawn for it, always from the same seeds", unit="images", ge=8, le=10_000)
    steps: int = setting(20, "steps of sampling for them (DDIM without chance)", ge=2, le=1000)
    classifier: str | None = setting(
        None,
        "second scorer: its features compare images, and where the model draws classes it says which is recognised;"
        " as model.path; empty = pixels are compared, of large images those of small copies",
    )
    data: str | None = setting(None, "images that drawings should look like, given as data.train is; empty = none")
    on_hack: Literal["notice", "pause", "stop"] = setting(
        "notice", "when the reward rises while all else gets worse: tell, wait for somebody to look, or end the run"
    )
    fall: float = setting(
        0.1, "how far the recognised share, or the share of diversity left, may fall before that counts", gt=0, lt=1
    )
    distance: float = setting(
        5.0, "Fréchet distance to the reference that counts, in multiples of what two draws of the reference have", gt=1
    )
    patience: int = setting(2, "measurements in a row before the rule speaks", ge=1)


class DiffusionDpo(BaseModel, **STRICT):
    beta: float = setting(
        2000.0,
        "pull back to the reference; it scales errors that are means over an image's numbers, so what fits depends on"
        " how many these are: 2000 for 64, 5000 for latents of 16,384",
        main=True,
        gt=0,
    )
    draws: int = setting(1, "times and noises that a pair is looked at with, each step", ge=1, le=64)
    eval_draws: int = setting(8, "the same of held-out pairs, at times spread evenly, always with the same noise", ge=1)
    warn_at: float = setting(
        1.1, "tell when the error on chosen or rejected images has grown to this multiple of the reference's", gt=1
    )


class Simulated(BaseModel, **STRICT):
    rewards: ImageRewards = setting(help="what the judge likes")
    prompts: list[int | str | None] | None = setting(
        None, "classes or captions to draw pairs of, null for none in particular; empty = each class in turn"
    )
    pairs: int = setting(200, "pairs to learn from, drawn by the model itself, both of one prompt", ge=1, le=1_000_000)
    held_out: int = setting(200, "pairs that only measure; judged without mistakes", ge=0, le=1_000_000)
    noise: float = setting(0.1, "share of judgements that are the wrong way round", ge=0, le=0.5)
    steps: int = setting(20, "steps of sampling (DDIM without chance)", ge=2, le=1000)


#: What is usual for each form of the ratio: ours for 64 numbers, and that of DDPO and Flow-GRPO.
CLIPS = {"sum": 0.2, "mean": 1e-4}
#: What can only be meant for the other form.
MOST_MEAN_CLIP, LEAST_SUM_CLIP = 0.02, 1e-3


class DiffusionGrpo(BaseModel, **STRICT):
    kl_weight: float = setting(
        0.3,
        "pull back to the reference, on the exact KL of each step; 0 = none. The KL of a whole path then settles around"
        " 1/(4 w²) to 1/(2 w²) nats",
        main=True,
        ge=0,
    )
    log_prob: Literal["sum", "mean"] = setting(
        "sum", "what the ratio is clipped as: the true one (sum), or its D-th root over D numbers (mean), as others do"
    )
    clip: float | None = setting(
        None,
        "how far that ratio may move from 1 before it stops counting; empty = 0.2 for sum, 1e-4 for mean: a clip for"
        " one says nothing of the other",
        gt=0,
        lt=1,
    )
    scale_advantages: Literal["group", "batch", "none"] = setting(
        "group", "divide advantages by the spread of rewards of the prompt, of the whole step, or not"
    )
    advantage_limit: float = setting(5.0, "largest advantage that counts, and smallest with a minus", gt=0)
    updates: int = setting(3, "updates that the actions of a step are cut into", ge=1, le=1024)
    epochs: int = setting(1, "passes over the actions of a step", ge=1, le=64)
    average: float = setting(
        0.0,
        "save a running average of the weights, so much of which stays each step (EMA); 0 = none",
        ge=0,
        lt=1,
    )

    @property
    def trusted(self) -> float:
        """How far the ratio may move, in the form it is clipped in."""
        return self.clip or CLIPS[self.log_prob]


class DiffusionNft(BaseModel, **STRICT):
    beta: float = setting(1.0, "how far from the old policy good and bad lie; smaller is bolder", main=True, gt=0)
    anchor: float = setting(0.0, "pull back to the reference: weight of the squared distance of predictions", ge=0)
    advantage_limit: float = setting(5.0, "advantage from which on an image counts as wholly good or bad", gt=0)
    draws: int = setting(1, "times and noises that each image is learned from with", ge=1, le=64)
    updates: int = setting(1, "updates that the images of a step are cut into", ge=1, le=1024)
    old_rate: float = setting(1e-3, "growth, each step, of the share of the old policy that stays", ge=0, le=1)
    old_most: float = setting(0.5, "the most of the old policy that stays", ge=0, lt=1)


class Draft(BaseModel, **STRICT):
    last_steps: int = setting(
        1, "steps at the end of sampling that the reward is followed back through", main=True, ge=1
    )
    anchor: float = setting(
        0.0, "pull back to the reference: weight of the squared distance of predictions; 0 hacks fastest", ge=0
    )
