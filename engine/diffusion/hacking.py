"""The rule that tells reward hacking from learning.

In plain words: the reward has risen, and images have moved far from what the reference draws; and somebody who is not
rewarded, the second scorer, recognises fewer of them; where there is no second scorer, images have become alike. One
sign alone is no proof: every tuned model moves away, and one that is to draw a single class draws images that are
alike. All measured against the reference at the same seeds, several measurements in a row.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

#: The reward counts as risen once its mean has moved by this share of its spread over the reference's own images.
RISEN = 0.5


class Gauges(NamedTuple):
    """What was measured of images at the same seeds, of the policy or the reference.

    reward, spread: mean and standard deviation of what is trained. recognised: share of images that the second scorer
    takes for what was asked, NaN without one. distance: Fréchet distance to the reference's images of other seeds.
    diversity: mean distance of two images of one prompt.
    """

    reward: float
    spread: float
    recognised: float
    distance: float
    diversity: float


@dataclass
class HackRule:
    """fall, distance, patience: as in `drift`. seen: measurements in a row that looked like hacking. has_spoken: once
    is enough; who goes on has been told."""

    fall: float
    distance: float
    patience: int
    seen: int = 0
    has_spoken: bool = False

    def look(self, start: Gauges, now: Gauges) -> str:
        """What there is to say after a measurement, mostly nothing. start: of the reference itself."""
        self.seen = self.seen + 1 if self.looks_hacked(start, now) else 0
        if self.seen < self.patience or self.has_spoken:
            return ""
        self.has_spoken = True
        return in_words(start, now)

    def looks_hacked(self, start: Gauges, now: Gauges) -> bool:
        """Whether a single measurement looks like hacking."""
        has_risen = now.reward > start.reward + RISEN * start.spread
        is_far = now.distance > self.distance * start.distance
        has_scorer = not math.isnan(now.recognised)
        is_worse = (
            now.recognised < start.recognised - self.fall
            if has_scorer
            else now.diversity < (1 - self.fall) * start.diversity
        )
        return has_risen and is_far and is_worse

    @property
    def memory(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        return {"hack_seen": float(self.seen), "hack_spoken": float(self.has_spoken)}

    def recall(self, memory: dict[str, float]) -> None:
        """Take back what a checkpoint kept."""
        self.seen, self.has_spoken = int(memory["hack_seen"]), bool(memory["hack_spoken"])


def in_words(start: Gauges, now: Gauges) -> str:
    """What is seen, for somebody who does not know the measures."""
    if math.isnan(now.recognised):
        worse = f"images of one prompt differ {now.diversity / start.diversity:.0%} as much as they did"
    else:
        shares = f"{now.recognised:.0%} of the images, of the reference's {start.recognised:.0%}"
        worse = f"the second scorer recognises {shares}"
    return (
        f"this looks like reward hacking: the reward rose from {start.reward:.3g} to {now.reward:.3g}, but {worse}, and"
        f" they lie {now.distance / start.distance:.3g} times as far from the reference's as those lie from each other"
    )
