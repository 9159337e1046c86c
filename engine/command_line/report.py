"""What the second half of `check` says: the first rows as the model sees them, what was noticed, what a step takes."""

from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from engine.command_line.terminal import clean, duration
from engine.contract.findings import Finding, Lengths, Measured, Report, SeenText
from engine.starting import estimates

#: Around what counts in the loss; on a terminal it is green and underlined as well.
OPEN, CLOSE = "\N{MATHEMATICAL LEFT WHITE SQUARE BRACKET}", "\N{MATHEMATICAL RIGHT WHITE SQUARE BRACKET}"
COUNTED, UNCOUNTED = "green underline", "dim"
LEVELS = {"error": "bold red", "warning": "yellow", "good": "green", "info": ""}
BLOCKS = " ▁▂▃▄▅▆▇█"
RETURN = "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}"


def show(report: Report) -> None:
    """On standard output, coloured where that is a terminal."""
    console = Console(highlight=False, markup=False, emoji=False)
    for line in lines(report):
        console.print(line, soft_wrap=True)


def lines(report: Report) -> Iterator[Text]:
    """Every line; without its colours it says the same."""
    for number, row in enumerate(report.shown, start=1):
        head = f"  {OPEN}in brackets{CLOSE} counts in the loss" if number == 1 and report.by_token else ""
        yield Text(f"{clean(row.place)}{head}", "bold")
        for text in row.texts:
            yield _text(text)
    if not report.of_images:
        yield from _of_texts(report)
    if report.measured is not None:
        yield from (Text(line) for line in _measured(report.measured))
    yield Text(f"disk        up to {estimates.megabytes(report.writes_bytes)}")
    yield from map(_finding, report.findings)


def _of_texts(report: Report) -> Iterator[Text]:
    yield Text()
    share = report.counted_tokens / report.tokens if report.tokens else 0.0
    what = f"{report.items:,} of {report.rows:,} rows looked at, {report.tokens:,} tokens"
    counts = f"{share:.0%} of them count in the loss" if report.by_token else "each text counts as a whole"
    yield Text(f"learned     {what}, {counts}")
    yield Text(f"lengths     {_lengths(report.lengths)}")


def _text(text: SeenText) -> Text:
    made = Text("  ")
    if text.name:
        made.append(f"{text.name}: ")
    starts = {start for start, _ in text.counted}
    ends = {end for _, end in text.counted}
    is_counted = False
    for place, token in enumerate([*text.tokens, ""]):
        if place in ends:
            is_counted = False
            made.append(CLOSE)
        if text.skipped and place == text.skipped_at:
            made.append(f" … {text.skipped:,} tokens … ", "italic")
        if place in starts:
            is_counted = True
            made.append(OPEN)
        made.append(clean(token.replace("\n", RETURN)), COUNTED if is_counted else UNCOUNTED)
    if text.is_cut:
        made.append(" … cut here", "yellow")
    if text.sampled:
        made.append(f" … up to {text.sampled:,} sampled tokens, which count", "italic")
    return made.append(f"  ({text.length:,} tokens)", "dim")


def _lengths(lengths: Lengths) -> str:
    tallest = max(lengths.bars)
    drawn = "".join(BLOCKS[-(-8 * bar // tallest) if tallest else 0] for bar in lengths.bars)
    known = f"median {lengths.median:,}, 95% up to {lengths.p95:,}, longest {lengths.longest:,}"
    return f"{known} of {lengths.limit:,} tokens  0 {drawn} {len(lengths.bars) * lengths.width:,}"


def _measured(measured: Measured) -> Iterator[str]:
    memory = estimates.megabytes(measured.peak_bytes)
    longest = duration_of_step(measured.longest_seconds)
    yield f"longest     {longest} for the longest batch, {measured.at_once} at once; {memory} on {measured.device}"
    step = duration_of_step(measured.step_seconds)
    yield f"time        about {duration(measured.run_seconds)}, {step} a step, without evaluations and saving"


def duration_of_step(seconds: float) -> str:
    """Two significant digits below a minute."""
    return f"{seconds:.2g} s" if seconds < 60 else duration(seconds)


def _finding(finding: Finding) -> Text:
    mark = {"good": "fine", "info": "note"}.get(finding.level, finding.level)
    told = f"{mark}: {finding.what}" + (f"; {finding.advice}" if finding.advice else "")
    return Text(clean(told), LEVELS[finding.level])
