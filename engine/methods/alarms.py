"""What somebody should be told while a policy learns from its own answers, once each, with advice."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from engine.methods.answers import Sampled
from engine.methods.bench import Bench
from engine.tally import Mean, Values

#: Steps in a row in which all groups scored alike before that is told.
SILENT_STEPS = 50
#: Nats a token from the reference, and how many steps in a row, before that is told. Fluent text has about 1 to 3 nats
#: of entropy a token: as far away as this, nothing of the reference is left.
FAR, FAR_STEPS = 5.0, 3


@dataclass
class Alarms:
    """silent, far: steps in a row without signal, and far from the reference. told: what has been said already.

    pull: the setting that holds the policy near its reference.
    """

    bench: Bench
    pull: str
    silent: int = 0
    far: int = 0
    told: frozenset[str] = frozenset()

    def look(self, sampled: Sequence[Sampled], values: Values, *, learns: bool) -> None:
        """At what a step is about to learn from. values: as `answers.told` gives them. learns: if it has a signal."""
        self._look_at_signal(values, learns)
        self._look_at_distance(sampled)
        self._look_at_ends()

    def _look_at_signal(self, values: Values, learns: bool) -> None:
        self.silent = 0 if learns else self.silent + 1
        if self.silent == SILENT_STEPS:
            reward = values["reward"]
            mean = (
                float(reward.total) / float(reward.weight) if isinstance(reward, Mean) and reward.weight else math.nan
            )
            self._tell(
                "silent",
                f"for {SILENT_STEPS} steps all answers to a prompt scored alike (mean reward {mean:.3g}):"
                " nothing is learned",
                "if all are wrong, take easier prompts or add a reward for what is nearly right; if all are right, take"
                " harder ones; else raise rollout.temperature or rollout.completions_per_prompt",
            )

    def _look_at_distance(self, sampled: Sequence[Sampled]) -> None:
        gaps = [
            reference - logp
            for s in sampled
            for logp, reference in zip(s.drawn(s.answer.logps), s.reference, strict=False)
        ]
        if not gaps:
            return
        mean = sum(math.expm1(min(gap, 50.0)) - gap for gap in gaps) / len(gaps)
        self.far = self.far + 1 if mean > FAR else 0
        if self.far == FAR_STEPS:
            self._tell(
                "far",
                f"the policy is {mean:.3g} nats a token from its reference: its text has little to do with it any more",
                f"raise {self.pull} or lower optimizer.learning_rate, and go on from an earlier checkpoint",
            )

    def _look_at_ends(self) -> None:
        if not self.bench.policy.end_ids:
            self._tell(
                "ends",
                "the model's tokenizer has no end token, so every answer is rollout.max_new_tokens long",
                "take an instruction-tuned model, or a reward that does not mind what comes after the answer",
            )

    def _tell(self, what: str, message: str, advice: str) -> None:
        if what not in self.told:
            self.told |= {what}
            self.bench.reporter.notice("warning", message, advice)
