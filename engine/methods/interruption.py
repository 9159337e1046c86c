"""Bringing answers to an end that ran into their limit: a phrase is put after them, and they may go on for a little.

ScaleRL (arXiv:2510.13786) holds answers to a length so, in place of a punishment in the reward. The phrase is nothing
the policy chose: its tokens are read, and never learned.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.contract.online_settings import Rollout as RolloutSettings
from engine.data.batching import mix
from engine.rollout.protocol import Answer, Rollout


@dataclass(frozen=True)
class Interruption:
    """phrase: tokens. most: how many the answer may have after them."""

    rollout: Rollout
    how: RolloutSettings
    phrase: list[int]
    most: int

    @property
    def tokens(self) -> int:
        """What an answer can grow by."""
        return len(self.phrase) + self.most

    def ended(
        self, prompts: Sequence[list[int]], answers: Sequence[Sequence[Answer]], seeds: Sequence[Sequence[int]]
    ) -> tuple[list[list[Answer]], list[list[range]]]:
        """All answers, those cut off continued, and where in each the phrase stands."""
        cut = [(p, m) for p, group in enumerate(answers) for m, each in enumerate(group) if each.finish == "length"]
        ended, forced = [list(group) for group in answers], [[range(0)] * len(group) for group in answers]
        if not cut:
            return ended, forced
        begun = [[*prompts[p], *answers[p][m].ids, *self.phrase] for p, m in cut]
        how = self.how.model_copy(update={"max_new_tokens": self.most})
        endings = self.rollout.answers(begun, [[mix(seeds[p][m], 1)] for p, m in cut], how)
        for (p, m), (ending,) in zip(cut, endings, strict=True):
            first = answers[p][m]
            ended[p][m] = _joined(first, self.phrase, ending)
            forced[p][m] = range(len(first.ids), len(first.ids) + len(self.phrase))
        return ended, forced


def _joined(first: Answer, phrase: list[int], ending: Answer) -> Answer:
    """One answer of three parts; what was put in was certain, so its log-probability is 0."""
    certain = [0.0] * len(phrase)
    return Answer(
        ids=[*first.ids, *phrase, *ending.ids],
        logps=[*first.logps, *certain, *ending.logps],
        finish=ending.finish,
        drawn_logps=[*first.drawn_logps, *certain, *ending.drawn_logps],
    )
