"""What reward models make of the answers to judge, so that they can choose which are judged first."""

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise

from engine.contract.labels import Item
from engine.data.rankings import Ranking
from engine.evaluation.scores import scored
from engine.labelling.rows import answer_of
from engine.models import Policy
from engine.reward_models import reader_for

Scores = tuple[float, ...]


def item_scores(
    policy: Policy, items: Sequence[Item], *, system_prompt: str | None, tell: Callable[[str, float], None]
) -> dict[str, Scores]:
    """The score of each candidate, by item; without images, and without what the model cannot read whole."""
    read = reader_for(policy, system_prompt=system_prompt)
    longest = min(limit for limit in (policy.context, policy.tokenizer.model_max_length, 10**9) if limit)
    rankings: dict[str, Ranking] = {}
    for item in items:
        if any(candidate.text is None for candidate in item.candidates):
            continue
        places = range(len(item.candidates))
        answers = [read({"prompt": item.prompt, "completion": answer_of(item, place)}) for place in places]
        if all(len(answer.ids) <= longest for answer in answers):
            rankings[item.id] = Ranking(answers, [], [], None)
    if not rankings:
        return {}
    scores = scored(policy, list(rankings.values()), tell).tolist()
    ends = accumulate((len(ranking.answers) for ranking in rankings.values()), initial=0)
    return {name: tuple(scores[start:end]) for name, (start, end) in zip(rankings, pairwise(ends), strict=True)}
