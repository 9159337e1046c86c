"""What measures are made of: plain lists of what was sampled or scored, in; named figures with intervals, out."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from engine.evaluation import best_of
from engine.evaluation.intervals import bootstrap_of_means, interval_of_shares, wilson
from engine.evaluation.overlap import ROUGE, rouge
from engine.evaluation.overlap import bleu as corpus_bleu
from engine.evaluation.pass_at_k import by_prompt


class Figure(NamedTuple):
    """A measure, the mean over so many `of` something. low, high: a 95% interval, where there is one. note: how it is
    computed. standard_error: of a mean that is not within [0, 1]. kl_bound: how far what picks the answers moves from
    the model at most, nats."""

    value: float
    over: int
    of: str
    low: float | None = None
    high: float | None = None
    note: str = ""
    standard_error: float | None = None
    kl_bound: float | None = None


Figures = dict[str, Figure]


def share(value: float, count: int, of: str, note: str = "") -> Figure:
    """A mean of values within [0, 1], with its interval."""
    low, high = wilson(min(1.0, max(0.0, value)), count)
    return Figure(value, count, of, low, high, note)


def of_loss(nll: float, top: float, tokens: int) -> Figures:
    """nll: summed negative log-probability, nats. top: how many tokens were the likeliest."""
    mean = nll / tokens
    return {
        "loss": Figure(mean, tokens, "answer tokens"),
        "perplexity": Figure(math.exp(min(mean, 700.0)), tokens, "answer tokens"),
        "mean_token_accuracy": Figure(top / tokens, tokens, "answer tokens"),
    }


def of_answers(scores: Sequence[Sequence[float]], ks: Sequence[int]) -> Figures:
    """scores: of each prompt's answers by the verifier, 1 where right. Prompts vary more than answers to one of them,
    so intervals count prompts."""
    answers = len(scores[0])
    passed = by_prompt(right_of(scores), answers=answers, ks=[1, *ks])
    intervals = interval_of_shares(passed)
    notes = [f"one of {k} answers right, unbiased from {answers} (Chen et al. 2021, eq. 1)" for k in ks]
    named = zip(
        ["sampled_accuracy", *(f"pass@{k}" for k in ks)], ["share of right answers, pass@1", *notes], strict=True
    )
    figures = {
        name: Figure(float(passed[:, i].mean()), len(scores), "prompts", *intervals[i], note)
        for i, (name, note) in enumerate(named)
    }
    if any(0.0 < score < 1.0 for each in scores for score in each):
        figures["score"] = _over_prompts(scores, "mean score by the verifier")
    return figures


def right_of(scores: Sequence[Sequence[float]]) -> list[int]:
    """How many answers to each prompt the verifier accepts."""
    return [sum(score >= 1.0 for score in each) for each in scores]


def of_greedy(scores: Sequence[float]) -> Figures:
    """scores: of the likeliest answer to each prompt, by the verifier."""
    right = sum(score >= 1.0 for score in scores)
    note = "share of prompts whose likeliest answer, token by token, is right"
    return {"greedy_accuracy": share(right / len(scores), len(scores), "prompts", note)}


def of_rewards(rewards: Sequence[Sequence[float]]) -> Figures:
    """rewards: of each prompt's answers, NaN where one has none."""
    missing = sum(not math.isfinite(reward) for each in rewards for reward in each)
    without = f", without {missing} answers that have none" if missing else ""
    return {"reward": _over_prompts(rewards, f"mean reward by the preset's rewards{without}")}


def of_best(rewards: Sequence[Sequence[float]], scores: Sequence[Sequence[float]], ns: Sequence[int]) -> Figures:
    """What picking the best of n answers by reward earns, and how often it is right. rewards, scores: of each prompt's
    answers; scores are empty where nothing tells which are right."""
    figures: Figures = {}
    if not ns:
        return figures
    earned = best_of.by_prompt(rewards, ns, rewards)
    earned = earned[~earned.isnan().any(dim=1)]
    for n, column in zip(ns, earned.unbind(dim=1), strict=True):
        away = best_of.kl_of_best(n)
        note = f"best of {n} by reward, unbiased from {len(rewards[0])}; at most {away:.2g} nats from the model"
        figures[f"reward_of_best@{n}"] = _of_means(column, note)._replace(kl_bound=away)
    if scores:
        right = best_of.by_prompt(rewards, ns, [[float(score >= 1.0) for score in each] for each in scores])
        right = right[~right.isnan().any(dim=1)]
        for n, column, interval in zip(ns, right.unbind(dim=1), interval_of_shares(right), strict=True):
            note = f"share of prompts whose best of {n} by reward is right"
            figures[f"accuracy_of_best@{n}"] = Figure(float(column.mean()), len(right), "prompts", *interval, note)
    return figures


def mean_known(values: Sequence[float]) -> float:
    """Mean of what is a number; NaN where nothing is."""
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan


def _over_prompts(values: Sequence[Sequence[float]], note: str) -> Figure:
    """The mean of prompts' means, with what prompts tell of its spread."""
    means = torch.tensor([mean_known(each) for each in values], dtype=torch.float64)
    return _of_means(means[~means.isnan()], note)


def _of_means(means: Tensor, note: str) -> Figure:
    """means: of each prompt, (prompts,)."""
    [interval] = bootstrap_of_means(means[:, None])
    error = float(means.std() / math.sqrt(len(means))) if len(means) > 1 else math.nan
    note = f"{note}; standard error {error:.2g}"
    return Figure(float(means.mean()), len(means), "prompts", *interval, note, standard_error=error)


def of_overlap(answers: Sequence[Sequence[str]], references: Sequence[str]) -> Figures:
    """answers: to each prompt, compared with its reference."""
    figures: Figures = {}
    per_prompt = [[rouge(answer, ref) for answer in each] for each, ref in zip(answers, references, strict=True)]
    for name in ROUGE:
        means = [sum(scores[name] for scores in each) / len(each) for each in per_prompt]
        figures[name] = share(sum(means) / len(means), len(means), "prompts", "F-measure by rouge-score, no stemming")
    flat = [answer for each in answers for answer in each]
    repeated = [ref for each, ref in zip(answers, references, strict=True) for _ in each]
    found = corpus_bleu(flat, repeated)
    figures["bleu"] = Figure(found.score, len(flat), "answers", note=f"0 to 100, sacrebleu {found.signature}")
    return figures


def of_pairs(chosen: Sequence[float], rejected: Sequence[float], beta: float) -> Figures:
    """chosen, rejected: log-ratios of policy to reference of whole answers, nats. The implicit reward is beta times
    that: Rafailov et al. 2023 (arXiv:2305.18290), eq. 5."""
    pairs = len(chosen)
    in_order = sum(better > worse for better, worse in zip(chosen, rejected, strict=True))
    margin = beta * (sum(chosen) - sum(rejected)) / pairs
    return {
        "rewards/accuracies": share(in_order / pairs, pairs, "pairs", "chosen has more implicit reward"),
        "rewards/margins": Figure(margin, pairs, "pairs", note=f"beta = {beta:g}"),
        "rewards/chosen": Figure(beta * sum(chosen) / pairs, pairs, "pairs", note=f"beta = {beta:g}"),
        "rewards/rejected": Figure(beta * sum(rejected) / pairs, pairs, "pairs", note=f"beta = {beta:g}"),
    }
