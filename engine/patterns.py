"""Regular expressions that somebody wrote, matched within a time limit: some take longer than the universe is old.

By the package `regex`, as nothing stops `re` once it has begun. It reads what `re` reads, and tries much less on the
usual offenders, such as (a+)+b.
"""

from collections.abc import Iterator

import regex

#: Longest time for one text; others take microseconds.
SECONDS = 1.0
#: What answers are like: prose in lines, one long word, one long number, many spaces; none with an end that fits.
ORDINARY = (
    "The quick brown fox jumps over the lazy dog, and then it sleeps.\n" * 4 + "?",
    *(f"{character * 200}!" for character in "a1"),
    f"?{' ' * 200}!",
)


class PatternError(ValueError):
    """What is no regular expression, in words."""


def compiled(pattern: str) -> "regex.Pattern[str]":
    """A dot stands for any character, also the end of a line. Raises PatternError."""
    try:
        return regex.compile(pattern, regex.DOTALL)
    except regex.error as error:
        raise PatternError(str(error)) from error


def matches(pattern: "regex.Pattern[str]", text: str, *, seconds: float) -> bool:
    """Whether all of the text matches, blanks around it left out. Raises TimeoutError."""
    return pattern.fullmatch(text.strip(), timeout=seconds) is not None


def problems(pattern: str) -> Iterator[tuple[str, str]]:
    """What is wrong with a pattern, and what to do: it is none, or hangs on an ordinary answer already."""
    try:
        matcher = compiled(pattern)
    except PatternError as error:
        yield f"is not a regular expression: {error}", "mend it; \\ before a character takes it as it is"
        return
    for text in ORDINARY:
        try:
            matches(matcher, text, seconds=SECONDS)
        except TimeoutError:
            remedy = "write it without repeats within repeats, such as (.{1,9})+"
            yield f"takes more than {SECONDS:g} s on an ordinary answer of {len(text)} characters", remedy
            return
