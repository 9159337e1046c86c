"""What `evaluate` finds: the catalogue of its measures, as metrics.py is that of what runs report."""

from dataclasses import replace

from engine.contract.metric import Metric
from engine.contract.metrics import CATALOGUE, describe

LIN = "Lin 2004, ROUGE"
CHEN = "Chen et al. 2021, arXiv:2107.03374"
NAKANO = "Nakano et al. 2021, arXiv:2112.09332"
#: What no run reports; what runs report of held-out data stands in their catalogue with eval_ before it.
_OF_EVALUATE: dict[str, Metric] = {
    "greedy_accuracy": Metric("Greedy accuracy", "", "up", "share of prompts whose likeliest answer is right"),
    "score": Metric("Verifier's score", "", "up", "mean score of sampled answers where some are partly right"),
    "rouge1": Metric("ROUGE-1", "", "up", "words shared with the reference, F-measure", LIN),
    "rouge2": Metric("ROUGE-2", "", "up", "pairs of words shared with the reference, F-measure", LIN),
    "rougeL": Metric("ROUGE-L", "", "up", "words in the reference's order, F-measure", LIN),
    "bleu": Metric("BLEU", "of 100", "up", "n-grams shared with the references, of the whole data", "Post 2018"),
}
#: Measures of so many answers, as in pass@8: by what stands before the number, title and meaning.
_OF_SEVERAL: dict[str, Metric] = {
    "pass": Metric("pass@{n}", "", "up", "share of prompts of which one of {n} answers is right, unbiased", CHEN),
    "reward_of_best": Metric(
        "Reward, best of {n}", "", "up", "mean reward of the best of {n} answers by it, unbiased", NAKANO
    ),
    "accuracy_of_best": Metric(
        "Accuracy, best of {n}", "", "up", "share of prompts whose best of {n} answers by reward is right", NAKANO
    ),
}


def measure(name: str) -> Metric:
    """What is known of a measure of `evaluate`: all of it is held out, so the names have no eval_."""
    of, _, n = name.partition("@")
    if n and of in _OF_SEVERAL:
        found = _OF_SEVERAL[of]
        return replace(found, title=found.title.format(n=n), meaning=found.meaning.format(n=n))
    return _OF_EVALUATE.get(name) or CATALOGUE.get(f"eval_{name}") or describe(name)
