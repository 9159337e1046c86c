"""How much of a reference an answer repeats: ROUGE by rouge-score, BLEU by sacrebleu, as others report them."""

from collections.abc import Sequence
from typing import NamedTuple

#: Unigrams, bigrams, longest common subsequence (Lin 2004).
ROUGE = ("rouge1", "rouge2", "rougeL")


class Bleu(NamedTuple):
    """score: 0 to 100. signature: how it was computed, which a report has to say (Post 2018, arXiv:1804.08771)."""

    score: float
    signature: str


def rouge(answer: str, reference: str) -> dict[str, float]:
    """F-measure of each kind, 0 to 1, without stemming.

    rouge-score knows the letters a to z and digits only; text in other scripts has no words to it and scores 0.
    """
    from rouge_score import rouge_scorer

    scores = rouge_scorer.RougeScorer(ROUGE, use_stemmer=False).score(reference, answer)
    return {name: float(score.fmeasure) for name, score in scores.items()}


def bleu(answers: Sequence[str], references: Sequence[str]) -> Bleu:
    """Of the whole corpus, one reference for each answer."""
    from sacrebleu.metrics import BLEU  # type: ignore[attr-defined]

    metric = BLEU()
    score = metric.corpus_score(list(answers), [list(references)])
    return Bleu(float(score.score), str(metric.get_signature()))
