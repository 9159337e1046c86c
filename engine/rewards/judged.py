"""A part of a reward that a language model gives by a written constitution: AI feedback while the policy learns.

Bai et al. 2022 (arXiv:2212.08073), without a reward model between: each answer is set against every other to its
prompt, in both orders, and is worth the mean chance that the judge gives it of being the better one.
"""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

from engine.contract import online_settings, settings
from engine.judging import Judge
from engine.models import choose_dtype, open_for_use
from engine.rewards.parts import Answered, Part, RewardError, Score, Surroundings

#: What an answer is worth that nothing can be said of, as it has none beside it.
EVEN = 0.5


def judged(part: online_settings.Judged, around: Surroundings) -> Part:
    """Raises ModelError if the path names no language model, RewardError if the constitution cannot be read."""
    model = settings.Model(path=part.path)
    policy = open_for_use(model, device=around.device, dtype=choose_dtype("auto", around.device))
    around.meter.watch(policy.model)
    judge = Judge(policy, part.question, _constitution(part.constitution))

    def score(answers: Sequence[Answered]) -> list[Score]:
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, answered in enumerate(answers):
            groups.setdefault(tuple(answered.prompt), []).append(index)
        chances: list[list[float]] = [[] for _ in answers]
        for group in groups.values():
            for one, other in itertools.combinations(group, 2):
                around.breathe()
                chance = _chance(judge, answers[one], answers[other])
                chances[one].append(chance)
                chances[other].append(1 - chance)
        return [sum(mine) / len(mine) if mine else EVEN for mine in chances]

    return score


def _chance(judge: Judge, one: Answered, other: Answered) -> float:
    """That the first is the better, the liking for a place taken out."""
    if one.text == other.text:
        return EVEN
    row = one.row
    prompt = row["prompt"] if "prompt" in row else row["messages"]
    return 1 / (1 + math.exp(-judge.odds(prompt, one.text, other.text).mean))


def _constitution(path: str) -> str:
    try:
        return Path(path).read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RewardError(f"rewards: the constitution {path} cannot be read as text: {error}") from error
