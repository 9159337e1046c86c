"""Kahneman-Tversky optimisation: learn from single answers, wanted or not, by how far each gains on the rest."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn

from engine.contract.preset import KtoPreset
from engine.data.batching import micro_batches, pad_rows, rows_of_step
from engine.data.chat import Example
from engine.data.left_out import told
from engine.data.sources import DataError, Table
from engine.data.store import Grouped, one_by_one
from engine.data.unpaired import Encoded, answers_of_sources, encode_judged, mismatched
from engine.logprobs import Rows, TokenScores
from engine.loop import Material, Method, Update
from engine.methods.bench import Bench, is_due
from engine.methods.pairs import all_read_lines, by_row
from engine.methods.reference import kept_logps
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
    sources = answers_of_sources(encoded, bench.train.parts_without(encoded.left_out))
    train = _judge_of(preset, bench, encoded)
    held_out = None
    if bench.held_out is not None:
        held_out = _judge_of(preset, bench, _encode(preset, bench, bench.held_out, "reading the held-out data"))
    if preset.kto.reference == "cached" and bench.policy.reference is not None:
        bench.policy.reference.to("meta")  # all it had to say is kept; this lets go of its weights
    training = preset.training
    _tell_balance(preset, bench, encoded)
    # Dropout would tell the policy apart from its reference, which are one at the first step.
    without_dropout(bench.policy.model)

    def update(whole: Sequence[int]) -> Update:
        kl = train.divergence(whole, bench.share(range(len(whole))))
        parts = [train.batch(part, whole, kl) for part in train.cut(bench.share(whole))]
        tokens = sum(int(part.rows.is_token.sum()) for part in parts)
        return Update(parts, tokens=tokens, values={"kl": Mean(kl, 1)})

    def batches(step: int) -> Iterator[Update]:
        yield update(
            rows_of_step(
                step,
                batch_size=training.batch_size,
                n_rows=len(encoded.answers),
                seed=preset.seed,
                shuffle=preset.data.shuffle,
                parts=sources,
            )
        )

    def loss(batch: KtoBatch) -> tuple[Tensor, Values]:
        return compare(preset, batch, bench.scorer(batch.rows, line=batch.line))

    def measure(step: int) -> dict[str, float]:
        values: dict[str, float] = {}
        if held_out is not None and is_due(step, training.eval_every, training.steps):
            values |= _measured(held_out)
        if is_due(step, preset.kto.sample_every, training.steps):
            values |= write_samples(preset, bench, step)
        return values

    def material() -> Material:
        measuring = held_out.answers if held_out is not None else ()
        return Material(one_by_one(encoded.answers), update, held_out=one_by_one(measuring), left_out=encoded.left_out)

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


@dataclass(frozen=True)
class Judge:
    """Lays out judged answers, by their places, and asks policy and reference what they think of them.

    kept: what the reference thinks of each answer, and of each prompt with the answer of the place in `before`:
    (2, N), nats; with apo_zero_unpaired, which has no use for the latter, (1, N). None: it is asked each time.
    """

    preset: KtoPreset
    bench: Bench
    answers: Sequence[Example]
    is_wanted: Sequence[int]
    longest: int
    in_lines: bool
    before: Sequence[int]
    kept: Tensor | None = None

    def cut(self, places: Sequence[int]) -> list[list[int]]:
        """Answers in parts that fit into memory."""
        lengths = [len(self.answers[place].ids) for place in places]
        return micro_batches(places, lengths, self.preset.training.micro_batch_size) if places else []

    def batch(self, part: Sequence[int], whole: Sequence[int], kl: float) -> KtoBatch:
        """Some answers of an update as tensors, and what the reference thinks of them."""
        rows, line = self._laid_out([self.answers[place] for place in part])
        device = rows.input_ids.device
        logps = self.ask_reference(rows, line) if self.kept is None else self.kept[0, list(part)].to(device)
        is_wanted = torch.tensor([bool(self.is_wanted[place]) for place in part], device=device)
        wanted = sum(self.is_wanted[place] for place in whole)
        return KtoBatch(rows, line, is_wanted, logps, kl, wanted, len(whole) - wanted)

    def divergence(self, whole: Sequence[int], mine: Sequence[int]) -> float:
        """How far the policy is from its reference, nats: over the prompts of an update, each with another's answer.

        As TRL, the answer of the one before, the first with that of the last; the mean of log policy / reference, if it
        is above 0. What is kept on disk has to know the other beforehand: then it is the one before in the order of the
        first epoch. Each process measures its own prompts, `mine`; all are given the mean over the whole update.
        """
        if self.preset.kto.loss != "kto":
            return 0.0
        total, size = 0.0, self.preset.training.micro_batch_size
        strangers = {k: self._stranger(whole[k], None if self.kept is not None else whole[k - 1]) for k in mine}
        lengths = [len(stranger.ids) for stranger in strangers.values()]
        for part in micro_batches(list(mine), lengths, size) if strangers else []:
            rows, line = self._laid_out([strangers[k] for k in part])
            if self.kept is None:
                logps = self.ask_reference(rows, line)
            else:
                logps = self.kept[1, [whole[k] for k in part]].to(rows.input_ids.device)
            total += float((self._ask(self.bench.bare_scorer, rows, line) - logps).sum())
        totals = gather_object([total]) if self.bench.accelerator.num_processes > 1 else [total]
        return max(0.0, sum(totals) / len(whole))

    def keeping(self) -> "Judge":
        """The same, with what the reference thinks worked out for good; see `reference.kept_logps`."""

        def item(place: int, answer: Sequence[Example]) -> Sequence[Example]:
            return [*answer, self._stranger(place)] if self.preset.kto.loss == "kto" else answer

        def ask(part: Sequence[int]) -> Tensor:
            texts = [text for column in zip(*(items[place] for place in part), strict=True) for text in column]
            return self.ask_reference(*self._laid_out(texts))

        items = Grouped(self.answers, range(1, len(self.answers) + 1), item)
        size = self.preset.training.micro_batch_size
        return replace(self, kept=kept_logps(self.bench, items, ask, size=size, about=self.preset.kto.loss))

    def ask_reference(self, rows: Rows, line: Line | None) -> Tensor:
        """What the reference thinks of each answer, (B,), nats."""
        with self.bench.policy.without_adapter():
            return self._ask(self.bench.reference_scorer or self.bench.bare_scorer, rows, line)

    def _stranger(self, place: int, other: int | None = None) -> Example:
        """The prompt there with the answer of another place, or of the one before it."""
        other = self.before[place] if other is None else other
        return mismatched(self.answers[place], self.answers[other], max_length=self.longest)

    def _laid_out(self, examples: Sequence[Example]) -> tuple[Rows, Line | None]:
        self.bench.breathe()
        rows = pad_rows(examples, self.bench.pad_id)
        line = line_up(rows.is_token, []) if self.in_lines else None
        device = self.bench.accelerator.device
        return rows.to(device), line and line.to(device)

    @torch.no_grad()
    def _ask(self, scorer: nn.Module, rows: Rows, line: Line | None) -> Tensor:
        """The log-probability of each answer, (B,), nats."""
        with self.bench.accelerator.autocast():
            logps: Tensor = scorer(rows, line=line).logps
        return by_row(logps, rows.is_target).sum(dim=1)


def _judge_of(preset: KtoPreset, bench: Bench, encoded: Encoded) -> Judge:
    count = len(encoded.answers)
    order = rows_of_step(1, batch_size=count, n_rows=count, seed=preset.seed, shuffle=preset.data.shuffle)
    before = array("q", [0] * count)
    for k, place in enumerate(order):
        before[place] = order[k - 1]
    longest, in_lines = _longest(preset, bench), all_read_lines(bench)
    judge = Judge(preset, bench, encoded.answers, encoded.is_wanted, longest, in_lines, before)
    return judge.keeping() if preset.kto.reference == "cached" else judge


def _longest(preset: KtoPreset, bench: Bench) -> int:
    return min(preset.data.max_length, bench.policy.context or preset.data.max_length)


def _encode(preset: KtoPreset, bench: Bench, table: Table, phase: str) -> Encoded:
    def breathe(index: int) -> None:
        if index % 1000 == 0:
            bench.reporter.phase(phase, index / len(table.rows))
            bench.breathe()

    longest = _longest(preset, bench)
    encoded = encode_judged(table.rows, bench.encoder, max_length=longest, breathe=breathe, folder=bench.folder)
    encoded = encoded._replace(left_out=table.numbered(encoded.left_out))
    lost = told(encoded.left_out, len(table.rows), "rows", table.origins)
    if not encoded.answers:
        raise DataError(f"no answer can be learned from: {lost}; mend the data, or raise data.max_length")
    if lost:
        bench.reporter.notice("warning", lost, "mend those rows, or raise data.max_length where they are too long")
    return encoded


def _tell_balance(preset: KtoPreset, bench: Bench, encoded: Encoded) -> None:
    """Say so where one side outweighs the other, and what weight would mend it."""
    own = preset.kto
    wanted = sum(encoded.is_wanted)
    unwanted = len(encoded.is_wanted) - wanted
    if not wanted or not unwanted:
        what = f"all {len(encoded.is_wanted)} answers are {'wanted' if wanted else 'unwanted'}"
        bench.reporter.notice("warning", what, "without the other kind every answer is only raised or only lowered")
        return
    weighs = own.desirable_weight * wanted / max(own.undesirable_weight * unwanted, 1e-9)
    if not BALANCED[0] <= weighs <= BALANCED[1]:
        what = f"{wanted} answers are wanted and {unwanted} are not; weighed, that is {weighs:.2f} to 1"
        low, high = (limit * own.undesirable_weight * unwanted / wanted for limit in BALANCED)
        advice = f"its authors advise 1 to 1.33: a kto.desirable_weight of {low:.2f} to {high:.2f}"
        bench.reporter.notice("info", what, advice)


@torch.no_grad()
def _measured(judge: Judge) -> dict[str, float]:
    """What is told of a step, on answers that never train, each name with eval_ before it.

    In the order of an epoch: in that of the data, the two answers of a pair would be each other's strangers.
    """
    bench, count = judge.bench, len(judge.answers)
    order = rows_of_step(1, batch_size=count, n_rows=count, seed=judge.preset.seed, shuffle=judge.preset.data.shuffle)
    whole = order[:EVAL_ANSWERS]
    mine = range(len(whole))[bench.accelerator.process_index :: bench.accelerator.num_processes]
    kl = judge.divergence(whole, mine)
    tally = Tally()
    tally.add({"kl": Mean(kl, 1)})
    for part in judge.cut([whole[k] for k in mine]):
        batch = judge.batch(part, whole, kl)
        with bench.accelerator.autocast():
            share, values = compare(judge.preset, batch, bench.bare_scorer(batch.rows, line=batch.line))
        tally.add({"loss": Mean(share, len(part) / len(whole)), **values})
    return {f"eval_{name}": value for name, value in tally.means(bench.accelerator).items()}
