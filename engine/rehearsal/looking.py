"""The data as the model sees it: what counts in the loss, how long rows are, which repeat, and what looks wrong."""

import itertools
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from transformers import PreTrainedTokenizerBase

from engine.contract import settings
from engine.contract.findings import Finding, LeftOut, Lengths, Report, SeenRow
from engine.data.chat import Example
from engine.data.left_out import named
from engine.data.sources import Table
from engine.loop import Material, learning_rate
from engine.rehearsal.pieces import seen

#: Rows shown token by token.
ROWS_SHOWN = 3
#: Bars of the histogram, at most.
BARS = 24

Item = Sequence[Example]


@dataclass(frozen=True)
class Reading:
    """What is needed to judge the data. table: what there is to learn from. limit: the longest row in tokens.

    embeddings: tokens that the model has a vector for. trained: weights that learn. has_turns: whether rows are
    conversations.
    """

    table: Table
    optimizer: settings.Optimizer
    steps: int
    limit: int
    tokenizer: PreTrainedTokenizerBase
    end_ids: Sequence[int]
    embeddings: int
    trained: int
    has_turns: bool


def look(material: Material, reading: Reading) -> Report:
    """Everything but the measured step. What would learn nothing is an error among the findings."""
    count = _counted(material.items, reading)
    report = Report(
        rows=len(reading.table.rows) + sum(map(len, reading.table.left_out.values())),
        items=len(material.items),
        cut=count.cut,
        repeated=len(material.items) - len(count.marks),
        held_out=len(material.held_out),
        also_held_out=sum(_mark(item) in count.marks for item in material.held_out),
        left_out=_left_out(material, reading),
        tokens=sum(count.lengths),
        counted_tokens=count.targets if material.by_token else 0,
        by_token=material.by_token,
        lengths=_lengths(count.lengths, reading.limit),
        shown=_shown(material, reading),
        findings=[],
    )
    found = [*_nothing_to_learn(report, reading, material), *_of_rows(report), *_of_tokens(count, material, reading)]
    return report.model_copy(update={"findings": found})


@dataclass
class Count:
    """What all items together have: gathered in one pass, as they may be more than fit into memory.

    lengths: of each text, tokens. marks: of each item that is no other's equal. cut: items. targets: tokens that count.
    highest: token. begun_twice: whether a text begins with two beginnings. whole, unended: texts that are not cut, and
    those of them that do not learn to end.
    """

    lengths: "array[int]" = field(default_factory=lambda: array("q"))
    marks: set[int] = field(default_factory=set)
    cut: int = 0
    targets: int = 0
    highest: int = 0
    begun_twice: bool = False
    whole: int = 0
    unended: int = 0


def _counted(items: Sequence[Item], reading: Reading) -> Count:
    count, first, ends = Count(), reading.tokenizer.bos_token_id, frozenset(reading.end_ids)
    for item in items:
        count.marks.add(_mark(item))
        count.cut += any(text.is_cut for text in item)
        for text in item:
            count.lengths.append(len(text.ids))
            count.targets += sum(text.is_target)
            count.highest = max(count.highest, max(text.ids, default=0))
            count.begun_twice |= first is not None and text.ids[:2] == [first, first]
            is_whole = not text.is_cut and any(text.is_target)
            count.whole += is_whole
            count.unended += is_whole and not _learns_end(text, ends)
    return count


def _mark(item: Item) -> int:
    """Equal for items of the same tokens of which the same count."""
    return hash(tuple((tuple(text.ids), tuple(text.is_target)) for text in item))


def _left_out(material: Material, reading: Reading) -> list[LeftOut]:
    """Both those that could not be read as rows and those that the method cannot learn from."""
    told = [*reading.table.left_out.items(), *material.left_out.items()]
    origins = reading.table.origins
    return [LeftOut(reason=why, count=len(numbers), where=named(numbers, origins)) for why, numbers in told]


def _lengths(lengths: Sequence[int], limit: int) -> Lengths:
    ordered = sorted(lengths) or [0]
    width = ordered[-1] // BARS + 1
    bars = [0] * (ordered[-1] // width + 1)
    for length in lengths:
        bars[length // width] += 1

    def quantile(share: float) -> int:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    return Lengths(median=quantile(0.5), p95=quantile(0.95), longest=ordered[-1], limit=limit, width=width, bars=bars)


def _shown(material: Material, reading: Reading) -> list[SeenRow]:
    dropped = set(itertools.chain.from_iterable(material.left_out.values()))
    numbers = reading.table.numbers or range(1, len(reading.table.rows) + 1)
    kept = itertools.islice((number for number in numbers if number not in dropped), ROWS_SHOWN)
    places = [named([number], reading.table.origins) for number in kept]

    def decode(ids: list[int]) -> str:
        return str(reading.tokenizer.decode(ids, clean_up_tokenization_spaces=False))

    rows = []
    for place, item in zip(places, material.items[:ROWS_SHOWN], strict=False):
        names = getattr(item, "_fields", ("",) * len(item))
        texts = [seen(name, text, decode, sampled=material.sampled) for name, text in zip(names, item, strict=True)]
        if not material.by_token:
            texts = [text.model_copy(update={"counted": []}) for text in texts]
        rows.append(SeenRow(place=place, texts=texts))
    return rows


# ---------------------------------------------------------------------------------------------- what is worth saying


def _nothing_to_learn(report: Report, reading: Reading, material: Material) -> Iterator[Finding]:
    """A run that could change nothing, whatever its data says."""
    if not report.items:
        yield Finding(level="error", what="no row can be learned from", advice="choose other data", key="data.train")
    elif material.by_token and not material.sampled and not report.counted_tokens:
        advice = "give answers, or set what counts to the whole text"
        yield Finding(level="error", what="no token of any row counts in the loss", advice=advice, key="data.train")
    if not reading.trained:
        advice = "choose other model.adapter.targets, or train all weights"
        yield Finding(level="error", what="none of the model's weights is trained", advice=advice, key="model.adapter")
    steps = {1, min(reading.steps, reading.optimizer.warmup_steps + 1), reading.steps}
    if not any(learning_rate(step, reading.steps, reading.optimizer) for step in steps):
        what = "the learning rate is 0 in every step, so the weights stay as they are"
        advice = "raise it, or let the warm-up be shorter than the run"
        yield Finding(level="warning", what=what, advice=advice, key="optimizer.learning_rate")


def _of_rows(report: Report) -> Iterator[Finding]:
    for left_out in report.left_out:
        what = f"{_of(left_out.count, report.rows)} left out: {left_out.reason} ({left_out.where})"
        yield Finding(level="warning", what=what, advice="mend or remove them")
    if report.cut:
        every = report.cut == report.items
        what = f"{_of(report.cut, report.items)} cut at {report.lengths.limit} tokens"
        what += ": the end of no answer is ever seen" if every else ""
        advice = "raise data.max_length if memory and model allow"
        yield Finding(level="warning", what=what, advice=advice, key="data.max_length")
    if report.repeated:
        yield Finding(level="info", what=f"{_of(report.repeated, report.items)} the same as an earlier one")
    if report.also_held_out:
        what = f"{report.also_held_out:,} of {report.held_out:,} held-out rows are also learned from"
        advice = "what they measure is memory; take them out of one of the two"
        yield Finding(level="warning", what=what, advice=advice, key="data.eval")


def _of(count: int, total: int) -> str:
    return f"{count:,} of {total:,} rows {'is' if count == 1 else 'are'}"


def _of_tokens(count: Count, material: Material, reading: Reading) -> Iterator[Finding]:
    """The tokenizer against the model, its template, and whether the end of an answer is learned."""
    tokenizer = reading.tokenizer
    if count.highest >= reading.embeddings:
        what = f"token {count.highest:,} is in the data, and the model has embeddings for {reading.embeddings:,}"
        yield Finding(level="error", what=what, advice="use the tokenizer that came with the model", key="model.path")
    else:
        what = f"tokenizer and model fit: {len(tokenizer):,} tokens, {reading.embeddings:,} embeddings"
        yield Finding(level="good", what=what)
    if reading.has_turns and not tokenizer.chat_template:
        what = "the tokenizer has no chat template, so turns are joined by line breaks and only the last answer counts"
        yield Finding(level="warning", what=what, advice="use the tokenizer of an instruction-tuned model")
    yield from _of_marks(count, tokenizer)
    if material.by_token and not material.sampled:
        yield from _of_ends(count, tokenizer)


def _of_marks(count: Count, tokenizer: PreTrainedTokenizerBase) -> Iterator[Finding]:
    pad = tokenizer.pad_token_id
    if count.begun_twice:
        what = f"rows begin with {tokenizer.bos_token} twice: the template writes it, and the tokenizer again"
        yield Finding(level="warning", what=what, advice="take it out of the data or out of the chat template")
    if pad is not None and pad == tokenizer.eos_token_id:
        what = f"padding and end are one token, {tokenizer.pad_token}; harmless here, as a mask says what counts"
        yield Finding(level="info", what=what)


def _of_ends(count: Count, tokenizer: PreTrainedTokenizerBase) -> Iterator[Finding]:
    """Whether answers that are there whole end with a token that ends them: else the model never learns to stop."""
    token = tokenizer.eos_token or "the end token"
    if count.whole and not count.unended:
        yield Finding(level="good", what=f"every whole answer ends with {token} and learns it")
    elif count.unended:
        is_none = count.unended == count.whole
        which = "no answer" if is_none else f"{count.unended:,} of {count.whole:,} answers do not"
        verb = "ends" if is_none else "end"
        what = f"{which} {verb} with {token} in what counts, so the model is not taught to stop there"
        advice = "let the chat template write the end token after an answer"
        yield Finding(level="warning", what=what, advice=advice)


def _learns_end(text: Example, ends: frozenset[int]) -> bool:
    """Whether an end token counts in the last stretch that does; a template may add a line break after it."""
    last = len(text.ids) - 1
    while last >= 0 and not text.is_target[last]:
        last -= 1
    while last >= 0 and text.is_target[last]:
        if text.ids[last] in ends:
            return True
        last -= 1
    return False
