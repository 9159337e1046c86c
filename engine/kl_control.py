"""What a run of PPO keeps from one step to the next beside its weights: the weight of KL, and the spread of scores."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass
class KlControl:
    """The weight of KL in the reward. With a target it follows Ziegler et al. 2019 (arXiv:1909.08593), sec. 2.2.

    weight: reward units a nat. target: nats an answer, or None to leave the weight as it is. horizon: answers.
    """

    weight: float
    target: float | None
    horizon: int

    def update(self, kl: float, answers: int) -> None:
        """Weigh KL more after a step that went further than the target, less after one that did not.

        kl: mean of the step, nats an answer. answers: of the step.
        """
        if self.target is None or not math.isfinite(kl):
            return
        error = min(0.2, max(-0.2, kl / self.target - 1))
        self.weight *= 1 + error * answers / self.horizon


@dataclass
class Moments:
    """Mean and variance of all numbers so far, merged batch by batch (Chan et al. 1979)."""

    count: float = 0.0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, values: Sequence[float]) -> None:
        """Take a batch in; what is no number is passed over."""
        finite = [value for value in values if math.isfinite(value)]
        if not finite:
            return
        mean = sum(finite) / len(finite)
        total = self.count + len(finite)
        shift = mean - self.mean
        self.squares += sum((value - mean) ** 2 for value in finite) + shift**2 * self.count * len(finite) / total
        self.mean += shift * len(finite) / total
        self.count = total

    @property
    def std(self) -> float:
        """Sample deviation; 1 where there is none to tell, so that dividing by it changes nothing."""
        spread = math.sqrt(self.squares / (self.count - 1)) if self.count > 1 else 0.0
        return spread or 1.0


@dataclass(frozen=True)
class State:
    """Both, as they are saved with a checkpoint."""

    kl: KlControl
    scores: Moments

    def kept(self) -> dict[str, float]:
        return {"kl_weight": self.kl.weight, **asdict(self.scores)}

    def recall(self, kept: dict[str, float]) -> None:
        """Go on from what `kept` gave."""
        self.kl.weight = kept["kl_weight"]
        self.scores.count, self.scores.mean, self.scores.squares = kept["count"], kept["mean"], kept["squares"]
