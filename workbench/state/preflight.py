"""A pre-flight in words: what counts, how long rows are, what a step takes, and which findings matter most."""

import unicodedata
from collections.abc import Sequence

from engine.contract.findings import Finding, Lengths, Measured, Report, SeenText
from workbench.state.figures import count, duration, number, share, size

URGENT = ("error", "warning")
NO_BREAK = "\N{NO-BREAK SPACE}"
RETURN = "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}"


def literal(text: str) -> str:
    """The text with everything visible that would move the cursor, turn the reading direction or show nothing."""
    return "".join(map(_visible, text))


def _visible(character: str) -> str:
    if character == "\n":
        return f"{RETURN}\n"
    if unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
        return character
    code = ord(character)
    # Unicode has pictures of the oldest control characters: ␛, ␀.
    return chr(0x2400 + code) if code < 0x20 else f"⟨U+{code:04X}⟩"


def headline(report: Report) -> str:
    """The one number that tells whether the right thing is learned."""
    if report.of_images:
        return "Each image counts as a whole"
    if any(text.sampled for row in report.shown for text in row.texts):
        return "Prompts only: the answers will be sampled, and all of their tokens count"
    if not report.by_token:
        return "Each text counts as a whole, by the one number it is given"
    counted = report.counted_tokens / report.tokens if report.tokens else 0.0
    return f"{share(counted)} of {count(report.tokens)} tokens count in the loss"


def rows_told(report: Report) -> str:
    if report.of_images:
        return ""
    known = f"{count(report.items)} of {count(report.rows)} rows"
    return known + (f", {count(report.cut)} of them cut" if report.cut else "")


def lengths_told(lengths: Lengths) -> str:
    parts = (
        ("median", lengths.median),
        ("95% up to", lengths.p95),
        ("longest", lengths.longest),
        ("limit", lengths.limit),
    )
    # A line may break between two of them, and not within one.
    return "   ".join(f"{name} {count(value)}".replace(" ", NO_BREAK) for name, value in parts)


def measured_told(measured: Measured | None) -> str:
    """What a step takes, or why nobody knows."""
    if measured is None:
        return "No step was tried; the deep check of a preset does that."
    pace = number(measured.step_seconds, 2)
    parts = [f"{pace} s a step, about {duration(measured.run_seconds)} in all"]
    parts.append(f"{size(measured.peak_bytes)} at most on {measured.device}, {count(measured.at_once)} at once")
    return "\n".join(parts)


def text_told(place: str, text: SeenText) -> str:
    """What stands over a text: which row, which side of a pair, how much of it counts."""
    counted = sum(end - start for start, end in text.counted)
    parts = [place, text.name, f"{count(text.length)} tokens"]
    if text.sampled:
        parts.append(f"then up to {count(text.sampled)} sampled")
    elif counted and not text.skipped:
        parts.append(f"{count(counted)} count")
    parts.append("cut at its end" if text.is_cut else "")
    return "  ·  ".join(part for part in parts if part)


def urgent(findings: Sequence[Finding]) -> list[Finding]:
    """What asks for something to be done, errors first."""
    return sorted((one for one in findings if one.level in URGENT), key=lambda one: URGENT.index(one.level))


def calm(findings: Sequence[Finding]) -> list[Finding]:
    """What is good to know."""
    return [one for one in findings if one.level not in URGENT]
