"""From data and a model to what measures need: which rows serve for what, and log-probabilities of them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import nn

from engine.contract.settings import Source
from engine.data.batching import micro_batches, pad_rows
from engine.data.chat import ChatEncoder, Example
from engine.data.preferences import Pair, encode_pairs
from engine.data.sources import DataError, Row, Table, load_rows
from engine.evaluation.answers import reference_of
from engine.evaluation.figures import Figures, of_loss, of_pairs
from engine.logprobs import Rows, TokenScorer
from engine.models import Policy

#: Told of work whose length is known: what it is, and the share done.
Tell = Callable[[str, float], None]


class Material(NamedTuple):
    """The rows of each kind that the data has; why there are none of a kind stands in `lacks`.

    learned: prompt and completion, messages, or text. asked: prompts to answer. pairs: of answers.
    """

    learned: Table | None
    asked: Table | None
    pairs: Table | None
    lacks: dict[str, str]


def material(sources: list[Source]) -> Material:
    """Raises TaskError, and DataError if no row is of any use."""
    found: dict[str, Table | None] = {}
    lacks: dict[str, str] = {}
    for name, method in (("learned", "sft"), ("asked", "prompt"), ("pairs", "dpo")):
        try:
            found[name] = load_rows(sources, method)
        except DataError as why:
            found[name], lacks[name] = None, str(why)
    if not any(found.values()):
        raise DataError(lacks["learned"])
    return Material(found["learned"], found["asked"], found["pairs"], lacks)


def to_answer(found: Material, answer_column: str | None) -> Table | None:
    """The rows whose prompts are answered: those that bring an answer to compare with, where there are such."""
    has_answers = found.learned is not None and all(reference_of(row) is not None for row in found.learned.rows)
    return found.learned if has_answers and answer_column is None else found.asked


# ----------------------------------------------------------------------------------------------------- held-out loss


def loss(policy: Policy, encoder: ChatEncoder, rows: Sequence[Row], *, max_length: int, tell: Tell) -> Figures:
    """Mean over answer tokens, as SFT measures it. Raises DataError if no row has any within max_length."""
    examples = [encoder.example(row, completion_only=True, max_length=max_length) for row in rows]
    usable = [example for example in examples if any(example.is_target)]
    if not usable:
        raise DataError(f"no answer begins within {max_length} tokens; raise --max-length, or check the data")
    scorer = TokenScorer(policy.model)
    nll, top, tokens, done = 0.0, 0.0, 0, 0
    with torch.no_grad():
        for part in micro_batches(usable, [len(example.ids) for example in usable], "auto"):
            scores = scorer(_padded(policy, part))
            nll -= float(scores.logps.double().sum())
            top += float(scores.is_top.sum())
            tokens, done = tokens + len(scores.logps), done + len(part)
            tell("held-out loss", done / len(usable))
    return of_loss(nll, top, tokens)


def _padded(policy: Policy, examples: Sequence[Example]) -> Rows:
    pad = policy.tokenizer.pad_token_id
    return pad_rows(examples, pad if isinstance(pad, int) else 0).to(next(policy.model.parameters()).device)


# ------------------------------------------------------------------------------------------------------ preferences


def preferences(
    policy: Policy,
    reference: Policy | None,
    encoder: ChatEncoder,
    rows: Sequence[Row],
    *,
    beta: float,
    max_length: int,
    tell: Tell,
) -> Figures:
    """How the implicit rewards order the pairs. reference: None means the policy with its adapter off."""
    encoded = encode_pairs(rows, encoder, max_length=max_length, breathe=lambda index: None)
    if not encoded.pairs:
        raise DataError("no pair has two different answers that fit; raise --max-length, or check the data")
    own = TokenScorer(policy.model)
    other = None if reference is None else TokenScorer(reference.model)
    chosen: list[float] = []
    rejected: list[float] = []
    lengths = [2 * max(len(pair.chosen.ids), len(pair.rejected.ids)) for pair in encoded.pairs]
    for part in micro_batches(encoded.pairs, lengths, "auto"):
        better, worse = _log_ratios(policy, own, other, part)
        chosen, rejected = chosen + better, rejected + worse
        tell("preferences", len(chosen) / len(encoded.pairs))
    return of_pairs(chosen, rejected, beta)


@torch.no_grad()
def _log_ratios(
    policy: Policy, own: TokenScorer, other: TokenScorer | None, part: Sequence[Pair]
) -> tuple[list[float], list[float]]:
    """Of chosen and of rejected answers, policy to reference, nats."""
    rows = _padded(policy, [*(pair.chosen for pair in part), *(pair.rejected for pair in part)])
    mine = _summed(own, rows)
    if other is not None:
        ratios = mine - _summed(other, rows)
    else:
        with policy.without_adapter():
            ratios = mine - _summed(own, rows)
    better, worse = ratios.chunk(2)
    return better.tolist(), worse.tolist()


def _summed(scorer: nn.Module, rows: Rows) -> torch.Tensor:
    """Log-probability of each row's answer, (B,)."""
    logps = scorer(rows).logps.double()
    return (
        torch.zeros(rows.is_target.shape, dtype=logps.dtype, device=logps.device)
        .masked_scatter(rows.is_target, logps)
        .sum(dim=1)
    )
