"""Kahneman-Tversky optimisation: learn from single answers, wanted or not, by how far each gains on the rest."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn

from engine.contract.preset import KtoPreset
from engine.data.batching import micro_batches, pad_rows, rows_of_step
from engine.data.chat import Example
from engine.data.left_out import told
from engine.data.sources import DataError, Table
from engine.data.unpaired import Encoded, Judged, answers_of_sources, encode_judged, mismatched
from engine.logprobs import Rows, TokenScores
from engine.loop import Material, Method, Update
from engine.methods.bench import Bench, is_due
from engine.methods.pairs import all_read_lines, by_row
from engine.methods.samples import write_samples
from engine.modes import without_dropout
from engine.packing import Line, line_up
from engine.tally import Mean, Tally, Values
from engine.unpaired_losses import UnpairedLoss, unpaired_loss

#: Held-out answers measured at most each time, so that a look at them stays short.
EVAL_ANSWERS = 512
#: Between these the wanted answers should outweigh the unwanted ones: Ethayarajh et al. 2024, eq. 8.
BALANCED = (1.0, 4 / 3)


class KtoBatch(NamedTuple):
    """B answers. rows: (B, T). line: the same without padding, where the model reads that. is_wanted: (B,).

    reference: what it thinks of each, (B,), nats. kl: how far the policy is from it, nats. wanted, unwanted: how many
    answers of the whole update are, over all its micro-batches and processes.
    """

    rows: Rows
    line: Line | None
    is_wanted: Tensor
    reference: Tensor
    kl: float
    wanted: int
    unwanted: int


def kto(preset: KtoPreset, bench: Bench) -> Method:
    """The batches, the loss and the measures of KTO (Ethayarajh et al. 2024, arXiv:2402.01306, eq. 7).

    Raises DataError if no answer can be learned from.
    """
    encoded = _encode(preset, bench, bench.train, "reading the data")
    answers = encoded.answers
    sources = answers_of_sources(encoded, bench.train.parts_without(encoded.left_out))
    held_out = _encode(preset, bench, bench.held_out, "reading the held-out data").answers if bench.held_out else []
    judge, training = Judge(preset, bench), preset.training
    _tell_balance(preset, bench, answers)
    # Dropout would tell the policy apart from its reference, which are one at the first step.
    without_dropout(bench.policy.model)

    def update(places: Sequence[int]) -> Update:
        whole = [answers[place] for place in places]
        kl = judge.divergence(whole, bench.share(range(len(whole))))
        parts = [judge.batch(part, whole, kl) for part in judge.cut(bench.share(whole))]
        tokens = sum(int(part.rows.is_token.sum()) for part in parts)
        return Update(parts, tokens=tokens, values={"kl": Mean(kl, 1)})

    def batches(step: int) -> Iterator[Update]:
        yield update(
            rows_of_step(
                step,
                batch_size=training.batch_size,
                n_rows=len(answers),
                seed=preset.seed,
                shuffle=preset.data.shuffle,
                parts=sources,
            )
        )

    def loss(batch: KtoBatch) -> tuple[Tensor, Values]:
        return compare(preset, batch, bench.scorer(batch.rows, line=batch.line))

    def measure(step: int) -> dict[str, float]:
        values: dict[str, float] = {}
        if held_out and is_due(step, training.eval_every, training.steps):
            values |= _measured(judge, held_out[:EVAL_ANSWERS])
        if is_due(step, preset.kto.sample_every, training.steps):
            values |= write_samples(preset, bench, step)
        return values

    def material() -> Material:
        items, measuring = ([(answer.example,) for answer in some] for some in (answers, held_out))
        return Material(items, update, held_out=measuring, left_out=encoded.left_out)

    return Method(batches, loss, measure, material)


def compare(preset: KtoPreset, batch: KtoBatch, scores: TokenScores) -> tuple[Tensor, Values]:
    """The batch's share of the loss, and what the policy thinks of its answers, under TRL's names."""
    own = preset.kto
    logps = by_row(scores.logps, batch.rows.is_target).sum(dim=1)
    result = unpaired_loss(
        logps - batch.reference,
        batch.is_wanted,
        kind=own.loss,
        beta=own.beta,
        kl=batch.kl,
        wanted_weight=own.desirable_weight,
        unwanted_weight=own.undesirable_weight,
        normaliser=float(batch.wanted + batch.unwanted),
    )
    return result.share, _values(result, batch, logps.detach(), scores)


def _values(result: UnpairedLoss, batch: KtoBatch, logps: Tensor, scores: TokenScores) -> Values:
    chosen, rejected = batch.is_wanted, ~batch.is_wanted
    values: Values = {
        "rewards/chosen": Mean(result.rewards[chosen].sum(), float(chosen.sum())),
        "rewards/rejected": Mean(result.rewards[rejected].sum(), float(rejected.sum())),
        "logps/chosen": Mean(logps[chosen].sum(), float(chosen.sum())),
        "logps/rejected": Mean(logps[rejected].sum(), float(rejected.sum())),
        "entropy": Mean(scores.entropy.sum(), float(len(scores.entropy))),
    }
    if batch.wanted and batch.unwanted:
        # A difference of two means over the whole step: this batch's part of both, and of the weight of 1.
        margin = result.rewards[chosen].sum() / batch.wanted - result.rewards[rejected].sum() / batch.unwanted
        values["rewards/margins"] = Mean(margin, len(chosen) / (batch.wanted + batch.unwanted))
    return values


class Judge:
    """Lays out answers, and asks policy and reference what they think of them."""

    def __init__(self, preset: KtoPreset, bench: Bench) -> None:
        self.preset = preset
        self.bench = bench
        self.longest = _longest(preset, bench)
        self._in_lines = all_read_lines(bench)

    def cut(self, answers: Sequence[Judged]) -> list[list[Judged]]:
        """Answers in parts that fit into memory."""
        lengths = [len(answer.example.ids) for answer in answers]
        return micro_batches(answers, lengths, self.preset.training.micro_batch_size) if answers else []

    def batch(self, part: Sequence[Judged], whole: Sequence[Judged], kl: float) -> KtoBatch:
        """Some answers of an update as tensors, and what the reference thinks of them."""
        rows, line = self._laid_out([answer.example for answer in part])
        is_wanted = torch.tensor([answer.is_wanted for answer in part], device=rows.input_ids.device)
        wanted = sum(answer.is_wanted for answer in whole)
        return KtoBatch(rows, line, is_wanted, self._ask_reference(rows, line), kl, wanted, len(whole) - wanted)

    def divergence(self, whole: Sequence[Judged], mine: Sequence[int]) -> float:
        """How far the policy is from its reference, nats: over the prompts of an update, each with another's answer.

        As TRL, the answer of the one before, the first with that of the last; the mean of log policy / reference, if it
        is above 0. Each process measures its own prompts, `mine`; all are given the mean over the whole update.
        """
        if self.preset.kto.loss != "kto":
            return 0.0
        strangers = [mismatched(whole[i], whole[i - 1], max_length=self.longest) for i in mine]
        total = 0.0
        size = self.preset.training.micro_batch_size
        for part in micro_batches(strangers, [len(s.ids) for s in strangers], size) if strangers else []:
            rows, line = self._laid_out(part)
            policy = self._ask(self.bench.bare_scorer, rows, line)
            total += float((policy - self._ask_reference(rows, line)).sum())
        totals = gather_object([total]) if self.bench.accelerator.num_processes > 1 else [total]
        return max(0.0, sum(totals) / len(whole))

    def _laid_out(self, examples: Sequence[Example]) -> tuple[Rows, Line | None]:
        self.bench.breathe()
        rows = pad_rows(examples, self.bench.pad_id)
        line = line_up(rows.is_token, []) if self._in_lines else None
        device = self.bench.accelerator.device
        return rows.to(device), line and line.to(device)

    def _ask_reference(self, rows: Rows, line: Line | None) -> Tensor:
        with self.bench.policy.without_adapter():
            return self._ask(self.bench.reference_scorer or self.bench.bare_scorer, rows, line)

    @torch.no_grad()
    def _ask(self, scorer: nn.Module, rows: Rows, line: Line | None) -> Tensor:
        """The log-probability of each answer, (B,), nats."""
        with self.bench.accelerator.autocast():
            logps: Tensor = scorer(rows, line=line).logps
        return by_row(logps, rows.is_target).sum(dim=1)


def _longest(preset: KtoPreset, bench: Bench) -> int:
    return min(preset.data.max_length, bench.policy.context or preset.data.max_length)


def _encode(preset: KtoPreset, bench: Bench, table: Table, phase: str) -> Encoded:
    def breathe(index: int) -> None:
        if index % 1000 == 0:
            bench.reporter.phase(phase, index / len(table.rows))
            bench.breathe()

    encoded = encode_judged(table.rows, bench.encoder, max_length=_longest(preset, bench), breathe=breathe)
    encoded = encoded._replace(left_out=table.numbered(encoded.left_out))
    lost = told(encoded.left_out, len(table.rows), "rows", table.origins)
    if not encoded.answers:
        raise DataError(f"no answer can be learned from: {lost}; mend the data, or raise data.max_length")
    if lost:
        bench.reporter.notice("warning", lost, "mend those rows, or raise data.max_length where they are too long")
    return encoded


def _tell_balance(preset: KtoPreset, bench: Bench, answers: Sequence[Judged]) -> None:
    """Say so where one side outweighs the other, and what weight would mend it."""
    own = preset.kto
    wanted = sum(answer.is_wanted for answer in answers)
    unwanted = len(answers) - wanted
    if not wanted or not unwanted:
        what = f"all {len(answers)} answers are {'wanted' if wanted else 'unwanted'}"
        bench.reporter.notice("warning", what, "without the other kind every answer is only raised or only lowered")
        return
    weighs = own.desirable_weight * wanted / max(own.undesirable_weight * unwanted, 1e-9)
    if not BALANCED[0] <= weighs <= BALANCED[1]:
        what = f"{wanted} answers are wanted and {unwanted} are not; weighed, that is {weighs:.2f} to 1"
        low, high = (limit * own.undesirable_weight * unwanted / wanted for limit in BALANCED)
        advice = f"its authors advise 1 to 1.33: a kto.desirable_weight of {low:.2f} to {high:.2f}"
        bench.reporter.notice("info", what, advice)


@torch.no_grad()
def _measured(judge: Judge, whole: Sequence[Judged]) -> dict[str, float]:
    """What is told of a step, on answers that never train, each name with eval_ before it."""
    bench = judge.bench
    mine = range(len(whole))[bench.accelerator.process_index :: bench.accelerator.num_processes]
    kl = judge.divergence(whole, mine)
    tally = Tally()
    tally.add({"kl": Mean(kl, 1)})
    for part in judge.cut([whole[index] for index in mine]):
        batch = judge.batch(part, whole, kl)
        with bench.accelerator.autocast():
            share, values = compare(judge.preset, batch, bench.bare_scorer(batch.rows, line=batch.line))
        tally.add({"loss": Mean(share, len(part) / len(whole)), **values})
    return {f"eval_{name}": value for name, value in tally.means(bench.accelerator).items()}
