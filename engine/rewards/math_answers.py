"""Whether an answer is the right one in mathematics: 1/2, 0.5 and \\frac{1}{2} are one, by the package `math_verify`.

This file is run as somebody's function is, in a process of its own (engine/helpers): the package ends what takes too
long by a signal, which only the main thread of a process can take, and algebra may hang where no signal reaches.
"""

from collections.abc import Sequence
from typing import Any

from math_verify import parse, verify
from math_verify.errors import TimeoutException

#: Seconds for reading one text, and for comparing it.
SECONDS = 5


def math_verify(completions: Sequence[str], right: Sequence[str], **others: Any) -> list[Any]:
    """1 where the answer equals what is right, else 0; an exception for an answer of which that is not known."""
    known = {text: _parsed_right(text) for text in set(right)}
    return [_worth(text, known[gold]) for text, gold in zip(completions, right, strict=True)]


def _parsed_right(text: str) -> Any:
    """What the text means, or why that is not known."""
    # LaTeX is only looked for between its marks.
    text = f"${text}$" if "\\" in text and "$" not in text and "boxed" not in text else text
    try:
        return parse(text, parsing_timeout=SECONDS) or ValueError(f"the right answer {text[:60]!r} cannot be read")
    except TimeoutException:
        return TimeoutError(f"reading the right answer {text[:60]!r} took more than {SECONDS} s")


def _worth(text: str, right: Any) -> Any:
    if isinstance(right, Exception):
        return right
    try:
        given = parse(text, parsing_timeout=SECONDS, raise_on_error=True)
    except TimeoutException:
        return TimeoutError(f"reading an answer took more than {SECONDS} s")
    except Exception:  # noqa: BLE001 - what the parser cannot read is no right answer
        return 0.0
    return _equal(right, given)


def _equal(right: Sequence[Any], given: Sequence[Any]) -> Any:
    late = None
    for one in right:
        for other in given:
            try:
                if verify([one], [other], timeout_seconds=SECONDS, raise_on_error=True):
                    return 1.0
            except TimeoutException:
                late = TimeoutError(f"comparing an answer took more than {SECONDS} s")
            except Exception:  # noqa: BLE001, S112 - what cannot be compared is not equal
                continue
    return late or 0.0
