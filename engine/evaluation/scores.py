"""How good the scores of a reward model are, on pairs, rankings and ratings that it did not learn from."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from engine.contract import settings
from engine.data.batching import micro_batches, pad_rows
from engine.data.rankings import Ranking, encode_rankings, told
from engine.data.sources import DataError, Table
from engine.evaluation.figures import Figure, Figures, share
from engine.evaluation.intervals import bootstrap
from engine.methods.reward_model import measured
from engine.models import Policy
from engine.reward_models import RewardScorer, reader_for

#: Each resample goes over all pairs in Python; beyond this a report would wait for its intervals.
RESAMPLES = 400
NOTES = {
    "loss": "Bradley-Terry, nats a prompt",
    "accuracy": "better answer scores higher; each prompt counts once",
    "margin": "mean score of better answers less that of worse ones",
    "auc": "chance that a better answer outscores a worse one of any prompt",
    "calibration_error": "sigmoid(margin) against the share in order, ten bins (Guo et al. 2017, eq. 3)",
    "mean_reward": "of all answers",
    "reward_std": "of all answers",
    "pearson": "linear correlation with the data's ratings",
    "spearman": "rank correlation with the data's ratings",
}


def of_reward_model(
    policy: Policy,
    table: Table,
    own: settings.RewardModel,
    *,
    system_prompt: str | None,
    max_length: int,
    tell: Callable[[str, float], None],
) -> tuple[Figures, str]:
    """The measures that training reports of held-out data, with intervals over prompts; and which rows were left out.

    own: whether margins and centring are part of the loss. Raises DataError if no row can be used.
    """
    limits = (max_length, policy.context, policy.tokenizer.model_max_length)
    longest = min(limit for limit in limits if limit)
    read = reader_for(policy, system_prompt=system_prompt)
    encoded = encode_rankings(table.rows, read, max_length=longest, to_learn=False, breathe=lambda index: None)
    lost = told(encoded._replace(left_out=table.numbered(encoded.left_out)), table.origins)
    if not encoded.rankings:
        raise DataError(f"no row can be used: {lost}; mend the data, or raise --max-length")
    scores = scored(policy, encoded.rankings, tell)
    tell("intervals", 0.0)
    return figures_of(own, scores, encoded.rankings), lost


@torch.no_grad()
def scored(policy: Policy, rankings: Sequence[Ranking], tell: Callable[[str, float], None]) -> Tensor:
    """The scores of all answers in order, (A,), on the CPU."""
    scorer = RewardScorer(policy.model)
    weight = next(policy.model.parameters())
    pad = policy.tokenizer.pad_token_id
    lengths = [len(ranking.answers) * max(len(answer.ids) for answer in ranking.answers) for ranking in rankings]
    scores: list[float] = []
    done = 0
    for part in micro_batches(rankings, lengths, "auto"):
        rows = pad_rows([answer for ranking in part for answer in ranking.answers], pad if isinstance(pad, int) else 0)
        with torch.autocast(weight.device.type, dtype=weight.dtype, enabled=weight.dtype != torch.float32):
            scores += scorer(rows.to(weight.device)).rewards.tolist()
        done += len(part)
        tell("scores", done / len(rankings))
    return torch.tensor(scores)


def figures_of(own: settings.RewardModel, scores: Tensor, rankings: Sequence[Ranking]) -> Figures:
    """scores: of all answers of the rankings, (A,)."""
    ends = torch.tensor([0, *(len(ranking.answers) for ranking in rankings)]).cumsum(0).tolist()
    places = [torch.arange(start, end) for start, end in pairwise(ends)]

    def resampled(chosen: Tensor) -> dict[str, float]:
        which = chosen.tolist()
        return measured(own, scores[torch.cat([places[i] for i in which])], [rankings[i] for i in which])

    values = measured(own, scores, rankings)
    intervals = bootstrap(resampled, len(rankings), resamples=RESAMPLES)
    figures = {
        name: Figure(values[name], len(rankings), "prompts", *intervals[name], note)
        for name, note in NOTES.items()
        if name in values
    }
    if "accuracy" in figures:
        compared = sum(bool(ranking.pairs) for ranking in rankings)
        figures["accuracy"] = share(values["accuracy"], compared, "prompts", NOTES["accuracy"])
    return figures
