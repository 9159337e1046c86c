"""What a run of PPO tells a person when it goes astray: no reference near, nothing to learn, no numbers, no end."""

import math
from collections.abc import Sequence

from engine.contract.online_settings import Ppo
from engine.group_advantages import ALIKE
from engine.methods.alarms import SILENT_STEPS
from engine.methods.bench import Bench
from engine.methods.experience import Experience
from engine.models import ModelError
from engine.reporting import Reporter

#: Nats a token by which a policy has left its reference: each of its tokens is e times likelier than it was there.
FAR = 1.0
#: Nats an answer below which the estimate of KL, never negative as it is, says that something is wrong.
IMPOSSIBLE = -1.0


class Watch:
    """Looks at each step and tells what is wrong once, and again only after it was well in between."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._ill: set[str] = set()
        self._alike = 0

    def look(self, step: int, lived: Sequence[Experience]) -> None:
        tokens = sum(len(one.kls) for one in lived)
        total = sum(sum(one.kls) for one in lived)
        a_token, an_answer = total / tokens, total / len(lived)
        self._say(
            "far",
            a_token > FAR,
            f"the policy has left its reference: KL is {a_token:.2f} nats a token at step {step}, and a reward may be "
            "exploited rather than earned",
            "read the answers; if they are worse than their reward, go back to an earlier checkpoint and raise "
            "ppo.beta, set ppo.kl_target, or lower optimizer.learning_rate",
        )
        self._say(
            "impossible",
            an_answer < IMPOSSIBLE,
            f"the estimated KL is {an_answer:.2f} nats an answer at step {step}, and the true one is never negative: "
            "the answers have become unlikelier than under the reference",
            "set ppo.kl_estimator to k3, which cannot be exploited so, or raise training.batch_size",
        )
        scores = [one.score for one in lived]
        self._alike = self._alike + 1 if max(scores) - min(scores) < ALIKE else 0
        self._say(
            "alike",
            self._alike >= SILENT_STEPS,
            f"for {SILENT_STEPS} steps all answers scored alike, {scores[0]:.3g}: what is learned from them is noise",
            "if all are wrong, take easier prompts or add a reward for what is nearly right; if all are right, take "
            "harder ones",
        )
        wrong = sum(not math.isfinite(value) for one in lived for value in one.lived.values)
        self._say(
            "values",
            wrong > 0,
            f"the critic gave no number for {wrong} of {tokens} tokens at step {step}",
            "lower ppo.critic_learning_rate or ppo.value_weight, and go on from a checkpoint before it",
        )

    def _say(self, what: str, is_ill: bool, told: str, advice: str) -> None:
        if is_ill and what not in self._ill:
            self._reporter.notice("warning", told, advice)
        self._ill = self._ill | {what} if is_ill else self._ill - {what}


def check_ending(bench: Bench, own: Ppo) -> None:
    """Tell that no answer will ever end by itself. Raises ModelError where each would be fined for it."""
    if bench.policy.end_ids:
        return
    what = "neither the model nor its tokenizer names a token that ends an answer, so every answer is cut off"
    if own.missing_eos_penalty:
        remedy = "set ppo.missing_eos_penalty to 0, or eos_token in its tokenizer_config.json"
        raise ModelError(f"model.path: {what} at rollout.max_new_tokens and would be fined for it; {remedy}")
    bench.reporter.notice("warning", what, "set eos_token in its tokenizer_config.json, if it has one")
